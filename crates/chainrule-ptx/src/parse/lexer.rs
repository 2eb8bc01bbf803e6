//! Words, numbers and signs of a PTX text.
use crate::fault::ParseError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A name, an opcode with its modifiers, or a directive: everything that dots and `::` hold together.
    Word(&'a str),
    Number(&'a str),
    Text(&'a str),
    Sign(char),
    End,
}

/// The text with the places of its lines, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a>(pub &'a str);

impl<'a> Source<'a> {
    pub fn line(&self, line: u32) -> &'a str {
        self.0.lines().nth((line as usize).saturating_sub(1)).unwrap_or_default().trim()
    }

    pub fn error(&self, line: u32, message: impl Into<String>) -> ParseError {
        ParseError { line, statement: self.line(line).to_string(), message: message.into() }
    }
}

fn in_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

/// All tokens, each with its line.
pub(crate) fn tokens<'a>(source: Source<'a>) -> Result<Vec<(Token<'a>, u32)>, ParseError> {
    let text = source.0;
    let bytes = text.as_bytes();
    let mut found = Vec::with_capacity(bytes.len() / 5);
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'\n' => {
                line += 1;
                at += 1;
            }
            b' ' | b'\t' | b'\r' | 0 => at += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => at += bytes[at..].iter().take_while(|&&c| c != b'\n').count(),
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let length = text[at..].find("*/").ok_or_else(|| source.error(line, "the comment has no end"))? + 2;
                line += bytes[at..at + length].iter().filter(|&&c| c == b'\n').count() as u32;
                at += length;
            }
            b'"' => {
                let length = text[at + 1..].find('"').ok_or_else(|| source.error(line, "the string has no end"))?;
                found.push((Token::Text(&text[at + 1..at + 1 + length]), line));
                at += length + 2;
            }
            c if c.is_ascii_digit() => {
                at += bytes[at..].iter().take_while(|&&c| c.is_ascii_alphanumeric() || c == b'.').count();
                found.push((Token::Number(&text[start..at]), line));
            }
            c if in_word(c) => {
                at += 1;
                while at < bytes.len() {
                    // Directives may stand without a space between them: `.reg.b16`.
                    if bytes[at] == b'.' && c == b'.' {
                        break;
                    } else if in_word(bytes[at]) {
                        at += 1;
                    } else if bytes[at..].starts_with(b"::") {
                        at += 2;
                    } else {
                        break;
                    }
                }
                found.push((Token::Word(&text[start..at]), line));
            }
            c if c.is_ascii_graphic() => {
                found.push((Token::Sign(c as char), line));
                at += 1;
            }
            c => return Err(source.error(line, format!("the byte {c:#x} has no place in PTX"))),
        }
    }
    found.push((Token::End, line));
    Ok(found)
}
