//! [`Expression`]: regular expressions as Python's `re` writes them, held to whole texts.
//!
//! An expression becomes a program for a machine that goes back where a way ends, and tries no way twice from the same place (Cox 2010, "Regular Expression Matching in the Wild"):
//! time and memory are at most its length times the text's. Each look ahead or behind is such a run of its own at each place, and its answer is kept: with looks, time is at most the length of the program, and of the looks in it with those around them, times the square of the text's.

use std::ops::{Range, RangeInclusive};

/// The most that a program may have of steps and of items in them.
const LARGEST: usize = 100_000;
/// So deep groups may stand in each other.
const DEEPEST: usize = 64;

/// A regular expression that a whole text is held against (`re.fullmatch`): groups, choices, classes, repetitions greedy or not, anchors, look-ahead and look-behind, `(?i)`; no references back.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    steps: Vec<Step>,
}

/// A step of the program; jumps are relative to it.
#[derive(Clone, Debug)]
enum Step {
    One(Set),
    Either(isize, isize),
    Go(isize),
    Start,
    End,
    /// Whether a word begins or ends here, or not.
    Edge(bool),
    /// What follows up to the next `Done` must match here, or must not; the way goes on so far from here.
    Look {
        behind: bool,
        negated: bool,
        on: isize,
    },
    Done,
}

/// Which characters are meant.
#[derive(Clone, Debug, Default)]
struct Set {
    negated: bool,
    any_case: bool,
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Range(char, char),
    /// `d`, `w` or `s`; in capitals all others.
    Class(char),
}

impl Item {
    fn has(self, c: char) -> bool {
        match self {
            Item::Range(from, to) => (from..=to).contains(&c),
            Item::Class('d') => c.is_numeric(),
            Item::Class('D') => !c.is_numeric(),
            Item::Class('w') => is_word(c),
            Item::Class('W') => !is_word(c),
            Item::Class('s') => c.is_whitespace(),
            Item::Class(_) => !c.is_whitespace(),
        }
    }
}

impl Set {
    fn has(&self, c: char) -> bool {
        let has = |c: char| self.items.iter().any(|item| item.has(c));
        let found = has(c) || self.any_case && (c.to_lowercase().any(has) || c.to_uppercase().any(has));
        found != self.negated
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What Python's `re` does not read either, and what is not understood, as a reason.
    pub fn new(text: &str) -> Result<Expression, String> {
        let mut reader = Reader { rest: text.chars().collect(), at: 0, any_case: false, depth: 0 };
        let mut steps = reader.choice()?;
        if reader.at < reader.rest.len() {
            return Err("a ) without its (".to_string());
        }
        steps.push(Step::Done);
        Ok(Expression { steps })
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let looks = vec![0; self.steps.len() * (text.len() + 1)];
        Held { steps: &self.steps, text: &text, looks }.run(0..self.steps.len(), 0..=0, Some(text.len()))
    }
}

/// A program held against a text.
struct Held<'a> {
    steps: &'a [Step],
    text: &'a [char],
    /// By step and place whether what a look looks for is there: 0 where nobody looked yet, 1 for no, 2 for yes.
    looks: Vec<u8>,
}

impl Held<'_> {
    /// Whether a way leads through these steps, from the first of them at one of these places, to a `Done`: at this end, if one is given.
    fn run(&mut self, program: Range<usize>, from: RangeInclusive<usize>, end: Option<usize>) -> bool {
        let (steps, text, width) = (self.steps, self.text, self.text.len() + 1);
        let mut seen = vec![0u64; (program.len() * width).div_ceil(64)];
        let mut open: Vec<(usize, usize)> = from.map(|place| (program.start, place)).collect();
        while let Some((step, place)) = open.pop() {
            let index = step.saturating_sub(program.start) * width + place;
            let (Some(known), Some(now)) = (seen.get_mut(index / 64), steps.get(step)) else { continue };
            if *known >> (index % 64) & 1 == 1 {
                continue;
            }
            *known |= 1 << (index % 64);
            let mut go = |by: isize, place: usize| open.extend(step.checked_add_signed(by).map(|step| (step, place)));
            match now {
                Step::One(set) if text.get(place).is_some_and(|c| set.has(*c)) => go(1, place + 1),
                Step::One(_) => {}
                // What is put last is tried first.
                Step::Either(first, second) => {
                    go(*second, place);
                    go(*first, place);
                }
                Step::Go(by) => go(*by, place),
                Step::Start if place == 0 => go(1, place),
                Step::End if place == text.len() => go(1, place),
                Step::Start | Step::End => {}
                Step::Edge(wanted) => {
                    let word = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|c| is_word(*c));
                    if (word(place.checked_sub(1)) != word(Some(place))) == *wanted {
                        go(1, place);
                    }
                }
                Step::Look { behind, negated, on } => {
                    if self.found(step, place, *behind, *on) != *negated {
                        go(*on, place);
                    }
                }
                Step::Done if end.is_none_or(|end| end == place) => return true,
                Step::Done => {}
            }
        }
        false
    }

    /// Whether what the look at this step looks for is before or behind this place.
    fn found(&mut self, step: usize, place: usize, behind: bool, on: isize) -> bool {
        let index = step * (self.text.len() + 1) + place;
        match self.looks.get(index) {
            Some(2) => return true,
            Some(1) => return false,
            _ => {}
        }
        let body = step + 1..step.saturating_add_signed(on);
        let found = if behind { self.run(body, 0..=place, Some(place)) } else { self.run(body, place..=place, None) };
        if let Some(known) = self.looks.get_mut(index) {
            *known = 1 + found as u8;
        }
        found
    }
}

