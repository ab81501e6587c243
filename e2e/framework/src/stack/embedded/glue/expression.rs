//! The filter of `GetPartitions`: SQL conditions on the partition keys, such as `ymd >= '2023-01-01' and hour in (7)`.
//!
//! A value is compared by the type of its key: as a number for integers and decimals, as text for everything else. A
//! value that is no number, although its key is one, is null. A comparison with null is neither true nor false, and a
//! partition is found only if the whole condition is true.

use std::cmp::Ordering;

use regex::Regex;

/// The types of keys that are compared as numbers.
const NUMBERS: [&str; 10] =
    ["tinyint", "smallint", "int", "integer", "bigint", "long", "float", "double", "decimal", "numeric"];

/// A filter that has been read. An empty one admits everything.
#[derive(Debug)]
pub(super) struct Filter(Option<Condition>);

#[derive(Debug)]
enum Condition {
    Or(Vec<Condition>),
    And(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Vec<Ordering>, Operand),
    Like(Operand, Regex),
    IsNull(Operand),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    /// A partition key, by its position.
    Key {
        at: usize,
        is_number: bool,
    },
    Text(String),
    Number(f64),
}

impl Filter {
    /// Reads a filter for a table with these partition keys: name and type of each.
    pub(super) fn parse(text: &str, keys: &[(&str, &str)]) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        let failed = |problem: String| format!("the expression `{text}` cannot be read: {problem}");
        let mut parser = Parser { tokens: tokens(text).map_err(failed)?, at: 0, keys, depth: 0 };
        let condition = parser.any().map_err(failed)?;
        match parser.peek() {
            None => Ok(Self(Some(condition))),
            Some(token) => Err(failed(format!("{token:?} was not expected"))),
        }
    }

    /// Whether a partition with these values is found.
    pub(super) fn admits(&self, values: &[String]) -> bool {
        self.0.as_ref().is_none_or(|condition| condition.holds(values) == Some(true))
    }
}

impl Condition {
    /// Whether it is true; `None` if that is unknown because of a null.
    fn holds(&self, values: &[String]) -> Option<bool> {
        match self {
            Self::Or(any) => {
                let each: Vec<_> = any.iter().map(|one| one.holds(values)).collect();
                if each.contains(&Some(true)) { Some(true) } else { all_known(&each).then_some(false) }
            }
            Self::And(all) => {
                let each: Vec<_> = all.iter().map(|one| one.holds(values)).collect();
                if each.contains(&Some(false)) { Some(false) } else { all_known(&each).then_some(true) }
            }
            Self::Not(inner) => inner.holds(values).map(|holds| !holds),
            Self::Compare(left, wanted, right) => {
                let (left, right) = (left.value(values)?, right.value(values)?);
                let order = match (&left, &right) {
                    (Operand::Number(left), Operand::Number(right)) => left.partial_cmp(right)?,
                    (Operand::Text(left), Operand::Text(right)) => left.cmp(right),
                    _ => return None,
                };
                Some(wanted.contains(&order))
            }
            Self::Like(operand, pattern) => match operand.value(values)? {
                Operand::Text(text) => Some(pattern.is_match(&text)),
                _ => None,
            },
            Self::IsNull(operand) => Some(operand.value(values).is_none()),
        }
    }
}

fn all_known(each: &[Option<bool>]) -> bool {
    each.iter().all(Option::is_some)
}

