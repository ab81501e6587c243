//! How many bad rows a check allows.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A number of rows, or a share of those that were looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// So many rows.
    Count(u64),
    /// So many percent of the rows.
    Percent(f64),
}

impl Limit {
    /// Whether so many bad rows out of so many reach the limit. No bad rows never do.
    #[expect(clippy::cast_precision_loss, reason = "a share of more than 2^53 rows is right to 15 digits")]
    pub fn is_reached(self, bad: u64, total: u64) -> bool {
        match self {
            Self::Count(limit) => bad > 0 && bad >= limit,
            Self::Percent(limit) => bad > 0 && bad as f64 * 100.0 >= limit * total as f64,
        }
    }

    /// The limit that a text such as `10` or `0.1 %` names.
    fn parse(text: &str) -> Option<Self> {
        match text.trim().strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().ok()?;
                (0.0..=100.0).contains(&percent).then_some(Self::Percent(percent))
            }
            None => Some(Self::Count(text.trim().parse().ok()?)),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of rows such as 10, or a share of them such as `0.1 %`")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Limit, E> {
                Ok(Limit::Count(count))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit, E> {
                Limit::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_of_rows_or_a_share_of_them() {
        assert_eq!(Limit::parse("10"), Some(Limit::Count(10)));
        assert_eq!(Limit::parse(" 0.1 %"), Some(Limit::Percent(0.1)));
        for wrong in ["-1", "ten", "101 %", "NaN %", "%", ""] {
            assert_eq!(Limit::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_limit_is_reached_by_as_many_rows_and_never_by_none() {
        assert!(Limit::Count(2).is_reached(2, 10));
        assert!(!Limit::Count(2).is_reached(1, 10));
        assert!(!Limit::Count(0).is_reached(0, 10));
        assert!(Limit::Percent(1.0).is_reached(1, 100));
        assert!(!Limit::Percent(1.0).is_reached(1, 101));
        assert!(!Limit::Percent(0.0).is_reached(0, 0));
    }
}
