//! A matrix in device memory, read and written line by line: bytes between the lines are never touched.
use super::Refusal;
use super::descriptor::{Descriptor, attribute};
use super::element::{Element, Real};
use chainrule_ptx::{Fault, Memory};

/// A layout and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    pub address: u64,
    pub element: Element,
    pub rows: usize,
    pub columns: usize,
    /// Elements from one line to the next.
    pub leading: usize,
    /// Lines are rows, and not columns.
    pub row_major: bool,
    pub batch: usize,
    /// Elements from one matrix of the batch to the next.
    pub stride: i64,
}

impl Operand {
    /// From a layout's attributes; the address comes later.
    pub fn new(name: char, layout: &Descriptor) -> Result<Operand, Refusal> {
        let number = |which: u32| usize::try_from(layout.get(which)).unwrap_or(usize::MAX);
        let (rows, columns, leading) = (number(attribute::LAYOUT_ROWS), number(attribute::LAYOUT_COLS), number(attribute::LAYOUT_LD));
        let row_major = match layout.get(attribute::LAYOUT_ORDER) {
            0 => false,
            1 => true,
            order => return Err(Refusal::unsupported(format!("{name}: order {order}"))),
        };
        let line = if row_major { columns } else { rows };
        let batch = layout.get(attribute::LAYOUT_BATCH_COUNT) as u32 as i32;
        if rows == 0 || columns == 0 || leading < line || leading > i64::MAX as usize || batch < 1 {
            return Err(Refusal::invalid(format!("{name}: {rows} x {columns}, leading dimension {leading}, batch of {batch}")));
        }
        let element = Element::of(layout.get(attribute::LAYOUT_TYPE))?;
        let stride = layout.get(attribute::LAYOUT_BATCH_OFFSET) as i64;
        Ok(Operand { address: 0, element, rows, columns, leading, row_major, batch: batch as usize, stride })
    }

    fn lines(&self) -> (usize, usize) {
        if self.row_major { (self.rows, self.columns) } else { (self.columns, self.rows) }
    }

    /// Elements from the first to behind the last of one matrix.
    pub fn extent(&self) -> usize {
        let (count, length) = self.lines();
        (count - 1).saturating_mul(self.leading).saturating_add(length)
    }

    /// First address of a matrix of the batch.
    pub fn start(&self, batch: usize) -> u64 {
        let offset = self.stride.wrapping_mul(batch as i64).wrapping_mul(self.element.bytes() as i64);
        self.address.wrapping_add_signed(offset)
    }

    /// Whether matrices of this operand and another's share bytes.
    pub fn overlaps(&self, other: &Operand) -> bool {
        let range = |operand: &Operand, batch: usize| {
            let start = operand.start(batch);
            start..start.saturating_add((operand.extent() * operand.element.bytes()) as u64)
        };
        (0..self.batch).any(|mine| {
            let mine = range(self, mine);
            (0..other.batch).map(|theirs| range(other, theirs)).any(|theirs| mine.start < theirs.end && theirs.start < mine.end)
        })
    }

    /// Whether it lies exactly where another does.
    pub fn coincides(&self, other: &Operand) -> bool {
        let place = |operand: &Operand| (operand.address, operand.leading, operand.row_major, operand.batch == 1 || operand.stride == other.stride);
        place(self) == place(other)
    }

    /// One matrix, column by column without gaps; transposed where asked.
    pub fn read<R: Real>(&self, memory: &Memory, batch: usize, transposed: bool) -> Result<Vec<R>, Fault> {
        let (count, length) = self.lines();
        let mut dense = vec![R::ZERO; count * length];
        let mut line = vec![0; length * self.element.bytes()];
        for number in 0..count {
            memory.read(self.line(batch, number), &mut line)?;
            let values = self.element.decode::<R>(&line);
            if self.row_major == transposed {
                dense[number * length..][..length].iter_mut().zip(values).for_each(|(place, value)| *place = value);
            } else {
                dense[number..].iter_mut().step_by(count).zip(values).for_each(|(place, value)| *place = value);
            }
        }
        Ok(dense)
    }

    /// Writes one matrix, given column by column without gaps.
    pub fn write<R: Real>(&self, memory: &mut Memory, batch: usize, dense: &[R]) -> Result<(), Fault> {
        let (count, length) = self.lines();
        let mut line = Vec::with_capacity(length * self.element.bytes());
        for number in 0..count {
            line.clear();
            let (first, step) = if self.row_major { (number, count) } else { (number * length, 1) };
            dense[first..].iter().step_by(step).take(length).for_each(|value| self.element.encode(*value, &mut line));
            memory.write(self.line(batch, number), &line)?;
        }
        Ok(())
    }

    fn line(&self, batch: usize, number: usize) -> u64 {
        self.start(batch).wrapping_add((number * self.leading * self.element.bytes()) as u64)
    }
}
