//! What names mean: registers, constants, special values and variables of a kernel and the functions it calls.
use std::collections::HashMap;

use super::Result;
use super::variables::ModuleNames;
use crate::parse::syntax::{Declaration, Function, Number, Operand, Scope, VariableSpace};
use crate::program::{Constant, Place, Program, Register, Slot, Space, Special};
use crate::types::{Bank, Type};

#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    Register(Slot),
    /// An offset in a space that every launch lays out alike.
    Variable(Space, u64),
    /// A variable of the module, by number.
    Module(usize),
}

/// The names of a function that is being decoded, and the program that grows.
pub(super) struct Names<'a> {
    pub module: &'a ModuleNames<'a>,
    pub program: Program,
    scopes: Vec<(Option<usize>, HashMap<String, Meaning>)>,
    constants: HashMap<(Bank, Constant), Register>,
    specials: HashMap<Special, Register>,
    /// Registers of the current function.
    pub own: Vec<Slot>,
    /// Offsets of the shared variables, by name and line.
    shared: HashMap<(&'a str, u32), u64>,
}

fn align(offset: usize, to: usize) -> usize {
    offset.next_multiple_of(to)
}

impl<'a> Names<'a> {
    pub fn new(module: &'a ModuleNames<'a>) -> Names<'a> {
        let program = Program { shared_granule: 2, global_granule: 2, ..Program::default() };
        Names { module, program, scopes: Vec::new(), constants: HashMap::new(), specials: HashMap::new(), own: Vec::new(), shared: HashMap::new() }
    }

    pub fn register(&mut self, bank: Bank) -> Slot {
        let count = match bank {
            Bank::Predicate => &mut self.program.predicates,
            Bank::Word => &mut self.program.words,
            Bank::Double => &mut self.program.doubles,
        };
        *count += 1;
        Slot { bank, index: (*count - 1) as Register }
    }

    pub fn local(&mut self, bytes: usize, alignment: usize) -> usize {
        let offset = align(self.program.local_bytes, alignment.max(1));
        self.program.local_bytes = offset + bytes;
        offset
    }

    /// Makes the scopes of `function` the ones that names are looked up in. Parameters of an entry stand in parameter space, those of
    /// functions in the thread's local memory, at the given offsets.
    pub fn enter(&mut self, function: &Function<'a>, parameters: &[(&'a str, Meaning)]) -> Result<()> {
        self.own.clear();
        self.scopes.clear();
        for scope in &function.scopes {
            let names = self.scope(scope)?;
            self.scopes.push((scope.parent, names));
        }
        self.scopes[0].1.extend(parameters.iter().map(|&(name, meaning)| (name.to_string(), meaning)));
        Ok(())
    }

    fn scope(&mut self, scope: &Scope<'a>) -> Result<HashMap<String, Meaning>> {
        let mut names = HashMap::new();
        for declared in &scope.registers {
            let spelled: Vec<String> = match declared.count {
                None => vec![declared.name.to_string()],
                Some(count) => (0..count).map(|number| format!("{}{number}", declared.name)).collect(),
            };
            for name in spelled {
                let slot = self.register(declared.ty.bank());
                self.own.push(slot);
                names.insert(name, Meaning::Register(slot));
            }
        }
        for variable in &scope.variables {
            names.insert(variable.name.to_string(), self.variable(variable)?);
        }
        Ok(names)
    }

    fn variable(&mut self, variable: &Declaration<'a>) -> Result<Meaning> {
        match variable.space {
            VariableSpace::Shared => self.shared_meaning(variable).ok_or_else(|| format!("{} has no place", variable.name)),
            VariableSpace::Local | VariableSpace::Parameter => Ok(Meaning::Variable(Space::Local, self.local(variable.bytes, variable.align) as u64)),
            VariableSpace::Global => self.module.variable(variable.name).map(Meaning::Module).ok_or_else(|| format!("unknown variable {}", variable.name)),
        }
    }

    /// Lays out a shared variable; dynamic ones (all at the same offset) come after all others.
    pub fn place_shared(&mut self, variable: &Declaration<'a>) {
        let start = align(self.program.shared_bytes, if variable.dynamic { variable.align.max(16) } else { variable.align });
        if !variable.dynamic {
            self.program.shared_bytes = start + variable.bytes;
        }
        self.shared.insert((variable.name, variable.line), start as u64);
    }

    fn shared_meaning(&self, variable: &Declaration<'a>) -> Option<Meaning> {
        self.shared.get(&(variable.name, variable.line)).map(|&offset| Meaning::Variable(Space::Shared, offset))
    }

    pub fn meaning(&self, scope: usize, name: &str) -> Result<Meaning> {
        let mut next = Some(scope);
        while let Some(scope) = next {
            let (parent, names) = &self.scopes[scope];
            if let Some(meaning) = names.get(name) {
                return Ok(*meaning);
            }
            next = *parent;
        }
        if let Some(variable) = self.module.shared.get(name) {
            return self.shared_meaning(variable).ok_or_else(|| format!("{name} has no place"));
        }
        self.module.variable(name).map(Meaning::Module).ok_or_else(|| format!("unknown name {name}"))
    }

    pub fn constant(&mut self, bank: Bank, constant: Constant) -> Register {
        if let Some(&register) = self.constants.get(&(bank, constant)) {
            return register;
        }
        let slot = self.register(bank);
        self.constants.insert((bank, constant), slot.index);
        self.program.constants.push((slot, constant));
        slot.index
    }

    pub fn literal(&mut self, number: Number, ty: Type) -> Slot {
        let bits = number.bits(ty);
        let bank = ty.bank();
        let constant = if bank == Bank::Double { Constant::Double(bits) } else { Constant::Word(bits as u32) };
        Slot { bank, index: self.constant(bank, constant) }
    }

    pub fn special(&mut self, name: &str) -> Option<Register> {
        let special = special(name)?;
        if let Some(&register) = self.specials.get(&special) {
            return Some(register);
        }
        let register = self.register(Bank::Word).index;
        self.specials.insert(special, register);
        self.program.specials.push((register, special));
        Some(register)
    }

    /// The address of a variable as a constant of the bank.
    fn address_constant(&mut self, meaning: Meaning, offset: i64, bank: Bank) -> Result<Slot> {
        let constant = match meaning {
            Meaning::Variable(_, base) if bank == Bank::Word => Constant::Word(base.wrapping_add(offset as u64) as u32),
            Meaning::Variable(_, base) => Constant::Double(base.wrapping_add(offset as u64)),
            Meaning::Module(index) if bank == Bank::Double => Constant::Variable(index, offset as u64),
            _ => return Err("the address does not fit the type".into()),
        };
        Ok(Slot { bank, index: self.constant(bank, constant) })
    }

    /// A source operand whose bank is that of `ty`, except that registers may be wider or narrower.
    pub fn any_source(&mut self, scope: usize, operand: &Operand<'a>, ty: Type) -> Result<Slot> {
        match operand {
            Operand::Number(number) => Ok(self.literal(*number, ty)),
            Operand::Name("WARP_SZ", 0) => Ok(self.literal(Number::Integer(32), ty)),
            Operand::Name(name, offset) => {
                if let Some(index) = self.special(name) {
                    return Ok(Slot { bank: Bank::Word, index });
                }
                match self.meaning(scope, name)? {
                    Meaning::Register(slot) if *offset == 0 => Ok(slot),
                    Meaning::Register(_) => Err(format!("{name} is a register, which takes no offset here")),
                    variable => self.address_constant(variable, *offset, ty.bank()),
                }
            }
            other => Err(format!("expected a register or a number, got {other:?}")),
        }
    }

    pub fn source(&mut self, scope: usize, operand: &Operand<'a>, ty: Type) -> Result<Register> {
        let slot = self.any_source(scope, operand, ty)?;
        if slot.bank != ty.bank() {
            return Err(format!("{operand:?} does not have the size of {ty:?}"));
        }
        Ok(slot.index)
    }

    /// A register that is written.
    pub fn any_target(&mut self, scope: usize, operand: &Operand<'a>, ty: Type) -> Result<Slot> {
        match operand {
            Operand::Name("_", 0) => Ok(self.register(ty.bank())),
            Operand::Name(name, 0) => match self.meaning(scope, name)? {
                Meaning::Register(slot) => Ok(slot),
                _ => Err(format!("{name} is no register")),
            },
            other => Err(format!("expected a register, got {other:?}")),
        }
    }

    pub fn target(&mut self, scope: usize, operand: &Operand<'a>, ty: Type) -> Result<Register> {
        let slot = self.any_target(scope, operand, ty)?;
        if slot.bank != ty.bank() {
            return Err(format!("{operand:?} does not have the size of {ty:?}"));
        }
        Ok(slot.index)
    }

    /// `[base + offset]`.
    pub fn place(&mut self, scope: usize, operand: &Operand<'a>, space: Space) -> Result<Place> {
        let Operand::Address(inner) = operand else { return Err(format!("expected an address in brackets, got {operand:?}")) };
        match &**inner {
            Operand::Number(number) => Ok(Place { space, base: self.literal(*number, Type::U64), offset: 0 }),
            Operand::Name(name, offset) => match self.meaning(scope, name)? {
                Meaning::Register(base) if base.bank != Bank::Predicate => Ok(Place { space, base, offset: *offset as u64 }),
                Meaning::Register(_) => Err(format!("{name} is a predicate")),
                Meaning::Variable(own, base) => {
                    if space != own && !(space == Space::Parameter && own == Space::Local) {
                        return Err(format!("{name} lies in {own:?} memory, not in {space:?}"));
                    }
                    let base = self.literal(Number::Integer(base.wrapping_add(*offset as u64)), Type::U64);
                    Ok(Place { space: own, base, offset: 0 })
                }
                Meaning::Module(index) => {
                    if space != Space::Global && space != Space::Generic {
                        return Err(format!("{name} lies in global memory"));
                    }
                    let index = self.constant(Bank::Double, Constant::Variable(index, *offset as u64));
                    Ok(Place { space: Space::Global, base: Slot { bank: Bank::Double, index }, offset: 0 })
                }
            },
            other => Err(format!("{other:?} is no address")),
        }
    }
}

