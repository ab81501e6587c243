//! The rules, and what they make of a message.

use serde_json::value::RawValue;

use crate::json::{fields, quoted};
use crate::rotation::Rotation;

/// The rules, and what they replace values by.
#[derive(Debug)]
pub struct Mask<'m> {
    naming: Naming<'m>,
    fields: &'m [String],
    position: Option<(&'m (String, String), Rotation)>,
}

/// What the value of a field is replaced by.
#[derive(Debug)]
enum Naming<'m> {
    /// Other letters and digits, by a seed.
    Other(u64),
    /// The same value with a number behind it.
    Numbered(&'m str),
}

/// The deepest value that is looked at. Deeper ones count as no JSON.
const DEEPEST: usize = 64;

impl<'m> Mask<'m> {
    /// Values of these fields become others of the same form, and equal ones become equal ones. The positions that these
    /// two fields hold are moved by one rotation of the globe. The seed decides both.
    pub fn other(seed: u64, fields: &'m [String], position: Option<&'m (String, String)>) -> Self {
        Self::new(seed, Naming::Other(seed), fields, position)
    }

    /// As [`Mask::other`], but values of the fields get these digits behind them, so that different numbers of one width
    /// never make the same value: `10022` becomes `1002203`, and `"SFT-7"` becomes `"SFT-7-03"`.
    pub fn numbered(digits: &'m str, seed: u64, fields: &'m [String], position: Option<&'m (String, String)>) -> Self {
        Self::new(seed, Naming::Numbered(digits), fields, position)
    }

    fn new(seed: u64, naming: Naming<'m>, fields: &'m [String], position: Option<&'m (String, String)>) -> Self {
        Self { naming, fields, position: position.map(|names| (names, Rotation::of(seed))) }
    }

