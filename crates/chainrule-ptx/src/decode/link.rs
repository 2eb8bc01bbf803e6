//! A kernel with all functions that it calls becomes one program.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Result;
use super::flow::set_joins;
use super::modifiers::Modifiers;
use super::names::{Meaning, Names};
use super::variables::ModuleNames;
use crate::fault::ParseError;
use crate::module::{Kernel, Module, Parameter};
use crate::parse::Source;
use crate::parse::syntax::{Declaration, File, Function, Operand, Statement, VariableSpace};
use crate::program::{Guard, Instruction, Operation, Space};
use crate::types::Type;

const DEEPEST_CALL: usize = 64;
/// The most local memory that a thread can have.
const LARGEST_LOCAL: usize = 512 << 10;

/// Decodes all kernels of a file.
pub(crate) fn module(file: &File, source: Source) -> std::result::Result<Module, ParseError> {
    let id = Module::next_id();
    let names = ModuleNames::new(file, id);
    let variables = names.contents(file, source)?;
    let mut kernels = BTreeMap::new();
    for function in file.functions.iter().filter(|function| function.entry && !function.scopes.is_empty()) {
        kernels.insert(function.name.to_string(), Arc::new(kernel(function, &names, source)?));
    }
    Ok(Module { id, version: file.version, variables, kernels })
}

/// A function as its callers see it: its number and where its parameters and results lie in local memory.
pub(super) struct Callee {
    pub number: usize,
    /// Offset and size.
    pub parameters: Vec<(usize, usize)>,
    pub returns: Vec<(usize, usize)>,
}

pub(super) struct Decoder<'a, 'n> {
    pub names: Names<'a>,
    pub in_entry: bool,
    function: &'n Function<'a>,
    functions: &'n HashMap<&'a str, Callee>,
    /// The instructions that are calls; their targets are filled in at the end.
    pub calls: Vec<usize>,
}

impl<'a, 'n> Decoder<'a, 'n> {
    pub fn callee(&self, name: &str) -> Result<&'n Callee> {
        self.functions.get(name).ok_or_else(|| format!("the function {name} is not defined here"))
    }

    /// The number of the statement that a label stands before.
    pub fn label(&self, scope: usize, name: &str) -> Result<usize> {
        self.climb(scope, |index| self.function.scopes[index].labels.get(name).copied()).ok_or_else(|| format!("unknown label {name}"))
    }

    pub fn table(&self, scope: usize, name: &str) -> Result<Vec<&'a str>> {
        self.climb(scope, |index| self.function.scopes[index].tables.get(name).cloned()).ok_or_else(|| format!("unknown list of branch targets {name}"))
    }

    /// The label behind the last statement.
    pub fn end(&self) -> usize {
        self.function.statements.len()
    }

    fn climb<T>(&self, scope: usize, found: impl Fn(usize) -> Option<T>) -> Option<T> {
        let mut next = Some(scope);
        while let Some(index) = next {
            if let Some(found) = found(index) {
                return Some(found);
            }
            next = self.function.scopes[index].parent;
        }
        None
    }

    fn statement(&mut self, statement: &Statement<'a>) -> Result<Vec<Instruction>> {
        let guard = statement.guard.map(|(name, negated)| {
            let predicate = self.names.source(statement.scope, &Operand::Name(name, 0), Type::Pred)?;
            Ok(Guard { predicate, negated })
        });
        let guard = guard.transpose().map_err(|message: String| format!("guard: {message}"))?;
        let (name, mut modifiers) = Modifiers::split(statement.opcode);
        let operations = if name == "call" {
            self.call(statement)?
        } else {
            let operation = self.operation(name, &mut modifiers, statement)?;
            modifiers.finish()?;
            vec![operation]
        };
        Ok(operations.into_iter().map(|operation| Instruction { line: statement.line, guard, operation }).collect())
    }

    fn operation(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        if let Some(operation) = self.control(name, modifiers, statement)? {
            return Ok(operation);
        }
        if let Some(operation) = self.data(name, modifiers, statement)? {
            return Ok(operation);
        }
        if let Some(operation) = self.collective(name, modifiers, statement)? {
            return Ok(operation);
        }
        if let Some(operation) = self.convert(name, modifiers, statement)? {
            return Ok(operation);
        }
        if let Some(operation) = self.float(name, modifiers, statement)? {
            return Ok(operation);
        }
        if let Some(operation) = self.arithmetic(name, modifiers, statement)? {
            return Ok(operation);
        }
        Err(format!("unknown instruction {} with {} operands", statement.opcode, statement.operands.len()))
    }
}

