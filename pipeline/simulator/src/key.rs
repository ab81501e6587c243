//! What tells a row from others wherever it is stored, and order-free sums of such keys.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// The fields of a stored row of which its key is made, in the order in which [`RowKey::of`] takes them.
pub const FIELDS: [&str; 8] = ["object", "type", "command", "id", "message_id", "seq", "timestamp_iso", "messaged_at"];

/// The value of one of [`FIELDS`], as a store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field<'f> {
    /// A text, or a number as text.
    Text(Cow<'f, str>),
    /// A time in milliseconds since the Unix epoch.
    Millis(i64),
}

/// What tells a row from all others: no two different rows of a fleet have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// `object/type/command`.
    pub protocol: String,
    /// The time that the row says, in milliseconds since the Unix epoch; that of its message, if the row has none.
    pub millis: i64,
    /// The `id` of the vehicle.
    pub id: String,
    /// The `message_id`.
    pub message_id: String,
    /// The `seq`; empty if the row has none.
    pub seq: String,
}

impl RowKey {
    /// The key of a row with the values of [`FIELDS`]. A row that lacks some has a key nevertheless, which is that of no
    /// row of a fleet; one without a time counts as of 1970.
    pub fn of(fields: [Option<Field<'_>>; FIELDS.len()]) -> Self {
        let [object, kind, command, id, message_id, seq, time, message_time] = fields;
        let text = |field: Option<Field<'_>>| match field {
            Some(Field::Text(text)) => text.into_owned(),
            Some(Field::Millis(millis)) => millis.to_string(),
            None => String::new(),
        };
        let millis = |field: Option<Field<'_>>| match field? {
            Field::Millis(millis) => Some(millis),
            Field::Text(text) => text.parse().ok().map(|time: jiff::Timestamp| time.as_millisecond()),
        };
        Self {
            protocol: format!("{}/{}/{}", text(object), text(kind), text(command)),
            millis: millis(time).or_else(|| millis(message_time)).unwrap_or(0),
            id: text(id),
            message_id: text(message_id),
            seq: text(seq),
        }
    }

    /// The key of a row that is a JSON object. Anything else is a row without any field.
    pub fn of_json(line: &[u8]) -> Self {
        let found: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(line).unwrap_or_default();
        Self::of(FIELDS.map(|name| {
            let text = found.get(name)?.get();
            match text.as_bytes().first()? {
                b'"' => Some(Field::Text(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()).into())),
                _ => (text != "null").then_some(Field::Text(text.into())),
            }
        }))
    }

    /// The hour of its time.
    pub fn hour(&self) -> Hour {
        Hour(self.millis.div_euclid(3_600_000))
    }

    /// The text of which the digest is made.
    fn text(&self) -> String {
        let Self { protocol, millis, id, message_id, seq } = self;
        format!("{protocol}|{id}|{message_id}|{seq}|{millis}")
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, millis, id, message_id, seq } = self;
        let time = jiff::Timestamp::from_millisecond(*millis).unwrap_or_default();
        let seq = if seq.is_empty() { String::new() } else { format!(", seq {seq}") };
        write!(f, "{protocol} of vehicle {id}, message {message_id}{seq}, at {time}")
    }
}

/// How many rows there are, and the digest of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sum {
    /// How many rows there are. A row that is there twice counts twice.
    pub count: u64,
    /// The digest of their keys.
    pub keys: KeySet,
}

impl Sum {
    /// The sum of one row.
    pub fn one(key: &RowKey) -> Self {
        let mut keys = KeySet::default();
        keys.add(&key.text());
        Self { count: 1, keys }
    }

    /// Adds something of which this is the key, so many times.
    pub fn add(&mut self, key: &str, times: u64) {
        for _ in 0..times {
            self.keys.add(key);
        }
        self.count += times;
    }

    /// Adds other rows.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.keys.merge(other.keys);
    }

    /// Takes rows away that were added before.
    pub(crate) const fn take(&mut self, other: Self) {
        self.count -= other.count;
        self.keys.take(other.keys);
    }
}

/// An order-free digest of rows: the sum, modulo 2^128, of the first 16 bytes (big-endian) of the SHA-256 of
/// `object/type/command|id|message_id|seq|milliseconds` of each row. `seq` is empty if the row has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeySet(u128);

impl KeySet {
    /// Adds the key of a row.
    pub fn add(&mut self, key: &str) {
        let digest = Sha256::digest(key.as_bytes());
        let half = digest.iter().take(16).fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
        self.0 = self.0.wrapping_add(half);
    }

    /// Adds the keys of other rows.
    pub fn merge(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// Takes the keys of rows away that were added before.
    const fn take(&mut self, other: Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }
}

/// An hour, as `2026-11-27T08` in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(i64);

impl fmt::Display for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for KeySet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| format!("`{text}` is not a digest of 32 hexadecimal digits"))
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{:02}", crate::json::date(self.0.div_euclid(24)), self.0.rem_euclid(24))
    }
}

impl FromStr for Hour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let start: Option<jiff::Timestamp> = format!("{text}:00Z").parse().ok();
        start.map(|start| Self(start.as_second().div_euclid(3600))).ok_or_else(|| format!("`{text}` is not an hour"))
    }
}

macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}
as_text!(KeySet);
as_text!(Hour);

#[cfg(test)]
mod tests {
    use super::*;

    /// Anyone can compute the digest: the figure is that of Python's hashlib.
    #[test]
    fn the_digest_is_a_sum_of_hashes() {
        let (mut one, mut other) = (KeySet::default(), KeySet::default());
        for key in ["abc", "def"] {
            one.add(key);
        }
        for key in ["def", "abc"] {
            other.add(key);
        }
        assert_eq!(one, other);
        let mut abc = KeySet::default();
        abc.add("abc");
        assert_eq!(abc.to_string(), "ba7816bf8f01cfea414140de5dae2223");
    }

    #[test]
    fn a_row_has_the_same_key_as_json_and_as_columns() {
        let json = RowKey::of_json(
            br#"{"type":"tire","object":"vehicle","x":"\ud83d","command":"report","id":7,"message_id":"0\u0031","seq":3,"seq":4,"timestamp_iso":"2026-11-27T08:00:01.500+09:00"}"#,
        );
        let text = |text: &'static str| Some(Field::Text(text.into()));
        let time = Some(Field::Millis(1_795_734_001_500));
        let columns =
            [text("vehicle"), text("tire"), text("report"), text("7"), text("01"), text("4"), time, text("soon")];
        assert_eq!(json, RowKey::of(columns));
        assert_eq!(json.text(), "vehicle/tire/report|7|01|4|1795734001500");
        assert_eq!(json.hour().to_string(), "2026-11-26T23");
        assert_eq!(json.to_string(), "vehicle/tire/report of vehicle 7, message 01, seq 4, at 2026-11-26T23:00:01.5Z");
        let message = RowKey::of_json(br#"{"seq":null,"messaged_at":"2026-11-27T08:00:01Z"}"#);
        assert_eq!((message.seq.as_str(), message.hour().to_string().as_str()), ("", "2026-11-27T08"));
        assert_eq!(RowKey::of_json(b"42").protocol, "//");
    }
}
