//! A JSON text as a sequence of events, without a tree and without recursion.

use std::borrow::Cow;

/// One piece of a JSON text. Numbers are their source text, strings are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'t> {
    Null,
    Bool(bool),
    Number(&'t str),
    Text(Cow<'t, str>),
    ListStart,
    ListEnd,
    MapStart,
    /// A field's name; its value follows.
    Name(Cow<'t, str>),
    MapEnd,
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("not valid JSON at byte {at} of the row: expected {expected}")]
    Syntax { at: usize, expected: &'static str },
    #[error(
        "a string has half of a surrogate pair (\\u{unit:04x}) at byte {at} of the row, which is no character and cannot be stored"
    )]
    LoneSurrogate { at: usize, unit: u16 },
    #[error(
        "lists and objects are nested more than {limit} levels deep, which is DynamoDB's limit: flatten the value, or send it as a string"
    )]
    Depth { limit: usize },
}

impl JsonError {
    /// The cause's name, as a dead letter names it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "InvalidJson",
            Self::LoneSurrogate { .. } => "LoneSurrogate",
            Self::Depth { .. } => "NestedTooDeep",
        }
    }
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrListEnd,
    Name,
    NameOrMapEnd,
    /// After a value: a comma or the end of what is open.
    More,
}

/// The events of a text. After an error there are no more.
#[derive(Debug)]
pub struct Events<'t> {
    text: &'t str,
    at: usize,
    /// Where the last event begins.
    start: usize,
    /// The lists (false) and objects (true) that are open.
    open: Vec<bool>,
    limit: usize,
    expect: Expect,
    over: bool,
}

impl<'t> Events<'t> {
    /// Reads `text`, in which a value may be inside of at most `limit` lists and objects.
    pub fn new(text: &'t str, limit: usize) -> Self {
        Self { text, at: 0, start: 0, open: Vec::new(), limit, expect: Expect::Value, over: false }
    }

    /// How many lists and objects are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Byte at which the last event begins.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Bytes read.
    pub fn position(&self) -> usize {
        self.at
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn wrong<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError::Syntax { at: self.at, expected })
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return self.wrong(expected);
        }
        self.at += 1;
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Event<'t>>, JsonError> {
        self.skip_space();
        if self.expect == Expect::More {
            let Some(in_map) = self.open.last().copied() else {
                return if self.at == self.text.len() { Ok(None) } else { self.wrong("the end of the text") };
            };
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.skip_space();
                    self.expect = if in_map { Expect::Name } else { Expect::Value };
                }
                Some(b']') if !in_map => return Ok(Some(self.close())),
                Some(b'}') if in_map => return Ok(Some(self.close())),
                _ if in_map => return self.wrong("`,` or `}`"),
                _ => return self.wrong("`,` or `]`"),
            }
        }
        self.start = self.at;
        match (self.expect, self.peek()) {
            (Expect::ValueOrListEnd, Some(b']')) | (Expect::NameOrMapEnd, Some(b'}')) => Ok(Some(self.close())),
            (Expect::Name | Expect::NameOrMapEnd, _) => {
                let name = self.string("a field's name in quotes")?;
                self.skip_space();
                self.take(b':', "`:`")?;
                self.expect = Expect::Value;
                Ok(Some(Event::Name(name)))
            }
            (_, first) => self.value(first).map(Some),
        }
    }

    fn close(&mut self) -> Event<'t> {
        self.at += 1;
        self.expect = Expect::More;
        if self.open.pop() == Some(true) { Event::MapEnd } else { Event::ListEnd }
    }

    fn value(&mut self, first: Option<u8>) -> Result<Event<'t>, JsonError> {
        if self.open.len() > self.limit {
            return Err(JsonError::Depth { limit: self.limit });
        }
        self.expect = Expect::More;
        match first {
            Some(b'{') => {
                self.at += 1;
                self.open.push(true);
                self.expect = Expect::NameOrMapEnd;
                Ok(Event::MapStart)
            }
            Some(b'[') => {
                self.at += 1;
                self.open.push(false);
                self.expect = Expect::ValueOrListEnd;
                Ok(Event::ListStart)
            }
            Some(b'"') => self.string("a string").map(Event::Text),
            Some(b'-' | b'0'..=b'9') => {
                let rest = &self.text[self.at..];
                let end =
                    rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
                self.at += end;
                Ok(Event::Number(&rest[..end]))
            }
            _ => {
                let rest = &self.text[self.at..];
                let words = [("null", Event::Null), ("true", Event::Bool(true)), ("false", Event::Bool(false))];
                match words.into_iter().find(|(word, _)| rest.starts_with(word)) {
                    Some((word, event)) => {
                        self.at += word.len();
                        Ok(event)
                    }
                    None => self.wrong("a value"),
                }
            }
        }
    }

    fn string(&mut self, expected: &'static str) -> Result<Cow<'t, str>, JsonError> {
        self.take(b'"', expected)?;
        let start = self.at;
        let Some(plain) = self.until_special() else { return self.wrong("the end of the string") };
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[start..start + plain]));
        }
        let mut decoded = String::with_capacity(plain + 16);
        decoded.push_str(&self.text[start..start + plain]);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(decoded));
                }
                Some(b'\\') => {
                    self.at += 1;
                    decoded.push(self.escape()?);
                }
                _ => return self.wrong("no control character inside of a string"),
            }
            let from = self.at;
            let Some(plain) = self.until_special() else { return self.wrong("the end of the string") };
            decoded.push_str(&self.text[from..from + plain]);
        }
    }

    /// Goes to the next quote, backslash or control character; gives the bytes passed.
    fn until_special(&mut self) -> Option<usize> {
        let rest = &self.text.as_bytes()[self.at..];
        let plain = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f))?;
        self.at += plain;
        Some(plain)
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let at = self.at - 1;
        let Some(kind) = self.peek() else { return self.wrong("an escape") };
        self.at += 1;
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex()?;
                let second = if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    Some(self.hex()?)
                } else {
                    None
                };
                let mut decoded = char::decode_utf16([unit].into_iter().chain(second));
                decoded.next().and_then(Result::ok).ok_or(JsonError::LoneSurrogate { at, unit })?
            }
            _ => {
                self.at -= 1;
                return self.wrong("an escape");
            }
        })
    }

    fn hex(&mut self) -> Result<u16, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(unit) = digits.and_then(|d| u16::from_str_radix(d, 16).ok()) else {
            return self.wrong("four hexadecimal digits");
        };
        self.at += 4;
        Ok(unit)
    }
}

