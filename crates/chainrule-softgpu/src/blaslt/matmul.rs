//! A product with everything it needs, as it stands in a stream: `d = epilogue(alpha op(a) op(b) + beta c)`.
use super::Refusal;
use super::element::{Element, Real, Rounding};
use super::epilogue::Epilogue;
use super::operand::Operand;
use super::product::product;
use crate::execute::Breakdown;
use crate::status::Status;
use chainrule_ptx::{Fault, Memory};
use std::fmt;

/// `alpha` or `beta`.
#[derive(Clone, Copy, Debug)]
pub enum Factor {
    /// Read from the host when the product was asked for.
    Host(f64),
    /// Read from device memory when the product is run.
    Device(u64),
}

impl Factor {
    fn value(self, memory: &Memory, double: bool) -> Result<f64, Fault> {
        let address = match self {
            Factor::Host(value) => return Ok(value),
            Factor::Device(address) => address,
        };
        let mut bytes = [0; 8];
        let width = if double { 8 } else { 4 };
        memory.read(address, &mut bytes[..width])?;
        Ok(if double { f64::from_le_bytes(bytes) } else { f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) })
    }
}

/// A checked product.
#[derive(Clone, Debug)]
pub struct Matmul {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub transpose_a: bool,
    pub transpose_b: bool,
    pub a: Operand,
    pub b: Operand,
    pub c: Operand,
    pub d: Operand,
    pub alpha: Factor,
    pub beta: Factor,
    pub rounding: Rounding,
    pub epilogue: Epilogue,
    /// Address, and the bytes of it that are used.
    pub workspace: (u64, usize),
}

impl fmt::Display for Matmul {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |transposed| if transposed { 'T' } else { 'N' };
        let (a, b, batch) = (letter(self.transpose_a), letter(self.transpose_b), self.d.batch);
        write!(out, "cublasLtMatmul {a}{b} m {} n {} k {} batch {batch} {:?} {:?}", self.m, self.n, self.k, self.d.element, self.rounding)
    }
}

impl Matmul {
    /// Checks the addresses as far as the library does when it is called; ranges are checked when the product is run.
    pub fn expect_pointers(&self) -> Result<(), Refusal> {
        let reads_c = !matches!(self.beta, Factor::Host(0.0));
        let operands = [('A', &self.a, true), ('B', &self.b, true), ('C', &self.c, reads_c), ('D', &self.d, true)];
        for (name, operand, used) in operands {
            let address = operand.address;
            if used && (address == 0 || !address.is_multiple_of(operand.element.bytes() as u64)) {
                return Err(Refusal::invalid(format!("{name} at {address:#x}")));
            }
        }
        if self.workspace.1 > 0 && !self.workspace.0.is_multiple_of(16) {
            return Err(Refusal::invalid(format!("workspace at {:#x}, which must be a multiple of 16", self.workspace.0)));
        }
        self.epilogue.expect_pointers(&self.d)
    }

    /// Computes the product in f64 for f64 operands and in f32 for all others.
    pub fn run(&self, memory: &mut Memory) -> Result<(), Breakdown> {
        if self.a.element == Element::F64 { self.run_in::<f64>(memory) } else { self.run_in::<f32>(memory) }
    }

    fn run_in<R: Real>(&self, memory: &mut Memory) -> Result<(), Breakdown> {
        let double = self.a.element == Element::F64;
        let (alpha, beta) = (self.alpha.value(memory, double)?, self.beta.value(memory, double)?);
        self.expect_apart(beta)?;
        // Whatever the library leaves in its workspace is of no use to anyone.
        memory.retire(self.workspace.0, self.workspace.1)?;
        for batch in 0..self.d.batch {
            let mut a: Vec<R> = self.a.read(memory, batch, self.transpose_a)?;
            let mut b: Vec<R> = self.b.read(memory, batch, self.transpose_b)?;
            self.rounding.apply(&mut a);
            self.rounding.apply(&mut b);
            let mut values = product(self.m, self.n, self.k, &a, &b);
            let alpha = R::from_double(alpha);
            values.iter_mut().for_each(|value| *value = alpha * *value);
            if beta != 0.0 {
                let beta = R::from_double(beta);
                let c: Vec<R> = self.c.read(memory, batch, false)?;
                values.iter_mut().zip(c).for_each(|(value, c)| *value += beta * c);
            }
            self.epilogue.apply(memory, &self.d, batch, &mut values)?;
            self.epilogue.reduce_operands(memory, batch, (self.m, self.k), &a, &b)?;
            self.d.write(memory, batch, &values)?;
        }
        Ok(())
    }

    /// The result may lie on C exactly, and on nothing else.
    fn expect_apart(&self, beta: f64) -> Result<(), Breakdown> {
        let collision = |with: &str| Breakdown { status: Status::LAUNCH_FAILED, text: format!("{self}: D overlaps {with}") };
        if self.d.overlaps(&self.a) {
            return Err(collision("A"));
        }
        if self.d.overlaps(&self.b) {
            return Err(collision("B"));
        }
        if beta != 0.0 && !self.d.coincides(&self.c) && self.d.overlaps(&self.c) {
            return Err(collision("a part of C"));
        }
        Ok(())
    }
}