/// The functions that `entry` reaches, itself first, each once; a function that reaches itself is an error.
fn reachable<'a>(entry: &'a Function<'a>, names: &ModuleNames<'a>, source: Source) -> std::result::Result<Vec<&'a Function<'a>>, ParseError> {
    fn visit<'a>(
        function: &'a Function<'a>,
        names: &ModuleNames<'a>,
        source: Source,
        path: &mut Vec<&'a str>,
        seen: &mut HashSet<&'a str>,
        found: &mut Vec<&'a Function<'a>>,
    ) -> std::result::Result<(), ParseError> {
        if !seen.insert(function.name) {
            return Ok(());
        }
        found.push(function);
        path.push(function.name);
        for statement in &function.statements {
            if statement.opcode.split('.').next() != Some("call") {
                continue;
            }
            let callees = statement.operands.iter().filter_map(|operand| if let Operand::Name(name, 0) = operand { names.functions.get(name) } else { None });
            for callee in callees.copied() {
                if path.contains(&callee.name) {
                    return Err(source.error(statement.line, format!("recursion: {} reaches itself", callee.name)));
                }
                if callee.entry {
                    return Err(source.error(statement.line, format!("{} is an entry, which is launched and not called", callee.name)));
                }
                if path.len() >= DEEPEST_CALL {
                    return Err(source.error(statement.line, format!("calls are nested deeper than {DEEPEST_CALL}")));
                }
                if callee.scopes.is_empty() {
                    return Err(source.error(statement.line, format!("the function {} is declared but not defined", callee.name)));
                }
                visit(callee, names, source, path, seen, found)?;
            }
        }
        path.pop();
        Ok(())
    }
    let mut found = Vec::new();
    visit(entry, names, source, &mut Vec::new(), &mut HashSet::new(), &mut found)?;
    Ok(found)
}

/// Lays out the shared memory of all functions, the dynamic part last.
fn place_shared<'a>(names: &mut Names<'a>, functions: &[&'a Function<'a>]) {
    let mut variables: Vec<&Declaration> = Vec::new();
    for function in functions {
        variables.extend(function.scopes.iter().flat_map(|scope| &scope.variables).filter(|variable| variable.space == VariableSpace::Shared));
        let named = function.statements.iter().flat_map(|statement| &statement.operands).filter_map(|operand| match operand {
            Operand::Name(name, _) => Some(*name),
            Operand::Address(inner) => match **inner {
                Operand::Name(name, _) => Some(name),
                _ => None,
            },
            _ => None,
        });
        variables.extend(named.filter_map(|name| names.module.shared.get(name).copied()));
    }
    let mut placed = HashSet::new();
    variables.retain(|variable| placed.insert((variable.name, variable.line)));
    variables.sort_by_key(|variable| variable.dynamic);
    for variable in variables {
        names.place_shared(variable);
    }
}

fn entry_parameters(function: &Function) -> Vec<Parameter> {
    let mut end = 0usize;
    let place = |declared: &Declaration| {
        let offset = end.next_multiple_of(declared.align);
        end = offset + declared.bytes;
        Parameter { name: declared.name.to_string(), offset, bytes: declared.bytes, align: declared.align }
    };
    function.parameters.iter().map(place).collect()
}

