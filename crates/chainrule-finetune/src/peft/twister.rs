//! The random numbers with which PEFT draws VeRA's projections from a key: Matsumoto and Nishimura 1998, "Mersenne Twister", as PyTorch uses it on a CPU.

use crate::Result;
use chainrule_autograd::{Array, DType, Error};

const SIZE: usize = 624;
const MIDDLE: usize = 397;

/// A stream of 32-bit numbers (`torch.Generator`, seeded).
pub(super) struct Twister {
    state: [u32; SIZE],
    next: usize,
}

impl Twister {
    pub fn seeded(seed: u64) -> Twister {
        let mut state = [seed as u32; SIZE];
        for i in 1..SIZE {
            state[i] = 1_812_433_253u32.wrapping_mul(state[i - 1] ^ (state[i - 1] >> 30)).wrapping_add(i as u32);
        }
        Twister { state, next: SIZE }
    }

    fn turn(&mut self) {
        for i in 0..SIZE {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % SIZE] & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + MIDDLE) % SIZE] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn number(&mut self) -> u32 {
        if self.next == SIZE {
            self.turn();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `[rows, columns]`, uniform within ±sqrt(6 / columns): Kaiming's for ReLU.
    pub fn kaiming(&mut self, rows: usize, columns: usize) -> Result<Array> {
        let bound = 3f64.sqrt() * (2f64.sqrt() / (columns as f64).sqrt());
        let (from, span) = (-bound as f32, bound as f32 - -bound as f32);
        let mut array = Array::zeros(&[rows, columns], DType::F32).map_err(Error::from)?;
        for x in array.as_mut_slice::<f32>().map_err(Error::from)? {
            let unit = (self.number() & 0x00ff_ffff) as f32 / (1 << 24) as f32;
            *x = unit * span + from;
        }
        Ok(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_stream() {
        // C++ promises that the ten-thousandth number of std::mt19937, seeded with 5489, is this.
        let mut twister = Twister::seeded(5489);
        (0..9999).for_each(|_| drop(twister.number().to_string()));
        assert_eq!(twister.number(), 4_123_659_995);
    }
}
