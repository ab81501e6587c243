//! Applies the redactions of a case to what is observed, and remembers which of them have matched something.

use std::cell::Cell;

use super::visible::visible;
use crate::case::{Place, Redaction, Target, is_request_id};
use crate::json;

/// What stands in the place of a value that was redacted.
pub(super) const REDACTED: &str = "[redacted]";

/// The redactions of one case, during one observation.
pub(crate) struct Redactor<'a> {
    /// Each redaction, and whether it has matched.
    redactions: Vec<(&'a Redaction, Cell<bool>)>,
}

impl<'a> Redactor<'a> {
    pub fn new(redactions: &'a [Redaction]) -> Self {
        Self { redactions: redactions.iter().map(|redaction| (redaction, Cell::new(false))).collect() }
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
        for (redaction, matched) in &self.redactions {
            if let Target::Field(of, path) = &redaction.target
                && *of == place
                && let Some(without) = json::redact(redacted.as_deref().unwrap_or(text), path)
            {
                matched.set(true);
                redacted = Some(without);
            }
        }
        redacted
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
        let found = self.redactions.iter().filter(|(redaction, _)| redaction.target == *target);
        found.inspect(|(_, matched)| matched.set(true)).count() > 0
    }

    /// The redactions that have matched nothing, each with what to do about it.
    pub fn unmatched(&self) -> Vec<String> {
        let unmatched = self.redactions.iter().filter(|(_, matched)| !matched.get());
        unmatched
            .map(|(redaction, _)| {
                format!("case.toml: `redact`: `{redaction}` matches nothing; remove it or correct the path")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redaction_that_matches_nothing_is_named() {
        let redactions = ["$.items[*].at", "$.rows[*].at", "$.dead_letters[*].headers.__connect.errors.request.id"];
        let redactions = redactions.map(|path| Redaction::try_from(path.to_owned()).expect(path));
        let redactor = Redactor::new(&redactions);
        assert_eq!(redactor.entries(Place::Items, vec![r#"{"at":1}"#.into()]), [r#"{"at":"[redacted]"}"#]);
        assert_eq!(redactor.entries(Place::Rows, vec![r#"{"a":1}"#.into(), "at".into()]), [r#"{"a":1}"#, "at"]);
        assert!(redactor.hides_header(Place::DeadLetters, "__connect.errors.request.id"));
        let expected = "case.toml: `redact`: `$.rows[*].at` matches nothing; remove it or correct the path";
        assert_eq!(redactor.unmatched(), [expected]);
    }
}
