//! Two-dimensional convolution (cross-correlation, PyTorch's `conv2d`) and its gradients, without an im2col buffer.
//!
//! `y[n][o][i][j] = bias[o] + Σ_c Σ_kh Σ_kw w[o][c][kh][kw] · x[n][c][i·stride + kh·dilation - padding][…]`
//!
//! Shapes: x `[N, IC, H, W]`, w `[OC, IC/groups, KH, KW]`, y `[N, OC, OH, OW]`, all contiguous.
//! A block of channels is copied once into a zero-padded buffer, from which every tap reads whole vectors at a fixed offset.

mod axis;
mod correlation;
mod dot_products;
mod layout;
mod outer_products;
mod plan;
mod pointwise;
mod scratch;
#[cfg(test)]
mod tests;
mod winograd;

use crate::gemm::Activation;
use crate::simd::{Kernel, Simd, Vector};
use axis::Axis;
use correlation::Correlation;
use dot_products::DotProducts;
use outer_products::OuterProducts;
use plan::{Plan, Sizes};

/// The sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub batch: usize,
    pub in_channels: usize,
    pub height: usize,
    pub width: usize,
    pub out_channels: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
    pub out_height: usize,
    pub out_width: usize,
}

/// The element types of convolution.
pub(crate) trait Number: crate::gemm::Number + Default + std::ops::AddAssign {}
impl<T: crate::gemm::Number + Default + std::ops::AddAssign> Number for T {}

/// The lanes of a vector at the level in use.
struct Lanes<T>(std::marker::PhantomData<T>);

impl<T: Number> Kernel for Lanes<T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self) -> usize {
        T::Vector::<S>::LANES
    }
}

fn lanes<T: Number>() -> usize {
    T::run(Lanes::<T>(std::marker::PhantomData))
}

impl Geometry {
    /// Output pixels of one channel.
    fn out_pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    fn weights(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Taps of a kernel.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Nothing to add up, or nowhere to put it.
    fn is_empty(&self) -> bool {
        self.batch * self.in_channels * self.height * self.width == 0 || self.batch * self.out_channels * self.out_pixels() == 0 || self.weights() == 0
    }

    /// A kernel of one pixel sees no rows: small images become a single one, whose vectors are full.
    fn joined(mut self) -> Geometry {
        if (self.kernel, self.stride, self.padding) == ([1, 1], [1, 1], [0, 0]) && self.height * self.width <= 1024 {
            (self.width, self.out_width) = (self.height * self.width, self.height * self.width);
            (self.height, self.out_height) = (1, 1);
        }
        self
    }

    fn axes(&self) -> [Axis; 2] {
        let sizes = [(self.height, self.out_height), (self.width, self.out_width)];
        [0, 1].map(|i| Axis::forward(sizes[i].0, sizes[i].1, self.kernel[i], self.stride[i], self.dilation[i], self.padding[i]))
    }

    fn sizes(&self) -> Sizes {
        let (channels, outputs) = (self.in_channels / self.groups, self.out_channels / self.groups);
        let taps = self.kernel[0] * self.kernel[1];
        Sizes { batch: self.batch, groups: self.groups, channels, outputs, output_weights: channels * taps, channel_weights: taps }
    }
}

/// `y = activation(conv(x, w) + bias)`.
pub(crate) fn forward<T: Number>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>, activation: Activation, y: &mut [T]) {
    let g = g.joined();
    if y.is_empty() {
        return;
    }
    if g.is_empty() {
        return bias_only(g.out_pixels(), bias, activation, y);
    }
    if pointwise::is_one_pixel(&g) {
        return pointwise::Products::forward(&g, x, w, bias, activation).run(y);
    }
    if winograd::wins::<T>(&g, winograd::Pass::Forward, lanes::<T>()) {
        return winograd::Correlation { g: &g, sizes: g.sizes(), turned: false, source: x, weights: w, bias, activation }.run(y);
    }
    let plan = Plan::new(g.sizes(), g.axes(), lanes::<T>(), true);
    Correlation { plan: &plan, source: x, weights: w, bias, activation }.run(y);
}

/// `dx`, the gradient of the input of [`forward`] given `dy`, that of its output (before any activation), plus `bias` of the input's channels, which makes it the transposed convolution. Overwrites `dx`.
pub(crate) fn input_gradient<T: Number>(g: &Geometry, dy: &[T], w: &[T], bias: Option<&[T]>, dx: &mut [T]) {
    let g = g.joined();
    if dx.is_empty() {
        return;
    }
    if g.is_empty() {
        return bias_only(g.height * g.width, bias, Activation::None, dx);
    }
    let Sizes { batch, groups, channels, outputs, output_weights, channel_weights } = g.sizes();
    let sizes = Sizes { batch, groups, channels: outputs, outputs: channels, output_weights: channel_weights, channel_weights: output_weights };
    if pointwise::is_one_pixel(&g) {
        return pointwise::Products::input_gradient(&g, dy, w, bias).run(dx);
    }
    if winograd::wins::<T>(&g, winograd::Pass::InputGradient, lanes::<T>()) {
        return winograd::Correlation { g: &g, sizes, turned: true, source: dy, weights: w, bias, activation: Activation::None }.run(dx);
    }
    let plan = Plan::new(sizes, g.axes().map(Axis::transpose), lanes::<T>(), true);
    Correlation { plan: &plan, source: dy, weights: w, bias, activation: Activation::None }.run(dx);
}

/// `dw`, the gradient of the weights of [`forward`] given `dy`, that of its output. Overwrites `dw`.
pub(crate) fn weight_gradient<T: Number>(g: &Geometry, x: &[T], dy: &[T], dw: &mut [T]) {
    let g = g.joined();
    if g.is_empty() {
        return dw.fill(T::default());
    }
    let lanes = lanes::<T>();
    if let Some(gradient) = pointwise::is_one_pixel(&g).then(|| pointwise::WeightGradient::new(&g, x, dy)).flatten() {
        return gradient.run(dw);
    }
    if winograd::wins::<T>(&g, winograd::Pass::WeightGradient, lanes) {
        return winograd::WeightGradient { g: &g, x, dy }.run(dw);
    }
    if g.in_channels / g.groups >= 8 && 2 * (g.out_channels / g.groups) > lanes {
        return OuterProducts::new(&g, x, dy, lanes).run(dw);
    }
    let plan = Plan::new(g.sizes(), g.axes(), lanes, false);
    DotProducts { plan: &plan, x, dy }.run(dw);
}

/// The result of a convolution over nothing, in planes of `pixels`.
fn bias_only<T: Number>(pixels: usize, bias: Option<&[T]>, activation: Activation, y: &mut [T]) {
    for (i, plane) in y.chunks_mut(pixels).enumerate() {
        let value = bias.map_or(T::default(), |bias| bias[i % bias.len()]);
        plane.fill(activation.of(value));
    }
}
