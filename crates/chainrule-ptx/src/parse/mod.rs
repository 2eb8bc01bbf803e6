//! From text to programs.
mod body;
mod cursor;
mod declaration;
mod lexer;
pub(crate) mod syntax;

use crate::fault::ParseError;
use crate::module::Module;
use cursor::{Cursor, Result};
pub(crate) use lexer::Source;
use lexer::Token;
use syntax::{File, Function};

/// The newest version of the language that NVRTC 12.1 writes; drivers older than its own refuse newer ones.
const NEWEST: (u32, u32) = (8, 1);
const MAX_THREADS: u32 = 1024;

pub(crate) fn module(text: &str) -> std::result::Result<Module, ParseError> {
    let mut cursor = Cursor::new(text)?;
    let file = cursor.file()?;
    crate::decode::module(&file, cursor.source)
}

impl<'a> Cursor<'a> {
    fn file(&mut self) -> Result<File<'a>> {
        let mut file = File::default();
        let mut is_extern = false;
        loop {
            let line = self.line();
            let word = match self.peek() {
                Token::End if file.version == (0, 0) => return Err(self.error("there is no .version")),
                Token::End => return Ok(file),
                Token::Sign(';') => {
                    self.advance();
                    continue;
                }
                _ => self.word()?,
            };
            match word {
                ".visible" | ".weak" | ".common" => continue,
                ".extern" => {
                    is_extern = true;
                    continue;
                }
                ".version" => file.version = self.version(line)?,
                ".target" => {
                    self.word()?;
                    while self.take(',') {
                        self.word()?;
                    }
                }
                ".address_size" => {
                    if self.count()? != 64 {
                        return Err(self.source.error(line, "addresses must have 64 bits"));
                    }
                }
                ".file" => self.skip_rest_of_directive(),
                ".section" => {
                    self.word()?;
                    self.skip_braces()?;
                }
                ".pragma" => {
                    self.advance();
                    self.expect(';')?;
                }
                ".entry" | ".func" => {
                    let function = self.function(word == ".entry", line)?;
                    file.functions.push(function);
                }
                _ => match declaration::space(word) {
                    Some(space @ (syntax::VariableSpace::Global | syntax::VariableSpace::Shared)) => {
                        loop {
                            let declaration = self.declaration(space, is_extern)?;
                            file.variables.push(declaration);
                            if !self.take(',') {
                                break;
                            }
                        }
                        self.expect(';')?;
                    }
                    _ => return Err(self.source.error(line, format!("unknown directive {word}"))),
                },
            }
            is_extern = false;
        }
    }

    fn version(&mut self, line: u32) -> Result<(u32, u32)> {
        let parsed = match self.advance() {
            Token::Number(text) => text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?))),
            _ => None,
        };
        let version: (u32, u32) = parsed.ok_or_else(|| self.source.error(line, "expected a version such as 8.1"))?;
        if version > NEWEST {
            let ((major, minor), (newest, newest_minor)) = (version, NEWEST);
            return Err(self.source.error(line, format!("PTX {major}.{minor} is newer than {newest}.{newest_minor}, the newest that may be shipped")));
        }
        Ok(version)
    }

    fn function(&mut self, entry: bool, line: u32) -> Result<Function<'a>> {
        let returns = if self.peek() == Token::Sign('(') { self.parameters()? } else { Vec::new() };
        let name = self.word()?;
        let parameters = if self.peek() == Token::Sign('(') { self.parameters()? } else { Vec::new() };
        let mut function = Function { line, name, entry, returns, parameters, max_threads: MAX_THREADS, scopes: Vec::new(), statements: Vec::new() };
        loop {
            if self.take(';') {
                return Ok(function);
            }
            if self.take('{') {
                self.body(&mut function)?;
                return Ok(function);
            }
            match self.word()? {
                ".maxntid" | ".reqntid" => function.max_threads = self.extents()?.min(MAX_THREADS),
                ".minnctapersm" | ".maxnctapersm" | ".maxnreg" => {
                    self.count()?;
                }
                ".pragma" => {
                    self.advance();
                    self.expect(';')?;
                }
                ".noreturn" => {}
                other => return Err(self.error(format!("unknown directive {other}"))),
            }
        }
    }

    fn extents(&mut self) -> Result<u32> {
        let mut product = 1u32;
        loop {
            product = product.saturating_mul(self.count()? as u32);
            if !self.take(',') {
                return Ok(product);
            }
        }
    }
}
