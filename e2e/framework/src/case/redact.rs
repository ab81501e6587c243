//! The key `redact` of a case: which observed values vary from run to run by the pipeline's design.
//!
//! One value is always redacted, without being named: the id of the call that refused a row. The service gives a new id
//! to every call. It stands in a header of a dead letter whose name is in Kafka Connect's form
//! (`__connect.errors.request.id`).

/// A path such as `$.items[*].ingested_at`, `$.rows[*].meta.at`, `$.dead_letters[*].timestamp` or `$.dead_letters[*].headers.NAME`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
pub enum Redaction {
    /// A field of every item of every table.
    Items(Vec<String>),
    /// A field of every row of every object.
    Rows(Vec<String>),
    /// The timestamp of every dead letter.
    DeadLetterTimestamp,
    /// A header of every dead letter.
    DeadLetterHeader(String),
}

impl TryFrom<String> for Redaction {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fields = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        let redaction = match text.strip_prefix("$.").and_then(|path| path.split_once("[*].")) {
            Some(("items", path)) => Self::Items(fields(path)),
            Some(("rows", path)) => Self::Rows(fields(path)),
            Some(("dead_letters", "timestamp")) => Self::DeadLetterTimestamp,
            Some(("dead_letters", path)) if path.starts_with("headers.") => {
                Self::DeadLetterHeader(path["headers.".len()..].to_owned())
            }
            _ => {
                return Err(format!(
                    "`{text}`: a redaction is `$.items[*].FIELD`, `$.rows[*].FIELD`, `$.dead_letters[*].timestamp` \
                     or `$.dead_letters[*].headers.NAME`; FIELD may be a path such as `a.b`"
                ));
            }
        };
        Ok(redaction)
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
        assert_eq!(
            Redaction::try_from("$.items[*].a.b".to_owned()),
            Ok(Redaction::Items(vec!["a".into(), "b".into()]))
        );
        assert_eq!(
            Redaction::try_from("$.dead_letters[*].headers.x.y".to_owned()),
            Ok(Redaction::DeadLetterHeader("x.y".into()))
        );
        for wrong in ["items.a", "$.items.a", "$.other[*].a", "$.dead_letters[*].value"] {
            assert!(Redaction::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