impl<'t> Iterator for Events<'t> {
    type Item = Result<Event<'t>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let event = self.step().transpose();
        self.over = !matches!(event, Some(Ok(_)));
        event
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Event<'_>>, JsonError> {
        Events::new(text, 32).collect()
    }

    #[test]
    fn events_in_order() {
        use Event::{Bool, ListEnd, ListStart, MapEnd, MapStart, Name, Null, Number, Text};
        let text =
            " { \"a\" : [ 1 , -2.50E+3, [] ] ,\"\\u00e4\":{}, \"b\":[true,false,null,\"x\\ty\\ud83d\\ude00\"] } ";
        assert_eq!(
            read(text).expect("valid"),
            [
                MapStart,
                Name("a".into()),
                ListStart,
                Number("1"),
                Number("-2.50E+3"),
                ListStart,
                ListEnd,
                ListEnd,
                Name("ä".into()),
                MapStart,
                MapEnd,
                Name("b".into()),
                ListStart,
                Bool(true),
                Bool(false),
                Null,
                Text("x\ty😀".into()),
                ListEnd,
                MapEnd
            ]
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800\ud800""#, r#""x\udfff\ud800""#] {
            assert!(matches!(read(text), Err(JsonError::LoneSurrogate { .. })), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "{\"a\":1,}",
            "[1 2]",
            "\"\\x\"",
            "\"a",
            "\"\\u12\"",
            "nul",
            "1 1",
            "]",
            "{]",
        ] {
            assert!(matches!(read(text), Err(JsonError::Syntax { .. })), "{text}: {:?}", read(text));
        }
    }

    /// Depth is bounded however deep the text is.
    #[test]
    fn depth_is_limited() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&nested(32)).is_ok());
        assert_eq!(read(&nested(33)), Err(JsonError::Depth { limit: 32 }));
        assert_eq!(read(&"[".repeat(1_000_000)), Err(JsonError::Depth { limit: 32 }));
    }

    proptest! {
        /// No text makes it panic.
        #[test]
        fn any_text_is_read_or_refused(text in "[\\[\\]{}\",:0-9a-f\\\\u .ntrl-]{0,40}") {
            let _ = read(&text);
        }

        /// What the reference parser accepts is accepted, with the same strings.
        #[test]
        fn strings_are_decoded_as_the_reference_does(value in any::<String>()) {
            let text = serde_json::to_string(&value).expect("a string");
            prop_assert_eq!(read(&text), Ok(vec![Event::Text(value.as_str().into())]));
        }
    }
}
