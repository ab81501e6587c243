//! Changes of DynamoDB items: items that are lost, repeated or that overwrite each other, and attributes that a
//! pipeline with a defect writes in another way.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::lines::without_subseconds;
use super::sent::Sent;
use super::{Context, Instead};

/// The attributes of an item, each as DynamoDB's JSON, such as `{"S":"a"}`.
pub(super) type Item = Map<String, Value>;

/// The length to which a sort key is cut: of a time in ISO 8601, the hour is left.
const SHORT_KEY: usize = 13;

/// Changes the first attribute of an item, in the order of the request, that `change` concerns. Attributes of keys and
/// indexes stay as they are.
pub(super) fn in_an_item(sent: &Sent, context: &Context, change: fn(&mut Item) -> bool) -> Option<Instead> {
    let mut body = sent.json()?;
    let is_changed = items(&mut body).into_iter().any(|item| {
        let (mut keys, mut others) = (Item::new(), Item::new());
        for (name, value) in std::mem::take(item) {
            let kept = if context.keys.contains(&name) { &mut keys } else { &mut others };
            kept.insert(name, value);
        }
        let is_changed = change(&mut others);
        keys.extend(others);
        *item = keys;
        is_changed
    });
    is_changed.then(|| Instead::request(sent.with_json(&body)))
}

/// The items that a request puts into tables.
fn items(body: &mut Value) -> Vec<&mut Item> {
    fn of_put(put: &mut Value) -> Option<&mut Item> {
        put.get_mut("Item")?.as_object_mut()
    }
    let Some(body) = body.as_object_mut() else { return Vec::new() };
    let mut items = Vec::new();
    for (name, value) in body {
        match (name.as_str(), value) {
            ("Item", Value::Object(item)) => items.push(item),
            ("RequestItems", Value::Object(tables)) => {
                let requests = tables.values_mut().filter_map(Value::as_array_mut).flatten();
                items.extend(requests.filter_map(|request| request.get_mut("PutRequest").and_then(of_put)));
            }
            ("TransactItems", Value::Array(actions)) => {
                items.extend(actions.iter_mut().filter_map(|action| action.get_mut("Put").and_then(of_put)));
            }
            _ => {}
        }
    }
    items
}

/// The last item of a batch is lost, as if the service had not answered that it was not processed.
pub(super) fn lose_last(sent: &Sent) -> Option<Instead> {
    let mut body = sent.json()?;
    let tables = body.get_mut("RequestItems")?.as_object_mut()?;
    let requests = tables.values_mut().filter_map(Value::as_array_mut).find(|requests| requests.len() > 1)?;
    requests.pop();
    Some(Instead::request(sent.with_json(&body)))
}

/// Nothing of a request is stored, and the pipeline goes on as if it were.
pub(super) fn lose_all(sent: &Sent) -> Option<Instead> {
    (!items(&mut sent.json()?).is_empty()).then(|| Instead::Unsent(json!({"UnprocessedItems": {}}).to_string()))
}

/// The pipeline is told that the items are stored before they are.
pub(super) fn store_later(sent: &Sent) -> Option<Instead> {
    (!items(&mut sent.json()?).is_empty()).then(|| Instead::Later(json!({"UnprocessedItems": {}}).to_string()))
}

/// The first item is stored a second time, under another sort key.
pub(super) fn repeat(sent: &Sent, context: &Context) -> Option<Instead> {
    let mut body = sent.json()?;
    let mut requests = body.get_mut("RequestItems")?.as_object_mut()?.values_mut().filter_map(Value::as_array_mut);
    let requests = requests.find(|requests| !requests.is_empty())?;
    requests.truncate(1);
    let item = requests[0].get_mut("PutRequest")?.get_mut("Item")?.as_object_mut()?;
    let key = item.iter_mut().find(|(name, _)| context.sort_keys.contains(*name))?.1.get_mut("S")?;
    *key = format!("{}~", key.as_str()?).into();
    let tables = body.get_mut("RequestItems")?.as_object_mut()?;
    tables.retain(|_, requests| requests.as_array().is_some_and(|requests| requests.len() == 1));
    Some(Instead::Requests(vec![sent.with_json(&body), sent.clone()]))
}

