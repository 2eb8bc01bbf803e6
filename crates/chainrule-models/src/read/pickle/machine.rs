//! The stack machine: what each instruction does.

use super::bytes::Bytes;
use super::{Global, Reason, Span, Storage, Value, View};
use std::collections::HashMap;

/// The number by which PyTorch's old format begins, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// On the stack, in the memo, of tuples, lists and dicts. A tensor takes about ten.
const MOST_VALUES: usize = 1 << 20;

/// In all tuples, lists and dicts, and in the shapes and strides of tensors. A tensor takes about thirty.
const MOST_HELD: usize = 1 << 22;

pub(in crate::read) struct Machine<'a> {
    pub(in crate::read) bytes: Bytes<'a>,
    /// The contents of tuples, lists and dicts.
    pub(super) nodes: Vec<Vec<Value>>,
    pub(in crate::read) storages: Vec<Storage>,
    pub(super) storage_of: HashMap<String, u32>,
    pub(in crate::read) views: Vec<View>,
    /// How many values were copied from lists; see `call`.
    pub(super) copied: usize,
    /// How many values the nodes and views hold.
    pub(super) held: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<'a> Machine<'a> {
    pub(in crate::read) fn new(bytes: Bytes<'a>) -> Machine<'a> {
        let (stack, marks, memo) = (Vec::new(), Vec::new(), HashMap::new());
        Machine { bytes, nodes: Vec::new(), storages: Vec::new(), storage_of: HashMap::new(), views: Vec::new(), copied: 0, held: 0, stack, marks, memo }
    }

    /// Runs one pickle to its end and gives its value.
    pub(in crate::read) fn run(&mut self) -> Result<Value, Reason> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            let [opcode] = self.bytes.array()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
            let values = [self.stack.len(), self.marks.len(), self.memo.len(), self.nodes.len(), self.views.len()];
            if values.into_iter().any(|count| count > MOST_VALUES) || self.held > MOST_HELD {
                return Err(format!("has a pickle of more than {MOST_VALUES} values, far more than tensors need"));
            }
        }
    }

    /// What a tuple, list or dict holds.
    pub(in crate::read) fn items(&self, node: u32) -> &[Value] {
        self.nodes.get(node as usize).map_or(&[], Vec::as_slice)
    }

    /// The storage of this key.
    pub(in crate::read) fn storage_by(&self, key: &str) -> Option<&Storage> {
        self.storage_of.get(key).and_then(|&index| self.storages.get(index as usize))
    }

    pub(super) fn node(&mut self, items: Vec<Value>) -> u32 {
        self.held += items.len();
        self.nodes.push(items);
        (self.nodes.len() - 1) as u32
    }

    fn step(&mut self, opcode: u8) -> Result<(), Reason> {
        match opcode {
            // Protocol and frames: where the bytes are cut says nothing of what they mean.
            0x80 => {
                let [protocol] = self.bytes.array()?;
                if protocol > 5 {
                    return Err(format!("has a pickle of protocol {protocol}, expected at most 5"));
                }
            }
            0x95 => drop(self.bytes.array::<8>()?),
            // The stack.
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_mark()?),
            b'2' => self.stack.push(self.top()?),
            // The memo.
            b'p' => self.memoise_line()?,
            b'q' => {
                let [at] = self.bytes.array()?;
                self.memoise(at as u32)?;
            }
            b'r' => {
                let at = u32::from_le_bytes(self.bytes.array()?);
                self.memoise(at)?;
            }
            0x94 => self.memoise(self.memo.len() as u32)?,
            b'g' => {
                let line = self.bytes.line()?;
                let at = self.bytes.of(line).parse().map_err(|_| self.unclear("a place in the memo", line))?;
                self.recall(at)?;
            }
            b'h' => {
                let [at] = self.bytes.array()?;
                self.recall(at as u32)?;
            }
            b'j' => {
                let at = u32::from_le_bytes(self.bytes.array()?);
                self.recall(at)?;
            }
            _ => return self.make(opcode),
        }
        Ok(())
    }

    /// Instructions that make values of no others.
    fn make(&mut self, opcode: u8) -> Result<(), Reason> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(self.bytes.array()?) as i64),
            b'K' => Value::Int(self.bytes.array::<1>()?[0] as i64),
            b'M' => Value::Int(u16::from_le_bytes(self.bytes.array()?) as i64),
            b'I' | b'L' => self.integer_line()?,
            0x8a => {
                let [length] = self.bytes.array()?;
                self.long(length as u32)?
            }
            0x8b => {
                let length = u32::from_le_bytes(self.bytes.array()?);
                self.long(length)?
            }
            b'F' => {
                self.bytes.line()?;
                Value::Inert
            }
            b'G' => {
                self.bytes.take(8)?;
                Value::Inert
            }
            b'X' => self.text::<4>()?,
            0x8c => self.text::<1>()?,
            0x8d => self.text::<8>()?,
            b'V' | b'S' => self.text_line(opcode == b'S')?,
            // Texts of Python 2, and bytes.
            b'T' => self.binary::<4>(true)?,
            b'U' => self.binary::<1>(true)?,
            b'C' => self.binary::<1>(false)?,
            b'B' => self.binary::<4>(false)?,
            0x8e | 0x96 => self.binary::<8>(false)?,
            b')' => Value::Tuple(self.node(Vec::new())),
            b']' => Value::List(self.node(Vec::new())),
            b'}' => Value::Dict(self.node(Vec::new())),
            b'c' => {
                let (module, name) = (self.bytes.line()?, self.bytes.line()?);
                Value::Global(self.global(module, name)?)
            }
            _ => return self.combine(opcode),
        };
        self.stack.push(value);
        Ok(())
    }

    /// Instructions that make values of those on the stack.
    fn combine(&mut self, opcode: u8) -> Result<(), Reason> {
        let value = match opcode {
            b't' => {
                let items = self.pop_mark()?;
                Value::Tuple(self.node(items))
            }
            b'l' => {
                let items = self.pop_mark()?;
                Value::List(self.node(items))
            }
            0x85..=0x87 => {
                let from = self.stack.len().checked_sub((opcode - 0x84) as usize).filter(|&from| from >= self.floor()).ok_or_else(empty)?;
                let items = self.stack.split_off(from);
                Value::Tuple(self.node(items))
            }
            b'd' => {
                let items = pairs(self.pop_mark()?)?;
                Value::Dict(self.node(items))
            }
            b'a' | b'e' => {
                let items = if opcode == b'a' { vec![self.pop()?] } else { self.pop_mark()? };
                let Value::List(list) = self.top()? else { return Err("has a pickle that appends to what is no list".into()) };
                return self.extend(list, items);
            }
            b's' | b'u' => {
                let items = if opcode == b's' {
                    let value = self.pop()?;
                    vec![self.pop()?, value]
                } else {
                    pairs(self.pop_mark()?)?
                };
                let Value::Dict(dict) = self.top()? else { return Err("has a pickle that sets items of what is no dict".into()) };
                return self.extend(dict, items);
            }
            0x93 => {
                let (Value::Text(name), Value::Text(module)) = (self.pop()?, self.pop()?) else {
                    return Err("has a pickle that names a global by no text".into());
                };
                Value::Global(self.global(module, name)?)
            }
            b'i' => {
                let (module, name) = (self.bytes.line()?, self.bytes.line()?);
                let global = self.global(module, name)?;
                let arguments = self.pop_mark()?;
                self.call(global, arguments)?
            }
            b'o' => {
                let mut arguments = self.pop_mark()?;
                if arguments.is_empty() {
                    return Err(empty());
                }
                let function = arguments.remove(0);
                self.call_value(function, arguments)?
            }
            b'R' | 0x81 => {
                let Value::Tuple(arguments) = self.pop()? else { return Err("has a pickle that calls with what is no tuple".into()) };
                let function = self.pop()?;
                // The calls that are known take few arguments; a long tuple used by many would cost its length each time.
                let arguments = self.items(arguments).iter().take(super::call::MOST_ARGUMENTS).copied().collect();
                self.call_value(function, arguments)?
            }
            b'b' => {
                // Attributes, such as the versions of modules that PyTorch hangs on its dicts: no tensor depends on them.
                self.pop()?;
                return match self.top()? {
                    Value::Dict(_) | Value::Inert | Value::Tensor(_) => Ok(()),
                    other => Err(format!("has a pickle that sets the state of {}", self.describe(other))),
                };
            }
            b'Q' => {
                let id = self.pop()?;
                Value::Storage(self.storage(id)?)
            }
            b'P' => return Err("has a pickle with a persistent id in text, expected PyTorch's tuple".into()),
            0x82..=0x84 => return Err("has a pickle that asks for a function by an extension code, which is no part of tensors; nothing was executed".into()),
            other => return Err(format!("has a pickle with the instruction {:#04x} at byte {}, which is no part of tensors", other, self.bytes.taken() - 1)),
        };
        self.stack.push(value);
        Ok(())
    }

    fn extend(&mut self, node: u32, items: Vec<Value>) -> Result<(), Reason> {
        self.held += items.len();
        self.nodes.get_mut(node as usize).ok_or_else(empty)?.extend(items);
        Ok(())
    }

    fn call_value(&mut self, function: Value, arguments: Vec<Value>) -> Result<Value, Reason> {
        match function {
            Value::Global(global) => self.call(global, arguments),
            other => Err(format!("has a pickle that calls {}; nothing was executed", self.describe(other))),
        }
    }

    fn global(&self, module: Span, name: Span) -> Result<Global, Reason> {
        Global::find(self.bytes.of(module), self.bytes.of(name)).ok_or_else(|| {
            let (module, name) = (self.bytes.shown(module), self.bytes.shown(name));
            format!(
                "has a pickle that asks for \"{module}.{name}\", which is no part of tensors; nothing was executed (save state_dict() alone, or as safetensors)"
            )
        })
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }
    fn top(&self) -> Result<Value, Reason> {
        self.stack.last().copied().filter(|_| self.stack.len() > self.floor()).ok_or_else(empty)
    }
    fn pop(&mut self) -> Result<Value, Reason> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }
    /// Takes all values above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Value>, Reason> {
        let mark = self.marks.pop().ok_or_else(empty)?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn memoise(&mut self, at: u32) -> Result<(), Reason> {
        self.memo.insert(at, self.top()?);
        Ok(())
    }
    fn memoise_line(&mut self) -> Result<(), Reason> {
        let line = self.bytes.line()?;
        let at = self.bytes.of(line).parse().map_err(|_| self.unclear("a place in the memo", line))?;
        self.memoise(at)
    }
    fn recall(&mut self, at: u32) -> Result<(), Reason> {
        let value = self.memo.get(&at).copied();
        self.stack.push(value.ok_or_else(|| format!("has a damaged pickle: it recalls value {at}, which it never kept"))?);
        Ok(())
    }

    fn length<const N: usize>(&mut self) -> Result<u64, Reason> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.bytes.array::<N>()?);
        Ok(u64::from_le_bytes(wide))
    }
    fn text<const N: usize>(&mut self) -> Result<Value, Reason> {
        let length = self.length::<N>()?;
        Ok(Value::Text(self.bytes.text(length)?))
    }
    /// Bytes, which Python 2 used for texts too.
    fn binary<const N: usize>(&mut self, may_be_text: bool) -> Result<Value, Reason> {
        let length = self.length::<N>()?;
        if may_be_text && let Ok(text) = self.bytes.text(length) {
            return Ok(Value::Text(text));
        }
        self.bytes.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        Ok(Value::Inert)
    }
    fn text_line(&mut self, quoted: bool) -> Result<Value, Reason> {
        let line = self.bytes.line()?;
        let text = self.bytes.of(line);
        if text.contains('\\') {
            return Err(self.unclear("a text without escapes", line));
        }
        if !quoted {
            return Ok(Value::Text(line));
        }
        let inner = ['\'', '"'].into_iter().any(|q| text.len() >= 2 && text.starts_with(q) && text.ends_with(q));
        if inner { Ok(Value::Text(Span { from: line.from + 1, length: line.length - 2 })) } else { Err(self.unclear("a text in quotes", line)) }
    }
    fn integer_line(&mut self) -> Result<Value, Reason> {
        let line = self.bytes.line()?;
        match self.bytes.of(line) {
            "00" => Ok(Value::Bool(false)),
            "01" => Ok(Value::Bool(true)),
            text => text.trim_end_matches('L').parse().map(Value::Int).map_err(|_| self.unclear("an integer", line)),
        }
    }
    /// An integer of so many bytes, two's complement.
    fn long(&mut self, length: u32) -> Result<Value, Reason> {
        let bytes = self.bytes.take(length as usize)?;
        let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        Ok(match bytes.len() {
            0..=8 => {
                let mut wide = [sign; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            _ if bytes == MAGIC => Value::Magic,
            _ => Value::Inert,
        })
    }

    fn unclear(&self, expected: &str, line: Span) -> Reason {
        format!("has a damaged pickle: got \"{}\", expected {expected}", self.bytes.shown(line))
    }
}

fn pairs(items: Vec<Value>) -> Result<Vec<Value>, Reason> {
    if items.len().is_multiple_of(2) { Ok(items) } else { Err("has a damaged pickle: a key without its value".into()) }
}

#[cold]
fn empty() -> Reason {
    "has a damaged pickle: an instruction lacks its values".into()
}
