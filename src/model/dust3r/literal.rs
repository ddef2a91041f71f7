//! Values as Python writes them: JSON with bare infinities, and the calls by which checkpoints say
//! how their model was made.

use std::iter::Peekable;
use std::str::CharIndices;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    /// A number, which may be infinite.
    Number(f64),
    /// A text, or a name such as `True`.
    Text(String),
    /// A list or a tuple.
    List(Vec<Literal>),
    /// A dictionary, or a call with its arguments by name.
    Fields(Vec<(String, Literal)>),
}

impl Literal {
    /// Returns the value of `text`, or where it cannot be understood.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, rest: text.char_indices().peekable() };
        let value = reader.value()?;
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.problem("the end")),
        }
    }

    /// Returns the field at a path of names.
    pub(super) fn field(&self, path: &[&str]) -> Option<&Self> {
        let [first, rest @ ..] = path else { return Some(self) };
        let Self::Fields(fields) = self else { return None };
        fields.iter().find(|(name, _)| name == first)?.1.field(rest)
    }

    /// Returns a number, also where it is written as a text.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            Self::Text(text) => named_number(text),
            _ => None,
        }
    }

    /// Returns a natural number.
    pub(super) fn size(&self) -> Option<usize> {
        let value = self.number()?;
        (value >= 0.0 && value.fract() == 0.0 && value < 1e9).then_some(value as usize)
    }

    /// Returns a text.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Returns a truth value.
    pub(super) fn truth(&self) -> Option<bool> {
        match self.text()? {
            "True" | "true" => Some(true),
            "False" | "false" => Some(false),
            _ => None,
        }
    }

    /// Returns the elements of a list.
    pub(super) fn list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }
}

fn named_number(text: &str) -> Option<f64> {
    match text {
        "inf" | "Infinity" => Some(f64::INFINITY),
        "-inf" | "-Infinity" => Some(f64::NEG_INFINITY),
        "nan" | "NaN" => Some(f64::NAN),
        _ => None,
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        self.rest.peek().map(|(_, c)| *c)
    }

    fn takes(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest.next();
        }
        found
    }

    fn problem(&mut self, expected: &str) -> String {
        let at = self.rest.peek().map_or(self.text.len(), |(at, _)| *at);
        format!("expected {expected} at byte {at}")
    }

    fn value(&mut self) -> Result<Literal, String> {
        match self.peek() {
            Some('{') => self.fields('}', ':'),
            Some('[') => self.list(']'),
            Some('(') => self.list(')'),
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(Literal::Text),
            Some(c) if c.is_ascii_digit() || "+-.".contains(c) => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.named(),
            _ => Err(self.problem("a value")),
        }
    }

    fn list(&mut self, close: char) -> Result<Literal, String> {
        self.rest.next();
        let mut list = Vec::new();
        while !self.takes(close) {
            list.push(self.value()?);
            if !self.takes(',') && self.peek() != Some(close) {
                return Err(self.problem("a comma"));
            }
        }
        Ok(Literal::List(list))
    }

    fn fields(&mut self, close: char, between: char) -> Result<Literal, String> {
        self.rest.next();
        let mut fields = Vec::new();
        while !self.takes(close) {
            let name = match self.peek() {
                Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
                _ => self.word(),
            };
            if !self.takes(between) {
                return Err(self.problem("a named value"));
            }
            fields.push((name, self.value()?));
            if !self.takes(',') && self.peek() != Some(close) {
                return Err(self.problem("a comma"));
            }
        }
        Ok(Literal::Fields(fields))
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.rest.next();
        let mut text = String::new();
        while let Some((_, c)) = self.rest.next() {
            match c {
                c if c == quote => return Ok(text),
                '\\' => text.extend(self.rest.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        Err(self.problem("a closing quote"))
    }

    fn word(&mut self) -> String {
        self.peek();
        let is_part = |c: char| c.is_alphanumeric() || "_.+-".contains(c);
        let mut word = String::new();
        while let Some((_, c)) = self.rest.next_if(|(_, c)| is_part(*c)) {
            word.push(c);
        }
        word
    }

    fn number(&mut self) -> Result<Literal, String> {
        let word = self.word();
        let number = named_number(&word).or_else(|| word.parse().ok());
        number.map(Literal::Number).ok_or_else(|| format!("'{word}' is no number"))
    }

    /// A name, or a call.
    fn named(&mut self) -> Result<Literal, String> {
        let word = self.word();
        if self.peek() == Some('(') {
            return self.fields(')', '=');
        }
        Ok(named_number(&word).map_or(Literal::Text(word), Literal::Number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_of_a_released_checkpoint_is_read() {
        let text = "AsymmetricMASt3R(pos_embed='RoPE100', img_size=(512, 512), depth_mode=('exp', \
                    -inf, inf), two_confs=True, enc_embed_dim=1024, )";
        let value = Literal::parse(text).expect("it is one");
        let field = |name| value.field(&[name]).expect(name);
        assert_eq!(field("pos_embed").text(), Some("RoPE100"));
        assert_eq!(field("enc_embed_dim").size(), Some(1024));
        assert_eq!(field("two_confs").truth(), Some(true));
        let mode = field("depth_mode").list().expect("a tuple");
        assert_eq!(mode[1].number(), Some(f64::NEG_INFINITY));
        assert_eq!(mode[2].number(), Some(f64::INFINITY));
    }

    #[test]
    fn json_with_bare_infinities_is_read() {
        let text =
            "{\"a\": [\"exp\", -Infinity, Infinity, \"inf\"], \"b\": {\"c\": 1e-06}, \"d\": null}";
        let value = Literal::parse(text).expect("it is one");
        let list = value.field(&["a"]).and_then(Literal::list).expect("a list");
        assert_eq!(list[1].number(), Some(f64::NEG_INFINITY));
        assert_eq!(list[3].number(), Some(f64::INFINITY));
        assert_eq!(value.field(&["b", "c"]).and_then(Literal::number), Some(1e-6));
        assert_eq!(value.field(&["b", "x"]), None);
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_place() {
        for text in ["", "{", "[1 2]", "f(x)", "'open", "{\"a\" 1}", "1 2", "--3"] {
            assert!(Literal::parse(text).is_err(), "{text}");
        }
        assert!(Literal::parse("[1 2]").is_err_and(|problem| problem.contains("byte 3")));
    }
}