fn special(name: &str) -> Option<Special> {
    let axis = |prefix: &str| match name.strip_prefix(prefix)? {
        ".x" => Some(0),
        ".y" => Some(1),
        ".z" => Some(2),
        _ => None,
    };
    if let Some(axis) = axis("%tid") {
        return Some(Special::Thread(axis));
    }
    if let Some(axis) = axis("%ntid") {
        return Some(Special::BlockExtent(axis));
    }
    if let Some(axis) = axis("%ctaid") {
        return Some(Special::Block(axis));
    }
    if let Some(axis) = axis("%nctaid") {
        return Some(Special::GridExtent(axis));
    }
    Some(match name {
        "%laneid" => Special::Lane,
        "%warpid" => Special::Warp,
        "%nwarpid" => Special::WarpCount,
        "%lanemask_eq" => Special::LaneMaskEqual,
        "%lanemask_lt" => Special::LaneMaskLess,
        "%lanemask_le" => Special::LaneMaskLessEqual,
        "%lanemask_gt" => Special::LaneMaskGreater,
        "%lanemask_ge" => Special::LaneMaskGreaterEqual,
        "%dynamic_smem_size" => Special::DynamicShared,
        "%total_smem_size" => Special::TotalShared,
        "%smid" => Special::Zero,
        "%nsmid" => Special::One,
        _ => return None,
    })
}
