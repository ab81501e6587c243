//! The key of an item, which is filled in from the row. Two keys are equal exactly if DynamoDB takes them for the same.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use aws_sdk_dynamodb::types::AttributeValue;
use fms_record::json::{Event, Events};
use fms_record::{Row, RowError, Template};

use crate::number::{Number, NumberError};

/// The types of a key attribute that a row can fill in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum KeyType {
    /// `S`.
    #[strum(serialize = "S")]
    Text,
    /// `N`.
    #[strum(serialize = "N")]
    Number,
}

/// One attribute of a table's key, and where its value comes from.
#[derive(Debug, Clone)]
pub struct KeyAttribute {
    /// The attribute's name.
    pub name: String,
    /// Its type.
    pub kind: KeyType,
    /// Most bytes of a value: 2,048 for a partition key, 1,024 for a sort key.
    pub limit: usize,
    /// The template that fills it in.
    pub template: Template,
    /// The configuration key of the template.
    pub setting: &'static str,
}

/// A table's key.
#[derive(Debug, Clone)]
pub struct KeySchema {
    /// The partition key.
    pub partition: KeyAttribute,
    /// The sort key, if the table has one.
    pub sort: Option<KeyAttribute>,
}

/// A value of a key attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyValue {
    /// Of type `S`.
    Text(String),
    /// Of type `N`.
    Number(Number),
}

/// An item's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemKey {
    /// The hash of both values. It is computed once, because a key is looked up several times.
    hash: u64,
    /// The partition key.
    partition: KeyValue,
    /// The sort key, if the table has one.
    sort: Option<KeyValue>,
}

impl Hash for ItemKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// The hasher of maps whose keys are [`ItemKey`]s, which bring their own hash.
pub type KeyHashBuilder = BuildHasherDefault<KeyHasher>;

/// A hasher whose result is the number that was written to it.
#[derive(Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

/// Why a row has no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
pub enum KeyError {
    /// The template cannot be filled in.
    #[error("key attribute `{attribute}`: {error}")]
    Template {
        /// Key attribute.
        attribute: String,
        /// Why.
        error: RowError,
    },
    /// DynamoDB requires at least one byte.
    #[error("key attribute `{0}` is empty, which DynamoDB does not store")]
    EmptyKey(String),
    /// Too long.
    #[error(
        "key attribute `{attribute}` has {bytes} bytes, DynamoDB stores at most {limit}; its template `{template}` \
         ({setting}) is filled in{}",
        mostly_by(longest.as_ref())
    )]
    KeyTooLong {
        /// Key attribute.
        attribute: String,
        /// The configuration key of its template.
        setting: &'static str,
        /// What fills it in.
        template: String,
        /// The template's longest field, and the bytes of that.
        longest: Option<(String, usize)>,
        /// Bytes of its value.
        bytes: usize,
        /// Most bytes of its value.
        limit: usize,
    },
    /// The value is not a number that DynamoDB can hold.
    #[error("key attribute `{attribute}` is of type N: {error}")]
    Number {
        /// Key attribute.
        attribute: String,
        /// What is wrong.
        error: NumberError,
    },
    /// Storing the key would change a field of the row.
    #[error(
        "the row's own field `{attribute}` is {found}, but as a key attribute of type {kind} it would become \
         `{value}`: nothing is changed in silence; rename the field, or set it to the key with \
         `converter.update.fields.template`"
    )]
    KeyConflict {
        /// Key attribute.
        attribute: String,
        /// The row's value, shortened.
        found: String,
        /// Type of the attribute.
        kind: &'static str,
        /// The key's value.
        value: String,
    },
}

fn mostly_by(longest: Option<&(String, usize)>) -> String {
    match longest {
        Some((field, bytes)) => {
            format!(" mostly by field `{field}` with {bytes} bytes: send less in it, or leave it out of the template")
        }
        None => " without a field: shorten it".into(),
    }
}

impl KeyError {
    /// The cause's name, as a dead letter names it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Template { error, .. } => error.class(),
            Self::Number { error, .. } => error.class(),
            other => other.into(),
        }
    }
}