struct Reader {
    rest: Vec<char>,
    at: usize,
    any_case: bool,
    depth: usize,
}

type Steps = Result<Vec<Step>, String>;

impl Reader {
    fn next_if(&mut self, text: &str) -> bool {
        let found = text.chars().enumerate().all(|(i, c)| self.rest.get(self.at + i) == Some(&c));
        self.at += if found { text.chars().count() } else { 0 };
        found
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.get(self.at).copied();
        self.at += c.is_some() as usize;
        c
    }

    fn choice(&mut self) -> Steps {
        let mut all = vec![self.sequence()?];
        while self.next_if("|") {
            all.push(self.sequence()?);
        }
        let (mut steps, mut ends, last) = (Vec::new(), Vec::new(), all.pop());
        for one in all {
            steps.push(Step::Either(1, one.len() as isize + 2));
            steps.extend(one);
            ends.push(steps.len());
            steps.push(Step::Go(0));
        }
        steps.extend(last.into_iter().flatten());
        let length = steps.len();
        for end in ends {
            steps[end] = Step::Go((length - end) as isize);
        }
        fits(steps)
    }

    fn sequence(&mut self) -> Steps {
        let (mut steps, mut length) = (Vec::new(), 0);
        while let Some(&c) = self.rest.get(self.at) {
            if c == '|' || c == ')' {
                break;
            }
            let one = self.one()?;
            let one = self.repeated(one)?;
            length += size(&one);
            if length > LARGEST {
                return Err(too_long());
            }
            steps.extend(one);
        }
        Ok(steps)
    }

    fn one(&mut self) -> Steps {
        let any_case = self.any_case;
        let set = |item| Ok(vec![Step::One(Set { negated: false, any_case, items: vec![item] })]);
        match self.next().unwrap_or_default() {
            '(' => self.group(),
            '[' => self.class(),
            '.' => Ok(vec![Step::One(Set { negated: true, any_case: false, items: vec![Item::Range('\n', '\n')] })]),
            '^' => Ok(vec![Step::Start]),
            '$' => Ok(vec![Step::End]),
            '\\' => match self.next() {
                Some('A') => Ok(vec![Step::Start]),
                Some('Z') => Ok(vec![Step::End]),
                Some('b') => Ok(vec![Step::Edge(true)]),
                Some('B') => Ok(vec![Step::Edge(false)]),
                escaped => set(item(escaped)?),
            },
            '*' | '+' | '?' => Err("nothing to repeat".to_string()),
            c => set(Item::Range(c, c)),
        }
    }

