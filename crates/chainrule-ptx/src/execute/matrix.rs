//! `ldmatrix` and `mma.sync`, with the fragments of the PTX manual (section 9.7.13).
use half::{bf16, f16};

use super::Context;
use super::memory::aligned;
use crate::program::{MatrixType, Place, Register};
use crate::registers::Result;
use crate::shared::Actor;
use crate::types::{LANES, Words};
use crate::warp::Warp;

impl Warp {
    /// Eight rows of eight 16-bit values for each register; the addresses of the rows come from eight lanes each.
    pub(super) fn load_matrix(&mut self, context: &mut Context, to: &[Register], place: &Place, transposed: bool, active: u32) -> Result<()> {
        let rows = to.len() * 8;
        let used = if rows == LANES { active } else { active & ((1 << rows) - 1) };
        let addresses = self.shared_addresses(place, used)?;
        aligned(&addresses, 16, used)?;
        let mut data = [[0; 16]; LANES];
        for lane in 0..rows {
            // The lanes that get the values read them too, so the access counts for several.
            let by = Actor { warp: self.number, lane: LANES };
            data[lane] = context.shared.read::<16>(addresses[lane], false, by).map_err(|problem| problem.lane(lane))?;
        }
        for (number, &register) in to.iter().enumerate() {
            let element = |row: usize, column: usize| u16::from_le_bytes([data[number * 8 + row][column * 2], data[number * 8 + row][column * 2 + 1]]) as u32;
            let values: Words = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4, lane % 4 * 2);
                if transposed { element(column, row) | element(column + 1, row) << 16 } else { element(row, column) | element(row, column + 1) << 16 }
            });
            self.registers.write(register, active, &values);
        }
        Ok(())
    }

    /// D = A B + C for A of 16 by k, B of k by 8. Products and sums are f32, in the order of k.
    pub(super) fn multiply_matrix(
        &mut self,
        ty: MatrixType,
        k: usize,
        half_sum: bool,
        to: &[Register],
        [a, b, c]: [&[Register]; 3],
        active: u32,
    ) -> Result<()> {
        let mut left = [[0f32; 16]; 16];
        let mut right = [[0f32; 16]; 8];
        let per_register = if ty == MatrixType::Tf32 { 1 } else { 2 };
        for (number, &register) in a.iter().enumerate() {
            let words = self.registers.read::<u32>(register, active)?;
            for (lane, &word) in words.iter().enumerate() {
                for half in 0..per_register {
                    let row = lane / 4 + 8 * (number % 2);
                    let column = lane % 4 * per_register + half + number / 2 * 4 * per_register;
                    left[row][column] = element(ty, word, half);
                }
            }
        }
        for (number, &register) in b.iter().enumerate() {
            let words = self.registers.read::<u32>(register, active)?;
            for (lane, &word) in words.iter().enumerate() {
                for half in 0..per_register {
                    right[lane / 4][lane % 4 * per_register + half + number * 4 * per_register] = element(ty, word, half);
                }
            }
        }
        // Sums stand two to a lane in each half of the rows.
        let mut sums = [[0f32; LANES]; 4];
        for (number, &register) in c.iter().enumerate() {
            let words = self.registers.read::<u32>(register, active)?;
            for (lane, &word) in words.iter().enumerate() {
                if half_sum {
                    sums[number * 2][lane] = element(MatrixType::F16, word, 0);
                    sums[number * 2 + 1][lane] = element(MatrixType::F16, word, 1);
                } else {
                    sums[number][lane] = f32::from_bits(word);
                }
            }
        }
        for (number, row_of_sums) in sums.iter_mut().enumerate() {
            for (lane, sum) in row_of_sums.iter_mut().enumerate() {
                let (row, column) = (lane / 4 + 8 * (number / 2), lane % 4 * 2 + number % 2);
                for inner in 0..k {
                    *sum = left[row][inner].mul_add(right[column][inner], *sum);
                }
            }
        }
        for (number, &register) in to.iter().enumerate() {
            let values: Words = std::array::from_fn(|lane| {
                if half_sum {
                    let half = |index: usize| f16::from_f32(sums[number * 2 + index][lane]).to_bits() as u32;
                    half(0) | half(1) << 16
                } else {
                    sums[number][lane].to_bits()
                }
            });
            self.registers.write(register, active, &values);
        }
        Ok(())
    }
}

fn element(ty: MatrixType, word: u32, half: usize) -> f32 {
    match ty {
        MatrixType::F16 => f16::from_bits((word >> (16 * half)) as u16).to_f32(),
        MatrixType::Bf16 => bf16::from_bits((word >> (16 * half)) as u16).to_f32(),
        // The unit ignores the last 13 bits.
        MatrixType::Tf32 => f32::from_bits(word & !0x1fff),
    }
}