/// Every sort key is cut, so that later items overwrite earlier ones.
pub(super) fn cut_sort_keys(sent: &Sent, context: &Context) -> Option<Instead> {
    let mut body = sent.json()?;
    let mut is_changed = false;
    for item in items(&mut body) {
        let keys = item.iter_mut().filter(|(name, _)| context.sort_keys.contains(*name));
        for key in keys.filter_map(|(_, key)| key.get_mut("S")) {
            if let Some(short) =
                key.as_str().and_then(|text| text.get(..SHORT_KEY)).filter(|short| Some(*short) != key.as_str())
            {
                *key = short.into();
                is_changed = true;
            }
        }
    }
    merge_equal_keys(&mut body, context);
    is_changed.then(|| Instead::request(sent.with_json(&body)))
}

/// Leaves of the items of a batch that have the same key the last one: DynamoDB refuses a batch with two of them.
fn merge_equal_keys(body: &mut Value, context: &Context) {
    let Some(tables) = body.get_mut("RequestItems").and_then(Value::as_object_mut) else { return };
    for requests in tables.values_mut().filter_map(Value::as_array_mut) {
        let mut later = BTreeSet::new();
        let key = |request: &Value| {
            let item = request.get("PutRequest")?.get("Item")?.as_object()?;
            let key: Item = item
                .iter()
                .filter(|(name, _)| context.keys.contains(*name))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect();
            Some(Value::from(key).to_string())
        };
        let mut kept: Vec<Value> =
            requests.drain(..).rev().filter(|request| key(request).is_none_or(|key| later.insert(key))).collect();
        kept.reverse();
        *requests = kept;
    }
}

/// Changes the first attribute of which `to` makes another value.
fn attribute(item: &mut Item, to: impl Fn(&str, &Value) -> Option<Value>) -> bool {
    item.values_mut().any(|attribute| {
        let Some((kind, value)) = attribute.as_object().and_then(|typed| typed.iter().next()) else { return false };
        match to(kind, value).filter(|changed| changed != attribute) {
            Some(changed) => {
                *attribute = changed;
                true
            }
            None => false,
        }
    })
}

/// The first attribute is lost.
pub(super) fn lose_attribute(item: &mut Item) -> bool {
    let first = item.keys().next().cloned();
    first.is_some_and(|name| item.remove(&name).is_some())
}

/// An attribute that is null or an empty text is lost.
pub(super) fn lose_empty(item: &mut Item) -> bool {
    let is_empty = |value: &Value| value.get("NULL").is_some() || value.get("S").is_some_and(|text| text == "");
    let name = item.iter().find(|(_, value)| is_empty(value)).map(|(name, _)| name.clone());
    name.is_some_and(|name| item.remove(&name).is_some())
}

/// A number becomes a string.
pub(super) fn number_as_text(item: &mut Item) -> bool {
    attribute(item, |kind, value| (kind == "N").then(|| json!({"S": value})))
}

/// A number with more digits than a double has is written as a double.
pub(super) fn number_as_double(item: &mut Item) -> bool {
    attribute(item, |kind, value| {
        let text = value.as_str().filter(|_| kind == "N")?;
        let double = text.parse::<f64>().ok()?.to_string();
        // DynamoDB does not keep how a number was written, only its value.
        (digits(text)? != digits(&double)?).then(|| json!({"N": double}))
    })
}

/// The digits of a number without those that do not matter; `None` if it has an exponent.
fn digits(number: &str) -> Option<(&str, &str)> {
    if number.contains(['e', 'E']) {
        return None;
    }
    let (whole, part) = number.trim_start_matches('-').split_once('.').unwrap_or((number.trim_start_matches('-'), ""));
    Some((whole.trim_start_matches('0'), part.trim_end_matches('0')))
}

