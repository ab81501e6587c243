//! Items by example, and rows that come back from what is sent.

use aws_sdk_dynamodb::types::AttributeValue;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// Attributes as JSON text in which every number is the text that was sent, names sorted.
fn json(value: &AttributeValue) -> String {
    let quoted = |text: &String| serde_json::to_string(text).expect("a string");
    match value {
        AttributeValue::N(text) => text.clone(),
        AttributeValue::S(text) => quoted(text),
        AttributeValue::Bool(value) => value.to_string(),
        AttributeValue::Null(_) => "null".into(),
        AttributeValue::L(list) => format!("[{}]", list.iter().map(json).collect::<Vec<_>>().join(",")),
        AttributeValue::M(map) => {
            let mut fields: Vec<_> = map.iter().map(|(name, v)| format!("{}:{}", quoted(name), json(v))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        other => panic!("no such JSON value: {other:?}"),
    }
}

/// The bytes of the item that a row is.
fn check(text: &str, key_bytes: usize) -> Result<usize, ItemError> {
    write_item(text, key_bytes, std::iter::empty(), &mut Vec::new())
}

fn error(text: &str) -> String {
    check(text, 0).expect_err(text).to_string()
}

#[test]
fn values_keep_their_text() {
    let text = r#"{"a":1.10,"b":-1,"c":12345678901234567890123456789012345678,"d":1E+2,"e":"é\\n","f":null,"g":[],"h":{"i":[true,""]}}"#;
    assert_eq!(sent(text, &[]), text);
}

/// What is sent, read as DynamoDB reads it.
fn sent(text: &str, key: &[(&str, &str)]) -> String {
    fn value(json: &serde_json::Value) -> AttributeValue {
        let (kind, content) = json.as_object().and_then(|one| one.iter().next()).expect("a type and a value");
        match (kind.as_str(), content) {
            ("NULL", _) => AttributeValue::Null(true),
            ("BOOL", content) => AttributeValue::Bool(content.as_bool().expect("a boolean")),
            ("N", content) => AttributeValue::N(content.as_str().expect("a text").into()),
            ("S", content) => AttributeValue::S(content.as_str().expect("a text").into()),
            ("L", content) => AttributeValue::L(content.as_array().expect("a list").iter().map(value).collect()),
            ("M", content) => map(content),
            other => panic!("no such type: {other:?}"),
        }
    }
    fn map(json: &serde_json::Value) -> AttributeValue {
        let fields = json.as_object().expect("an object").iter();
        AttributeValue::M(fields.map(|(name, json)| (name.clone(), value(json))).collect())
    }
    let mut out = Vec::new();
    let key: Vec<_> = key.iter().map(|(name, text)| (*name, KeyValue::Text((*text).into()))).collect();
    write_item(text, 0, key.iter().map(|(name, value)| (*name, value)), &mut out).expect("an item");
    json(&map(&serde_json::from_slice(&out).expect("JSON")))
}

/// A key that the row has under its own name, be it escaped, stays the row's.
#[test]
fn items_are_sent_with_their_keys() {
    assert_eq!(sent("{}", &[("pk", "a\"\\\n")]), r#"{"pk":"a\"\\\n"}"#);
    let text = r#" { "a" : [ 1 , {"pk":[]}, {} ] , "b\u006b" : "x" } "#;
    assert_eq!(sent(text, &[("pk", "1"), ("bk", "2")]), r#"{"a":[1,{"pk":[]},{}],"bk":"x","pk":"1"}"#);
}

#[test]
fn sizes_are_as_documented() {
    let cases = [
        ("{}", 0),
        (r#"{"a":null}"#, 2),
        (r#"{"ab":true}"#, 3),
        (r#"{"a":"äö"}"#, 5),
        (r#"{"a":123}"#, 4),
        (r#"{"a":[]}"#, 4),
        (r#"{"a":{}}"#, 4),
        // 1 + 3 + two elements of (1 + 1) bytes
        (r#"{"a":[true,null]}"#, 8),
        // 1 + 3 + (name of 2 + overhead of 1 + list of 3 + (overhead of 1 + text of 1))
        (r#"{"a":{"bc":["x"]}}"#, 12),
    ];
    for (text, bytes) in cases {
        assert_eq!(check(text, 0), Ok(bytes), "{text}");
    }
    // 7 + 1 + 3 + (1 + 2) + (1 + 3 + (1 + 1 + 2))
    assert_eq!(check(r#"{"a":[1,{"b":2}]}"#, 7), Ok(22));
}

/// 409,600 bytes are an item, one more is not.
#[test]
fn the_limit_is_exact() {
    let text = |bytes: usize| format!(r#"{{"x":1,"text":"{}"}}"#, "t".repeat(bytes - 4 - 3));
    assert_eq!(check(&text(ITEM_BYTES), 0), Ok(ITEM_BYTES));
    let error = error(&text(ITEM_BYTES + 1));
    assert!(error.contains("409601 bytes") && error.contains("`text`"), "{error}");
    assert!(check(&text(ITEM_BYTES), 1).is_err());
}

#[test]
fn what_no_item_can_be_is_refused_with_its_field() {
    let digits = "9".repeat(39);
    assert!(error(&format!(r#"{{"a":1,"odo":[{digits}]}}"#)).starts_with("field `odo`: 9999"));
    for (text, place) in [
        (r#"{"a":{"b":1,"b":2}}"#, "field `a`: the object `a` has the field `b` twice, at bytes 6 and 12 of the row"),
        (r#"{"a":{"b":1,"\u0062":2}}"#, "the object `a` has the field `b` twice, at bytes 6 and 12 of the row"),
        (r#"{"a":1,"a":2}"#, "the row has the field `a` twice, at bytes 1 and 7 of the row"),
        (
            r#"{"x":{},"i":[0,[],[{}, {"b":1,"c":{"b":[2]}, "b":1}]]}"#,
            "the object `i[2][1]` has the field `b` twice, at bytes 24 and 45 of the row",
        ),
        (r#"{"a":{"b":1,"c":{"d":1,"d":1}}}"#, "the object `a.c` has the field `d` twice"),
    ] {
        let error = error(text);
        assert!(error.contains(place), "{text}: {error}");
    }
    assert!(error(r#"{"":1}"#).contains("empty name"));
    assert!(error(r#"{"a":[{"":1}]}"#).contains("field `a`: an object has a field with an empty name"));
    assert!(error(&format!(r#"{{"{}":1}}"#, "n".repeat(65536))).contains("65536 bytes"));
    assert!(error(r#"{"a":"\ud800"}"#).contains("surrogate"));
    assert!(error("[1]").contains("object"));
    assert!(error("3").contains("object"));
}

/// A value on level 32 is stored, one below it is not; an object's own fields are on level 1.
#[test]
fn depth() {
    let nested = |lists: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(lists), "]".repeat(lists));
    assert!(check(&nested(31), 0).is_ok());
    assert!(error(&nested(32)).contains("32 levels deep, which is DynamoDB's limit"));
    assert!(error(&format!(r#"{{"a":{}"#, "[".repeat(100_000))).contains("32 levels"));
}

/// A value's text, and the one that is stored: they differ in zeros.
type Text = (String, String);

fn joined(parts: &[Text]) -> Text {
    let join = |part: fn(&Text) -> &String| parts.iter().map(part).cloned().collect::<Vec<_>>().join(",");
    (join(|(text, _)| text), join(|(_, stored)| stored))
}

fn number() -> impl Strategy<Value = Text> {
    let mantissa = "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,18})?";
    (mantissa, "([eE][-+]?[0-9]{1,2})?").prop_map(|(mantissa, exponent)| {
        let text = format!("{mantissa}{exponent}");
        let stored = if mantissa.contains(|c| matches!(c, '1'..='9')) { text.clone() } else { "0".into() };
        (text, stored)
    })
}

fn value() -> impl Strategy<Value = Text> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|v| v.to_string()),
        any::<String>().prop_map(|v| serde_json::to_string(&v).expect("a string")),
    ];
    let scalar = prop_oneof![3 => scalar.prop_map(|text| (text.clone(), text)), 1 => number()];
    scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| {
                let (text, stored) = joined(&list);
                (format!("[{text}]"), format!("[{stored}]"))
            }),
            object(inner),
        ]
    })
}

fn object(inner: impl Strategy<Value = Text>) -> impl Strategy<Value = Text> {
    prop::collection::btree_map("[a-zä\"\\\\]{1,3}", inner, 0..4).prop_map(|map| {
        let quoted = |name: &String| serde_json::to_string(name).expect("a string");
        let mut fields: Vec<Text> = map
            .iter()
            .map(|(name, (text, stored))| (format!("{}:{text}", quoted(name)), format!("{}:{stored}", quoted(name))))
            .collect();
        fields.sort();
        let (text, stored) = joined(&fields);
        (format!("{{{text}}}"), format!("{{{stored}}}"))
    })
}

proptest! {
    /// Any row that passes the check comes back with every name, every string and every digit, but for those of a zero.
    #[test]
    fn round_trip((text, stored) in object(value())) {
        serde_json::from_str::<&RawValue>(&text).expect("valid JSON");
        prop_assert!(check(&text, 0).is_ok(), "{:?}", check(&text, 0));
        prop_assert_eq!(sent(&text, &[]), stored);
    }
}