impl Operand {
    /// The operand with the value of a key in its place; `None` is null.
    fn value(&self, values: &[String]) -> Option<Self> {
        match self {
            Self::Key { at, is_number: true } => values.get(*at)?.trim().parse().ok().map(Self::Number),
            Self::Key { at, .. } => values.get(*at).cloned().map(Self::Text),
            literal => Some(literal.clone()),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A keyword or the name of a key, as it was written.
    Word(String),
    Text(String),
    Number(f64),
    Symbol(&'static str),
}

/// The symbols, with each before those that it begins with.
const SYMBOLS: [&str; 10] = ["<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ","];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\'' | '"' | '`' => {
                let (inner, length) = quoted(rest, first)?;
                (if first == '\'' { Token::Text(inner) } else { Token::Word(inner) }, length)
            }
            _ if first.is_ascii_digit() || matches!(first, '-' | '.') => {
                let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
                let length = rest.find(ends).unwrap_or(rest.len());
                let number = rest[..length].parse().map_err(|_| format!("`{}` is no number", &rest[..length]))?;
                (Token::Number(number), length)
            }
            _ if first.is_alphabetic() || first == '_' => {
                let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                (Token::Word(rest[..length].to_owned()), length)
            }
            _ => {
                let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
                let symbol = symbol.ok_or_else(|| format!("`{first}` was not expected"))?;
                (Token::Symbol(symbol), symbol.len())
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// The text within quotes, of which a doubled one stands for itself, and the length with the quotes.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut inner = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            inner.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            inner.push(quote);
        } else {
            return Ok((inner, at + 1));
        }
    }
    Err(format!("the {quote} before `{inner}` is not closed"))
}

/// How deep conditions may be nested, so that reading one needs a bounded stack.
const DEEPEST: usize = 200;

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    keys: &'a [(&'a str, &'a str)],
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, String> {
        let token = self.peek().cloned().ok_or("it ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn takes(&mut self, matches: impl Fn(&Token) -> bool) -> bool {
        let found = self.peek().is_some_and(matches);
        self.at += usize::from(found);
        found
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.takes(|token| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word)))
    }

    fn takes_symbol(&mut self, symbol: &str) -> bool {
        self.takes(|token| matches!(token, Token::Symbol(found) if *found == symbol))
    }

    fn take_word(&mut self, word: &str) -> Result<(), String> {
        if self.takes_word(word) { Ok(()) } else { Err(format!("`{word}` was expected, not {:?}", self.peek())) }
    }

    fn take_symbol(&mut self, symbol: &str) -> Result<(), String> {
        if self.takes_symbol(symbol) { Ok(()) } else { Err(format!("`{symbol}` was expected, not {:?}", self.peek())) }
    }

    fn any(&mut self) -> Result<Condition, String> {
        let mut any = vec![self.all()?];
        while self.takes_word("or") {
            any.push(self.all()?);
        }
        Ok(Condition::Or(any))
    }

    fn all(&mut self) -> Result<Condition, String> {
        let mut all = vec![self.one()?];
        while self.takes_word("and") {
            all.push(self.one()?);
        }
        Ok(Condition::And(all))
    }

    fn one(&mut self) -> Result<Condition, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        let condition = if self.takes_word("not") {
            Condition::Not(Box::new(self.one()?))
        } else if self.takes_symbol("(") {
            let inner = self.any()?;
            self.take_symbol(")")?;
            inner
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn predicate(&mut self) -> Result<Condition, String> {
        let left = self.operand()?;
        if self.takes_word("is") {
            let negated = self.takes_word("not");
            self.take_word("null")?;
            return Ok(unless(negated, Condition::IsNull(left)));
        }
        let negated = self.takes_word("not");
        if self.takes_word("in") {
            self.take_symbol("(")?;
            let mut any = Vec::new();
            loop {
                any.push(self.compare(&left, &[Ordering::Equal])?);
                if !self.takes_symbol(",") {
                    break;
                }
            }
            self.take_symbol(")")?;
            return Ok(unless(negated, Condition::Or(any)));
        }
        if self.takes_word("between") {
            let from = self.compare(&left, &[Ordering::Greater, Ordering::Equal])?;
            self.take_word("and")?;
            let to = self.compare(&left, &[Ordering::Less, Ordering::Equal])?;
            return Ok(unless(negated, Condition::And(vec![from, to])));
        }
        if self.takes_word("like") {
            return match (self.next()?, &left) {
                (Token::Text(pattern), Operand::Key { is_number: false, .. }) => {
                    Ok(unless(negated, Condition::Like(left, like(&pattern)?)))
                }
                (pattern, _) => Err(format!("`like` takes a key that is text and a text, not {pattern:?}")),
            };
        }
        let wanted: &[Ordering] = match self.next()? {
            _ if negated => return Err("`in`, `between` or `like` was expected after `not`".to_owned()),
            Token::Symbol("=") => &[Ordering::Equal],
            Token::Symbol("<>" | "!=") => &[Ordering::Less, Ordering::Greater],
            Token::Symbol("<") => &[Ordering::Less],
            Token::Symbol("<=") => &[Ordering::Less, Ordering::Equal],
            Token::Symbol(">") => &[Ordering::Greater],
            Token::Symbol(">=") => &[Ordering::Greater, Ordering::Equal],
            other => return Err(format!("a comparison was expected, not {other:?}")),
        };
        self.compare(&left, wanted)
    }

    /// The comparison of `left` with the operand that follows.
    fn compare(&mut self, left: &Operand, wanted: &[Ordering]) -> Result<Condition, String> {
        let (left, right) = comparable(left.clone(), self.operand()?)?;
        Ok(Condition::Compare(left, wanted.to_vec(), right))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        match self.next()? {
            Token::Text(text) => Ok(Operand::Text(text)),
            Token::Number(number) => Ok(Operand::Number(number)),
            Token::Word(name) => {
                let at = self.keys.iter().position(|(key, _)| key.eq_ignore_ascii_case(&name));
                let at = at.ok_or_else(|| format!("`{name}` is no partition key"))?;
                let kind = self.keys[at].1.split('(').next().unwrap_or_default().trim().to_lowercase();
                Ok(Operand::Key { at, is_number: NUMBERS.contains(&kind.as_str()) })
            }
            symbol @ Token::Symbol(_) => Err(format!("a partition key or a value was expected, not {symbol:?}")),
        }
    }
}

fn unless(negated: bool, condition: Condition) -> Condition {
    if negated { Condition::Not(Box::new(condition)) } else { condition }
}

/// Two operands of one type. A text that is compared with a number is read as one.
fn comparable(left: Operand, right: Operand) -> Result<(Operand, Operand), String> {
    let number = |text: &str| {
        let number = text.trim().parse().map(Operand::Number);
        number.map_err(|_| format!("`{text}` is compared with a number and is none"))
    };
    let is_number = |operand: &Operand| matches!(operand, Operand::Number(_) | Operand::Key { is_number: true, .. });
    match (is_number(&left), is_number(&right), &left, &right) {
        (true, false, _, Operand::Text(text)) => Ok((left, number(text)?)),
        (false, true, Operand::Text(text), _) => Ok((number(text)?, right)),
        (left_is, right_is, ..) if left_is == right_is => Ok((left, right)),
        _ => Err("a key that is text is compared with a number; write the number in quotes".to_owned()),
    }
}

/// The regular expression of a pattern of `like`: `%` is any text, `_` any character.
fn like(pattern: &str) -> Result<Regex, String> {
    let translate = |character: char| match character {
        '%' => ".*".to_owned(),
        '_' => ".".to_owned(),
        other => regex::escape(other.encode_utf8(&mut [0; 4])),
    };
    let pattern: String = pattern.chars().map(translate).collect();
    Regex::new(&format!("(?s)^{pattern}$")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [(&str, &str); 3] = [("ymd", "string"), ("hour", "int"), ("Day", "date")];

    fn found(text: &str) -> Vec<&'static str> {
        let filter = Filter::parse(text, &KEYS).expect(text);
        let rows = [("2023-01-01", "7"), ("2023-01-01", "10"), ("2023-01-02", "7"), ("it's", "__HIVE_DEFAULT__")];
        let values = |(ymd, hour): (&str, &str)| vec![ymd.to_owned(), hour.to_owned(), "2023-01-01".to_owned()];
        let names = ["a", "b", "c", "d"].into_iter().zip(rows);
        names.filter(|(_, row)| filter.admits(&values(*row))).map(|(name, _)| name).collect()
    }

    #[test]
    fn conditions_are_evaluated_by_the_types_of_the_keys() {
        for (text, names) in [
            ("", &["a", "b", "c", "d"][..]),
            ("ymd = '2023-01-01'", &["a", "b"]),
            ("YMD='2023-01-01' AND hour > 7", &["b"]),
            ("hour < 10", &["a", "c"]),
            ("hour = '07'", &["a", "c"]),
            ("10 <= hour", &["b"]),
            ("ymd > '2023-01-01' and hour <> 8", &["c"]),
            ("ymd != '2023-01-01'", &["c", "d"]),
            ("hour in (10, 11) or ymd = 'it''s'", &["b", "d"]),
            ("ymd not in ('2023-01-01')", &["c", "d"]),
            ("hour between 8 and 10 and ymd like '2023%'", &["b"]),
            ("hour not between 8 and 10", &["a", "c"]),
            ("not (ymd like '____-01-01' or hour = 3)", &["c"]),
            ("ymd not like '%-01'", &["c", "d"]),
            ("hour is null", &["d"]),
            ("hour is not null and not hour = 7", &["b"]),
            ("ymd = '2023-01-02' or ymd = '2023-01-01' and hour = 10", &["b", "c"]),
            ("(ymd = '2023-01-02' or ymd = '2023-01-01') and hour = 10", &["b"]),
            ("`day` = \"ymd\"", &["a", "b"]),
            ("ymd like 'it_s'", &["d"]),
        ] {
            assert_eq!(found(text), names, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_reason() {
        for (text, says) in [
            ("speed = 1", "`speed` is no partition key"),
            ("ymd = 7", "write the number in quotes"),
            ("hour = 'seven'", "`seven` is compared with a number"),
            ("ymd = 'x", "is not closed"),
            ("ymd =", "it ends too early"),
            ("ymd = 'x' hour = 1", "was not expected"),
            ("(ymd = 'x'", "`)` was expected"),
            ("ymd ~ 'x'", "`~` was not expected"),
            ("hour like '1%'", "a key that is text"),
            ("hour = 1x", "`1x` is no number"),
            (&"(".repeat(10_000), "nested more than"),
        ] {
            let problem = Filter::parse(text, &KEYS).expect_err(text);
            assert!(problem.contains(says), "{problem}");
        }
    }
}
