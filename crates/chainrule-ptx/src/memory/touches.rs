//! Which blocks touched which global memory in a launch: races between blocks.
//!
//! Every granule (the narrowest access of the kernel) remembers its writer and its readers; a conflict is found whichever of the two
//! accesses comes first, so the finding does not depend on the schedule.
//! Fences order nothing here: blocks of one launch may share what they change by atomics only.

/// How an instruction touches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// A volatile or otherwise strong read, which may meet atomics.
    StrongRead,
    Write,
    Atomic,
}

/// Who touches: a launch's number, the granule's size as a shift, and the block (from 1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toucher {
    pub launch: u32,
    pub granule_shift: u32,
    pub block: u32,
}

const NOBODY: u32 = 0;
const SEVERAL: u32 = u32::MAX >> 1;
/// Set on writers whose writes were atomic.
const ATOMIC: u32 = 1 << 31;

#[derive(Clone, Copy, Debug, Default)]
struct Touch {
    writer: u32,
    reader: u32,
}

#[derive(Clone, Debug, Default)]
struct Page {
    launch: u32,
    touches: Vec<Touch>,
}

const PAGE_SHIFT: u32 = 10;

/// The touches of an allocation, in pages that are cleared when a launch first comes to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touches {
    pages: Vec<Page>,
}

/// Another block's access that nothing orders.
pub(crate) struct Conflict {
    pub offset: usize,
    pub detail: &'static str,
    /// The other block's number, from 0; none if there were several.
    pub other: Option<u32>,
}

impl Touches {
    /// Notes the access to `length` bytes (not 0) from `offset` on.
    pub fn touch(&mut self, offset: usize, length: usize, access: Access, by: Toucher) -> Result<(), Conflict> {
        let last_page = (offset + length - 1) >> PAGE_SHIFT;
        if self.pages.len() <= last_page {
            self.pages.resize_with(last_page + 1, Page::default);
        }
        for number in offset >> PAGE_SHIFT..=last_page {
            let start = number << PAGE_SHIFT;
            let page = &mut self.pages[number];
            if page.launch != by.launch {
                page.launch = by.launch;
                page.touches.clear();
                page.touches.resize((1 << PAGE_SHIFT) >> by.granule_shift, Touch::default());
            }
            let first = (offset.max(start) - start) >> by.granule_shift;
            let last = ((offset + length).min(start + (1 << PAGE_SHIFT)) - 1 - start) >> by.granule_shift;
            for (index, touch) in page.touches[first..=last].iter_mut().enumerate() {
                touch.note(access, by.block).map_err(|(detail, other)| Conflict {
                    offset: start + ((first + index) << by.granule_shift),
                    detail,
                    other: (other != SEVERAL).then(|| other - 1),
                })?;
            }
        }
        Ok(())
    }
}

impl Touch {
    #[inline]
    fn note(&mut self, access: Access, block: u32) -> Result<(), (&'static str, u32)> {
        let writer = self.writer & !ATOMIC;
        let foreign_writer = writer != NOBODY && writer != block;
        let foreign_reader = self.reader != NOBODY && self.reader != block;
        match access {
            Access::Read => {
                if foreign_writer {
                    return Err(("read of what another block writes", writer));
                }
                if self.reader != block {
                    self.reader = if self.reader == NOBODY { block } else { SEVERAL };
                }
            }
            Access::StrongRead => {
                if foreign_writer && self.writer & ATOMIC == 0 {
                    return Err(("read of what another block writes plainly", writer));
                }
            }
            Access::Write => {
                if foreign_writer {
                    return Err(("write of what another block writes too", writer));
                }
                if foreign_reader {
                    return Err(("write of what another block reads", self.reader));
                }
                self.writer = block;
            }
            Access::Atomic => {
                if foreign_writer && self.writer & ATOMIC == 0 {
                    return Err(("atomic operation on what another block writes plainly", writer));
                }
                if foreign_reader {
                    return Err(("atomic operation on what another block reads plainly", self.reader));
                }
                if writer == NOBODY {
                    self.writer = ATOMIC | block;
                } else if writer != block {
                    self.writer = ATOMIC | SEVERAL;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(block: u32) -> Toucher {
        Toucher { launch: 1, granule_shift: 2, block }
    }

    #[test]
    fn conflicts_in_either_order() {
        use Access::*;
        for (first, second, race) in [
            (Read, Read, false),
            (Read, Write, true),
            (Write, Read, true),
            (Write, Write, true),
            (Atomic, Atomic, false),
            (Atomic, Read, true),
            (Atomic, StrongRead, false),
            (Write, StrongRead, true),
            (Write, Atomic, true),
        ] {
            let mut touches = Touches::default();
            assert!(touches.touch(1000, 64, first, by(1)).is_ok());
            assert!(touches.touch(1000, 64, second, by(1)).is_ok(), "the same block");
            assert_eq!(touches.touch(1060, 4, second, by(2)).is_err(), race, "{first:?} then {second:?}");
            assert!(touches.touch(1064, 4, second, by(2)).is_ok(), "the next word");
            assert!(touches.touch(1000, 64, second, Toucher { launch: 2, ..by(3) }).is_ok(), "the next launch");
        }
    }

    #[test]
    fn own_plain_write_is_not_hidden_by_own_atomic() {
        let mut touches = Touches::default();
        assert!(touches.touch(0, 4, Access::Write, by(1)).is_ok());
        assert!(touches.touch(0, 4, Access::Atomic, by(1)).is_ok());
        assert!(touches.touch(0, 4, Access::Atomic, by(2)).is_err());
    }
}
