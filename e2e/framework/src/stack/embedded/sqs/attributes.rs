//! The attributes that the sender of a message adds to it, and the digest by which both sides check them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use s3s::crypto::{Checksum as _, Md5};
use serde::{Deserialize, Serialize};

use super::{Refusal, invalid_parameter};
use crate::stack::embedded::s3::hex;

/// The attributes of a message, by name.
pub(super) type Attributes = BTreeMap<String, Attribute>;

/// The most attributes that a message may have.
const MAX_ATTRIBUTES: usize = 10;

/// One attribute, as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Attribute {
    data_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    /// It is in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
}

impl Attribute {
    /// The kind of the value as the digest has it, and its bytes. It is `None` if they do not agree with the type,
    /// which may have a custom label after a dot.
    fn value(&self) -> Option<(u8, Vec<u8>)> {
        let kind = self.data_type.split('.').next();
        let value = match (kind, &self.string_value, &self.binary_value) {
            (Some("String"), Some(text), None) => (1, text.clone().into_bytes()),
            (Some("Number"), Some(number), None) if number.parse::<f64>().is_ok() => (1, number.clone().into_bytes()),
            (Some("Binary"), None, Some(bytes)) => (2, BASE64_STANDARD.decode(bytes).ok()?),
            _ => return None,
        };
        Some(value).filter(|(_, bytes)| !bytes.is_empty())
    }
}

/// An error unless the attributes are ones that a message may have.
pub(super) fn check(attributes: &Attributes) -> Result<(), Refusal> {
    let count = attributes.len();
    if count > MAX_ATTRIBUTES {
        let problem = format!("Number of message attributes [{count}] exceeds the allowed maximum [{MAX_ATTRIBUTES}].");
        return Err(invalid_parameter(problem));
    }
    for (name, attribute) in attributes {
        let characters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let reserved = ["aws.", "amazon."].iter().any(|prefix| name.to_ascii_lowercase().starts_with(prefix));
        let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
        if name.is_empty() || name.len() > 256 || !name.chars().all(characters) || reserved || dots {
            return Err(invalid_parameter(format!("The message attribute name '{name}' is invalid.")));
        }
        if attribute.value().is_none() {
            let kind = &attribute.data_type;
            let problem = format!("The message attribute '{name}' has no value, or not one of its type '{kind}'.");
            return Err(invalid_parameter(problem));
        }
    }
    Ok(())
}

/// The bytes that the attributes add to the size of their message.
pub(super) fn size(attributes: &Attributes) -> usize {
    let of = |(name, attribute): (&String, &Attribute)| {
        name.len() + attribute.data_type.len() + attribute.value().map_or(0, |(_, bytes)| bytes.len())
    };
    attributes.iter().map(of).sum()
}

/// The MD5 of the attributes, as AWS defines it: each name, type and value after its length, in the order of the names.
/// It is `None` if there are none.
pub(super) fn md5<'a>(attributes: impl IntoIterator<Item = (&'a String, &'a Attribute)>) -> Option<String> {
    let mut bytes = Vec::new();
    let append = |bytes: &mut Vec<u8>, field: &[u8]| {
        bytes.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(field);
    };
    for (name, attribute) in attributes {
        let (kind, value) = attribute.value().unwrap_or_default();
        append(&mut bytes, name.as_bytes());
        append(&mut bytes, attribute.data_type.as_bytes());
        bytes.push(kind);
        append(&mut bytes, &value);
    }
    (!bytes.is_empty()).then(|| hex(&Md5::checksum(&bytes)))
}

/// The MD5 of a body.
pub(super) fn md5_of_body(body: &str) -> String {
    hex(&Md5::checksum(body.as_bytes()))
}
