//! The padded copies of images from which kernels read whole vectors at any tap.

use super::Number;
use crate::simd::Vector;

/// What the lanes of a vector are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrangement {
    /// Neighbouring pixels of one row; the last vector of a row has idle lanes.
    Rows,
    /// Neighbouring pixels of images side by side, rows joined: idle lanes are padding only.
    Flat,
    /// The same pixel of neighbouring images.
    Images,
}

/// Where a block of images lies in a buffer: zeros, and the part of the source that falls inside.
///
/// With `split` > 1 a plane is stored as split × split planes, each with every split-th row and column, so that strided outputs read neighbouring places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub arrangement: Arrangement,
    /// Rows and columns of the source.
    pub source: [usize; 2],
    /// Rows and columns of the (unsplit) buffer before the source's first.
    pub lead: [isize; 2],
    pub split: [usize; 2],
    /// Rows of an image in the buffer and elements (of vectors, where lanes are images) of a row.
    pub rows: usize,
    pub pitch: usize,
    /// Distances, in elements, between images, split planes, and channels.
    pub image: usize,
    pub phase: usize,
    pub plane: usize,
}

/// Channels of images in the source: the first pixel, and the distances between images and channels.
#[derive(Clone, Copy)]
pub(super) struct Planes<T> {
    pub start: *const T,
    pub image: usize,
    pub channel: usize,
}

/// Writes `count` zeros.
#[inline(always)]
unsafe fn zero<V: Vector>(to: *mut V::Element, count: usize, zero: V) {
    let mut at = 0;
    // SAFETY: the caller's pointer is valid for `count` elements.
    unsafe {
        while at + V::LANES <= count {
            zero.store(to.add(at));
            at += V::LANES;
        }
        if at < count {
            zero.store_first(to.add(at), count - at);
        }
    }
}

/// Copies `count` numbers.
///
/// # Safety
/// The level of V must be checked, and both pointers valid for them.
#[inline(always)]
pub(super) unsafe fn copy<V: Vector>(from: *const V::Element, to: *mut V::Element, count: usize) {
    let mut at = 0;
    // SAFETY: the caller's pointers are valid for `count` elements.
    unsafe {
        while at + V::LANES <= count {
            V::load(from.add(at)).store(to.add(at));
            at += V::LANES;
        }
        if at < count {
            V::load_first(from.add(at), count - at).store_first(to.add(at), count - at);
        }
    }
}

/// Copies `count` numbers, every second of `from`.
///
/// # Safety
/// As for [`copy`]; nothing after the last of them is read.
#[inline(always)]
pub(super) unsafe fn copy_alternate<V: Vector>(from: *const V::Element, to: *mut V::Element, count: usize) {
    let mut at = 0;
    // SAFETY: the caller's pointers are valid for `count` elements; `load_alternate` reads none between the last of its lanes and the next.
    unsafe {
        while at + V::LANES <= count {
            V::load_alternate(from.add(2 * at)).store(to.add(at));
            at += V::LANES;
        }
        for at in at..count {
            *to.add(at) = *from.add(2 * at);
        }
    }
}

impl Layout {
    /// Fills `channels` planes of the buffer from `images` images, starting at row `first` of the (split) buffer rows.
    ///
    /// Of the split planes only `phases` are filled.
    ///
    /// # Safety
    /// `from` must hold the channels and images, `to` must have room for `channels · self.plane` elements.
    #[inline(always)]
    pub unsafe fn fill<T: Number, V: Vector<Element = T>>(
        &self,
        from: Planes<T>,
        to: *mut T,
        channels: usize,
        images: usize,
        first: usize,
        phases: &[[usize; 2]],
    ) {
        // SAFETY: the caller's promise; every place below lies inside its plane by the layout's distances.
        unsafe {
            let none = V::splat(T::default());
            for channel in 0..channels {
                let from = Planes { start: from.start.add(channel * from.channel), ..from };
                let to = to.add(channel * self.plane);
                if self.arrangement == Arrangement::Images {
                    zero(to, self.plane, none);
                    self.fill_images::<T, V>(from, to, images, first);
                    continue;
                }
                for &[a, b] in phases {
                    let to = to.add((a * self.split[1] + b) * self.phase);
                    for image in 0..images {
                        self.fill_rows::<T, V>(from.start.add(image * from.image), to.add(image * self.image), first, a, b);
                    }
                    let end = images * self.image;
                    zero(to.add(end), self.phase - end, none);
                }
                let end = self.split[0] * self.split[1] * self.phase;
                zero(to.add(end), self.plane - end, none);
            }
        }
    }

