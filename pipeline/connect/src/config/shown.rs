//! What may be shown of a configuration. This rule holds for errors, logs and REST:
//!
//! - A value is shown as it is written: `${env:NAME}`, not what the provider filled in for it.
//! - The value of a key that is [secret](is_secret) is `[hidden]`, even where it is written out.
//! - Names of what is worked on are no secrets: topics, tables, buckets, regions, addresses, the connector's own. Where
//!   a problem is about the thing itself, in an error at start or at run time, it is called by its real name, wherever
//!   that came from.

use std::collections::BTreeMap;

/// What stands for a value that is not shown.
pub const HIDDEN: &str = "[hidden]";

/// Parts of a key's name that say that its value is secret, in lower case: Kafka's clients and AWS have many such keys.
const SECRET: [&str; 9] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "credential",
    "private.key",
    "sasl.jaas.config",
    "sasl.oauthbearer.config",
    "ssl.keystore.key",
];

/// Keys whose values are names of what is worked on.
const NAMES: [&str; 8] = [
    "name",
    "connector.class",
    "topics",
    "topics.regex",
    "errors.deadletterqueue.topic.name",
    "dynamodb.table",
    "s3.bucket.name",
    "s3.region",
];

/// The shortest value of a provider that is recognized in running text. A shorter one is recognized only between
/// quotes.
const RECOGNISABLE: usize = 4;

/// Whether the value of this key is a secret, whoever wrote it.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET.iter().any(|part| key.contains(part)) || key.ends_with("key.pem")
}

/// A key's value, as it is written, in the form in which it may be shown.
pub fn shown<'v>(key: &str, written: &'v str) -> &'v str {
    if is_secret(key) { HIDDEN } else { written }
}

/// A configuration in the form in which it may be shown.
pub fn all_shown(written: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    written.iter().map(|(key, value)| (key.clone(), shown(key, value).to_owned())).collect()
}

/// Values that no text about a configuration may contain, each with what is shown instead.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// The secrets of a configuration, from its values as they are written and with the providers' values filled in.
    pub fn new(written: &BTreeMap<String, String>, values: &BTreeMap<String, String>) -> Self {
        let secrets = values.iter().filter_map(|(key, value)| {
            let written = written.get(key).unwrap_or(value);
            let secret = is_secret(key) || (written != value && !NAMES.contains(&key.as_str()));
            (secret && !value.is_empty()).then(|| (value.clone(), shown(key, written).to_owned()))
        });
        Self(secrets.collect())
    }

    /// The text with every secret replaced. Texts also come from parsers and libraries, which quote a value or the part
    /// of it that they reject; so a quoted part of a secret is replaced as well.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (value, instead)| {
            let text = if value.len() >= RECOGNISABLE { replace_words(&text, value, instead) } else { text };
            ['`', '"'].into_iter().fold(text, |text, quote| replace_quoted(&text, quote, value, instead))
        })
    }
}

/// Replaces `value` wherever it is not part of a longer word.
fn replace_words(text: &str, value: &str, instead: &str) -> String {
    let joined =
        |outer: Option<char>, inner: Option<char>| [outer, inner].iter().all(|c| c.is_some_and(char::is_alphanumeric));
    let mut replaced = String::with_capacity(text.len());
    let mut rest = 0;
    for (start, _) in text.match_indices(value) {
        let end = start + value.len();
        let within = joined(text[..start].chars().next_back(), value.chars().next())
            || joined(text[end..].chars().next(), value.chars().next_back());
        if !within {
            replaced.push_str(&text[rest..start]);
            replaced.push_str(instead);
            rest = end;
        }
    }
    replaced.push_str(&text[rest..]);
    replaced
}

/// Replaces what stands between two quotes and is a part of `value`, but not of `instead`.
fn replace_quoted(text: &str, quote: char, value: &str, instead: &str) -> String {
    let secret = |part: &str| !part.is_empty() && value.contains(part) && !instead.contains(part);
    // Every second part is between quotes; the one behind a quote that is not closed counts as quoted.
    let parts = text.split(quote).enumerate();
    let parts = parts.map(|(i, part)| if i % 2 == 1 && secret(part) { instead } else { part });
    parts.collect::<Vec<_>>().join(&quote.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(key: &str, written: &str, value: &str) -> Secrets {
        let map = |value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        Secrets::new(&map(written), &map(value))
    }

    #[test]
    fn passwords_are_told_by_their_keys() {
        for key in [
            "consumer.override.sasl.password",
            "producer.override.SASL.JAAS.CONFIG",
            "consumer.override.ssl.key.pem",
            "consumer.override.sasl.oauthbearer.client.secret",
            "aws.credentials",
        ] {
            assert_eq!(shown(key, "hunter2"), HIDDEN, "{key}");
        }
        for key in ["topics", "key.converter", "dynamodb.partition.key", "consumer.override.sasl.username"] {
            assert_eq!(shown(key, "a"), "a", "{key}");
        }
    }

    #[test]
    fn a_text_has_what_is_written_instead_of_what_was_filled_in() {
        let timezone = secrets("timezone", "${env:ZONE}", "Mars/Olympus");
        assert_eq!(
            timezone.hide("failed to find time zone `Mars/Olympus`: Mars/Olympus is none"),
            "failed to find time zone `${env:ZONE}`: ${env:ZONE} is none"
        );
        let format = secrets("path.format", "'year'=YYYY/${env:REST}", "'year'=YYYY/QQQ");
        assert_eq!(format.hide("`QQQ` is not known, `YYYY` is"), "`'year'=YYYY/${env:REST}` is not known, `YYYY` is");
        let password = secrets("consumer.override.sasl.password", "hunter2", "hunter2");
        assert_eq!(password.hide(r#"Invalid value "hunter2""#), r#"Invalid value "[hidden]""#);
        let short = secrets("flush.size", "${env:SIZE}", "0");
        assert_eq!(short.hide("`0`: allowed: from 10 to 200"), "`${env:SIZE}`: allowed: from 10 to 200");
    }

    #[test]
    fn names_of_what_is_worked_on_are_no_secrets() {
        let bucket = secrets("s3.bucket.name", "${env:BUCKET}", "fleet-raw");
        assert_eq!(bucket.hide("there is no bucket `fleet-raw`"), "there is no bucket `fleet-raw`");
    }

    proptest! {
        #[test]
        fn no_quoted_part_of_a_secret_remains(value in "[a-z0-9/]{4,12}", from in 0usize..4, length in 1usize..8) {
            let part: String = value.chars().skip(from).take(length).collect();
            let hidden = secrets("x", "${env:ABC}", &value).hide(&format!("what `{part}` is, and {value}"));
            prop_assert!(!hidden.contains(&value), "{hidden}");
            prop_assert!(!hidden.contains(&format!("`{part}`")) || "${env:ABC}".contains(&part), "{hidden}");
        }
    }
}
