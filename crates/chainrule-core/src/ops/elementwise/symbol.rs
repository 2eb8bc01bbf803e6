//! [`Symbol`]: a number of which a formula makes its own text. So the kernels of the GPU are written from the table that those of the CPU are compiled from.

use crate::simd::Real;
use std::cell::RefCell;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Sub};

/// A number that stands for any: its place among the parts that formulas of this thread are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol(usize);

/// A truth value that stands for both.
#[derive(Clone, Copy)]
pub(super) struct Condition(Symbol);

#[derive(PartialEq)]
enum Part {
    /// A name or a constant, as C writes it.
    Leaf(String),
    Negated(Symbol),
    Operator(&'static str, [Symbol; 2]),
    /// Of functions that take one number; the others take more.
    Call(String, Vec<Symbol>),
    Choice([Symbol; 3]),
}

thread_local! {
    static PARTS: RefCell<Vec<Part>> = const { RefCell::new(Vec::new()) };
}

impl Part {
    /// Its place; equal parts have one place, so that what occurs twice is computed once.
    fn place(self) -> Symbol {
        PARTS.with_borrow_mut(|parts| {
            let known = parts.iter().position(|part| *part == self);
            Symbol(known.unwrap_or_else(|| {
                parts.push(self);
                parts.len() - 1
            }))
        })
    }

    fn operands(&self) -> &[Symbol] {
        match self {
            Part::Leaf(_) => &[],
            Part::Negated(x) => std::slice::from_ref(x),
            Part::Operator(_, operands) => operands,
            Part::Call(_, operands) => operands,
            Part::Choice(operands) => operands,
        }
    }

    /// How tightly it binds in C, so that only what needs parentheses gets them.
    fn rank(&self) -> u32 {
        match self {
            Part::Choice(_) => 0,
            Part::Operator("||", _) => 1,
            Part::Operator("&&", _) => 2,
            Part::Operator("+" | "-", _) => 4,
            Part::Operator("*" | "/", _) => 5,
            Part::Operator(..) => 3,
            Part::Negated(_) => 6,
            Part::Leaf(_) | Part::Call(..) => 7,
        }
    }
    fn is_condition(&self) -> bool {
        (1..=3).contains(&self.rank())
    }
}

impl Symbol {
    /// A variable of this name.
    pub(super) fn named(name: &str) -> Symbol {
        Part::Leaf(name.into()).place()
    }
    fn call(self, function: &str) -> Symbol {
        Part::Call(function.into(), vec![self]).place()
    }
    fn compare(self, operator: &'static str, other: Symbol) -> Condition {
        Condition(Part::Operator(operator, [self, other]).place())
    }

