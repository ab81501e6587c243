//! The name of a topic by template: what stands in braces is a field of the message.

use std::str::FromStr;

use thiserror::Error;

/// The fields of which topics are made. They tell whose message it is.
pub(crate) const FIELDS: [&str; 4] = ["object", "type", "command", "id"];

/// The name of a topic in which fields of the message are filled in, such as `fms.{object}.real` or
/// `fleet/{id}/{type}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Text, and the number of the field behind it.
    parts: Vec<(String, usize)>,
    end: String,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A name in braces that is none of a field.
    #[error("there is no field `{{{0}}}` in a topic; there are {{object}}, {{type}}, {{command}} and {{id}}")]
    Unknown(String),
    /// A brace that is not closed.
    #[error("`{0}` has a brace that is not closed")]
    Open(String),
    /// No name.
    #[error("a topic has a name")]
    Empty,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or_else(|| TemplateError::Open(text.to_owned()))?;
            let field = FIELDS.iter().position(|field| *field == name);
            parts.push((before.to_owned(), field.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?));
            rest = behind;
        }
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        Ok(Self { parts, end: rest.to_owned() })
    }
}

impl Template {
    /// The template of a constant, which is right.
    ///
    /// # Panics
    /// If it is not.
    pub fn known(text: &'static str) -> Self {
        text.parse().unwrap_or_else(|error| panic!("the template `{text}`: {error}"))
    }

    /// The topic of a message with these values of `object`, `type`, `command` and `id`.
    pub fn of(&self, fields: [&str; 4]) -> String {
        let filled = self.parts.iter().fold(String::new(), |topic, (before, field)| topic + before + fields[*field]);
        filled + &self.end
    }

    /// Whether the values have all that the template asks for: none of its fields is empty.
    pub fn is_filled_by(&self, fields: [&str; 4]) -> bool {
        self.parts.iter().all(|(_, field)| !fields[*field].is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in() {
        let topic =
            |template: &str| template.parse::<Template>().map(|read| read.of(["vehicle", "tire", "report", "7"]));
        assert_eq!(topic("fms.{object}.real").as_deref(), Ok("fms.vehicle.real"));
        assert_eq!(topic("fleet/{id}/{object}/{type}/{command}").as_deref(), Ok("fleet/7/vehicle/tire/report"));
        assert_eq!(topic("plain").as_deref(), Ok("plain"));
        for (wrong, says) in [
            ("fms.{objekt}", "there is no field `{objekt}`"),
            ("fms.{object", "has a brace that is not closed"),
            ("", "a topic has a name"),
        ] {
            assert!(topic(wrong).is_err_and(|error| error.to_string().contains(says)), "{wrong}");
        }
    }
}