    /// Every `split`-th row from `a` and column from `b` of one image.
    #[inline(always)]
    unsafe fn fill_rows<T: Number, V: Vector<Element = T>>(&self, from: *const T, to: *mut T, first: usize, a: usize, b: usize) {
        // SAFETY: the caller runs at the vector's level.
        let none = unsafe { V::splat(T::default()) };
        let split = self.split[1];
        let before = self.lead[1] - b as isize;
        let clip = |places: isize| (places.max(0) as usize).div_ceil(split).min(self.pitch);
        let (left, right) = (clip(before), clip(before + self.source[1] as isize));
        for row in 0..self.rows {
            let source = ((first + row) * self.split[0] + a) as isize - self.lead[0];
            // SAFETY: the row lies in the image's part of the buffer, and columns `left..right` are those whose source exists.
            unsafe {
                let to = to.add(row * self.pitch);
                if source < 0 || source >= self.source[0] as isize || left >= right {
                    zero(to, self.pitch, none);
                    continue;
                }
                let from = from.add(source as usize * self.source[1]).offset((left * split) as isize - before);
                zero(to, left, none);
                match split {
                    1 => copy::<V>(from, to.add(left), right - left),
                    2 => copy_alternate::<V>(from, to.add(left), right - left),
                    _ => (left..right).for_each(|column| *to.add(column) = *from.add((column - left) * split)),
                }
                zero(to.add(right), self.pitch - right, none);
            }
        }
    }

    /// One channel with images as lanes, into zeros.
    #[inline(always)]
    unsafe fn fill_images<T: Number, V: Vector<Element = T>>(&self, from: Planes<T>, to: *mut T, images: usize, first: usize) {
        let [height, width] = self.source;
        let top = self.lead[0] - first as isize;
        let (low, high) = ((-top).max(0) as usize, (self.rows as isize - top).clamp(0, height as isize) as usize);
        if low >= high {
            return;
        }
        let (mut pixel, end) = (low * width, high * width);
        let (mut row, mut column) = ((low as isize + top) as usize, 0);
        let mut block = [T::default(); 256];
        while pixel < end {
            let count = V::LANES.min(end - pixel);
            // SAFETY: `pixel + count` pixels exist in each image, and `row` and `column` are checked to lie in the buffer.
            unsafe {
                V::transpose(from.start.add(pixel), from.image, images, count, block.as_mut_ptr());
                for i in 0..count {
                    let place = column as isize + self.lead[1];
                    if place >= 0 && place < self.pitch as isize {
                        V::load(block.as_ptr().add(i * V::LANES)).store(to.add((row * self.pitch + place as usize) * V::LANES));
                    }
                    column += 1;
                    if column == width {
                        (row, column) = (row + 1, 0);
                    }
                }
            }
            pixel += count;
        }
    }
}

/// Where results lie in a buffer: distances between images, rows and columns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    pub image: usize,
    pub row: usize,
    pub column: usize,
}

/// Every `step`-th row and column of an output image, from `first` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub first: [usize; 2],
    pub step: [usize; 2],
    pub rows: usize,
    pub columns: usize,
    /// Columns of the output, and the distance between its images.
    pub width: usize,
    pub image: usize,
}

impl Window {
    /// Copies one channel of results to the window of each image.
    ///
    /// # Safety
    /// `from` must hold what `places` names, with room for a vector more after the last; the window must lie inside each image from `to` on.
    #[inline(always)]
    pub unsafe fn write<T: Number, V: Vector<Element = T>>(&self, from: *const T, places: Places, to: *mut T, images: usize) {
        let dense = self.step == [1, 1] && self.columns == self.width;
        // SAFETY: the caller's promise.
        unsafe {
            let to = to.add(self.first[0] * self.width + self.first[1]);
            if places.image == 1 && dense && places.row == self.columns * places.column && places.column == V::LANES {
                let mut block = [T::default(); 256];
                let pixels = self.rows * self.columns;
                for pixel in (0..pixels).step_by(V::LANES) {
                    let count = V::LANES.min(pixels - pixel);
                    V::transpose(from.add(pixel * V::LANES), V::LANES, count, V::LANES, block.as_mut_ptr());
                    for image in 0..images {
                        V::load(block.as_ptr().add(image * V::LANES)).store_first(to.add(image * self.image + pixel), count);
                    }
                }
                return;
            }
            for image in 0..images {
                for row in 0..self.rows {
                    let from = from.add(image * places.image + row * places.row);
                    let to = to.add(image * self.image + row * self.step[0] * self.width);
                    if places.column == 1 && self.step[1] == 1 {
                        copy::<V>(from, to, self.columns);
                    } else {
                        for column in 0..self.columns {
                            *to.add(column * self.step[1]) = *from.add(column * places.column);
                        }
                    }
                }
            }
        }
    }
}
