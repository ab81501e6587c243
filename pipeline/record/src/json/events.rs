//! A JSON text as a sequence of events, read without recursion and with a bounded depth.

use std::borrow::Cow;

use thiserror::Error as ThisError;

use super::scan::{self, Fault, Nesting, byte, white_space};
use super::string::{self, LoneSurrogate};

/// One piece of a JSON text. Numbers are their source text, strings are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it stands in the text.
    Number(&'t str),
    /// A string.
    String(Cow<'t, str>),
    /// An array begins.
    ArrayStart,
    /// The innermost array ends.
    ArrayEnd,
    /// An object begins.
    ObjectStart,
    /// The name of a field, whose value follows.
    Name(Cow<'t, str>),
    /// The innermost object ends.
    ObjectEnd,
}

/// Why a text cannot be read. Positions are bytes of the text, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum Error {
    /// The text is not JSON.
    #[error("not valid JSON at byte {at}: expected {expected}")]
    Syntax {
        /// Where it stops being JSON.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// A string is not Unicode text.
    #[error("a string has half of a surrogate pair (\\u{unit:04x}) at byte {at}, which is no character")]
    LoneSurrogate {
        /// Where its escape begins.
        at: usize,
        /// The half that is there.
        unit: u16,
    },
    /// A value is inside of more arrays and objects than are allowed.
    #[error("arrays and objects are nested more than {limit} levels deep")]
    Depth {
        /// How many are allowed.
        limit: usize,
    },
}

impl From<Box<Fault>> for Error {
    fn from(fault: Box<Fault>) -> Self {
        Self::Syntax { at: fault.at, expected: fault.expected }
    }
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrArrayEnd,
    Name,
    NameOrObjectEnd,
    /// A value has ended: a comma follows, or the end of the innermost array or object.
    CommaOrEnd,
}

/// The events of a text. There are no more after an error.
#[derive(Debug)]
pub struct Events<'t> {
    text: &'t str,
    at: usize,
    /// Where the last event begins.
    start: usize,
    open: Nesting,
    limit: usize,
    expect: Expect,
    over: bool,
}

impl<'t> Events<'t> {
    /// Reads `text`, in which a value may be inside of at most `limit` arrays and objects.
    pub fn new(text: &'t str, limit: usize) -> Self {
        Self { text, at: 0, start: 0, open: Nesting::default(), limit, expect: Expect::Value, over: false }
    }

    /// How many arrays and objects are open.
    pub fn depth(&self) -> usize {
        self.open.depth()
    }

    /// The byte at which the last event begins.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The byte after what has been read: after the last event, and of a name after its colon.
    pub fn position(&self) -> usize {
        self.at
    }

    fn step(&mut self) -> Result<Option<Event<'t>>, Error> {
        let bytes = self.text.as_bytes();
        self.at = white_space(bytes, self.at);
        if self.expect == Expect::CommaOrEnd {
            let Some(in_object) = self.open.innermost() else {
                return if self.at == bytes.len() { Ok(None) } else { self.wrong("the end of the text") };
            };
            match (byte(bytes, self.at), in_object) {
                (b',', _) => {
                    self.at = white_space(bytes, self.at + 1);
                    self.expect = if in_object { Expect::Name } else { Expect::Value };
                }
                (b'}', true) | (b']', false) => return Ok(Some(self.close())),
                (_, true) => return self.wrong("`,` or `}`"),
                (_, false) => return self.wrong("`,` or `]`"),
            }
        }
        self.start = self.at;
        match (self.expect, byte(bytes, self.at)) {
            (Expect::ValueOrArrayEnd, b']') | (Expect::NameOrObjectEnd, b'}') => Ok(Some(self.close())),
            (Expect::Name | Expect::NameOrObjectEnd, b'"') => {
                let name = self.string()?;
                self.at = white_space(bytes, self.at);
                if byte(bytes, self.at) != b':' {
                    return self.wrong("`:`");
                }
                self.at += 1;
                self.expect = Expect::Value;
                Ok(Some(Event::Name(name)))
            }
            (Expect::Name | Expect::NameOrObjectEnd, _) => self.wrong("a field name in double quotes"),
            (_, first) => self.value(first).map(Some),
        }
    }

    fn wrong<T>(&self, expected: &'static str) -> Result<T, Error> {
        Err(Error::Syntax { at: self.at, expected })
    }

    fn close(&mut self) -> Event<'t> {
        self.at += 1;
        self.expect = Expect::CommaOrEnd;
        let in_object = self.open.innermost() == Some(true);
        self.open.pop();
        if in_object { Event::ObjectEnd } else { Event::ArrayEnd }
    }

    fn value(&mut self, first: u8) -> Result<Event<'t>, Error> {
        if self.open.depth() > self.limit {
            return Err(Error::Depth { limit: self.limit });
        }
        self.expect = Expect::CommaOrEnd;
        match first {
            b'{' => {
                self.at += 1;
                self.open.push(true);
                self.expect = Expect::NameOrObjectEnd;
                return Ok(Event::ObjectStart);
            }
            b'[' => {
                self.at += 1;
                self.open.push(false);
                self.expect = Expect::ValueOrArrayEnd;
                return Ok(Event::ArrayStart);
            }
            b'"' => return self.string().map(Event::String),
            _ => self.at = scan::scalar(self.text.as_bytes(), self.at)?,
        }
        Ok(match first {
            b't' => Event::Bool(true),
            b'f' => Event::Bool(false),
            b'n' => Event::Null,
            _ => Event::Number(&self.text[self.start..self.at]),
        })
    }

    /// The string whose opening quote is at the position.
    fn string(&mut self) -> Result<Cow<'t, str>, Error> {
        let start = self.at + 1;
        let mut has_escapes = false;
        self.at = scan::string_noting(self.text.as_bytes(), start, &mut has_escapes)?;
        let raw = &self.text[start..self.at - 1];
        if has_escapes {
            let lone = |LoneSurrogate { at, unit }| Error::LoneSurrogate { at: start + at, unit };
            string::decode(raw).map_err(lone)
        } else {
            Ok(Cow::Borrowed(raw))
        }
    }
}

