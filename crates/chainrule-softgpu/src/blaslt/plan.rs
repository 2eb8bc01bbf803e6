//! Checks a product as cuBLASLt does, and makes up the algorithm that its search would find.
use super::Refusal;
use super::descriptor::{Descriptor, attribute};
use super::element::{Element, Rounding};
use super::epilogue::Epilogue;
use super::matmul::{Factor, Matmul};
use super::operand::Operand;

/// What an algorithm is made of (`cublasLtMatmulAlgo_t`): a mark, the workspace it needs, the alignments of A, B, C and D it relies on.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Algorithm {
    pub mark: u64,
    pub workspace: u64,
    pub alignment: [u64; 4],
    pub reserved: [u64; 2],
}

const MARK: u64 = 0x736f_6674_616c_676f;
/// Workspace that a split of `k` would need.
const WORKSPACE: u64 = 64 << 10;

/// The product of descriptors, without addresses, factors and workspace.
pub fn plan(description: &Descriptor, layouts: [&Descriptor; 4]) -> Result<Matmul, Refusal> {
    let [a, b, c, d] = layouts;
    let (a, b, c, d) = (Operand::new('A', a)?, Operand::new('B', b)?, Operand::new('C', c)?, Operand::new('D', d)?);
    let rounding = arithmetic(description, &a, &b, &c, &d)?;
    let transposed = |which: u32| match description.get(which) {
        0 => Ok(false),
        1 | 2 => Ok(true),
        other => Err(Refusal::invalid(format!("operation {other}"))),
    };
    let (transpose_a, transpose_b) = (transposed(attribute::TRANSA)?, transposed(attribute::TRANSB)?);
    let (m, k) = if transpose_a { (a.columns, a.rows) } else { (a.rows, a.columns) };
    let (inner, n) = if transpose_b { (b.columns, b.rows) } else { (b.rows, b.columns) };
    if k != inner || (d.rows, d.columns) != (m, n) || (c.rows, c.columns) != (m, n) {
        let shapes = format!("op(A) {m} x {k}, op(B) {inner} x {n}, C {} x {}, D {} x {}", c.rows, c.columns, d.rows, d.columns);
        return Err(Refusal::invalid(shapes));
    }
    if [a.batch, b.batch, c.batch].iter().any(|batch| *batch != d.batch) {
        return Err(Refusal::invalid(format!("batches of {}, {}, {} and {}", a.batch, b.batch, c.batch, d.batch)));
    }
    if d.batch > 1 && d.stride.unsigned_abs() < d.extent() as u64 {
        return Err(Refusal::invalid(format!("D's matrices overlap: {} elements apart, {} long", d.stride, d.extent())));
    }
    let epilogue = Epilogue::new(description, &d)?;
    let (alpha, beta) = (Factor::Host(1.0), Factor::Host(0.0));
    Ok(Matmul { m, n, k, transpose_a, transpose_b, a, b, c, d, alpha, beta, rounding, epilogue, workspace: (0, 0) })
}

/// Which numbers the product is computed in; combinations that the library does not have are refused.
fn arithmetic(description: &Descriptor, a: &Operand, b: &Operand, c: &Operand, d: &Operand) -> Result<Rounding, Refusal> {
    let (compute, scale) = (description.get(attribute::COMPUTE_TYPE), description.get(attribute::SCALE_TYPE));
    let types = [a.element, b.element, c.element, d.element];
    let refuse = || Refusal::unsupported(format!("compute type {compute} with scale type {scale} and elements {types:?}"));
    let single = types == [Element::F32; 4];
    let half = |element| types[..2] == [element; 2] && c.element == d.element && [element, Element::F32].contains(&d.element);
    let scale_fits = scale == if matches!(compute, 70 | 71) { 1 } else { 0 };
    if !scale_fits {
        return Err(refuse());
    }
    match compute {
        68 | 69 if single || half(Element::F16) || half(Element::Bf16) => Ok(Rounding::None),
        74 if single => Ok(Rounding::F16),
        75 if single => Ok(Rounding::Bf16),
        77 if single => Ok(Rounding::Tf32),
        70 | 71 if types == [Element::F64; 4] => Ok(Rounding::None),
        _ => Err(refuse()),
    }
}

impl Algorithm {
    /// The algorithm for a product under a preference.
    pub fn choose(matmul: &Matmul, preference: &Descriptor) -> Algorithm {
        let wanted = ((matmul.m * matmul.n * 4) as u64).next_multiple_of(256).min(WORKSPACE);
        let most = preference.get(attribute::PREFERENCE_WORKSPACE);
        let alignment = std::array::from_fn(|operand| preference.get(attribute::PREFERENCE_ALIGNMENT + operand as u32));
        Algorithm { mark: MARK, workspace: if most < wanted { 0 } else { wanted }, alignment, reserved: [0; 2] }
    }

    /// Whether a product with its addresses and workspace is what the algorithm was chosen for.
    pub fn expect(&self, matmul: &Matmul) -> Result<(), Refusal> {
        if self.mark != MARK {
            return Err(Refusal::invalid("an algorithm that no search gave"));
        }
        if (matmul.workspace.1 as u64) < self.workspace {
            return Err(Refusal::invalid(format!("workspace of {} bytes, the algorithm needs {}", matmul.workspace.1, self.workspace)));
        }
        let operands = [('A', &matmul.a), ('B', &matmul.b), ('C', &matmul.c), ('D', &matmul.d)];
        for ((name, operand), alignment) in operands.into_iter().zip(self.alignment) {
            if !operand.address.is_multiple_of(alignment.max(1)) {
                let address = operand.address;
                return Err(Refusal::invalid(format!("{name} at {address:#x} is no multiple of {alignment}, for which the algorithm was chosen")));
            }
        }
        Ok(())
    }
}
