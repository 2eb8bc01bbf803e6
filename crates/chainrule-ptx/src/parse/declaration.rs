//! Variables, parameters and registers.
use super::cursor::{Cursor, Result};
use super::lexer::Token;
use super::syntax::{Declaration, Initial, RegisterDeclaration, VariableSpace};
use crate::types::Type;

/// More bytes than any array of a program has.
const LARGEST: usize = 1 << 28;

pub(super) fn space(directive: &str) -> Option<VariableSpace> {
    Some(match directive {
        ".global" | ".const" => VariableSpace::Global,
        ".shared" => VariableSpace::Shared,
        ".local" => VariableSpace::Local,
        ".param" => VariableSpace::Parameter,
        _ => return None,
    })
}

impl<'a> Cursor<'a> {
    fn ty(&mut self) -> Result<(Type, usize)> {
        let mut count = 1;
        loop {
            let line_error = self.error("expected a type");
            let word = self.word()?;
            match word {
                ".v2" => count = 2,
                ".v4" => count = 4,
                _ => return Ok((word.strip_prefix('.').and_then(Type::parse).ok_or(line_error)?, count)),
            }
        }
    }

    /// What follows a space directive: `.align 4 .b8 name[16] = {…}`, with one name; the semicolon or comma stays.
    pub fn declaration(&mut self, space: VariableSpace, is_extern: bool) -> Result<Declaration<'a>> {
        let line = self.line();
        let mut align = None;
        while self.take_word(".align") {
            align = Some(self.count()?);
        }
        let (ty, vector) = self.ty()?;
        while let Token::Word(word) = self.peek() {
            match word {
                ".ptr" | ".global" | ".shared" | ".local" | ".const" => {
                    self.advance();
                }
                ".align" => {
                    self.advance();
                    self.count()?;
                }
                _ => break,
            }
        }
        let name = self.word()?;
        let mut bytes = ty.bytes() * vector;
        let mut unsized_array = false;
        while self.take('[') {
            if self.take(']') {
                unsized_array = true;
                continue;
            }
            let count = self.count()?;
            self.expect(']')?;
            bytes = bytes.checked_mul(count).filter(|&bytes| bytes <= LARGEST).ok_or_else(|| self.error("the array is too large"))?;
        }
        let mut initial = Vec::new();
        if self.take('=') {
            self.initial(&mut initial, 0)?;
        }
        if unsized_array {
            bytes = initial.len() * ty.bytes();
        }
        let align = align.unwrap_or(ty.bytes() * vector);
        if !align.is_power_of_two() {
            return Err(self.error(format!("the alignment {align} is no power of two")));
        }
        if initial.len() * ty.bytes() > bytes {
            return Err(self.error(format!("{} initial values for {bytes} bytes", initial.len())));
        }
        let dynamic = is_extern && space == VariableSpace::Shared;
        if is_extern && !dynamic {
            return Err(self.error("external variables are not linked"));
        }
        Ok(Declaration { line, space, name, ty, align, bytes, dynamic, initial })
    }

    fn initial(&mut self, values: &mut Vec<Initial<'a>>, depth: usize) -> Result<()> {
        if depth > 8 {
            return Err(self.error("the lists are nested too deeply"));
        }
        if self.take('{') {
            if self.take('}') {
                return Ok(());
            }
            loop {
                self.initial(values, depth + 1)?;
                if !self.take(',') {
                    return self.expect('}');
                }
            }
        }
        let Token::Word(name) = self.peek() else {
            values.push(Initial::Number(self.number()?));
            return Ok(());
        };
        self.advance();
        let name = if name == "generic" {
            self.expect('(')?;
            let name = self.word()?;
            self.expect(')')?;
            name
        } else {
            name
        };
        let offset = if self.take('+') { self.count()? as i64 } else { 0 };
        values.push(Initial::Address(name, offset));
        Ok(())
    }

    /// What follows `.reg`, up to and with the semicolon.
    pub fn registers(&mut self, into: &mut Vec<RegisterDeclaration<'a>>) -> Result<()> {
        let (ty, vector) = self.ty()?;
        if vector != 1 || ty == Type::B128 {
            return Err(self.error("vector registers are not supported"));
        }
        loop {
            let name = self.word()?;
            let mut count = None;
            if self.take('<') {
                count = Some(self.count()?);
                self.expect('>')?;
                if count > Some(1 << 20) {
                    return Err(self.error("more than a million registers"));
                }
            }
            into.push(RegisterDeclaration { ty, name, count });
            if !self.take(',') {
                return self.expect(';');
            }
        }
    }

    /// `(.param .b32 a, .param .b64 b)` or the same with `.reg`.
    pub fn parameters(&mut self) -> Result<Vec<Declaration<'a>>> {
        let mut found = Vec::new();
        self.expect('(')?;
        if self.take(')') {
            return Ok(found);
        }
        loop {
            if !self.take_word(".param") {
                return Err(self.error("expected .param"));
            }
            found.push(self.declaration(VariableSpace::Parameter, false)?);
            if !self.take(',') {
                self.expect(')')?;
                return Ok(found);
            }
        }
    }
}
