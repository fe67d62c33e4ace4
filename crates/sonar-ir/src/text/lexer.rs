//! Text to tokens. Blanks and `//` comments only separate tokens.

use super::error::{Fault, Span};
use std::fmt;

/// A token of the graph language.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// `%x`, `%0` or `%"any text"`: a tensor.
    Tensor(TensorName),
    /// `@cell` or `@"any text"`: a graph.
    Graph(String),
    /// `$c`: a number or a word.
    Scalar(String),
    /// `relu`, `let`, `f32`, `N`.
    Word(String),
    /// `16`
    Int(i64),
    /// `1e-5`, `0.5`
    Float(f32),
    /// One of `( ) { } [ ] , : = == => + - * /`.
    Punct(&'static str),
    /// The end of the text.
    End,
}

/// Name of a tensor within a graph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TensorName {
    /// Without sigil and quotes.
    pub text: String,
    /// Whether it is an unquoted number, as `%3`: such a name only serves to refer to the tensor within the text.
    pub anonymous: bool,
}

/// A token and its place.
pub(crate) type Lexeme = (Token, Span);

const PUNCTUATION: [&str; 15] = ["=>", "==", "(", ")", "{", "}", "[", "]", ",", ":", "=", "+", "-", "*", "/"];

/// All tokens of the text; the last one is [`Token::End`].
pub(crate) fn lex(text: &str) -> Result<Vec<Lexeme>, Fault> {
    let mut lexemes = Vec::new();
    let mut at = 0;
    loop {
        at = skip_blanks(text, at);
        let Some(first) = text[at..].chars().next() else {
            lexemes.push((Token::End, at..at));
            return Ok(lexemes);
        };
        let (token, end) = match first {
            '%' => {
                let (name, quoted, end) = name(text, at, is_path)?;
                let anonymous = !quoted && name.bytes().all(|b| b.is_ascii_digit());
                (Token::Tensor(TensorName { text: name, anonymous }), end)
            }
            '@' => {
                let (name, _, end) = name(text, at, is_path)?;
                (Token::Graph(name), end)
            }
            '$' => {
                let (name, _, end) = name(text, at, is_word)?;
                (Token::Scalar(name), end)
            }
            c if c.is_ascii_digit() => number(text, at)?,
            c if is_word(c) => {
                let end = run(text, at, is_word);
                (Token::Word(text[at..end].to_string()), end)
            }
            c => match PUNCTUATION.iter().find(|p| text[at..].starts_with(**p)) {
                Some(p) => (Token::Punct(p), at + p.len()),
                None => return Err(Fault::new(at..at + c.len_utf8(), format!("unexpected character {c:?}"))),
            },
        };
        lexemes.push((token, at..end));
        at = end;
    }
}

/// The text of a name after its sigil, quoted where [`lex`] needs quotes.
pub(crate) fn quote_unless(plain: bool, name: &str) -> String {
    if plain && !name.is_empty() && name.chars().all(is_path) {
        return name.to_string();
    }
    let mut quoted = String::from("\"");
    for c in name.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_path(c: char) -> bool {
    is_word(c) || c == '.'
}

/// End of the run of characters from `at` on that satisfy `test`.
fn run(text: &str, at: usize, test: impl Fn(char) -> bool) -> usize {
    text[at..].find(|c| !test(c)).map_or(text.len(), |n| at + n)
}

fn skip_blanks(text: &str, mut at: usize) -> usize {
    loop {
        at = run(text, at, char::is_whitespace);
        if !text[at..].starts_with("//") {
            return at;
        }
        at = run(text, at, |c| c != '\n');
    }
}

/// The name after a sigil, whether it was quoted, and where it ends.
fn name(text: &str, sigil: usize, test: impl Fn(char) -> bool) -> Result<(String, bool, usize), Fault> {
    let start = sigil + 1;
    if !text[start..].starts_with('"') {
        let end = run(text, start, test);
        if end == start {
            return Err(Fault::new(sigil..start, format!("expected a name after `{}`", &text[sigil..start])));
        }
        return Ok((text[start..end].to_string(), false, end));
    }
    let mut name = String::new();
    let mut chars = text[start + 1..].char_indices();
    while let Some((offset, c)) = chars.next() {
        match c {
            '"' => return Ok((name, true, start + 1 + offset + 1)),
            '\\' => match chars.next() {
                Some((_, 'n')) => name.push('\n'),
                Some((_, c)) => name.push(c),
                None => break,
            },
            c => name.push(c),
        }
    }
    Err(Fault::new(sigil..text.len(), "a quoted name is not closed").help("add the closing `\"`"))
}

fn number(text: &str, at: usize) -> Result<(Token, usize), Fault> {
    let digits = |at| run(text, at, |c| c.is_ascii_digit());
    let mut end = digits(at);
    let mut whole = true;
    if text[end..].starts_with('.') && digits(end + 1) > end + 1 {
        whole = false;
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = end + 1;
        let exponent = if text[sign..].starts_with(['+', '-']) { sign + 1 } else { sign };
        if digits(exponent) > exponent {
            whole = false;
            end = digits(exponent);
        }
    }
    let literal = &text[at..end];
    let token = if whole {
        let value = literal.parse().map_err(|_| {
            let limit = format!("a whole number is at most {}", i64::MAX);
            Fault::new(at..end, "this number is too large").help(limit)
        })?;
        Token::Int(value)
    } else {
        Token::Float(literal.parse().map_err(|_| Fault::expected(at..end, "a number", literal))?)
    };
    Ok((token, end))
}

impl fmt::Display for TensorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.anonymous || !self.text.bytes().all(|b| b.is_ascii_digit());
        write!(f, "%{}", quote_unless(plain, &self.text))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Tensor(name) => write!(f, "`{name}`"),
            Token::Graph(name) => write!(f, "`@{}`", quote_unless(true, name)),
            Token::Scalar(name) => write!(f, "`${name}`"),
            Token::Word(word) => write!(f, "`{word}`"),
            Token::Int(value) => write!(f, "`{value}`"),
            Token::Float(value) => write!(f, "`{value}`"),
            Token::Punct(punct) => write!(f, "`{punct}`"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}
