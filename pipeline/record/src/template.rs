//! Templates: text with `${field}` in it, which is filled in from a row.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::error::NoValue;
use crate::excerpt::Excerpt;
use crate::source::RecordPart;
use crate::{Row, RowError, json};

/// A parsed template such as `${id}#${object}` or `${timestamp_iso|messaged_at}#${@digest}`.
///
/// `${a|b}` takes the first field that is present, not null and not an empty string; `${a.b}` is the field of that very
/// name, else `b` in `a`. `${@index}` is the row's index in its message, `${@digest}` its [`Row::digest`]; `${@key}`,
/// `${@topic}`, `${@partition}`, `${@offset}`, `${@timestamp}` and `${@header.NAME}` are what Kafka says of the record.
/// A string gives its decoded text, a number or boolean its JSON text, a key or header its text. `$${` is the text
/// `${`; any other `$` stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<TemplatePart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePart {
    Literal(String),
    /// The first of these that has a value.
    Choice(Vec<Variable>),
}

/// What may stand in `${…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    /// A field of the row, by name or path.
    Field(String),
    /// `@index`: [`Row::index`].
    Index,
    /// `@digest`: [`Row::digest`].
    Digest,
    /// `@key`, `@header.NAME` and the like: a part of the Kafka record.
    Record(RecordPart),
}

impl Variable {
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            "@index" => Ok(Self::Index),
            "@digest" => Ok(Self::Digest),
            "" => Err("a field name is missing".into()),
            part if part.starts_with('@') => RecordPart::parse(part).map(Self::Record).ok_or_else(|| {
                format!(
                    "`{part}` is not known; there are `@index`, `@digest`, `@key`, `@topic`, `@partition`, `@offset`, \
                     `@timestamp` and `@header.NAME`"
                )
            }),
            field => Ok(Self::Field(field.into())),
        }
    }
}

