//! One mark per byte: whether it was written.

/// A row of bits that is set and asked by ranges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

/// The part of the range `start..start + length` that lies in the word `index`.
fn mask(index: usize, start: usize, length: usize) -> u64 {
    let low = start.max(index * 64) - index * 64;
    let high = (start + length).min(index * 64 + 64) - index * 64;
    if high - low == 64 { u64::MAX } else { ((1 << (high - low)) - 1) << low }
}

impl Bits {
    pub fn new(length: usize) -> Bits {
        Bits { words: vec![0; length.div_ceil(64)] }
    }

    pub fn clear_all(&mut self) {
        self.words.fill(0);
    }

    pub fn set(&mut self, start: usize, length: usize, value: bool) {
        if length == 0 {
            return;
        }
        for index in start / 64..=(start + length - 1) / 64 {
            let mask = mask(index, start, length);
            if value {
                self.words[index] |= mask;
            } else {
                self.words[index] &= !mask;
            }
        }
    }

    /// The first position of the range that is not set.
    pub fn first_clear(&self, start: usize, length: usize) -> Option<usize> {
        if length == 0 {
            return None;
        }
        for index in start / 64..=(start + length - 1) / 64 {
            let missing = mask(index, start, length) & !self.words[index];
            if missing != 0 {
                return Some(index * 64 + missing.trailing_zeros() as usize);
            }
        }
        None
    }

    /// Whether the range is set.
    pub fn all(&self, start: usize, length: usize) -> bool {
        self.first_clear(start, length).is_none()
    }

    /// [`Bits::all`] for a range that no word's end divides.
    #[inline]
    pub fn all_within(&self, start: usize, length: usize) -> bool {
        let mask = (1u64 << length) - 1;
        self.words[start / 64] >> (start % 64) & mask == mask
    }

    /// Sets a range that no word's end divides.
    #[inline]
    pub fn set_within(&mut self, start: usize, length: usize) {
        self.words[start / 64] |= ((1 << length) - 1) << (start % 64);
    }

    pub fn get(&self, position: usize) -> bool {
        self.words[position / 64] >> (position % 64) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;

    #[test]
    fn ranges_over_words() {
        let mut bits = Bits::new(300);
        bits.set(60, 140, true);
        assert!(bits.all(60, 140) && !bits.get(59) && !bits.get(200));
        bits.set(128, 1, false);
        assert_eq!(bits.first_clear(60, 140), Some(128));
        assert!(bits.all(60, 68) && bits.all(0, 0));
    }
}
