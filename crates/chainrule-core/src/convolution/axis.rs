//! One axis (rows or columns) of a correlation: which place of the source an output reads through which tap of the kernel.
//!
//! The forward pass reads source place `o · stride + k · dilation - padding` for output `o`, in a single pass.
//! The input gradient is the transposed map: output `i` reads source place `(i + padding - k · dilation) / stride` where that is whole.
//! Outputs with the same remainder `i mod stride` use the same taps; each remainder is a pass of its own, whose outputs read neighbouring places.

#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Size of the source.
    pub source: usize,
    /// Size of the output.
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub padding: usize,
    pub transposed: bool,
    /// The buffer's place 0 lies so many places before the source's (a negative number crops).
    pub lead: isize,
    /// The first output of a pass reads the buffer's places `0..span`.
    pub span: usize,
}

impl Axis {
    pub fn forward(source: usize, outputs: usize, kernel: usize, stride: usize, dilation: usize, padding: usize) -> Axis {
        let axis = Axis { source, outputs, kernel, stride, dilation, padding, transposed: false, lead: 0, span: 0 };
        Axis { lead: padding as isize, span: (kernel - 1) * dilation + 1, ..axis }
    }

    /// The map that carries the gradient of the outputs of `self` to its source.
    pub fn transpose(self) -> Axis {
        let mut axis = Axis { source: self.outputs, outputs: self.source, transposed: true, lead: 0, ..self };
        let places = (0..axis.passes()).flat_map(|pass| (0..axis.kernel).filter_map(move |k| axis.place(pass, k)));
        let bounds = places.fold(None, |bounds, place| match bounds {
            None => Some((place, place)),
            Some((low, high)) => Some((place.min(low), place.max(high))),
        });
        let (low, high) = bounds.unwrap_or((0, 0));
        (axis.lead, axis.span) = (-low, (high - low) as usize + 1);
        axis
    }

    /// The source's place that the first output of `pass` reads through tap `k`.
    fn place(&self, pass: usize, k: usize) -> Option<isize> {
        if !self.transposed {
            return Some((k * self.dilation) as isize - self.padding as isize);
        }
        let place = (pass + self.padding) as isize - (k * self.dilation) as isize;
        (place.rem_euclid(self.stride as isize) == 0).then(|| place.div_euclid(self.stride as isize))
    }

    pub fn passes(&self) -> usize {
        if self.transposed { self.stride.min(self.outputs) } else { 1 }
    }

    /// The distance in the buffer between what neighbouring outputs of a pass read.
    pub fn step(&self) -> usize {
        if self.transposed { 1 } else { self.stride }
    }

    /// The number of outputs of a pass: `pass`, `pass + passes`, …
    pub fn count(&self, pass: usize) -> usize {
        if self.transposed { (self.outputs - pass).div_ceil(self.stride) } else { self.outputs }
    }

    /// The taps of a pass: place in the kernel, place in the buffer.
    pub fn taps(self, pass: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.kernel).filter_map(move |k| self.place(pass, k).map(|place| (k, (place + self.lead) as usize)))
    }

    /// The taps through which an output of a pass (counted within the pass) reads the source rather than padding.
    pub fn taps_inside(self, pass: usize, output: usize) -> impl Iterator<Item = (usize, usize)> {
        self.taps(pass).filter(move |&(_, at)| self.is_inside(at, output))
    }

    /// Whether the output reads the source, not padding, at a place of the buffer counted from the pass's first output.
    pub fn is_inside(&self, at: usize, output: usize) -> bool {
        let place = (at + output * self.step()) as isize - self.lead;
        place >= 0 && place < self.source as isize
    }

    /// The end of the run of outputs from `output` on that have the same taps inside.
    pub fn run(self, pass: usize, output: usize) -> usize {
        let same = |&next: &usize| self.taps_inside(pass, next).eq(self.taps_inside(pass, output));
        (output + 1..self.count(pass)).take_while(same).last().unwrap_or(output) + 1
    }

    /// The part of all taps of all outputs that is inside.
    pub fn share_inside(self) -> f64 {
        let (mut inside, mut all) = (0, 0);
        for pass in 0..self.passes() {
            let count = self.count(pass);
            for (_, at) in self.taps(pass) {
                // Outputs `first..end` read places `0..source` of the source.
                let before = self.lead - at as isize;
                let first = (before.max(0) as usize).div_ceil(self.step()).min(count);
                let end = ((before + self.source as isize).max(0) as usize).div_ceil(self.step()).min(count);
                inside += end - first.min(end);
                all += count;
            }
        }
        inside as f64 / (all as f64).max(1.0)
    }
}
