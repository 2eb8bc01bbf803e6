//! The formulas of a step, for one unit of the hidden state: gates, new state, and their slopes.
//!
//! A row of gates holds, block by block of H numbers, what the formula makes of the products: first the gates in the weights' order, then, for the GRU, the part of its third that comes from the state.

use crate::simd::Real;

/// Blocks of gates whose products with the state go to blocks of columns.
#[derive(Clone, Copy)]
pub(super) struct FromState {
    /// The first block of columns.
    pub column: usize,
    /// The first block of rows of the weight.
    pub gate: usize,
    /// How many blocks.
    pub count: usize,
    /// Whether the input's products stand there already.
    pub added: bool,
}

impl FromState {
    /// The first gates, where input and state add up.
    const fn first(count: usize) -> FromState {
        FromState { column: 0, gate: 0, count, added: true }
    }
}

/// What a step's formula reads of the step before, beside the products.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Memory {
    /// Nothing.
    None,
    /// The cell state.
    Cell,
    /// The hidden state.
    Hidden,
}

/// What a unit's formula gives: activated gates, hidden state, cell state.
pub(super) struct Step<R> {
    pub gates: [R; 4],
    pub hidden: R,
    pub memory: R,
}

/// The slopes of a unit: by its gates before activation, and by the memory of the step before.
pub(super) struct Slopes<R> {
    pub gates: [R; 4],
    pub memory: R,
}

/// What a unit's slopes are computed from: activated gates, the memory before and after the step, the gradients by hidden state and memory.
#[derive(Clone, Copy)]
pub(super) struct Past<R> {
    pub gates: [R; 4],
    pub before: R,
    pub after: R,
    pub by_hidden: R,
    pub by_memory: R,
}

/// A kind of step.
pub(super) trait Formula: Copy + Send + Sync + 'static {
    /// Blocks of rows of the weights.
    const GATES: usize;
    /// Blocks of columns in a row of gates.
    const COLUMNS: usize;
    const FROM_STATE: &'static [FromState];
    const MEMORY: Memory;
    fn step<R: Real>(gates: [R; 4], memory: R) -> Step<R>;
    fn slopes<R: Real>(past: Past<R>) -> Slopes<R>;
}

/// `h' = tanh(a)`
#[derive(Clone, Copy)]
pub(super) struct Tanh;
/// `h' = max(a, 0)`
#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Formula for Tanh {
    const GATES: usize = 1;
    const COLUMNS: usize = 1;
    const FROM_STATE: &'static [FromState] = &[FromState::first(1)];
    const MEMORY: Memory = Memory::None;
    #[inline(always)]
    fn step<R: Real>([a, ..]: [R; 4], _: R) -> Step<R> {
        let h = a.tanh();
        Step { gates: [h; 4], hidden: h, memory: h }
    }
    #[inline(always)]
    fn slopes<R: Real>(Past { gates: [h, ..], by_hidden, .. }: Past<R>) -> Slopes<R> {
        Slopes { gates: [by_hidden * (R::one() - h * h); 4], memory: R::zero() }
    }
}

impl Formula for Relu {
    const GATES: usize = 1;
    const COLUMNS: usize = 1;
    const FROM_STATE: &'static [FromState] = &[FromState::first(1)];
    const MEMORY: Memory = Memory::None;
    #[inline(always)]
    fn step<R: Real>([a, ..]: [R; 4], _: R) -> Step<R> {
        let h = Real::max(a, R::zero());
        Step { gates: [h; 4], hidden: h, memory: h }
    }
    #[inline(always)]
    fn slopes<R: Real>(Past { gates: [h, ..], by_hidden, .. }: Past<R>) -> Slopes<R> {
        Slopes { gates: [R::choose(h.above(R::zero()), by_hidden, R::zero()); 4], memory: R::zero() }
    }
}

/// `c' = σ(f) c + σ(i) tanh(g)`, `h' = σ(o) tanh(c')`
#[derive(Clone, Copy)]
pub(super) struct Lstm;

impl Formula for Lstm {
    const GATES: usize = 4;
    const COLUMNS: usize = 4;
    const FROM_STATE: &'static [FromState] = &[FromState::first(4)];
    const MEMORY: Memory = Memory::Cell;
    #[inline(always)]
    fn step<R: Real>([i, f, g, o]: [R; 4], c: R) -> Step<R> {
        let gates @ [i, f, g, o] = [i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()];
        let memory = f.mul_add(c, i * g);
        Step { gates, hidden: o * memory.tanh(), memory }
    }
    #[inline(always)]
    fn slopes<R: Real>(Past { gates: [i, f, g, o], before, after, by_hidden, by_memory }: Past<R>) -> Slopes<R> {
        let (one, t) = (R::one(), after.tanh());
        let by_cell = (by_hidden * o).mul_add(one - t * t, by_memory);
        let gates = [by_cell * g * i * (one - i), by_cell * before * f * (one - f), by_cell * i * (one - g * g), by_hidden * t * o * (one - o)];
        Slopes { gates, memory: by_cell * f }
    }
}

/// `n = tanh(a + σ(r) q)`, `h' = (1 - σ(z)) n + σ(z) h`, where q is the state's part of the third gate.
#[derive(Clone, Copy)]
pub(super) struct Gru;

impl Formula for Gru {
    const GATES: usize = 3;
    const COLUMNS: usize = 4;
    const FROM_STATE: &'static [FromState] = &[FromState::first(2), FromState { column: 3, gate: 2, count: 1, added: false }];
    const MEMORY: Memory = Memory::Hidden;
    #[inline(always)]
    fn step<R: Real>([r, z, a, q]: [R; 4], h: R) -> Step<R> {
        let (r, z) = (r.sigmoid(), z.sigmoid());
        let n = r.mul_add(q, a).tanh();
        let hidden = z.mul_add(h - n, n);
        Step { gates: [r, z, n, q], hidden, memory: hidden }
    }
    #[inline(always)]
    fn slopes<R: Real>(Past { gates: [r, z, n, q], before, by_hidden, .. }: Past<R>) -> Slopes<R> {
        let one = R::one();
        let by_candidate = by_hidden * (one - z) * (one - n * n);
        let gates = [by_candidate * q * r * (one - r), by_hidden * (before - n) * z * (one - z), by_candidate, by_candidate * r];
        Slopes { gates, memory: by_hidden * z }
    }
}
