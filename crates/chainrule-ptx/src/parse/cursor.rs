//! Reading tokens one after the other.
use super::lexer::{Source, Token, tokens};
use super::syntax::Number;
use crate::fault::ParseError;

pub(super) type Result<T> = std::result::Result<T, ParseError>;

pub(super) struct Cursor<'a> {
    pub source: Source<'a>,
    tokens: Vec<(Token<'a>, u32)>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Result<Cursor<'a>> {
        let source = Source(text);
        Ok(Cursor { source, tokens: tokens(source)?, at: 0 })
    }

    pub fn peek(&self) -> Token<'a> {
        self.tokens[self.at].0
    }

    pub fn peek_second(&self) -> Token<'a> {
        self.tokens.get(self.at + 1).map_or(Token::End, |token| token.0)
    }

    pub fn line(&self) -> u32 {
        self.tokens[self.at].1
    }

    pub fn advance(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    pub fn error(&self, message: impl Into<String>) -> ParseError {
        self.source.error(self.line(), message)
    }

    fn expected<T>(&self, what: &str) -> Result<T> {
        Err(self.error(match self.peek() {
            Token::Word(text) | Token::Number(text) | Token::Text(text) => format!("expected {what}, got `{text}`"),
            Token::Sign(sign) => format!("expected {what}, got `{sign}`"),
            Token::End => format!("expected {what}, but the text ends"),
        }))
    }

    /// Takes the sign if it is next.
    pub fn take(&mut self, sign: char) -> bool {
        let found = self.peek() == Token::Sign(sign);
        if found {
            self.advance();
        }
        found
    }

    pub fn expect(&mut self, sign: char) -> Result<()> {
        if self.take(sign) { Ok(()) } else { self.expected(&format!("`{sign}`")) }
    }

    /// Takes the word if it is next.
    pub fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek() == Token::Word(word);
        if found {
            self.advance();
        }
        found
    }

    pub fn word(&mut self) -> Result<&'a str> {
        match self.peek() {
            Token::Word(word) => {
                self.advance();
                Ok(word)
            }
            _ => self.expected("a name"),
        }
    }

    /// A number with its sign.
    pub fn number(&mut self) -> Result<Number> {
        let negative = self.take('-');
        let Token::Number(text) = self.peek() else { return self.expected("a number") };
        let Some(number) = Number::parse(text) else { return self.expected("a number") };
        self.advance();
        Ok(if negative { number.negated() } else { number })
    }

    /// A number that counts something.
    pub fn count(&mut self) -> Result<usize> {
        match self.number()? {
            Number::Integer(value) if value <= u32::MAX as u64 => Ok(value as usize),
            other => Err(self.error(format!("expected a count, got {other:?}"))),
        }
    }

    /// Skips the rest of the line that the last token stands on (directives that no semicolon ends).
    pub fn skip_rest_of_directive(&mut self) {
        let line = self.tokens[self.at.saturating_sub(1)].1;
        while self.line() == line && self.peek() != Token::End {
            self.advance();
        }
    }

    /// Skips everything between braces, the opening one of which is next.
    pub fn skip_braces(&mut self) -> Result<()> {
        self.expect('{')?;
        let mut depth = 1;
        while depth > 0 {
            match self.advance() {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => depth -= 1,
                Token::End => return self.expected("`}`"),
                _ => {}
            }
        }
        Ok(())
    }
}