impl KeyType {
    /// The name of the type in DynamoDB's JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl KeySchema {
    /// The key of a row's item, and the bytes that it adds to the item, which are those of the attributes that the row
    /// itself lacks.
    pub fn fill(&self, row: &Row<'_>) -> Result<(ItemKey, usize), KeyError> {
        let (partition, bytes) = self.partition.fill(row)?;
        let Some(sort) = &self.sort else { return Ok((ItemKey::new(partition, None), bytes)) };
        let (sort, more) = sort.fill(row)?;
        Ok((ItemKey::new(partition, Some(sort)), bytes + more))
    }

    /// Names and values of the key's attributes.
    pub fn of<'k>(&'k self, key: &'k ItemKey) -> impl Iterator<Item = (&'k str, &'k KeyValue)> {
        self.attributes().zip(key.values()).map(|(attribute, value)| (attribute.name.as_str(), value))
    }

    /// The key of a complete item; `None` if it has none of this schema.
    pub fn read(&self, item: &HashMap<String, AttributeValue>) -> Option<ItemKey> {
        let value = |attribute: &KeyAttribute| match item.get(&attribute.name)? {
            AttributeValue::S(text) => Some(KeyValue::Text(text.clone())),
            AttributeValue::N(text) => Number::parse(text).ok().map(KeyValue::Number),
            _ => None,
        };
        let sort = match &self.sort {
            Some(sort) => Some(value(sort)?),
            None => None,
        };
        Some(ItemKey::new(value(&self.partition)?, sort))
    }

    fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        [Some(&self.partition), self.sort.as_ref()].into_iter().flatten()
    }
}

impl KeyAttribute {
    fn fill(&self, row: &Row<'_>) -> Result<(KeyValue, usize), KeyError> {
        let attribute = || self.name.clone();
        let text = self.template.render(row).map_err(|error| KeyError::Template { attribute: attribute(), error })?;
        if text.is_empty() {
            return Err(KeyError::EmptyKey(attribute()));
        }
        if text.len() > self.limit {
            return Err(KeyError::KeyTooLong {
                attribute: attribute(),
                setting: self.setting,
                template: self.template.source().into(),
                longest: self.template.longest_field(row),
                bytes: text.len(),
                limit: self.limit,
            });
        }
        let value = match self.kind {
            KeyType::Text => KeyValue::Text(text),
            KeyType::Number => KeyValue::Number(
                Number::parse(&text).map_err(|error| KeyError::Number { attribute: attribute(), error })?,
            ),
        };
        match row.get(&self.name) {
            Some(own) if value.is(own) => Ok((value, 0)),
            Some(own) => Err(KeyError::KeyConflict {
                attribute: attribute(),
                found: own.chars().take(60).collect(),
                kind: self.kind.name(),
                value: value.to_string(),
            }),
            None => {
                let bytes = self.name.len() + value.bytes();
                Ok((value, bytes))
            }
        }
    }
}

impl KeyValue {
    /// Whether the JSON value of this text would be stored as exactly this key value.
    fn is(&self, json: &str) -> bool {
        let mut events = Events::new(json, 0);
        match (self, events.next()) {
            (Self::Text(key), Some(Ok(Event::String(own)))) => *key == own,
            (Self::Number(key), Some(Ok(Event::Number(own)))) => Number::parse(own).as_ref() == Ok(key),
            (Self::Text(_) | Self::Number(_), _) => false,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Number(number) => crate::number::check(&number.to_string()).map_or(0, |(_, bytes)| bytes),
        }
    }
}

impl ItemKey {
    /// The key of these values.
    pub fn new(partition: KeyValue, sort: Option<KeyValue>) -> Self {
        // Each process has a seed of its own, because the values come from outside.
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let hash = SEED.hash_one((&partition, &sort));
        Self { hash, partition, sort }
    }

    fn values(&self) -> impl Iterator<Item = &KeyValue> {
        [Some(&self.partition), self.sort.as_ref()].into_iter().flatten()
    }

    /// The memory that it takes in bytes, estimated.
    pub fn memory(&self) -> usize {
        self.values().map(|value| size_of::<KeyValue>() + value.bytes()).sum()
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sort {
            Some(sort) => write!(f, "({}, {sort})", self.partition),
            None => self.partition.fmt(f),
        }
    }
}
