//! What the operations do to the lanes of a warp.
mod atomic;
mod collective;
mod convert;
mod copies;
mod float;
mod integer;
mod matrix;
mod memory;
mod rounding;
mod select;

use crate::launch::Statistics;
use crate::memory::{Memory, Toucher};
use crate::program::{Operation, Program};
use crate::registers::Result;
use crate::shared::Shared;
use crate::warp::Warp;

pub(crate) use copies::AsyncCopy;

/// What a warp works on besides its own registers.
pub(crate) struct Context<'r> {
    pub program: &'r Program,
    pub parameters: &'r [u8],
    pub memory: &'r mut Memory,
    pub shared: &'r mut Shared,
    /// None if no other block can interfere.
    pub toucher: Option<Toucher>,
    pub statistics: &'r mut Statistics,
}

/// The windows of generic addresses: the upper 16 bits name the space.
pub(crate) const WINDOW_SHIFT: u32 = 48;
pub(crate) const SHARED_WINDOW: u64 = 1 << WINDOW_SHIFT;
pub(crate) const LOCAL_WINDOW: u64 = 2 << WINDOW_SHIFT;
pub(crate) const PARAMETER_WINDOW: u64 = 3 << WINDOW_SHIFT;

impl Warp {
    /// Executes an operation that neither jumps nor waits in the active lanes.
    #[inline]
    pub(crate) fn execute(&mut self, context: &mut Context, operation: &Operation, active: u32) -> Result<()> {
        let registers = &mut self.registers;
        match operation {
            Operation::FloatBinary { op, ty, mode, to, a, b } => float::binary(registers, active, *op, *ty, *mode, [*to, *a, *b]),
            Operation::Fma { ty, mode, to, a, b, c } => float::fma(registers, active, *ty, *mode, [*to, *a, *b, *c]),
            Operation::FloatUnary { op, ty, mode, to, a } => float::unary(registers, active, *op, *ty, *mode, [*to, *a]),
            Operation::Test { test, ty, to, a } => float::test(registers, active, *test, *ty, *to, *a),
            Operation::Unary { op, ty, to, a } => integer::unary(registers, active, *op, *ty, [*to, *a]),
            Operation::Binary { op, ty, to, a, b } => integer::binary(registers, active, *op, *ty, [*to, *a, *b]),
            Operation::Ternary { op, ty, to, a, b, c } => integer::ternary(registers, active, *op, *ty, [*to, *a, *b, *c]),
            Operation::InsertBits { ty, to, a, b, start, length } => integer::insert_bits(registers, active, *ty, [*to, *a, *b, *start, *length]),
            Operation::Widening { ty, to, a, b, addend } => integer::widening(registers, active, *ty, *to, [*a, *b], *addend),
            Operation::Carry { op, ty, to, a, b, c, carry_in, carry_out } => {
                let carry = integer::Carry { op: *op, ty: *ty, reads: *carry_in, writes: *carry_out };
                integer::carry(registers, active, carry, &mut self.carry, [*to, *a, *b], *c)
            }
            Operation::Compare { comparison, to, complement } => select::compare(registers, active, comparison, *to, *complement),
            Operation::Set { comparison, to, float } => select::set(registers, active, comparison, *to, *float),
            Operation::Select { wide, to, a, b, predicate } => select::select(registers, active, *wide, [*to, *a, *b], *predicate),
            Operation::SelectSign { wide, float, to, a, b, c } => select::select_sign(registers, active, *wide, *float, [*to, *a, *b, *c]),
            Operation::PredicateLogic { logic, to, a, b } => select::predicate_logic(registers, active, *logic, [*to, *a, *b]),
            Operation::PredicateNot { to, a } => {
                let (bits, known) = registers.peek_predicate(*a);
                registers.set_known_predicate(*to, active, !bits, known);
                Ok(())
            }
            Operation::PredicateMove { to, a } => {
                let (bits, known) = registers.peek_predicate(*a);
                registers.set_known_predicate(*to, active, bits, known);
                Ok(())
            }
            Operation::Move { wide, to, a } => {
                select::copy(registers, active, *wide, *to, *a);
                Ok(())
            }
            Operation::Pack { part, to, from } => select::pack(registers, active, *part, *to, from),
            Operation::Unpack { part, to, from } => select::unpack(registers, active, *part, to, *from),
            Operation::Convert(conversion) => convert::convert(registers, active, conversion),
            Operation::ConvertPair { ty, rounding, relu, to, high, low } => convert::pair(registers, active, *ty, *rounding, *relu, [*to, *high, *low]),
            Operation::ToGeneric { space, to, a } => {
                let base = memory::window(*space);
                let values = registers.read_wide(*a, active)?.map(|address| address.wrapping_add(base));
                registers.write_wide(*to, active, &values);
                Ok(())
            }
            Operation::FromGeneric { space, to, a } => {
                let base = memory::window(*space);
                let values = registers.read_wide(*a, active)?.map(|address| address.wrapping_sub(base));
                registers.write_wide(*to, active, &values);
                Ok(())
            }
            Operation::IsSpace { space, to, a } => {
                let addresses = *registers.read::<u64>(*a, active)?;
                let bits = select::mask_of(|lane| memory::space_of(addresses[lane]) == *space);
                registers.set_predicate(*to, active, bits);
                Ok(())
            }
            Operation::Clock { to } => {
                let now = context.statistics.instructions;
                registers.write_wide(*to, active, &[now; 32]);
                Ok(())
            }
            Operation::ActiveMask { to } => {
                registers.write(*to, active, &[active; 32]);
                Ok(())
            }
            Operation::Load { place, ty, to, strong } => self.load(context, place, *ty, to, *strong, active),
            Operation::Store { place, ty, from, strong } => self.store(context, place, *ty, from, *strong, active),
            Operation::Atomic(atomic) => self.atomic(context, atomic, active),
            Operation::CopyAsync { to, from, bytes, source_bytes, ignore } => self.copy_async(context, [to, from], *bytes, *source_bytes, *ignore, active),
            Operation::CommitCopies => {
                self.commit_copies(active);
                Ok(())
            }
            Operation::WaitCopies { pending } => self.wait_copies(context, *pending, active),
            Operation::CopyLocal { to, from, bytes } => {
                self.copy_local(*to, *from, *bytes, active);
                Ok(())
            }
            Operation::Trap => Err(crate::fault::Problem::new(crate::fault::FaultKind::Trap, "the kernel gives up").lane(active.trailing_zeros() as usize)),
            // The rest moves the program counter: the warp itself does that.
            Operation::Nothing
            | Operation::Branch { .. }
            | Operation::BranchTable { .. }
            | Operation::Call { .. }
            | Operation::Return
            | Operation::Exit
            | Operation::Barrier(_)
            | Operation::Collective { .. } => Ok(()),
        }
    }
}