impl Template {
    /// Parses a template. The error says at which character what was expected.
    pub fn parse(source: &str) -> Result<Self, String> {
        let wrong = |at: usize, what: &str| {
            format!("template `{source}`, character {}: {what}", source[..at].chars().count() + 1)
        };
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(length) = memchr::memchr(b'$', &source.as_bytes()[at..]) {
            literal.push_str(&source[at..at + length]);
            at += length;
            let rest = &source[at..];
            if rest.starts_with("$${") {
                literal.push_str("${");
                at += 3;
            } else if let Some(inside) = rest.strip_prefix("${") {
                let end = inside
                    .find('}')
                    .ok_or_else(|| wrong(at, "`${` is not closed; expected `}` after the field name"))?;
                let mut choice = Vec::new();
                let mut begin = at + 2;
                for name in inside[..end].split('|') {
                    choice.push(Variable::parse(name).map_err(|what| wrong(begin, &what))?);
                    begin += name.len() + 1;
                }
                if !literal.is_empty() {
                    parts.push(TemplatePart::Literal(std::mem::take(&mut literal)));
                }
                parts.push(TemplatePart::Choice(choice));
                at += 2 + end + 1;
            } else {
                literal.push('$');
                at += 1;
            }
        }
        literal.push_str(&source[at..]);
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(literal));
        }
        Ok(Self { source: source.into(), parts })
    }

    /// The text it was parsed from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The alternatives of each `${…}`, in order.
    pub(crate) fn choices(&self) -> impl Iterator<Item = &[Variable]> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Choice(choice) => Some(&**choice),
            TemplatePart::Literal(_) => None,
        })
    }

    /// Every field that it may read, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.choices().flatten().filter_map(|variable| match variable {
            Variable::Field(name) => Some(&**name),
            Variable::Index | Variable::Digest | Variable::Record(_) => None,
        })
    }

    /// Fills in the template. The error names the fields that the row lacks, or the field whose value is an object or a
    /// list.
    pub fn render(&self, row: &Row<'_>) -> Result<String, RowError> {
        let mut text = String::with_capacity(64);
        for part in &self.parts {
            match part {
                TemplatePart::Literal(literal) => text.push_str(literal),
                TemplatePart::Choice(choice) => self.render_choice(choice, row, &mut text)?,
            }
        }
        Ok(text)
    }

    fn render_choice(&self, choice: &[Variable], row: &Row<'_>, text: &mut String) -> Result<(), RowError> {
        let mut lacks = Vec::new();
        for variable in choice {
            match variable {
                Variable::Index => {
                    let _infallible = write!(text, "{}", row.index());
                    return Ok(());
                }
                Variable::Digest => {
                    text.push_str(&row.digest());
                    return Ok(());
                }
                Variable::Record(part) => match self.render_part(part, row, text)? {
                    None => return Ok(()),
                    Some(lack) => lacks.push((part.to_string(), lack)),
                },
                Variable::Field(field) => match NoValue::or(row.find(field)) {
                    Ok(value) => {
                        text.push_str(&self.scalar(field, value)?);
                        return Ok(());
                    }
                    Err(lack) => lacks.push((field.clone(), lack)),
                },
            }
        }
        Err(RowError::MissingField { template: self.source.clone(), fields: lacks })
    }

    /// Appends a part of the record, or gives the reason why it has no value.
    fn render_part(&self, part: &RecordPart, row: &Row<'_>, text: &mut String) -> Result<Option<NoValue>, RowError> {
        let bytes = match part.of(row.message().source()) {
            Ok(bytes) => bytes,
            Err(lack) => return Ok(Some(lack)),
        };
        text.push_str(std::str::from_utf8(&bytes).map_err(|_| RowError::NotText {
            template: self.source.clone(),
            variable: part.to_string(),
            found: Excerpt::start_of(&bytes.escape_ascii().to_string()),
        })?);
        Ok(None)
    }

    /// The field or part of the record that gives the most bytes for this row, and their number. `None` if no field or
    /// part gives any.
    pub fn longest_field(&self, row: &Row<'_>) -> Option<(String, usize)> {
        let source = row.message().source();
        let given = self.choices().filter_map(|choice| {
            let gives = |variable: &&Variable| match variable {
                Variable::Field(field) => NoValue::or(row.find(field)).is_ok(),
                Variable::Record(part) => part.of(source).is_ok(),
                Variable::Index | Variable::Digest => true,
            };
            match choice.iter().find(gives)? {
                Variable::Field(field) => Some((field.clone(), self.scalar(field, row.find(field)?).ok()?.len())),
                Variable::Record(part) => Some((part.to_string(), part.of(source).ok()?.len())),
                Variable::Index | Variable::Digest => None,
            }
        });
        given.max_by_key(|(_, bytes)| *bytes)
    }

    fn scalar<'v>(&self, field: &str, value: &'v str) -> Result<Cow<'v, str>, RowError> {
        let (template, field, found) = (|| self.source.clone(), || field.to_owned(), || Excerpt::start_of(value));
        if let Some(raw) = json::raw(value) {
            return json::decode(raw).map_err(|_| RowError::LoneSurrogate {
                template: template(),
                field: field(),
                found: found(),
            });
        }
        if value.starts_with(['{', '[']) {
            return Err(RowError::NotScalar { template: template(), field: field(), found: found() });
        }
        Ok(Cow::Borrowed(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parser;

    const ROW: &str = r#"{"id":10022,"object":"vehicle","name":"\u00e9\n","flag":true,"none":null,"empty":"","big":1.50,
        "list":[1],"map":{},"bad":"\ud800","a b":"spaced","n\u0061":"escaped"}"#;

    fn render(template: &str) -> Result<String, String> {
        let message = Parser::new(None).parse(ROW.as_bytes()).expect("valid");
        let row = message.rows().next().expect("a row").expect("a row");
        Template::parse(template)?.render(&row).map_err(|error| error.to_string())
    }

    #[test]
    fn fills_in_scalars_as_they_stand() {
        for (template, text) in [
            ("", ""),
            ("plain", "plain"),
            ("${id}#${object}", "10022#vehicle"),
            ("${name}", "é\n"),
            ("${flag}/${big}", "true/1.50"),
            ("${a b}${na}", "spacedescaped"),
            ("${absent|none|empty|id}!", "10022!"),
            ("${absent|@index}", "0"),
            ("$$ $ $x $${id} $$${id} {id}", "$$ $ $x ${id} $${id} {id}"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(text), "{template}");
        }
        assert_eq!(render("${@digest}").expect("a digest").len(), 32);
    }

    #[test]
    fn says_what_is_wrong_with_a_template() {
        for (template, error) in [
            ("é${id", "template `é${id`, character 2: `${` is not closed; expected `}` after the field name"),
            ("${}", "template `${}`, character 3: a field name is missing"),
            ("${a|}", "template `${a|}`, character 5: a field name is missing"),
            (
                "x${a|@idx}",
                "template `x${a|@idx}`, character 6: `@idx` is not known; there are `@index`, `@digest`, `@key`, \
                 `@topic`, `@partition`, `@offset`, `@timestamp` and `@header.NAME`",
            ),
        ] {
            assert_eq!(render(template), Err(error.into()));
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_row() {
        for (template, error) in [
            (
                "x${absent|none|empty}",
                "the template `x${absent|none|empty}` needs one of the fields `absent` (absent), `none` (null), \
                 `empty` (empty)",
            ),
            ("${absent}", "the template `${absent}` needs the field `absent`, which is absent"),
            ("${id}${none}", "the template `${id}${none}` needs the field `none`, which is null"),
            ("${empty}", "the template `${empty}` needs the field `empty`, which is empty"),
            ("${list}", "the template `${list}` needs a string, number or boolean in field `list`, found `[1]`"),
            (
                "${absent|map}",
                "the template `${absent|map}` needs a string, number or boolean in field `map`, found `{}`",
            ),
            (
                "${bad}",
                r#"the template `${bad}` cannot use field `bad`: `"\ud800"` has a surrogate escape without its partner"#,
            ),
        ] {
            assert_eq!(render(template), Err(error.into()));
        }
    }

    #[test]
    fn finds_its_longest_field() {
        let message = Parser::new(None).parse(ROW.as_bytes()).expect("valid");
        let row = message.rows().next().expect("a row").expect("a row");
        for (template, longest) in [
            ("${id}#${absent|object|name}#${@digest}", Some(("object", 7))),
            ("${name}", Some(("name", 3))),
            ("${@index|object}text", None),
        ] {
            let longest = longest.map(|(field, bytes): (&str, _)| (field.to_owned(), bytes));
            assert_eq!(Template::parse(template).expect("a template").longest_field(&row), longest, "{template}");
        }
    }

    #[test]
    fn lists_what_it_reads() {
        let template = Template::parse("${a|b}#${@digest}${c|@index}").expect("a template");
        assert_eq!(template.fields().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(template.choices().nth(1), Some(&[Variable::Digest][..]));
    }
}