    /// Whether there is no rule, so that every message stays as it is.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.position.is_none()
    }

    /// The message without what the rules take from it; `None` if it is no JSON object.
    ///
    /// Fields keep their order, and all other values are as they were written.
    pub fn message(&self, message: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(message).ok()?;
        let is_object = text.trim_start().starts_with('{');
        Some(self.value(is_object.then_some(text)?, 0)?.into_bytes())
    }

    /// The key of a record. Where a field is the key, both have the same text afterwards.
    pub fn key(&self, key: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(key) {
            Ok(text) if !self.fields.is_empty() => self.renamed(text, is_number(text)).into_bytes(),
            _ => key.to_vec(),
        }
    }

    /// A JSON value with the rules applied to everything in it; `None` if it is no JSON.
    fn value(&self, text: &str, depth: usize) -> Option<String> {
        let text = text.trim();
        if depth > DEEPEST {
            return None;
        }
        match text.as_bytes().first()? {
            b'{' => self.object(&fields(text.as_bytes())?, depth),
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                let elements = elements.iter().map(|element| self.value(element.get(), depth + 1));
                Some(format!("[{}]", elements.collect::<Option<Vec<_>>>()?.join(",")))
            }
            _ => Some(text.to_owned()),
        }
    }

    fn object(&self, fields: &[(String, &RawValue)], depth: usize) -> Option<String> {
        let moved = self.moved(fields);
        let mut written = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let value = match &moved {
                Some((names, [latitude, _])) if *name == names.0 => latitude.clone(),
                Some((names, [_, longitude])) if *name == names.1 => longitude.clone(),
                _ if self.fields.contains(name) => self.masked(value.get()),
                _ => self.value(value.get(), depth + 1)?,
            };
            written.push(format!("{}:{value}", quoted(name)));
        }
        Some(format!("{{{}}}", written.join(",")))
    }

    /// The position of an object that has one, moved.
    fn moved(&self, fields: &[(String, &RawValue)]) -> Option<(&(String, String), [String; 2])> {
        let (names, rotation) = self.position.as_ref()?;
        let find = |name: &String| fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.get());
        let (latitude, longitude) = (find(&names.0)?, find(&names.1)?);
        let moved = rotation.apply([latitude.parse().ok()?, longitude.parse().ok()?]);
        Some((names, [like(moved[0], latitude), like(moved[1], longitude)]))
    }

    /// The text of a JSON value with other letters and digits in it. What is no text and no number stays: `true`, `null`.
    fn masked(&self, text: &str) -> String {
        match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str(text)
                .map_or_else(|_| "\"\"".to_owned(), |text: String| quoted(&self.renamed(&text, false))),
            Some(b'-' | b'0'..=b'9') => self.renamed(text, true),
            Some(b'{' | b'[') => "null".to_owned(),
            _ => text.to_owned(),
        }
    }

    fn renamed(&self, text: &str, is_number: bool) -> String {
        match self.naming {
            Naming::Other(seed) => other(seed, text),
            Naming::Numbered(digits) if is_number => format!("{text}{digits}"),
            Naming::Numbered(digits) => format!("{text}-{digits}"),
        }
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

/// A text of the same form: each digit becomes a digit and each letter a letter of the same case, as the seed and the
/// whole text decide. A first digit that is not 0 does not become 0, so that a number stays one of as many digits.
fn other(seed: u64, text: &str) -> String {
    let mut draws = fastrand::Rng::with_seed(
        text.bytes()
            .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
    );
    let mut is_first = true;
    let mut other = String::with_capacity(text.len());
    for c in text.chars() {
        other.push(match c {
            '1'..='9' if is_first => draws.char('1'..='9'),
            '0' if is_first => '0',
            '0'..='9' => draws.char('0'..='9'),
            'a'..='z' => draws.char('a'..='z'),
            'A'..='Z' => draws.char('A'..='Z'),
            other => other,
        });
        is_first &= !c.is_ascii_digit();
    }
    other
}

/// A number with as many decimals as another one has.
fn like(value: f64, text: &str) -> String {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(mask: &Mask<'_>, message: &str) -> Option<String> {
        mask.message(message.as_bytes()).map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    const MESSAGE: &str =
        r#"{"id":10022, "device_id":"SFT-0010022","speed":1.50,"list":[{"id":10022,"b":[1,true]}],"id2":10022}"#;

    #[test]
    fn named_fields_are_replaced_wherever_they_are_and_nothing_else_is() {
        let rules = ["id".to_owned(), "device_id".to_owned()];
        let mask = Mask::other(7, &rules, None);
        let text = masked(&mask, MESSAGE).expect("an object");
        let key = String::from_utf8(mask.key(b"10022")).expect("text");
        assert!(key != "10022" && key.len() == 5, "{key}");
        assert!(text.starts_with(&format!(r#"{{"id":{key},"device_id":""#)), "{text}");
        assert!(
            text.ends_with(&format!(r#","speed":1.50,"list":[{{"id":{key},"b":[1,true]}}],"id2":10022}}"#)),
            "{text}"
        );
        assert!(!text.contains("SFT-0010022"), "{text}");
    }

    #[test]
    fn a_number_is_put_behind_what_is_named() {
        let rules = ["id".to_owned(), "device_id".to_owned()];
        let mask = Mask::numbered("03", 7, &rules, None);
        assert_eq!(
            masked(&mask, MESSAGE).as_deref(),
            Some(
                r#"{"id":1002203,"device_id":"SFT-0010022-03","speed":1.50,"list":[{"id":1002203,"b":[1,true]}],"id2":10022}"#
            )
        );
        assert_eq!((mask.key(b"10022"), mask.key(b"truck")), (b"1002203".to_vec(), b"truck-03".to_vec()));
    }

    #[test]
    fn what_cannot_be_masked_is_not_given() {
        let rules = ["id".to_owned()];
        let mask = Mask::other(7, &rules, None);
        let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        for value in ["", "42", "[{\"id\":1}]", "{\"id\":1", "\u{feff}{}", deep.as_str()] {
            assert!(masked(&mask, value).is_none(), "{value}");
        }
        assert!(mask.message(b"{\"id\":\"\xff\"}").is_none());
        assert!(Mask::other(7, &[], None).is_empty() && !mask.is_empty());
    }

    /// The distance of two positions as an angle.
    fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
        let [[a_lat, a_lon], [b_lat, b_lon]] = [a, b].map(|position| position.map(f64::to_radians));
        let (lat, lon) = (((b_lat - a_lat) / 2.0).sin(), ((b_lon - a_lon) / 2.0).sin());
        2.0 * (lat * lat + a_lat.cos() * b_lat.cos() * lon * lon).sqrt().min(1.0).asin()
    }

    proptest! {
        /// Equal values become equal ones, different ones of the same form stay of that form.
        #[test]
        fn a_value_keeps_its_form(seed: u64, text in "[A-Za-z0-9 -]{1,20}") {
            let other = super::other(seed, &text);
            prop_assert_eq!(&other, &super::other(seed, &text));
            let form = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0").replace(|c: char| c.is_ascii_lowercase(), "a");
            let form = |text: &str| form(text).replace(|c: char| c.is_ascii_uppercase(), "A");
            prop_assert_eq!(form(&other), form(&text));
            prop_assert_eq!(text.parse::<u64>().is_ok(), other.parse::<u64>().is_ok());
        }

        /// All positions are moved together: distances stay.
        #[test]
        fn positions_are_moved_rigidly(
            seed: u64,
            a in (-80.0..80.0f64, -179.0..179.0f64),
            north in -0.5..0.5f64,
            east in -0.5..0.5f64,
        ) {
            let names = ("lat".to_owned(), "lon".to_owned());
            let mask = Mask::other(seed, &[], Some(&names));
            let moved = |lat: f64, lon: f64| {
                let masked = masked(&mask, &format!(r#"{{"lat":{lat:.9},"x":1,"lon":{lon:.9}}}"#)).expect("an object");
                let value: serde_json::Value = serde_json::from_str(&masked).expect("JSON");
                [value["lat"].as_f64().expect("a number"), value["lon"].as_f64().expect("a number")]
            };
            let (b_lat, b_lon) = (a.0 + north, a.1 + east);
            let (before, after) = (distance([a.0, a.1], [b_lat, b_lon]), distance(moved(a.0, a.1), moved(b_lat, b_lon)));
            prop_assert!((before - after).abs() < 1e-9, "{before} became {after}");
        }
    }
}
