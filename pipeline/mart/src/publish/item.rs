//! A row as an item of `DynamoDB`, and its key. The partition key is the first key of the model; the sort key `fms_row` is
//! the day with the other keys, so that one query gives the rows of a vehicle in the order of days.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType};
use fms_lake::Type;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cells::Cell;
use crate::model::{DAY, Model};

/// The attribute of the sort key.
pub(super) const SORT: &str = "fms_row";
/// What is between the parts of a sort key.
const BETWEEN: char = '#';

/// The item of a row.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The key of an item, as a manifest lists it: the text of the partition key, and the sort key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Key(String, String);

impl Key {
    /// The attributes of the key.
    pub fn item(&self, model: &Model) -> Item {
        let Self(partition, sort) = self;
        let partition = match partition_type(model) {
            ScalarAttributeType::N => AttributeValue::N(partition.clone()),
            _ => AttributeValue::S(partition.clone()),
        };
        [(model.keys[0].clone(), partition), (SORT.to_owned(), AttributeValue::S(sort.clone()))].into()
    }
}

/// The type of the partition key's attribute.
pub(super) fn partition_type(model: &Model) -> ScalarAttributeType {
    let key = model.columns.iter().find(|column| column.field.name == model.keys[0]);
    match key.map(|column| &column.field.data_type) {
        Some(Type::Int | Type::Bigint | Type::Float | Type::Double) => ScalarAttributeType::N,
        _ => ScalarAttributeType::S,
    }
}

/// The key of a row that has these values of the model's keys, in their order. A model has at least one key.
pub(super) fn key<'c>(day: Date, keys: impl IntoIterator<Item = &'c Cell>) -> Key {
    let mut keys = keys.into_iter();
    let partition = keys.next().map(text).unwrap_or_default();
    let mut sort = day.to_string();
    for key in keys {
        sort.push(BETWEEN);
        sort.push_str(&part(key));
    }
    Key(partition, sort)
}

/// The values of the model's keys in a row of its columns.
fn keys<'c>(model: &Model, row: &'c [Cell]) -> anyhow::Result<Vec<&'c Cell>> {
    let of = |key: &String| {
        let at = model.columns.iter().position(|column| column.field.name == *key);
        at.and_then(|at| row.get(at)).with_context(|| format!("the row has no `{key}`"))
    };
    model.keys.iter().map(of).collect()
}

/// A value as a text.
fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Boolean(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Float(value) => value.to_string(),
        Cell::Double(value) => value.to_string(),
        Cell::Text(value) => value.clone(),
        Cell::Date(value) => value.to_string(),
        Cell::Time(value) => format!("{value:.3}"),
        Cell::Nested(value) => value.to_string(),
    }
}

/// A value as a part of a sort key. Numbers that are not negative are in their order.
fn part(cell: &Cell) -> String {
    match cell {
        Cell::Integer(value) => format!("{value:012}"),
        cell => text(cell).replace('%', "%25").replace(BETWEEN, "%23"),
    }
}

/// The item of a row: its key, the day, and the columns that have a value.
pub(super) fn item(model: &Model, day: Date, row: &[Cell]) -> anyhow::Result<Item> {
    let mut item = Item::from([(DAY.to_owned(), AttributeValue::S(day.to_string()))]);
    for (column, cell) in model.columns.iter().zip(row) {
        let name = &column.field.name;
        let value = attribute(cell).with_context(|| format!("the column `{name}`"))?;
        if let Some(value) = value {
            item.insert(name.clone(), value);
        }
    }
    item.extend(key(day, keys(model, row)?).item(model));
    Ok(item)
}

fn attribute(cell: &Cell) -> anyhow::Result<Option<AttributeValue>> {
    Ok(Some(match cell {
        Cell::Null => return Ok(None),
        Cell::Boolean(value) => AttributeValue::Bool(*value),
        Cell::Integer(value) => AttributeValue::N(value.to_string()),
        Cell::Float(value) => number((*value).into(), value.to_string())?,
        Cell::Double(value) => number(*value, value.to_string())?,
        Cell::Nested(value) => nested(value),
        other => AttributeValue::S(text(other)),
    }))
}

