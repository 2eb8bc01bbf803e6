//! Splitting at branches and meeting again.
use super::{Group, Join, State, Warp};
use crate::program::NO_JOIN;

impl Warp {
    /// Replaces a group by several, which meet again at `join`.
    pub(super) fn split(&mut self, index: usize, parts: &[(usize, u32)], join: usize) {
        let mut group = self.groups.swap_remove(index);
        let innermost = group.joins.last().map(|&join| self.joins[join].pc);
        if join != NO_JOIN && innermost != Some(join) {
            let entry = Join { pc: join, expected: group.lanes, arrived: 0 };
            let slot = match self.free_joins.pop() {
                Some(slot) => {
                    self.joins[slot] = entry;
                    slot
                }
                None => {
                    self.joins.push(entry);
                    self.joins.len() - 1
                }
            };
            group.joins.push(slot);
        }
        for &(pc, lanes) in parts {
            self.groups.push(Group { pc, lanes, state: State::Ready, ..group.clone() });
        }
    }

    /// A group comes to its innermost join.
    pub(super) fn arrive(&mut self, index: usize) {
        let group = self.groups.swap_remove(index);
        if let Some(&join) = group.joins.last() {
            self.joins[join].arrived |= group.lanes;
            self.release(join, group);
        }
    }

    /// Lets the lanes of a join go on if none is missing any more. `like` is a group that has the join in its list.
    fn release(&mut self, join: usize, like: Group) {
        let Join { pc, expected, arrived } = self.joins[join];
        if expected != arrived {
            return;
        }
        self.free_joins.push(join);
        self.joins[join] = Join::default();
        if expected != 0 {
            let depth = like.joins.iter().position(|&other| other == join).unwrap_or(0);
            self.groups.push(Group { pc, lanes: arrived, state: State::Ready, joins: like.joins[..depth].to_vec(), returns: like.returns });
        }
    }

    /// Lanes of a group end; the joins ahead of them wait for them no longer.
    pub(super) fn exit(&mut self, index: usize, leaving: u32) {
        self.exited |= leaving;
        let mut group = self.groups[index].clone();
        group.lanes &= !leaving;
        if group.lanes == 0 {
            self.groups.swap_remove(index);
        } else {
            self.groups[index].lanes = group.lanes;
        }
        for &join in group.joins.iter().rev() {
            self.joins[join].expected &= !leaving;
            self.release(join, group.clone());
        }
    }
}
