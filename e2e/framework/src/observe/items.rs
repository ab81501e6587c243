//! Shows DynamoDB items as plain JSON, one item on each line, sorted by key.

use std::cmp::Ordering;
use std::fmt::Write;

use serde_json::Value;

use super::name::safe;
use super::{EntryKind, Holding, Key, Redactor, Rule, Section};
use crate::case::{Case, Place};
use crate::json::quoted;
use crate::stack::{Stack, StackError, Table};

/// An item of a table.
pub(crate) static ITEM: EntryKind =
    EntryKind { noun: "item", is_block: false, place: Some(Place::Items), key: Key::FirstFields, rule: Rule::EachOnce };

/// One section for every table.
pub(super) fn sections(case: &Case, stack: &dyn Stack, redactor: &Redactor<'_>) -> Result<Vec<Section>, StackError> {
    let section = |table: &Table| {
        let items = lines(table, stack.scan(&table.name)?);
        let entries = entries(table, items.clone(), redactor);
        let holding = Holding::Items { table: table.name.clone(), items };
        Ok(Section::new(safe(&["table", &table.name]), &ITEM, entries).holding(vec![holding]))
    };
    case.settings.resources.tables.iter().map(section).collect()
}

/// The items of a table without what is redacted.
fn entries(table: &Table, items: Vec<String>, redactor: &Redactor<'_>) -> Vec<String> {
    let mut entries = redactor.entries(Place::Items, items);
    // The order by a key that is redacted would be another one in every run.
    if keys(table).any(|name| redactor.hides_field(Place::Items, name)) {
        entries.sort();
    }
    entries
}

/// The items of a table as lines, sorted by partition key and sort key. In each line the key attributes come first, and
/// the others follow in the order of their names.
fn lines(table: &Table, mut items: Vec<Value>) -> Vec<String> {
    let keys: Vec<&str> = keys(table).collect();
    items.sort_by(|a, b| {
        keys.iter().map(|key| by_value(&a[*key], &b[*key])).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    items.iter().map(|item| line(item, &keys)).collect()
}

/// The names of the partition key and the sort key.
fn keys(table: &Table) -> impl Iterator<Item = &str> {
    std::iter::once(&table.partition_key).chain(&table.sort_key).map(|(name, _)| name.as_str())
}

fn line(item: &Value, keys: &[&str]) -> String {
    let mut text = String::new();
    write_map(item, keys, &mut text);
    text
}

fn write_map(map: &Value, first: &[&str], text: &mut String) {
    let empty = serde_json::Map::new();
    let map = map.as_object().unwrap_or(&empty);
    let mut names: Vec<&String> = map.keys().collect();
    names.sort_by_key(|name| (first.iter().position(|key| key == name).unwrap_or(first.len()), name.as_str()));
    text.push('{');
    for (i, name) in names.into_iter().enumerate() {
        let _ = write!(text, "{}{}:", if i > 0 { "," } else { "" }, quoted(name));
        write_value(&map[name], text);
    }
    text.push('}');
}

/// Writes a value such as `{"N":"1.50"}` as JSON. Numbers keep DynamoDB's own text. Bytes and sets keep their type,
/// which JSON cannot express.
fn write_value(value: &Value, text: &mut String) {
    let Some((kind, inner)) = value.as_object().and_then(|map| map.iter().next()) else {
        let _ = write!(text, "{value}");
        return;
    };
    match (kind.as_str(), inner) {
        ("N", Value::String(number)) => text.push_str(number),
        ("S" | "BOOL", inner) => {
            let _ = write!(text, "{inner}");
        }
        ("NULL", _) => text.push_str("null"),
        ("M", map) => write_map(map, &[], text),
        ("L", Value::Array(list)) => {
            text.push('[');
            for (i, element) in list.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write_value(element, text);
            }
            text.push(']');
        }
        ("SS" | "NS" | "BS", Value::Array(set)) => {
            let mut set: Vec<String> = set.iter().map(Value::to_string).collect();
            set.sort();
            let _ = write!(text, "{{{}:[{}]}}", quoted(kind), set.join(","));
        }
        (kind, inner) => {
            let _ = write!(text, "{{{}:{inner}}}", quoted(kind));
        }
    }
}

/// Orders numbers by value, and everything else by its text.
fn by_value(a: &Value, b: &Value) -> Ordering {
    let number = |value: &Value| value["N"].as_str().and_then(|text| text.parse::<f64>().ok());
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y),
        _ => text_of(a).cmp(&text_of(b)),
    }
}

fn text_of(value: &Value) -> String {
    value["S"].as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Redactions;
    use serde_json::json;

    #[test]
    fn a_key_that_is_redacted_decides_no_order() {
        let table =
            Table { name: "t".into(), partition_key: ("pk".into(), "S".into()), sort_key: None, indexes: Vec::new() };
        let redactions = Redactions::of(&["$.items[*].pk"], &[]);
        let shown = |keys: [&str; 2]| {
            let item = |(key, name): (&str, &str)| json!({"pk": {"S": key}, "name": {"S": name}});
            let items = lines(&table, keys.into_iter().zip(["a", "b"]).map(item).collect());
            entries(&table, items, &Redactor::new(&redactions))
        };
        assert_eq!(shown(["1", "2"]), [r#"{"pk":"[redacted]","name":"a"}"#, r#"{"pk":"[redacted]","name":"b"}"#]);
        assert_eq!(shown(["1", "2"]), shown(["2", "1"]));
    }

    #[test]
    fn keys_come_first_and_numbers_keep_their_text() {
        let table = Table {
            name: "t".into(),
            partition_key: ("pk".into(), "S".into()),
            sort_key: Some(("n".into(), "N".into())),
            indexes: Vec::new(),
        };
        let items = vec![
            json!({"a": {"N": "1.50"}, "n": {"N": "10"}, "pk": {"S": "x"}}),
            json!({"n": {"N": "9"}, "pk": {"S": "x"}, "m": {"M": {"b": {"BOOL": true}, "a": {"NULL": true}}}, "l": {"L": [{"S": "q\"" }, {"N": "1E+2"}]}}),
            json!({"n": {"N": "99"}, "pk": {"S": "a"}, "s": {"SS": ["b", "a"]}, "b": {"B": "AAE="}}),
        ];
        assert_eq!(
            lines(&table, items),
            [
                r#"{"pk":"a","n":99,"b":{"B":"AAE="},"s":{"SS":["a","b"]}}"#,
                r#"{"pk":"x","n":9,"l":["q\"",1E+2],"m":{"a":null,"b":true}}"#,
                r#"{"pk":"x","n":10,"a":1.50}"#,
            ]
        );
    }
}