/// Numbers of `DynamoDB` have no more than 125 digits before the decimal point, and 130 after it.
fn number(value: f64, text: String) -> anyhow::Result<AttributeValue> {
    let size = value.abs();
    ensure!(
        value == 0.0 || (1e-130..1e126).contains(&size),
        "DynamoDB has no number {text}; make it null in the model"
    );
    Ok(AttributeValue::N(if (1e-7..1e20).contains(&size) { text } else { format!("{value:e}") }))
}

fn nested(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(values) => AttributeValue::L(values.iter().map(nested).collect()),
        Value::Object(fields) => {
            AttributeValue::M(fields.iter().map(|(name, value)| (name.clone(), nested(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Models;

    fn model(keys: &str) -> Models {
        let text = format!(
            "/*\ndescription = \"d\"\nowner = \"o\"\ngrain = \"g\"\nkeys = {keys}\ncolumns = \"\"\"\nid bigint the vehicle\n\
             code string a code\nkind string a kind\nn bigint a number\nkm double km\n\"\"\"\n\
             [sources.raw]\ncolumns = \"id bigint\"\n[[examples]]\nname = \"e\"\nexpect = \"id\"\n*/\nselect 1"
        );
        Models::of([(PathBuf::from("way.sql"), text)]).expect("models")
    }

    fn row(code: &str, kind: &str, n: i64) -> Vec<Cell> {
        let text = |text: &str| Cell::Text(text.to_owned());
        vec![Cell::Integer(7), text(code), text(kind), Cell::Integer(n), Cell::Double(0.5)]
    }

    #[test]
    fn an_item_has_the_key_the_day_and_what_is_there() {
        let models = model("[\"id\", \"n\", \"code\"]");
        let (model, day) = (models.get("way").expect("a model"), "2023-01-01".parse().expect("a day"));
        let mut cells = row("a#b", "k", 3);
        cells[2] = Cell::Null;
        let item = item(model, day, &cells).expect("an item");
        let s = |text: &str| AttributeValue::S(text.to_owned());
        let n = |text: &str| AttributeValue::N(text.to_owned());
        let expected = [
            ("ymd", s("2023-01-01")),
            ("id", n("7")),
            ("code", s("a#b")),
            ("n", n("3")),
            ("km", n("0.5")),
            (SORT, s("2023-01-01#000000000003#a%23b")),
        ];
        assert_eq!(item, expected.map(|(name, value)| (name.to_owned(), value)).into());
        for wrong in [f64::NAN, f64::INFINITY, 1e126, -1e300, 1e-131] {
            assert!(attribute(&Cell::Double(wrong)).is_err(), "{wrong}");
        }
        for right in [0.0, -0.0, 1e125, 1e-130, 123.25, -1e-9] {
            let Ok(Some(AttributeValue::N(text))) = attribute(&Cell::Double(right)) else { panic!("{right}") };
            assert!(text.len() < 30 && text.parse() == Ok(right), "{text}");
        }
    }

    proptest! {
        #[test]
        fn rows_whose_keys_differ_have_different_items(
            a in "[#%a-c]{0,3}", b in "[#%a-c]{0,3}", c in "[#%a-c]{0,3}", d in "[#%a-c]{0,3}",
        ) {
            let models = model("[\"id\", \"code\", \"kind\"]");
            let (model, day) = (models.get("way").expect("a model"), "2023-01-01".parse().expect("a day"));
            let key = |code: &str, kind: &str| key(day, keys(model, &row(code, kind, 1)).expect("the keys"));
            prop_assert_eq!(key(&a, &b) == key(&c, &d), (a, b) == (c, d));
        }
    }
}
