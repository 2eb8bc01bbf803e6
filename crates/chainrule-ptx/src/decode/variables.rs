//! Variables and functions of a module.
use std::collections::HashMap;

use crate::fault::ParseError;
use crate::module::Variable;
use crate::parse::Source;
use crate::parse::syntax::{Declaration, File, Function, Initial, VariableSpace};

pub(super) struct ModuleNames<'a> {
    pub id: u64,
    variables: HashMap<&'a str, usize>,
    pub shared: HashMap<&'a str, &'a Declaration<'a>>,
    pub functions: HashMap<&'a str, &'a Function<'a>>,
}

impl<'a> ModuleNames<'a> {
    pub fn new(file: &'a File<'a>, id: u64) -> ModuleNames<'a> {
        let mut names = ModuleNames { id, variables: HashMap::new(), shared: HashMap::new(), functions: HashMap::new() };
        for variable in global_variables(file) {
            let number = names.variables.len();
            names.variables.insert(variable.name, number);
        }
        names.shared = file.variables.iter().filter(|variable| variable.space == VariableSpace::Shared).map(|variable| (variable.name, variable)).collect();
        // A definition follows its declaration and replaces it.
        names.functions = file.functions.iter().map(|function| (function.name, function)).collect();
        names
    }

    pub fn variable(&self, name: &str) -> Option<usize> {
        self.variables.get(name).copied()
    }

    /// The contents of the module's variables.
    pub fn contents(&self, file: &'a File<'a>, source: Source) -> Result<Vec<Variable>, ParseError> {
        let mut contents: Vec<Variable> = Vec::new();
        for declared in global_variables(file) {
            if contents.iter().any(|variable| variable.name == declared.name) {
                return Err(source.error(declared.line, format!("the variable {} stands twice", declared.name)));
            }
            let width = declared.ty.bytes();
            let mut initial = vec![0; declared.bytes];
            let mut pointers = Vec::new();
            for (index, value) in declared.initial.iter().enumerate() {
                let start = index * width;
                match value {
                    Initial::Number(number) => initial[start..start + width].copy_from_slice(&number.bits(declared.ty).to_le_bytes()[..width]),
                    Initial::Address(name, addend) => {
                        let target = self.variable(name).filter(|_| width == 8);
                        let target = target.ok_or_else(|| source.error(declared.line, format!("{name} is no variable whose address fits here")))?;
                        pointers.push((start, target, *addend as u64));
                    }
                }
            }
            contents.push(Variable { name: declared.name.to_string(), initial, pointers });
        }
        Ok(contents)
    }
}

fn global_variables<'a>(file: &'a File<'a>) -> impl Iterator<Item = &'a Declaration<'a>> {
    // Variables inside of functions (`static __device__`) belong to the module too.
    let inner = file.functions.iter().flat_map(|function| function.scopes.iter().flat_map(|scope| scope.variables.iter()));
    file.variables.iter().chain(inner).filter(|variable| variable.space == VariableSpace::Global)
}
