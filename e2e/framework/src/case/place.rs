//! Decides where a record goes: a template gives its key, and the key gives its partition, as in Kafka's Java clients.

use crate::json;

/// A message key as text with `${field}` in it, filled in from the message's top-level fields.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
pub struct KeyTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
enum Part {
    Text(String),
    Field(String),
}

impl KeyTemplate {
    /// The key of this message. It is `None`, a null key, if the template names a field and the message is not a JSON
    /// object, or the field is missing, null, a list or an object.
    pub fn render(&self, message: Option<&[u8]>) -> Option<Vec<u8>> {
        let is_constant = self.parts.iter().all(|part| matches!(part, Part::Text(_)));
        let fields = if is_constant { Vec::new() } else { json::fields(message?)? };
        let mut key = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Field(name) => key.push_str(&json::scalar(fields.iter().rev().find(|(n, _)| n == name)?.1)?),
            }
        }
        Some(key.into_bytes())
    }
}

impl TryFrom<String> for KeyTemplate {
    type Error = String;

    fn try_from(source: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = source.as_str();
        while let Some(start) = rest.find("${") {
            if start > 0 {
                parts.push(Part::Text(rest[..start].to_owned()));
            }
            let end = rest[start..].find('}').ok_or_else(|| format!("`{source}`: `${{` without its `}}`"))? + start;
            let name = &rest[start + 2..end];
            if name.is_empty() {
                return Err(format!("`{source}`: `${{}}` names no field"));
            }
            parts.push(Part::Field(name.to_owned()));
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.is_empty() {
            return Err("an empty key template; leave it out for null keys".to_owned());
        }
        Ok(Self { parts })
    }
}

/// The partition of a key among `partitions`, as the default partitioner of Kafka's Java clients computes it. A null
/// key goes to partition 0.
///
/// Clients distribute records with null keys freely, but a test needs the same partition in every run.
pub fn partition_of(key: Option<&[u8]>, partitions: i32) -> i32 {
    key.map_or(0, |key| (murmur2(key) & 0x7fff_ffff).cast_signed() % partitions.max(1))
}

/// The 32-bit hash murmur2 with the seed that Kafka uses.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // The length wraps as a Java `int` does. Kafka has no keys of 4 GiB, so this never happens.
    #[expect(clippy::cast_possible_truncation, reason = "the hash is defined on the low 32 bits of the length")]
    let mut hash = SEED ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_gives_the_values_of_kafkas_own_test() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_null_key_goes_to_partition_0_and_every_key_to_one_that_exists() {
        assert_eq!(partition_of(None, 6), 0);
        for key in 0..1000 {
            assert!((0..6).contains(&partition_of(Some(key.to_string().as_bytes()), 6)));
        }
    }

    #[test]
    fn a_key_is_filled_in_from_top_level_fields() {
        let key = KeyTemplate::try_from("${id}#${type}".to_owned()).expect("valid");
        assert_eq!(key.render(Some(br#"{"id":10022,"type":"kinematic"}"#)), Some(b"10022#kinematic".to_vec()));
        for message in [&br#"{"id":1}"#[..], br#"{"id":null,"type":"x"}"#, br#"{"id":1,"type":"#, b"", b"[1]"] {
            assert_eq!(key.render(Some(message)), None, "{}", String::from_utf8_lossy(message));
        }
        assert_eq!(key.render(None), None);
        let constant = KeyTemplate::try_from("10022".to_owned()).expect("valid");
        assert_eq!(constant.render(Some(b"[1]")), Some(b"10022".to_vec()));
        assert_eq!(constant.render(None), Some(b"10022".to_vec()));
    }

    #[test]
    fn a_broken_template_is_refused() {
        assert!(KeyTemplate::try_from("${id".to_owned()).is_err());
        assert!(KeyTemplate::try_from("${}".to_owned()).is_err());
        assert!(KeyTemplate::try_from(String::new()).is_err());
    }
}
