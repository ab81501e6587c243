//! Applies the redactions of a case to what is observed, and remembers which of them have matched something.

use std::cell::Cell;

use super::visible::visible;
use crate::case::{NamePattern, Place, Redaction, Redactions, Said, Target, is_request_id};
use crate::json;

/// What stands in the place of a value that was redacted.
pub(super) const REDACTED: &str = "[redacted]";

/// The redactions of one case, during one observation.
pub(crate) struct Redactor<'a> {
    values: Vec<Used<'a, Redaction>>,
    names: Vec<Used<'a, NamePattern>>,
}

/// Something that is redacted.
struct Used<'a, T> {
    what: &'a T,
    /// Whether it has to match something.
    by_case: bool,
    /// Whether it has matched something.
    matched: Cell<bool>,
}

impl<'a, T> Used<'a, T> {
    fn all(said: &'a [Said<T>]) -> Vec<Self> {
        let used = |said: &'a Said<T>| Self { what: &said.what, by_case: said.by_case, matched: Cell::new(false) };
        said.iter().map(used).collect()
    }

    fn is_missed(&self) -> bool {
        self.by_case && !self.matched.get()
    }
}

impl<'a> Redactor<'a> {
    pub(crate) fn new(redactions: &'a Redactions) -> Self {
        Self { values: Used::all(&redactions.values), names: Used::all(&redactions.names) }
    }

    /// The name of an object without what varies in it.
    pub(super) fn name(&self, name: &str) -> String {
        self.names.iter().fold(name.to_owned(), |name, pattern| {
            let NamePattern(regex) = pattern.what;
            if regex.is_match(&name) {
                pattern.matched.set(true);
            }
            regex.replace_all(&name, REDACTED).into_owned()
        })
    }

    /// Entries that are JSON objects, without the fields that are redacted in this place.
    pub(super) fn entries(&self, place: Place, entries: Vec<String>) -> Vec<String> {
        let entries = entries.into_iter().map(|entry| self.fields(place, &entry).unwrap_or(entry));
        // This comes last, because afterwards an entry may not be JSON any more.
        entries.map(|entry| visible(&entry)).collect()
    }

    /// A JSON object without the fields that are redacted in this place; `None` if it has none of them.
    pub(super) fn fields(&self, place: Place, text: &str) -> Option<String> {
        let mut redacted = None;
        for redaction in &self.values {
            if let Target::Field(of, path) = &redaction.what.target
                && *of == place
                && let Some(without) = json::redact(redacted.as_deref().unwrap_or(text), path)
            {
                redaction.matched.set(true);
                redacted = Some(without);
            }
        }
        redacted
    }

    /// Whether a field, or a part of it, is redacted in this place.
    pub(super) fn hides_field(&self, place: Place, name: &str) -> bool {
        let hides = |target: &Target| matches!(target, Target::Field(of, path) if *of == place && path[0] == name);
        self.values.iter().any(|redaction| hides(&redaction.what.target))
    }

    /// Whether the timestamps of this place are redacted. Has to be called for a record that is there.
    pub(super) fn hides_timestamp(&self, place: Place) -> bool {
        self.hides(&Target::Timestamp(place))
    }

    /// Whether this header is redacted in this place. Has to be called for a header that is there.
    pub(super) fn hides_header(&self, place: Place, name: &str) -> bool {
        // Both are asked, for a redaction that names such a header matches too.
        let is_named = self.hides(&Target::Header(place, name.to_owned()));
        is_named || place == Place::DeadLetters && is_request_id(name)
    }

    fn hides(&self, target: &Target) -> bool {
        let found = self.values.iter().filter(|redaction| redaction.what.target == *target);
        found.inspect(|redaction| redaction.matched.set(true)).count() > 0
    }

    /// The redactions of the case itself that have matched nothing, each with what to do about it.
    pub(crate) fn unmatched(&self) -> Vec<String> {
        let values = self.values.iter().filter(|redaction| redaction.is_missed()).map(|redaction| {
            format!("case.toml: `redact`: `{}` matches nothing; remove it or correct the path", redaction.what)
        });
        let names = self.names.iter().filter(|pattern| pattern.is_missed()).map(|pattern| {
            let NamePattern(regex) = pattern.what;
            format!("case.toml: `redact_names`: `{regex}` matches no object's name; remove it or correct the pattern")
        });
        values.chain(names).collect()
    }
}

#[cfg(test)]
impl Redactions {
    /// What a case says that redacts these values and names.
    pub(super) fn of(values: &[&str], names: &[&str]) -> Self {
        let value = |path: &&str| Redaction::try_from((*path).to_owned()).expect("a redaction");
        let name = |pattern: &&str| NamePattern::try_from((*pattern).to_owned()).expect("a pattern");
        Self {
            values: values.iter().map(|path| Said { what: value(path), by_case: true }).collect(),
            names: names.iter().map(|pattern| Said { what: name(pattern), by_case: true }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redaction_that_matches_nothing_is_named() {
        let id = "$.dead_letters[*].headers.__connect.errors.request.id";
        let mut redactions = Redactions::of(&["$.items[*].at", "$.rows[*].at", id], &["[0-9]{3}", "x+"]);
        let redactor = Redactor::new(&redactions);
        assert_eq!(redactor.entries(Place::Items, vec![r#"{"at":1}"#.into()]), [r#"{"at":"[redacted]"}"#]);
        assert_eq!(redactor.entries(Place::Rows, vec![r#"{"a":1}"#.into(), "at".into()]), [r#"{"a":1}"#, "at"]);
        assert!(redactor.hides_header(Place::DeadLetters, "__connect.errors.request.id"));
        assert_eq!(redactor.name("a-123/456.json"), "a-[redacted]/[redacted].json");
        assert_eq!(
            redactor.unmatched(),
            [
                "case.toml: `redact`: `$.rows[*].at` matches nothing; remove it or correct the path",
                "case.toml: `redact_names`: `x+` matches no object's name; remove it or correct the pattern",
            ]
        );
        redactions.values.iter_mut().for_each(|said| said.by_case = false);
        redactions.names.clear();
        assert!(Redactor::new(&redactions).unmatched().is_empty(), "what is said of all cases need not match in each");
    }
}