/// A text that is a time loses the part of its second.
pub(super) fn lose_subseconds(item: &mut Item) -> bool {
    attribute(item, |kind, value| {
        let text = value.as_str().filter(|_| kind == "S")?;
        Some(json!({"S": without_subseconds(text)}))
    })
}

/// The first character of a text that is not ASCII is lost and replaced.
pub(super) fn mangle(item: &mut Item) -> bool {
    attribute(item, |kind, value| {
        let text = value.as_str().filter(|text| kind == "S" && !text.is_ascii())?;
        Some(json!({"S": super::mangled(text)}))
    })
}

/// A list or a map becomes a text with its JSON.
pub(super) fn nested_as_text(item: &mut Item) -> bool {
    attribute(item, |kind, value| ["L", "M"].contains(&kind).then(|| json!({"S": value.to_string()})))
}

/// A truth value becomes a number.
pub(super) fn boolean_as_number(item: &mut Item) -> bool {
    attribute(item, |kind, value| (kind == "BOOL").then(|| json!({"N": if value == true { "1" } else { "0" }})))
}

/// Two attributes of the same type, one after the other by their names, are swapped.
pub(super) fn swap(item: &mut Item) -> bool {
    let kind = |value: &Value| value.as_object().and_then(|typed| typed.keys().next().cloned());
    let attributes: Vec<(String, Value)> = item.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let alike = |pair: &&[(String, Value)]| kind(&pair[0].1) == kind(&pair[1].1) && pair[0].1 != pair[1].1;
    let Some([(first, one), (second, other)]) = attributes.windows(2).find(alike) else { return false };
    item.insert(first.clone(), other.clone());
    item.insert(second.clone(), one.clone());
    true
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::sent::tests::json as sent;
    use super::*;

    fn context() -> Context {
        let keys = ["pk", "sk", "indexed"].map(str::to_owned).into();
        Context { keys, sort_keys: ["sk".to_owned()].into(), ..Context::default() }
    }

    fn item(pk: &str, sk: &str, others: &Value) -> Value {
        let mut item = others.as_object().unwrap().clone();
        item.insert("pk".to_owned(), json!({"S": pk}));
        item.insert("sk".to_owned(), json!({"S": sk}));
        item.into()
    }

    fn batch(items: &[Value]) -> Value {
        let puts: Vec<Value> = items.iter().map(|item| json!({"PutRequest": {"Item": item}})).collect();
        json!({"RequestItems": {"t": puts}, "ReturnConsumedCapacity": "NONE"})
    }

    fn requests(instead: Option<Instead>) -> Vec<Value> {
        let Some(Instead::Requests(requests)) = instead else { return Vec::new() };
        requests.iter().map(|sent| sent.json().unwrap()).collect()
    }

    #[test]
    fn one_attribute_that_is_no_key_is_changed_in_every_kind_of_write() {
        let before = item("p", "s", &json!({"indexed": {"N": "1"}, "n": {"N": "2"}}));
        let after = item("p", "s", &json!({"indexed": {"N": "1"}, "n": {"S": "2"}}));
        let writes = |item: &Value| {
            [
                json!({"TableName": "t", "Item": item}),
                batch(std::slice::from_ref(item)),
                json!({"TransactItems": [{"Put": {"Item": item}}]}),
            ]
        };
        for (before, after) in writes(&before).iter().zip(writes(&after)) {
            let found = requests(in_an_item(&sent("DynamoDB.Put", before), &context(), number_as_text));
            assert_eq!(found, [after]);
        }
        let read = json!({"TableName": "t", "Key": {"pk": {"S": "p"}}});
        assert!(in_an_item(&sent("DynamoDB.GetItem", &read), &context(), lose_attribute).is_none());
    }

    #[test]
    fn attributes_are_written_in_another_way() {
        for (change, before, after) in [
            (
                lose_attribute as fn(&mut Item) -> bool,
                json!({"a": {"S": "1"}, "b": {"S": "2"}}),
                Some(json!({"b": {"S": "2"}})),
            ),
            (lose_empty, json!({"a": {"S": "1"}, "b": {"NULL": true}}), Some(json!({"a": {"S": "1"}}))),
            (lose_empty, json!({"a": {"S": ""}}), Some(json!({}))),
            (lose_empty, json!({"a": {"S": "1"}}), None),
            (number_as_text, json!({"a": {"N": "1.5"}}), Some(json!({"a": {"S": "1.5"}}))),
            (number_as_double, json!({"a": {"N": "9007199254740993"}}), Some(json!({"a": {"N": "9007199254740992"}}))),
            (number_as_double, json!({"a": {"N": "1.50"}}), None),
            (number_as_double, json!({"a": {"N": "-0.10"}}), None),
            (
                lose_subseconds,
                json!({"a": {"S": "2024-01-01T00:00:00.5Z"}}),
                Some(json!({"a": {"S": "2024-01-01T00:00:00Z"}})),
            ),
            (lose_subseconds, json!({"a": {"S": "2024-01-01T00:00:00Z"}}), None),
            (mangle, json!({"a": {"S": "한국"}}), Some(json!({"a": {"S": "\u{fffd}국"}}))),
            (mangle, json!({"a": {"S": "x"}}), None),
            (nested_as_text, json!({"a": {"L": [{"N": "1"}]}}), Some(json!({"a": {"S": r#"[{"N":"1"}]"#}}))),
            (boolean_as_number, json!({"a": {"BOOL": false}}), Some(json!({"a": {"N": "0"}}))),
            (
                swap,
                json!({"a": {"N": "1"}, "b": {"N": "1"}, "c": {"N": "2"}}),
                Some(json!({"a": {"N": "1"}, "b": {"N": "2"}, "c": {"N": "1"}})),
            ),
            (swap, json!({"a": {"N": "1"}, "b": {"S": "1"}}), None),
        ] {
            let mut item = before.as_object().unwrap().clone();
            let found = change(&mut item).then(|| Value::from(item));
            assert_eq!(found, after, "{before}");
        }
    }

    #[test]
    fn items_of_a_batch_are_lost() {
        let none = json!({});
        let two = batch(&[item("p", "1", &none), item("p", "2", &none)]);
        let one = batch(&[item("p", "1", &none)]);
        assert_eq!(requests(lose_last(&sent("DynamoDB.BatchWriteItem", &two))), std::slice::from_ref(&one));
        assert!(lose_last(&sent("DynamoDB.BatchWriteItem", &one)).is_none());
        assert!(matches!(lose_all(&sent("DynamoDB.BatchWriteItem", &one)), Some(Instead::Unsent(_))));
        let delete = json!({"RequestItems": {"t": [{"DeleteRequest": {"Key": {}}}]}});
        assert!(lose_all(&sent("DynamoDB.BatchWriteItem", &delete)).is_none());
    }

    #[test]
    fn an_item_is_stored_twice_and_its_batch_as_it_was() {
        let none = json!({});
        let two = batch(&[item("p", "1", &none), item("p", "2", &none)]);
        let copy = batch(&[item("p", "1~", &none)]);
        assert_eq!(requests(repeat(&sent("DynamoDB.BatchWriteItem", &two), &context())), [copy, two]);
    }

    #[test]
    fn sort_keys_are_cut_and_the_last_of_equal_ones_is_kept() {
        let (a, b) = (json!({"n": {"N": "1"}}), json!({"n": {"N": "2"}}));
        let long = |text: &str, others| item("p", &format!("2024-01-01T00:{text}"), others);
        let before = batch(&[long("01", &a), long("02", &b), item("q", "2024-01-01T00", &a)]);
        let after = batch(&[item("p", "2024-01-01T00", &b), item("q", "2024-01-01T00", &a)]);
        assert_eq!(
            requests(cut_sort_keys(&sent("DynamoDB.BatchWriteItem", &before), &context())),
            std::slice::from_ref(&after)
        );
        assert!(cut_sort_keys(&sent("DynamoDB.BatchWriteItem", &after), &context()).is_none());
    }
}