    /// The text in CUDA C: statements for what occurs more than once, and the value.
    pub(super) fn text(self) -> (Vec<String>, String) {
        PARTS.with_borrow(|parts| {
            // Operands stand before what is made of them.
            let mut uses = vec![0; self.0 + 1];
            uses[self.0] = 1;
            for place in (0..=self.0).rev() {
                if uses[place] > 0 {
                    parts[place].operands().iter().for_each(|operand| uses[operand.0] += 1);
                }
            }
            let (mut texts, mut statements): (Vec<String>, _) = (Vec::new(), Vec::new());
            for (place, part) in parts[..=self.0].iter().enumerate() {
                let named = |at: usize| uses[at] > 1 && !parts[at].operands().is_empty();
                let operand = |symbol: &Symbol, rank: u32| {
                    let text = &texts[symbol.0];
                    if named(symbol.0) || parts[symbol.0].rank() >= rank { text.clone() } else { format!("({text})") }
                };
                // Behind an operator a sign is set apart.
                let behind = |symbol: &Symbol, rank: u32| {
                    let text = operand(symbol, rank);
                    if text.starts_with('-') { format!("({text})") } else { text }
                };
                let rank = part.rank();
                let text = match part {
                    Part::Leaf(text) => text.clone(),
                    Part::Negated(x) => format!("-{}", behind(x, rank)),
                    // What stands on the right of - and / is not to be taken apart.
                    Part::Operator(operator, [a, b]) => format!("{} {operator} {}", operand(a, rank), behind(b, rank + 1)),
                    Part::Call(function, operands) => format!("{function}({})", operands.iter().map(|x| operand(x, 0)).collect::<Vec<_>>().join(", ")),
                    Part::Choice([condition, yes, no]) => format!("{} ? {} : {}", operand(condition, 1), operand(yes, 1), operand(no, 0)),
                };
                texts.push(if place != self.0 && named(place) {
                    let name = format!("t{}", statements.len());
                    statements.push(format!("{} {name} = {text};", if part.is_condition() { "bool" } else { "float" }));
                    name
                } else {
                    text
                });
            }
            (statements, texts.swap_remove(self.0))
        })
    }
}

macro_rules! operators {
    ($($operator:ident $method:ident $text:literal),*) => { $(
        impl $operator for Symbol {
            type Output = Symbol;
            fn $method(self, other: Symbol) -> Symbol {
                Part::Operator($text, [self, other]).place()
            }
        }
    )* };
}
operators!(Add add "+", Sub sub "-", Mul mul "*", Div div "/");

impl Neg for Symbol {
    type Output = Symbol;
    fn neg(self) -> Symbol {
        Part::Negated(self).place()
    }
}
impl BitAnd for Condition {
    type Output = Condition;
    fn bitand(self, other: Condition) -> Condition {
        self.0.compare("&&", other.0)
    }
}
impl BitOr for Condition {
    type Output = Condition;
    fn bitor(self, other: Condition) -> Condition {
        self.0.compare("||", other.0)
    }
}

macro_rules! calls {
    ($($method:ident $function:literal),*) => {
        $(fn $method(self) -> Symbol {
            self.call($function)
        })*
    };
}

impl Real for Symbol {
    type Element = Symbol;
    type Condition = Condition;
    fn wrap(x: Symbol) -> Symbol {
        x
    }
    fn number(self) -> Symbol {
        self
    }
    fn of(x: f64) -> Symbol {
        let x = x as f32;
        let text = if x.is_infinite() { if x > 0.0 { "INFINITY".into() } else { "-INFINITY".into() } } else { format!("{x:?}f") };
        Part::Leaf(text).place()
    }
    fn parameter(name: &'static str, _: f64) -> Symbol {
        Symbol::named(name)
    }
    fn above(self, other: Symbol) -> Condition {
        self.compare(">", other)
    }
    fn below(self, other: Symbol) -> Condition {
        self.compare("<", other)
    }
    fn at_least(self, other: Symbol) -> Condition {
        self.compare(">=", other)
    }
    fn at_most(self, other: Symbol) -> Condition {
        self.compare("<=", other)
    }
    fn equals(self, other: Symbol) -> Condition {
        self.compare("==", other)
    }
    fn is_nan(self) -> Condition {
        self.compare("!=", self)
    }
    fn choose(condition: Condition, yes: Symbol, no: Symbol) -> Symbol {
        Part::Choice([condition.0, yes, no]).place()
    }
    fn mul_add(self, b: Symbol, c: Symbol) -> Symbol {
        Part::Call("fmaf".into(), vec![self, b, c]).place()
    }
    fn max(self, other: Symbol) -> Symbol {
        Part::Call("larger".into(), vec![self, other]).place()
    }
    fn min(self, other: Symbol) -> Symbol {
        Part::Call("smaller".into(), vec![self, other]).place()
    }
    fn powf(self, exponent: Symbol) -> Symbol {
        Part::Call("powf".into(), vec![self, exponent]).place()
    }
    fn gaussian(self) -> (Symbol, Symbol) {
        (self.call("normal_distribution"), self.call("normal_density"))
    }
    fn each(self, name: &'static str, _: fn(f32) -> f32, _: fn(f64) -> f64) -> Symbol {
        self.call(&format!("{name}f"))
    }
    calls!(abs "fabsf", sqrt "sqrtf", exp "expf", exp2_falling "exp2f", exp_m1 "expm1f", ln "logf", ln_1p "log1pf", tanh "tanhf", erf "erff");
    calls!(softplus "softplus", sigmoid "sigmoid", sin "sinf", cos "cosf", floor "floorf", round "rintf");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_the_order_of_operations() {
        let [a, b, c] = ["a", "b", "c"].map(Symbol::named);
        let value = |x: Symbol| x.text().1;
        assert_eq!(value(a - (b - c)), "a - (b - c)");
        assert_eq!(value((a - b) - c), "a - b - c");
        assert_eq!(value(a / (b * c) + a * (b + c)), "a / (b * c) + a * (b + c)");
        assert_eq!(value(-(a + b) * c), "-(a + b) * c");
        assert_eq!(value(a - -b), "a - (-b)");
        assert_eq!(value(a * Symbol::of(-0.5)), "a * (-0.5f)");
        assert_eq!(value(Symbol::choose(a.above(b) & (b.below(c) | c.is_nan()), a, -c) * b), "(a > b && (b < c || c != c) ? a : -c) * b");
        assert_eq!(value(Real::max(a.exp(), Symbol::of(f64::NEG_INFINITY))), "larger(expf(a), -INFINITY)");
    }

    #[test]
    fn what_occurs_twice_has_a_name() {
        let a = Symbol::named("a");
        let s = a.sigmoid();
        let (statements, value) = (s * (Symbol::one() - s)).text();
        assert_eq!((statements, value.as_str()), (vec!["float t0 = sigmoid(a);".into()], "t0 * (1.0f - t0)"));
        let c = a.above(Symbol::zero());
        let (statements, _) = (Symbol::choose(c, a, s) + Symbol::choose(c, s, a)).text();
        assert_eq!(statements, ["float t0 = sigmoid(a);", "bool t1 = a > 0.0f;"]);
    }
}