fn kernel<'a>(entry: &'a Function<'a>, module: &'a ModuleNames<'a>, source: Source<'a>) -> std::result::Result<Kernel, ParseError> {
    let functions = reachable(entry, module, source)?;
    let mut names = Names::new(module);
    names.program.module = module.id;
    names.program.max_threads = entry.max_threads;
    place_shared(&mut names, &functions);
    let parameters = entry_parameters(entry);
    let mut callees = HashMap::new();
    for (number, function) in functions.iter().enumerate().skip(1) {
        let mut place = |declared: &Declaration| (names.local(declared.bytes, declared.align), declared.bytes);
        let parameters = function.parameters.iter().map(&mut place).collect();
        let returns = function.returns.iter().map(&mut place).collect();
        callees.insert(function.name, Callee { number, parameters, returns });
    }
    let mut decoder = Decoder { names, in_entry: true, function: entry, functions: &callees, calls: Vec::new() };
    let mut starts = Vec::new();
    for function in &functions {
        decoder.in_entry = function.entry;
        decoder.function = function;
        starts.push(decoder.names.program.instructions.len());
        decoder.decode(&parameters, source)?;
    }
    let Decoder { names, calls, .. } = decoder;
    let mut program = names.program;
    for call in calls {
        if let Operation::Call { target, function } = &mut program.instructions[call].operation {
            *target = starts[*function];
        }
    }
    if program.local_bytes > LARGEST_LOCAL {
        return Err(source.error(entry.line, format!("{} bytes of local memory: at most {LARGEST_LOCAL} are allowed", program.local_bytes)));
    }
    program.lines = lines(&program.instructions, source);
    Ok(Kernel { name: entry.name.to_string(), parameters, program })
}

impl<'a> Decoder<'a, '_> {
    /// Decodes the current function behind what the program holds already.
    fn decode(&mut self, entry_parameters: &[Parameter], source: Source) -> std::result::Result<(), ParseError> {
        let function = self.function;
        let mut meanings = Vec::new();
        if function.entry {
            meanings.extend(
                function
                    .parameters
                    .iter()
                    .zip(entry_parameters)
                    .map(|(declared, placed)| (declared.name, Meaning::Variable(Space::Parameter, placed.offset as u64))),
            );
        } else {
            let callee = &self.functions[function.name];
            let local = |(declared, placed): (&Declaration<'a>, &(usize, usize))| (declared.name, Meaning::Variable(Space::Local, placed.0 as u64));
            meanings.extend(function.parameters.iter().zip(&callee.parameters).map(local));
            meanings.extend(function.returns.iter().zip(&callee.returns).map(local));
        }
        self.names.enter(function, &meanings).map_err(|message| source.error(function.line, message))?;
        let first = self.names.program.instructions.len();
        let mut positions = Vec::with_capacity(function.statements.len() + 1);
        for statement in &function.statements {
            positions.push(self.names.program.instructions.len());
            let decoded = self.statement(statement).map_err(|message| source.error(statement.line, message))?;
            self.names.program.instructions.extend(decoded);
        }
        positions.push(self.names.program.instructions.len());
        let line = function.statements.last().map_or(function.line, |last| last.line);
        let end = if function.entry { Operation::Exit } else { Operation::Return };
        self.names.program.instructions.push(Instruction { line, guard: None, operation: end });
        for instruction in &mut self.names.program.instructions[first..] {
            match &mut instruction.operation {
                Operation::Branch { target, .. } => *target = positions[*target],
                Operation::BranchTable { targets, .. } => targets.iter_mut().for_each(|target| *target = positions[*target]),
                _ => {}
            }
        }
        set_joins(&mut self.names.program.instructions, first);
        let own = self.names.own.clone();
        self.names.program.function_registers.push(own);
        Ok(())
    }
}

fn lines(instructions: &[Instruction], source: Source) -> Vec<(u32, String)> {
    let mut numbers: Vec<u32> = instructions.iter().map(|instruction| instruction.line).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut wanted = numbers.into_iter().peekable();
    let mut found = Vec::new();
    for (index, text) in source.0.lines().enumerate() {
        if wanted.next_if_eq(&(index as u32 + 1)).is_some() {
            found.push((index as u32 + 1, text.trim().to_string()));
        }
    }
    found
}
