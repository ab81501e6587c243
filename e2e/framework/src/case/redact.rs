//! The keys `redact` and `redact_names`: which observed values, and which parts of the names of objects, vary from run
//! to run by the pipeline's design.
//!
//! One value is always redacted, without being named: the id of the call that refused a row. The service gives a new id
//! to every call. It stands in a header of a dead letter whose name is in Kafka Connect's form
//! (`__connect.errors.request.id`).

use std::fmt;

use regex::Regex;

/// Everything that is replaced in what is observed.
#[derive(Debug, Clone, Default)]
pub struct Redactions {
    /// `redact`: values.
    pub(crate) values: Vec<Said<Redaction>>,
    /// `redact_names`: parts of the names of objects.
    pub(crate) names: Vec<Said<NamePattern>>,
}

/// Something that one of the files says.
#[derive(Debug, Clone)]
pub(crate) struct Said<T> {
    pub what: T,
    /// Whether the case itself says it. Then it has to match something: what is said of all cases need not be true of
    /// each.
    pub by_case: bool,
}

/// A regular expression for what varies in the names of objects, such as `[0-9a-f]{8}-[0-9a-f-]{27}`.
#[derive(Debug, Clone, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
pub(crate) struct NamePattern(#[cfg_attr(test, schemars(with = "String"))] pub Regex);

impl TryFrom<String> for NamePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let pattern = Regex::new(&text).map_err(|error| format!("`redact_names`: {error}"))?;
        if pattern.is_match("") {
            return Err(format!("`redact_names`: `{text}` matches an empty text too, so it would match everywhere"));
        }
        Ok(Self(pattern))
    }
}

/// A path such as `$.items[*].ingested_at`, `$.rows[*].meta.at`, `$.records[*].timestamp`, `$.records[*].value.at` or
/// `$.dead_letters[*].headers.NAME`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
pub(crate) struct Redaction {
    /// The path, as the fixture writes it.
    path: String,
    #[cfg_attr(test, schemars(skip))]
    pub(crate) target: Target,
}

/// What a redaction replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A field of every entry that is a JSON object, by its path.
    Field(Place, Vec<String>),
    /// The timestamp of every record.
    Timestamp(Place),
    /// A header of every record, by its name.
    Header(Place, String),
}

/// Where a value stands. A place is shown by the name that it has in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The items of all tables.
    Items,
    /// The rows of all objects.
    Rows,
    /// The records of all dead-letter topics; their fields are those of their values.
    DeadLetters,
    /// The records of all output topics.
    Records,
    /// The messages of all queues.
    Messages,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Items => "items",
            Self::Rows => "rows",
            Self::DeadLetters => "dead_letters",
            Self::Records => "records",
            Self::Messages => "messages",
        })
    }
}

impl fmt::Display for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl TryFrom<String> for Redaction {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        let target = target(&path).ok_or_else(|| {
            format!(
                "`{path}`: a redaction is `$.items[*].FIELD`, `$.rows[*].FIELD`, `$.messages[*].FIELD`, or `timestamp`, \
                 `headers.NAME` or `value.FIELD` after `$.records[*].` or `$.dead_letters[*].`; FIELD may be a path \
                 such as `a.b`"
            )
        })?;
        Ok(Self { path, target })
    }
}

fn target(path: &str) -> Option<Target> {
    let (place, path) = path.strip_prefix("$.")?.split_once("[*].")?;
    let field = |place, path: &str| {
        let names: Vec<String> = path.split('.').map(str::to_owned).collect();
        names.iter().all(|name| !name.is_empty()).then_some(Target::Field(place, names))
    };
    let place = match place {
        "items" => return field(Place::Items, path),
        "rows" => return field(Place::Rows, path),
        "messages" => return field(Place::Messages, path),
        "dead_letters" => Place::DeadLetters,
        "records" => Place::Records,
        _ => return None,
    };
    match path.split_once('.') {
        None if path == "timestamp" => Some(Target::Timestamp(place)),
        Some(("headers", name)) => Some(Target::Header(place, name.to_owned())),
        Some(("value", path)) => field(place, path),
        _ => None,
    }
}

/// Whether a header of this name is redacted in every dead letter.
pub(crate) fn is_request_id(header: &str) -> bool {
    header.starts_with("__connect.errors.") && header.ends_with(".request.id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_context_headers_request_ids_are_redacted_by_default() {
        for (header, expected) in [
            ("__connect.errors.request.id", true),
            ("__connect.errors.aws.request.id", true),
            ("__connect.errors.offset", false),
            // These headers belong to the fixture.
            ("x-request-id", false),
            ("request.id", false),
        ] {
            assert_eq!(is_request_id(header), expected, "{header}");
        }
    }

    #[test]
    fn paths_are_read_or_refused() {
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (text, expected) in [
            ("$.items[*].a.b", Target::Field(Place::Items, path(&["a", "b"]))),
            ("$.rows[*].value", Target::Field(Place::Rows, path(&["value"]))),
            ("$.messages[*].time", Target::Field(Place::Messages, path(&["time"]))),
            ("$.dead_letters[*].timestamp", Target::Timestamp(Place::DeadLetters)),
            ("$.dead_letters[*].headers.x.y", Target::Header(Place::DeadLetters, "x.y".into())),
            ("$.dead_letters[*].value.a", Target::Field(Place::DeadLetters, path(&["a"]))),
            ("$.records[*].timestamp", Target::Timestamp(Place::Records)),
        ] {
            let redaction = Redaction::try_from(text.to_owned()).expect(text);
            assert_eq!((redaction.to_string().as_str(), redaction.target), (text, expected));
        }
        for wrong in [
            "items.a",
            "$.items.a",
            "$.other[*].a",
            "$.dead_letters[*].value",
            "$.dead_letters[*].at",
            "$.items[*].a..b",
        ] {
            assert!(Redaction::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pattern_is_read_or_refused_with_the_reason() {
        assert!(NamePattern::try_from("[0-9a-f]{8}-[0-9a-f-]{27}".to_owned()).is_ok());
        for (wrong, says) in
            [("[0-9", "unclosed character class"), ("[0-9]*", "an empty text too"), ("", "an empty text too")]
        {
            let error = NamePattern::try_from(wrong.to_owned()).expect_err(wrong);
            assert!(error.contains(says), "{error}");
        }
    }
}