    fn group(&mut self) -> Steps {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("more than {DEEPEST} groups in each other"));
        }
        if self.next_if("?i)") {
            self.any_case = true;
            self.depth -= 1;
            return Ok(Vec::new());
        }
        let looks = [("?=", false, false), ("?!", false, true), ("?<=", true, false), ("?<!", true, true)];
        let look = looks.into_iter().find(|(text, ..)| self.next_if(text));
        if look.is_none() && self.next_if("?P<") {
            let closing = self.rest[self.at..].iter().position(|&c| c == '>').ok_or("a name of a group without its >")?;
            self.at += closing + 1;
        } else if look.is_none() && !self.next_if("?:") && self.next_if("?") {
            return Err("a kind of group that is not understood".to_string());
        }
        let mut steps = self.choice()?;
        if !self.next_if(")") {
            return Err("a ( without its )".to_string());
        }
        self.depth -= 1;
        if let Some((_, behind, negated)) = look {
            steps.push(Step::Done);
            steps.insert(0, Step::Look { behind, negated, on: steps.len() as isize + 1 });
        }
        Ok(steps)
    }

    fn class(&mut self) -> Steps {
        let mut set = Set { negated: self.next_if("^"), any_case: self.any_case, items: Vec::new() };
        loop {
            let from = match self.next().ok_or("a [ without its ]")? {
                ']' if !set.items.is_empty() => return Ok(vec![Step::One(set)]),
                '\\' => item(self.next())?,
                c => Item::Range(c, c),
            };
            let ranges = self.rest.get(self.at) == Some(&'-') && self.rest.get(self.at + 1).is_some_and(|&c| c != ']');
            let (true, Item::Range(from, _)) = (ranges, from) else {
                set.items.push(from);
                continue;
            };
            self.at += 1;
            let to = match self.next() {
                Some('\\') => item(self.next())?,
                Some(c) => Item::Range(c, c),
                None => return Err("a [ without its ]".to_string()),
            };
            match to {
                Item::Range(_, to) if from <= to => set.items.push(Item::Range(from, to)),
                _ => return Err(format!("a range that begins at {from} and ends before it")),
            }
        }
    }

    /// What stands here as often as the expression goes on to say.
    fn repeated(&mut self, one: Vec<Step>) -> Steps {
        let (least, most) = match self.rest.get(self.at) {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match self.braces() {
                Some(counts) => counts,
                None => return Ok(one),
            },
            _ => return Ok(one),
        };
        self.at += 1;
        let lazy = self.next_if("?");
        if matches!(self.rest.get(self.at), Some('*' | '+' | '?')) {
            return Err("a repetition of a repetition".to_string());
        }
        if most.is_some_and(|most| most < least) {
            return Err(format!("at least {least} and at most fewer"));
        }
        let copies = most.unwrap_or(least).max(1);
        if copies.saturating_mul(size(&one) + 1) > LARGEST {
            return Err(too_long());
        }
        let either = |inside: isize, past: isize| if lazy { Step::Either(past, inside) } else { Step::Either(inside, past) };
        let mut steps: Vec<Step> = std::iter::repeat_n(&one, least).flatten().cloned().collect();
        let length = one.len() as isize;
        match most {
            None => {
                steps.push(either(1, length + 2));
                steps.extend(one);
                steps.push(Step::Go(-length - 1));
            }
            Some(most) => {
                for left in (1..=(most - least) as isize).rev() {
                    steps.push(either(1, left * (length + 1)));
                    steps.extend(one.iter().cloned());
                }
            }
        }
        Ok(steps)
    }

    /// Reads `{2}`, `{2,}`, `{,3}` or `{2,3}` up to its last character; other braces stand for themselves.
    fn braces(&mut self) -> Option<(usize, Option<usize>)> {
        let closing = self.rest[self.at..].iter().position(|&c| c == '}')?;
        let inside: String = self.rest[self.at + 1..self.at + closing].iter().collect();
        let count = |text: &str, default: Option<usize>| if text.is_empty() { Some(default) } else { text.parse().ok().map(Some) };
        let counts = match inside.split_once(',') {
            None => inside.parse().ok().map(|count| (count, Some(count)))?,
            Some((least, most)) => (count(least, Some(0))??, count(most, None)?),
        };
        self.at += closing;
        Some(counts)
    }
}

/// What a character after a backslash means.
fn item(escaped: Option<char>) -> Result<Item, String> {
    let one = |c| Ok(Item::Range(c, c));
    match escaped.ok_or("a \\ at the end")? {
        c @ ('d' | 'D' | 'w' | 'W' | 's' | 'S') => Ok(Item::Class(c)),
        'n' => one('\n'),
        't' => one('\t'),
        c if c.is_ascii_alphanumeric() => Err(format!("\\{c}, which is not understood")),
        c => one(c),
    }
}

fn fits(steps: Vec<Step>) -> Steps {
    if size(&steps) > LARGEST { Err(too_long()) } else { Ok(steps) }
}

/// How many steps these are, and items in them.
fn size(steps: &[Step]) -> usize {
    steps.iter().map(|step| if let Step::One(set) = step { 1 + set.items.len() } else { 1 }).sum()
}

fn too_long() -> String {
    format!("a program of more than {LARGEST} steps")
}

#[cfg(test)]
mod tests;
