//! Bodies of functions: scopes, labels and statements.
use super::cursor::{Cursor, Result};
use super::declaration::space;
use super::lexer::Token;
use super::syntax::{Function, Operand, Scope, Statement};

impl<'a> Cursor<'a> {
    /// Everything between the braces of a function; the opening one is taken.
    pub fn body(&mut self, function: &mut Function<'a>) -> Result<()> {
        function.scopes.push(Scope::default());
        let mut scope = 0;
        loop {
            match self.peek() {
                Token::Sign('{') => {
                    self.advance();
                    function.scopes.push(Scope { parent: Some(scope), ..Scope::default() });
                    scope = function.scopes.len() - 1;
                }
                Token::Sign('}') => {
                    self.advance();
                    match function.scopes[scope].parent {
                        Some(parent) => scope = parent,
                        None => return Ok(()),
                    }
                }
                Token::Sign(';') => {
                    self.advance();
                }
                Token::Word(word) if word.starts_with('.') => {
                    self.advance();
                    self.directive(word, &mut function.scopes[scope])?;
                }
                Token::Word(label) if self.peek_second() == Token::Sign(':') => {
                    self.advance();
                    self.advance();
                    if self.take_word(".branchtargets") {
                        let targets = self.labels()?;
                        function.scopes[scope].tables.insert(label, targets);
                    } else if let Token::Word(".callprototype" | ".calltargets") = self.peek() {
                        return Err(self.error("indirect calls are not supported"));
                    } else if function.scopes[scope].labels.insert(label, function.statements.len()).is_some() {
                        return Err(self.error(format!("the label {label} stands twice")));
                    }
                }
                Token::Sign('@') | Token::Word(_) => {
                    let statement = self.statement(scope)?;
                    function.statements.push(statement);
                }
                _ => return Err(self.error("expected a statement")),
            }
        }
    }

    fn directive(&mut self, word: &str, scope: &mut Scope<'a>) -> Result<()> {
        if word == ".reg" {
            return self.registers(&mut scope.registers);
        }
        if let Some(space) = space(word) {
            loop {
                let declaration = self.declaration(space, false)?;
                scope.variables.push(declaration);
                if !self.take(',') {
                    return self.expect(';');
                }
            }
        }
        match word {
            ".loc" | ".file" => {
                self.skip_rest_of_directive();
                Ok(())
            }
            ".pragma" => {
                self.advance();
                self.expect(';')
            }
            ".extern" => {
                if !self.take_word(".shared") {
                    return Err(self.error("only shared memory may be external inside a function"));
                }
                let declaration = self.declaration(super::syntax::VariableSpace::Shared, true)?;
                scope.variables.push(declaration);
                self.expect(';')
            }
            _ => Err(self.error(format!("unknown directive {word}"))),
        }
    }

    fn labels(&mut self) -> Result<Vec<&'a str>> {
        let mut found = Vec::new();
        loop {
            found.push(self.word()?);
            if !self.take(',') {
                self.expect(';')?;
                return Ok(found);
            }
        }
    }

    fn statement(&mut self, scope: usize) -> Result<Statement<'a>> {
        let line = self.line();
        let guard = if self.take('@') {
            let negated = self.take('!');
            Some((self.word()?, negated))
        } else {
            None
        };
        let opcode = self.word()?;
        let mut operands = Vec::new();
        if !self.take(';') {
            loop {
                operands.push(self.operand(0)?);
                if !self.take(',') {
                    self.expect(';')?;
                    break;
                }
            }
        }
        Ok(Statement { line, scope, guard, opcode, operands })
    }

    fn list(&mut self, end: char, depth: usize) -> Result<Vec<Operand<'a>>> {
        let mut found = Vec::new();
        if self.take(end) {
            return Ok(found);
        }
        loop {
            found.push(self.operand(depth)?);
            if !self.take(',') {
                self.expect(end)?;
                return Ok(found);
            }
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Operand<'a>> {
        if depth > 2 {
            return Err(self.error("the operand is nested too deeply"));
        }
        Ok(match self.peek() {
            Token::Sign('[') => {
                self.advance();
                let inner = self.operand(depth + 1)?;
                self.expect(']')?;
                Operand::Address(Box::new(inner))
            }
            Token::Sign('{') => {
                self.advance();
                Operand::Vector(self.list('}', depth + 1)?)
            }
            Token::Sign('(') => {
                self.advance();
                Operand::Arguments(self.list(')', depth + 1)?)
            }
            Token::Sign('!') => {
                self.advance();
                Operand::Not(self.word()?)
            }
            Token::Word(name) => {
                self.advance();
                if self.take('|') {
                    return Ok(Operand::Pair(name, self.word()?));
                }
                let mut offset = 0i64;
                while self.take('+') || self.peek() == Token::Sign('-') {
                    match self.number()? {
                        super::syntax::Number::Integer(value) => offset = offset.wrapping_add(value as i64),
                        other => return Err(self.error(format!("{other:?} is no offset"))),
                    }
                }
                Operand::Name(name, offset)
            }
            _ => Operand::Number(self.number()?),
        })
    }
}
