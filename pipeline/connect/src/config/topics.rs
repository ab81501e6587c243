//! `topics.regex`: a pattern, compiled, and the topics that it matches.

use regex_lite::Regex;

/// What means something here and something else, or nothing, in POSIX: `\d`, `(?`, `*?` or `[[:^`.
const FOREIGN: &str = r"\\[A-Za-z0-9]|\(\?|[*+?}][?+]|\[\[:\^";

/// A pattern of names of topics. As in Kafka Connect, the whole name has to match.
///
/// Kafka's names are ASCII, so a small engine that knows no classes of Unicode is enough: a worker compiles its patterns
/// at each start, and the large one takes most of its start for that.
#[derive(Debug, Clone)]
pub(crate) struct TopicPattern {
    source: String,
    whole: Regex,
}

impl TopicPattern {
    /// Compiles a pattern. librdkafka matches with the extended regular expressions of the C library, so one that only
    /// one of the two understands is refused. The error says what is wrong.
    pub fn parse(source: &str) -> Result<Self, String> {
        let compiled = |pattern: &str| Regex::new(pattern).map_err(|error| error.to_string());
        if let Some(foreign) = compiled(FOREIGN)?.find(source) {
            return Err(format!(
                "`{}` is not understood by Kafka's client, which reads POSIX extended regular expressions: write \
                 `[0-9]` for `\\d`, `(…)` for `(?:…)`",
                foreign.as_str()
            ));
        }
        let whole = compiled(&format!("^(?:{source})$"))?;
        Ok(Self { source: source.to_owned(), whole })
    }

    /// The pattern as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole name matches.
    pub fn matches(&self, topic: &str) -> bool {
        self.whole.is_match(topic)
    }
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for TopicPattern {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let pattern = TopicPattern::parse("a|b").unwrap();
        assert!(pattern.matches("b") && !pattern.matches("ab") && !pattern.matches("bc"));
        assert_eq!(pattern.source(), "a|b");
    }

    #[test]
    fn what_posix_does_not_know_is_refused_by_name() {
        for (pattern, part) in [
            (r"fms\d", r"\d"),
            ("a(?:b)", "(?"),
            ("a*?", "*?"),
            ("a{2}+", "}+"),
            ("(?i)a", "(?"),
            ("[[:^alpha:]]", "[[:^"),
            (r"\\\w", r"\w"),
            (r"\(?a", "(?"),
            (r"a\*?", "*?"),
        ] {
            let problem = TopicPattern::parse(pattern).unwrap_err();
            assert!(problem.starts_with(&format!("`{part}` is not understood")), "{pattern}: {problem}");
        }
        for pattern in [r"fms\.[a-z]+\.(real|test)", r"a\\", "[[:alpha:]]+", "a{1,2}"] {
            assert!(TopicPattern::parse(pattern).is_ok(), "{pattern}");
        }
    }
}
