//! Where diverged lanes meet again: the immediate post-dominator of every branch.
//!
//! Post-dominators are found as Cooper, Harvey and Kennedy do ("A Simple, Fast Dominance Algorithm", 2001), on the reversed graph.
use crate::program::{Instruction, NO_JOIN, Operation};

/// Sets the join of every branch of a function whose instructions are `first..` of the program.
pub(super) fn set_joins(instructions: &mut [Instruction], first: usize) {
    let count = instructions.len() - first;
    // The node `count` is the end of the function.
    let successors: Vec<Vec<usize>> = (0..count).map(|node| successors(&instructions[first + node], node, first, count)).collect();
    let dominators = post_dominators(&successors, count);
    for (node, instruction) in instructions[first..].iter_mut().enumerate() {
        if let Operation::Branch { join, .. } | Operation::BranchTable { join, .. } = &mut instruction.operation {
            *join = match dominators[node] {
                Some(end) if end == count => NO_JOIN,
                Some(other) => first + other,
                None => NO_JOIN,
            };
        }
    }
}

fn successors(instruction: &Instruction, node: usize, first: usize, end: usize) -> Vec<usize> {
    let falls_through = instruction.guard.is_some();
    let mut next: Vec<usize> = match &instruction.operation {
        Operation::Branch { target, .. } => vec![target - first],
        Operation::BranchTable { targets, .. } => targets.iter().map(|target| target - first).collect(),
        Operation::Return | Operation::Exit | Operation::Trap => vec![end],
        _ => return vec![node + 1],
    };
    // Lanes that exit do not come to any meeting point: only the others count.
    if falls_through {
        if matches!(instruction.operation, Operation::Exit | Operation::Trap) {
            next.clear();
        }
        next.push(node + 1);
    }
    next
}

fn post_dominators(successors: &[Vec<usize>], end: usize) -> Vec<Option<usize>> {
    let mut predecessors = vec![Vec::new(); end + 1];
    for (node, next) in successors.iter().enumerate() {
        for &next in next {
            predecessors[next].push(node);
        }
    }
    let order = reverse_post_order(&predecessors, end);
    let mut position = vec![usize::MAX; end + 1];
    for (place, &node) in order.iter().enumerate() {
        position[node] = place;
    }
    let mut dominator: Vec<Option<usize>> = vec![None; end + 1];
    dominator[end] = Some(end);
    let mut changed = true;
    while changed {
        changed = false;
        for &node in &order[1..] {
            let mut best: Option<usize> = None;
            for &next in &successors[node] {
                if dominator[next].is_some() {
                    best = Some(best.map_or(next, |best| meet(best, next, &dominator, &position)));
                }
            }
            if best != dominator[node] {
                dominator[node] = best;
                changed = true;
            }
        }
    }
    dominator
}

fn meet(mut a: usize, mut b: usize, dominator: &[Option<usize>], position: &[usize]) -> usize {
    while a != b {
        while position[a] > position[b] {
            a = dominator[a].unwrap_or(b);
        }
        while position[b] > position[a] {
            b = dominator[b].unwrap_or(a);
        }
    }
    a
}

/// Nodes from which `end` is reached, `end` first.
fn reverse_post_order(predecessors: &[Vec<usize>], end: usize) -> Vec<usize> {
    let mut seen = vec![false; end + 1];
    let mut finished = Vec::with_capacity(end + 1);
    let mut stack = vec![(end, 0)];
    seen[end] = true;
    while let Some((node, next)) = stack.pop() {
        match predecessors[node].get(next) {
            None => finished.push(node),
            Some(&before) => {
                stack.push((node, next + 1));
                if !seen[before] {
                    seen[before] = true;
                    stack.push((before, 0));
                }
            }
        }
    }
    finished.reverse();
    finished
}

#[cfg(test)]
mod tests {
    use super::post_dominators;

    #[test]
    fn a_loop_with_a_branch_inside() {
        // 0 -> 1; 1 -> 2 or 3; 2 -> 3; 3 -> 1 or 4; 4 is the end.
        let dominators = post_dominators(&[vec![1], vec![2, 3], vec![3], vec![1, 4]], 4);
        assert_eq!(dominators[..4], [Some(1), Some(3), Some(3), Some(4)]);
    }

    #[test]
    fn an_endless_loop_meets_nowhere() {
        let dominators = post_dominators(&[vec![1, 2], vec![1], vec![3]], 3);
        assert_eq!(dominators[..3], [Some(2), None, Some(3)]);
    }
}