impl<'t> Iterator for Events<'t> {
    type Item = Result<Event<'t>, Error>;

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

    fn read(text: &str) -> Result<Vec<Event<'_>>, Error> {
        Events::new(text, 32).collect()
    }

    #[test]
    fn events_in_order() {
        use Event::{ArrayEnd, ArrayStart, Bool, Name, Null, Number, ObjectEnd, ObjectStart, String};
        let text =
            " { \"a\" : [ 1 , -2.50E+3, [] ] ,\"\\u00e4\":{}, \"b\":[true,false,null,\"x\\ty\\ud83d\\ude00\"] } ";
        assert_eq!(
            read(text).expect("valid"),
            [
                ObjectStart,
                Name("a".into()),
                ArrayStart,
                Number("1"),
                Number("-2.50E+3"),
                ArrayStart,
                ArrayEnd,
                ArrayEnd,
                Name("ä".into()),
                ObjectStart,
                ObjectEnd,
                Name("b".into()),
                ArrayStart,
                Bool(true),
                Bool(false),
                Null,
                String("x\ty😀".into()),
                ArrayEnd,
                ObjectEnd
            ]
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800\ud800""#, r#""x\udfff\ud800""#] {
            assert!(matches!(read(text), Err(Error::LoneSurrogate { .. })), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_not_json_is_refused() {
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
            "01",
            "1.",
            "-",
            "1e+",
            "]",
            "{]",
        ] {
            assert!(matches!(read(text), Err(Error::Syntax { .. })), "{text}: {:?}", read(text));
        }
    }

    /// The depth is limited, however deep the text is.
    #[test]
    fn depth_is_limited() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&nested(32)).is_ok());
        assert_eq!(read(&nested(33)), Err(Error::Depth { limit: 32 }));
        assert_eq!(read(&"[".repeat(1_000_000)), Err(Error::Depth { limit: 32 }));
    }

    proptest! {
        /// No text makes the reader panic, and what it accepts is JSON.
        #[test]
        fn any_text_is_read_or_refused(text in "[\\[\\]{}\",:0-9a-f\\\\u .ntrl-]{0,40}") {
            if read(&text).is_ok() {
                prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(), "{}", text);
            }
        }

        /// A string is decoded to what serde_json encoded.
        #[test]
        fn strings_are_decoded_as_the_reference_does(value in any::<String>()) {
            let text = serde_json::to_string(&value).expect("a string");
            prop_assert_eq!(read(&text), Ok(vec![Event::String(value.as_str().into())]));
        }
    }
}
