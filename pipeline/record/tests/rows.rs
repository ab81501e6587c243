//! What every message gives: its rows without a loss, or an error that says why not.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use fms_record::{Message, MessageError, Parser, Row};
use proptest::prelude::*;
use serde_json::value::RawValue;

fn unrolling() -> Parser {
    Parser::new(Some("measurements".into()))
}

fn whole() -> Parser {
    Parser::new(None)
}

fn lines(message: &Message<'_>) -> Vec<String> {
    message
        .rows()
        .map(|row| {
            let mut out = Vec::new();
            row.expect("a row").write_json(&mut out);
            String::from_utf8(out).expect("UTF-8")
        })
        .collect()
}

fn one_row<'m>(message: &'m Message<'_>) -> Row<'m> {
    message.rows().next().expect("a row").expect("a row")
}

/// Whether the text is JSON, according to us.
fn is_json(payload: &[u8]) -> bool {
    !matches!(
        whole().parse(payload),
        Err(MessageError::EmptyMessage { .. }
            | MessageError::OtherEncoding { .. }
            | MessageError::NotUtf8 { .. }
            | MessageError::Truncated { .. }
            | MessageError::InvalidJson { .. }
            | MessageError::SchemaRegistry { .. }
            | MessageError::SeveralLines { .. })
    )
}

#[test]
fn rows_are_envelope_and_element_with_every_value_as_it_stood() {
    let payload = r#"{"object":"vehicle","type":"x","id":12345678901234567890123, "speed":1,"measurements":[{"seq":0,"speed":1.50},
        {"seq":1.0e+2,"note":"\ud800\u0041\/"} ],"firmware" : "2.4.1"}"#;
    let message = unrolling().parse(payload.as_bytes()).expect("valid");
    assert_eq!(
        lines(&message),
        [
            r#"{"object":"vehicle","type":"x","id":12345678901234567890123,"firmware" : "2.4.1","seq":0,"speed":1.50}"#,
            r#"{"object":"vehicle","type":"x","id":12345678901234567890123, "speed":1,"firmware" : "2.4.1","seq":1.0e+2,"note":"\ud800\u0041\/"}"#,
        ]
    );
    assert_eq!(message.element_text(1), r#"{"seq":1.0e+2,"note":"\ud800\u0041\/"}"#);
    assert_eq!(message.envelope("firmware"), Some(r#""2.4.1""#));
    let row = one_row(&message);
    assert_eq!((row.get("speed"), row.get("measurements"), row.get("absent")), (Some("1.50"), None, None));
    assert_eq!(
        row.fields().into_iter().map(|(name, _)| name.into_owned()).collect::<Vec<_>>(),
        ["object", "type", "id", "firmware", "seq", "speed"]
    );
}

#[test]
fn names_are_compared_decoded() {
    let payload = br#"{"\u006fbject":"vehicle","type":"x","\u0069d":7,"m\u0065asurements":[{"i\u0064":8,"\u00e9":1}]}"#;
    let message = unrolling().parse(payload).expect("valid");
    let row = one_row(&message);
    assert_eq!((row.get("id"), row.get("é"), row.get("object")), (Some("8"), Some("1"), Some(r#""vehicle""#)));
    assert_eq!(lines(&message), [r#"{"\u006fbject":"vehicle","type":"x","i\u0064":8,"\u00e9":1}"#]);
}

#[test]
fn a_bad_element_costs_no_other() {
    let payload = br#"{"object":"vehicle","type":"x","id":"a","measurements":[{"a":1},2,{"a":1,"\u0061":2},{"a":3},{"\udc00":1},null,{}]}"#;
    let message = unrolling().parse(payload).expect("valid");
    let rows: Vec<_> = message
        .rows()
        .map(|row| match row {
            Ok(row) => format!("{} {:?}", row.index(), row.get("a")),
            Err((index, error)) => format!("{index} {error}: {}", message.element_text(index)),
        })
        .collect();
    insta::assert_snapshot!(rows.join("\n"), @r#"
    0 Some("1")
    1 list element 1 (counted from 0) is `2`; expected an object: 2
    2 in list element 2 (counted from 0), field `a` appears twice, at byte offsets 67 and 73 of the message: which one is meant cannot be known: {"a":1,"\u0061":2}
    3 Some("3")
    4 in list element 4 (counted from 0), the field name "\udc00" at byte offset 94 of the message has a surrogate escape without its partner: it is no Unicode text: {"\udc00":1}
    5 list element 5 (counted from 0) is `null`; expected an object: null
    6 None
    "#);
}

#[test]
fn requests_and_responses_are_rows_themselves() {
    for command in ["command", "response", "resp\\u006fnse"] {
        let payload = format!(
            " {{\"object\":\"vehicle\",\"type\":\"control\",\"command\":\"{command}\",\"id\":7,\n\"action\":\"LOCK\"}} "
        );
        let message = unrolling().parse(payload.as_bytes()).expect("valid");
        assert_eq!(message.element_text(0), payload.trim());
        assert_eq!(lines(&message), [payload.trim().replace('\n', "")]);
        assert_eq!(one_row(&message).index(), 0);
    }
}

/// Only what spans lines is changed.
#[test]
fn a_row_of_many_lines_is_written_in_one() {
    let payload = "{\n  \"a\" : 1, \"b\":\n    { \"c d\" : 2 },\n  \"e\": [\n    1,\n    \" f \"\n  ] }";
    let message = whole().parse(payload.as_bytes()).expect("valid");
    assert_eq!(lines(&message), [r#"{"a" : 1, "b":{ "c d" : 2 },"e": [1," f "]}"#]);
}

/// The digits that a number was sent with are part of the row.
#[test]
fn every_digit_counts_in_a_digest() {
    let digest = |payload: &str| one_row(&whole().parse(payload.as_bytes()).expect("valid")).digest();
    assert_ne!(digest(r#"{"a":[21.5]}"#), digest(r#"{"a":[21.50]}"#));
    assert_ne!(digest(r#"{"a":["x y"]}"#), digest(r#"{"a":["xy"]}"#));
    assert_eq!(digest(r#"{"a":[21.5, {"b" :1}]}"#), digest("{ \"a\":[21.5,\n{\"b\":1}]}"));
}

/// Dead letters are counted and searched by these.
#[test]
fn errors_have_a_class() {
    let of = |payload: &[u8]| unrolling().parse(payload).expect_err("an error").class();
    assert_eq!(of(b""), "EmptyMessage");
    assert_eq!(of(b"\xfe\xff\0{\0}"), "OtherEncoding");
    assert_eq!(of(b"{"), "Truncated");
    assert_eq!(of(br#"{"a":1,"a":2}"#), "DuplicateField");
    let payload = br#"{"object":"o","type":"t","id":1,"measurements":[1,{"a\ud800":1}]}"#;
    let message = unrolling().parse(payload).expect("valid");
    let classes: Vec<_> = message.rows().filter_map(|row| row.err().map(|(_, error)| error.class())).collect();
    assert_eq!(classes, ["NotAnObject", "LoneSurrogate"]);
}

#[test]
fn an_empty_list_gives_no_rows() {
    let message = br#"{"object":"vehicle","type":"x","id":7,"measurements":[ ]}"#;
    assert_eq!(unrolling().parse(message).expect("valid").rows().count(), 0);
}

#[test]
fn an_empty_object_is_a_row() {
    let message = whole().parse(b"\xef\xbb\xbf{ }").expect("valid");
    assert_eq!(lines(&message), ["{}"]);
    let payload = br#"{"object":"vehicle","type":"x","id":7,"measurements":[{},{"a":1},{}]}"#;
    assert_eq!(lines(&unrolling().parse(payload).expect("valid"))[2], r#"{"object":"vehicle","type":"x","id":7}"#);
}

#[test]
fn setting_replaces_in_place_or_appends() {
    let payload = br#"{"object":"vehicle","type":"x","id":7,"a":1,"measurements":[{"b":2,"c":3}],"d":4}"#;
    let message = unrolling().parse(payload).expect("valid");
    let mut row = one_row(&message);
    for (name, json) in
        [("pk", "\"k\""), ("c", "30"), ("a", "[\n10]"), ("p\"k", "1"), ("pk", "\"l\""), ("type", "null"), ("c", "31")]
    {
        row.set(name, json.into());
    }
    let mut out = Vec::new();
    row.write_json(&mut out);
    assert_eq!(
        String::from_utf8(out).expect("UTF-8"),
        r#"{"object":"vehicle","type":null,"id":7,"a":[10],"d":4,"b":2,"c":31,"pk":"l","p\"k":1}"#
    );
    assert_eq!(
        (row.get("pk"), row.get("c"), row.get("p\"k"), row.get("d")),
        (Some("\"l\""), Some("31"), Some("1"), Some("4"))
    );
    let names: Vec<_> = row.fields().into_iter().map(|(name, json)| format!("{name}={json}")).collect();
    assert_eq!(names.join(" "), "object=\"vehicle\" type=null id=7 a=[\n10] d=4 b=2 c=31 pk=\"l\" p\"k=1");
}

#[test]
fn a_name_twice_is_seen_wherever_it_stands() {
    for name in ["", "a", "id", "seventh", "eighteen", "longer than a word"] {
        for between in ["", "\"b\":0,", "\"another\":0,\"yet another\":1,"] {
            let payload = format!("{{\"{name}\":1,{between}\"{name}\":1}}");
            assert!(matches!(whole().parse(payload.as_bytes()), Err(MessageError::Name(_))), "{payload}");
        }
    }
}

/// Keys in tables are made of digests: they must never change.
#[test]
fn a_digest_stays_what_it_is() {
    let long = "x".repeat(200);
    let payload = format!(r#"{{"b":[1, 2],"\u0061":"é","c":"{long}"}}"#);
    let message = whole().parse(payload.as_bytes()).expect("valid");
    // printf '\1a\4"é"\1b\5[1,2]\1c\312\1"xxx…"' | sha256sum
    assert_eq!(one_row(&message).digest(), "6e1f7aa1263ec947263a0a7c5554bc6f");
}

#[test]
fn depth_and_width_cost_no_more_than_their_bytes() {
    let deep = |open: &str, close: &str| format!("{{\"a\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
    assert!(whole().parse(deep("[", "]").as_bytes()).is_ok());
    assert!(whole().parse(deep("{\"a\":", "}").as_bytes()).is_ok());
    assert!(matches!(whole().parse(deep("[", "").as_bytes()), Err(MessageError::InvalidJson { .. })));

    let wide: Vec<String> = (0..100_000).map(|number| format!("\"f{number}\":{number}")).collect();
    let wide = wide.join(",");
    let elements: Vec<String> = (0..100_000).map(|number| format!("{{\"f{number}\":{number}}}")).collect();
    let payload = format!(
        r#"{{"object":"vehicle","type":"x","id":7,{wide},"measurements":[{{{wide}}},{}]}}"#,
        elements.join(",")
    );
    let message = unrolling().parse(payload.as_bytes()).expect("valid");
    assert_eq!(message.rows().count(), 100_001);
    let row = one_row(&message);
    assert_eq!(row.fields().len(), 100_003);
    let twice = format!("{{{wide},\"f99999\":0}}");
    assert!(matches!(whole().parse(twice.as_bytes()), Err(MessageError::Name(_))));
}

#[test]
fn errors_say_what_to_do() {
    let list = |list: &str| {
        format!(r#"{{"object":"vehicle","type":"kinematic","command":"report","id":7{list}}}"#).into_bytes()
    };
    let cases: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\xef\xbb\xbf \n".to_vec(),
        b"{\"a\":\"\xff\"}".to_vec(),
        b"\x1f\x8b\x08".to_vec(),
        b"\x80{}".to_vec(),
        b"\xff\xfe{\0}\0".to_vec(),
        b"\0\0\xfe\xff\0\0\0{".to_vec(),
        b"hello".to_vec(),
        b"{\"a\":1}\0\0\0\0".to_vec(),
        b"{\"a\":1\0".to_vec(),
        b"{\0\"\0".to_vec(),
        br#"{"object":"vehicle","type":"kinematic","id":10022,"measurements":[{"seq":0,"latitude":37.3"#.to_vec(),
        br#"{"name":"cut "#.to_vec(),
        b"{\"a\":1,\n \"speed\":NaN}".to_vec(),
        br#"{"speed":-Infinity}"#.to_vec(),
        br#"{"a":01}"#.to_vec(),
        br#"{"a":1.}"#.to_vec(),
        br#"{"a":"\x"}"#.to_vec(),
        br#"{"a":"\u12g4"}"#.to_vec(),
        b"{\"a\":\"tab\there\"}".to_vec(),
        br#"{"a":1,}"#.to_vec(),
        br"{'a':1}".to_vec(),
        br#"{"a":[1 2]}"#.to_vec(),
        br#"{"a":1} {"a":2}"#.to_vec(),
        b"[1,2]".to_vec(),
        b"\"text\"".to_vec(),
        b" 12.5 ".to_vec(),
        b"null".to_vec(),
        br#"{"id":1,"\u0069d":2}"#.to_vec(),
        br#"{"a\ud800":1}"#.to_vec(),
        br#"{"type":"kinematic","id":7,"measurements":[]}"#.to_vec(),
        br#"{"object":"vehicle","type":"","id":7,"measurements":[]}"#.to_vec(),
        br#"{"object":["vehicle"],"type":"","id":7,"measurements":[]}"#.to_vec(),
        br#"{"object":"vehicle","type":"x","id":null,"measurements":[]}"#.to_vec(),
        list(""),
        list(r#","measurements":null"#),
        list(r#","measurements":{"seq":0}"#),
    ];
    let texts: Vec<_> =
        cases.iter().map(|payload| unrolling().parse(payload).expect_err("an error").to_string()).collect();
    insta::assert_snapshot!(texts.join("\n"), @r#"
    the payload is empty (0 bytes, none of them JSON); expected one JSON object: a producer that means a deletion sends a null value, not an empty one
    the payload is empty (5 bytes, none of them JSON); expected one JSON object: a producer that means a deletion sends a null value, not an empty one
    the payload is not UTF-8: byte 0xff at byte offset 6 of the message, after `{"a":"`; is the producer sending another encoding, or compressed or binary data?
    the payload is not UTF-8: byte 0x8b at byte offset 1 of the message, after `\u{1f}`; is the producer sending another encoding, or compressed or binary data?
    the payload is not UTF-8: byte 0x80 at byte offset 0 of the message; is the producer sending another encoding, or compressed or binary data?
    the payload begins with the byte order mark of UTF-16 (little endian), but JSON is exchanged in UTF-8: set the producer's encoding
    the payload begins with the byte order mark of UTF-32 (big endian), but JSON is exchanged in UTF-8: set the producer's encoding
    invalid JSON at line 1 column 1 (byte offset 0 of the message): expected a value, found `hello`
    invalid JSON at line 1 column 8 (byte offset 7 of the message): expected the end of the message, found 4 NUL bytes after `{"a":1}`; is the producer sending its buffer with what it has not filled? It has to send the message only
    invalid JSON at line 1 column 7 (byte offset 6 of the message): expected `,` or `}`, found a NUL byte after `{"a":1`; is the producer sending its buffer with what it has not filled? It has to send the message only
    invalid JSON at line 1 column 2 (byte offset 1 of the message): expected a field name in double quotes, found a NUL byte after `{`; is the producer sending UTF-16, or binary data?
    the JSON is cut off at its end, line 1 column 91 (byte offset 90 of the message): expected `,` or `}` after `…"measurements":[{"seq":0,"latitude":37.3`; was the message truncated on its way?
    the JSON is cut off at its end, line 1 column 14 (byte offset 13 of the message): expected `"` to close a string after `{"name":"cut `; was the message truncated on its way?
    invalid JSON at line 2 column 10 (byte offset 17 of the message): expected a value, found `NaN}` after `{"a":1,\n "speed":`; JSON has no NaN or infinity: the producer has to send null or leave the field out
    invalid JSON at line 1 column 11 (byte offset 10 of the message): expected a digit, found `Infinity}` after `{"speed":-`; JSON has no NaN or infinity: the producer has to send null or leave the field out
    invalid JSON at line 1 column 7 (byte offset 6 of the message): expected `,` or `}`, found `1}` after `{"a":0`
    invalid JSON at line 1 column 8 (byte offset 7 of the message): expected a digit, found `}` after `{"a":1.`
    invalid JSON at line 1 column 8 (byte offset 7 of the message): expected one of " \ / b f n r t u after a backslash, found `x"}` after `{"a":"\`
    invalid JSON at line 1 column 11 (byte offset 10 of the message): expected a hexadecimal digit of \uXXXX, found `g4"}` after `{"a":"\u12`
    invalid JSON at line 1 column 10 (byte offset 9 of the message): expected an escape, such as \n, for a control character, found `\there"}` after `{"a":"tab`
    invalid JSON at line 1 column 8 (byte offset 7 of the message): expected a field name in double quotes, found `}` after `{"a":1,`
    invalid JSON at line 1 column 2 (byte offset 1 of the message): expected a field name in double quotes, found `'a':1}` after `{`
    invalid JSON at line 1 column 9 (byte offset 8 of the message): expected `,` or `]`, found `2]}` after `{"a":[1 `
    invalid JSON at line 1 column 9 (byte offset 8 of the message): expected the end of the message, found `{"a":2}` after `{"a":1} `
    the message is an array, expected one JSON object: a producer has to send one object a record
    the message is a string, expected one JSON object: a producer has to send one object a record
    the message is a number, expected one JSON object: a producer has to send one object a record
    the message is null, expected one JSON object: a producer has to send one object a record
    in the envelope, field `id` appears twice, at byte offsets 1 and 8 of the message: which one is meant cannot be known
    in the envelope, the field name "a\ud800" at byte offset 1 of the message has a surrogate escape without its partner: it is no Unicode text
    the envelope has no field `object`; expected a string that is not empty
    the envelope's field `type` is `""`; expected a string that is not empty
    the envelope's field `object` is `["vehicle"]`; expected a string that is not empty
    the envelope's field `id` is `null`; expected a number, or a string that is not empty
    the envelope has no list `measurements` to unroll (converter.split.list.key), and its `command` is `"report"`: only messages whose `command` is "command" or "response" go without a list
    the envelope's field `measurements` is `null`; expected an array to unroll (converter.split.list.key)
    the envelope's field `measurements` is `{"seq":0}`; expected an array to unroll (converter.split.list.key)
    "#);
}

/// Names that are the same text or not, once decoded.
fn name() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        "[a-d]{1,2}".prop_map(|name| (name.clone(), name)),
        "[a-d]{1,2}".prop_map(|name| (
            name.clone(),
            name.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect::<Vec<_>>().concat()
        )),
        "\\PC{0,3}".prop_map(|name| {
            let json = serde_json::to_string(&name).expect("a string is JSON");
            (name, json[1..json.len() - 1].to_owned())
        }),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        "-?(0|[1-9][0-9]{0,45})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a string is JSON")),
        Just(r#""\ud800 \/ \u0000""#.to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("null".to_owned()),
    ];
    scalar.prop_recursive(6, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,\n"))),
            proptest::collection::vec(inner, 0..4).prop_map(|items| {
                let fields: Vec<_> = items.iter().map(|item| format!("\"k\" :\r\n{item}")).collect();
                format!("{{ {} }}", fields.join(","))
            }),
        ]
    })
}

/// Fields of one object: decoded name, JSON text of the name, value.
fn fields() -> impl Strategy<Value = Vec<(String, String, String)>> {
    proptest::collection::vec((name(), value()), 0..7).prop_map(|fields| {
        let mut seen = BTreeSet::new();
        let fields = fields.into_iter().map(|((name, raw), value)| (name, raw, value));
        fields.filter(|(name, ..)| seen.insert(name.clone())).collect()
    })
}

/// The value without white space between its tokens.
fn compact(json: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    let keep = |&c: &char| {
        let keep = in_string || !matches!(c, ' ' | '\t' | '\n' | '\r');
        in_string ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        keep
    };
    json.chars().filter(keep).collect()
}

/// What a row is written with for the value.
fn one_line(json: &str) -> String {
    if json.contains(['\n', '\r']) { compact(json) } else { json.into() }
}

fn object(fields: &[(String, String, String)], space: &str) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(_, raw, value)| format!("{space}\"{raw}\"{space}:{space}{value}{space}")).collect();
    format!("{{{space}{}}}", fields.join(","))
}

/// Rows that say to have the same names have them, in the same order.
#[test]
fn names_stand_for_the_fields_of_a_whole_message() {
    let mut parser = whole();
    let mut names = |json: &str| {
        let message = parser.parse(json.as_bytes()).expect("a message");
        one_row(&message).names().expect("the message is its row")
    };
    let first = names(r#"{"a":1,"b":2}"#);
    assert_eq!(names(r#"{"a":"x", "b":null}"#), first);
    for other in [r#"{"b":1,"a":2}"#, r#"{"a":1}"#, r#"{"a":1,"b":2,"c":3}"#, "{}"] {
        assert_ne!(names(other), first, "{other}");
    }
    let message =
        unrolling().parse(br#"{"object":"o","type":"t","id":1,"measurements":[{"a":1}]}"#).expect("a message");
    let mut row = one_row(&message);
    assert_eq!(row.names(), None);
    row.set("a", "2".into());
    assert_eq!(row.values().collect::<Vec<_>>(), [r#""o""#, r#""t""#, "1", "2"]);
    let message = whole().parse(b"{}").expect("a message");
    let mut row = one_row(&message);
    row.set("a", "1".into());
    assert_eq!((row.names(), row.values().count()), (None, 1));
}

proptest! {
    #[test]
    fn unrolling_and_collecting_again_loses_nothing(
        envelope in fields(), elements in proptest::collection::vec(fields(), 0..5), place in any::<proptest::sample::Index>(),
        repeat in any::<bool>(), space in "[ \n\r\t]{0,2}",
    ) {
        let elements: Vec<_> = if repeat { elements.iter().flat_map(|element| [element; 3]).cloned().collect() } else { elements };
        let identity = [("object", "\"o\""), ("type", "\"t\""), ("id", "1")];
        let mut envelope: Vec<_> = envelope;
        envelope.extend(identity.map(|(name, value)| (name.to_owned(), name.to_owned(), value.to_owned())));
        let list: Vec<_> = elements.iter().map(|element| object(element, &space)).collect();
        let list = format!("[{space}{}{space}]", list.join(&format!("{space},{space}")));
        let mut message = envelope.clone();
        message.insert(place.index(envelope.len() + 1), ("measurements".into(), "measurements".into(), list));
        let payload = object(&message, &space);

        let parsed = unrolling().parse(payload.as_bytes()).expect("valid");
        prop_assert_eq!(parsed.rows().count(), elements.len());
        for (number, (row, element)) in parsed.rows().zip(&elements).enumerate() {
            let row = row.expect("a row");
            prop_assert_eq!(row.index(), number);
            prop_assert_eq!(parsed.element_text(number), object(element, &space));
            let clash = |name: &str| element.iter().any(|(own, ..)| own == name);
            let expected: Vec<_> = envelope.iter().filter(|(name, ..)| !clash(name)).chain(element).collect();
            let fields: Vec<_> = row.fields().into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())).collect();
            prop_assert_eq!(&fields, &expected.iter().map(|(name, _, value)| (name.clone(), value.clone())).collect::<Vec<_>>());
            for (name, value) in &fields {
                prop_assert_eq!(row.get(name), Some(value.as_str()));
            }

            let mut line = Vec::new();
            row.write_json(&mut line);
            prop_assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
            let written: BTreeMap<String, &RawValue> = serde_json::from_slice(&line).expect("JSON");
            let written: BTreeMap<_, _> = written.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect();
            prop_assert_eq!(written, fields.iter().map(|(name, value)| (name.clone(), one_line(value))).collect());

            // A row written and read again is the same row.
            let again = whole().parse(&line).expect("valid");
            prop_assert_eq!(one_row(&again).digest(), row.digest());
        }
    }

    #[test]
    fn setting_is_as_if_the_source_had_said_so(
        source in fields(), settings in proptest::collection::vec((name(), "[1-9][0-9]{0,2}"), 0..8),
    ) {
        let payload = object(&source, "");
        let message = whole().parse(payload.as_bytes()).expect("valid");
        let mut row = one_row(&message);
        let mut expected: Vec<_> = source.iter().map(|(name, _, value)| (name.clone(), value.clone())).collect();
        for ((name, _), value) in &settings {
            row.set(name, value.clone());
            match expected.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.clone_from(value),
                None => expected.push((name.clone(), value.clone())),
            }
        }
        let fields: Vec<_> = row.fields().into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())).collect();
        prop_assert_eq!(&fields, &expected);
        let mut line = Vec::new();
        row.write_json(&mut line);
        let again = whole().parse(&line).expect("valid");
        let again: Vec<_> = one_row(&again).fields().into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())).collect();
        let one_line: Vec<_> = expected.into_iter().map(|(name, value)| (name, one_line(&value))).collect();
        prop_assert_eq!(again, one_line);
    }

    #[test]
    fn digests_are_equal_exactly_for_equal_fields(
        one in fields(), turn in any::<proptest::sample::Index>(), other_name in name(), other_value in value(), rename in any::<bool>(),
    ) {
        let digest = |fields: &[(String, String, String)]| {
            let payload = object(fields, "");
            one_row(&whole().parse(payload.as_bytes()).expect("valid")).digest()
        };
        let set = |fields: &[(String, String, String)]| -> BTreeMap<String, String> {
            fields.iter().map(|(name, _, value)| (name.clone(), compact(value))).collect()
        };
        let mut other = one.clone();
        if !other.is_empty() {
            other.rotate_left(turn.index(one.len()));
        }
        prop_assert_eq!(digest(&one), digest(&other));
        match other.first_mut() {
            Some((name, raw, _)) if rename && one.iter().all(|(name, ..)| *name != other_name.0) => (*name, *raw) = other_name,
            Some((.., value)) => *value = other_value,
            None => {}
        }
        prop_assert_eq!(digest(&one) == digest(&other), set(&one) == set(&other));
    }

    #[test]
    fn digests_know_no_white_space_between_tokens(source in fields(), space in "[ \n\r\t]{0,2}") {
        let digest = |payload: &str| one_row(&whole().parse(payload.as_bytes()).expect("valid")).digest();
        let compacted: Vec<_> = source.iter().map(|(name, raw, value)| (name.clone(), raw.clone(), compact(value))).collect();
        prop_assert_eq!(digest(&object(&source, &space)), digest(&object(&compacted, "")));
    }

    #[test]
    fn a_name_twice_is_an_error(names in proptest::collection::vec(
        prop_oneof![name(), "[a-z]{4}_m(in|ax)_[ab]{3}".prop_map(|name| (name.clone(), name))], 0..40)) {
        let fields: Vec<_> = names.iter().map(|(name, raw)| (name.clone(), raw.clone(), "1".to_owned())).collect();
        let distinct = names.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len() == names.len();
        let element = object(&fields, "");
        prop_assert_eq!(whole().parse(element.as_bytes()).is_ok(), distinct);
        let payload = format!(r#"{{"object":"o","type":"t","id":1,"measurements":[{element},{element}]}}"#);
        let message = unrolling().parse(payload.as_bytes()).expect("valid");
        prop_assert!(message.rows().all(|row| row.is_ok() == distinct));
    }

    /// Names come from few, so that messages often have some or all in common, in one order or another, escaped or
    /// twice.
    #[test]
    fn what_a_parser_has_read_before_changes_nothing(messages in proptest::collection::vec((
        proptest::collection::vec(prop_oneof![
            Just("a"), Just("aa"), Just("a\\u0061"), Just("b"), Just("\\u0062"), Just("measurements"), Just("")], 0..4),
        any::<proptest::sample::Index>(),
        prop_oneof![Just("1"), Just("[]"), Just("[{\"a\":1},{\"b\":2}]"), Just("{\"a\":1}")],
        prop_oneof![9 => Just(""), 1 => Just("!")],
    ), 1..8)) {
        let (mut veteran, mut unrolls) = (whole(), unrolling());
        for (names, place, value, tail) in messages {
            let mut fields: Vec<String> = ["object", "type", "id"].map(|name| format!("\"{name}\":\"x\"")).into();
            for name in names {
                fields.insert(place.index(fields.len() + 1), format!("\"{name}\":{value}"));
            }
            let payload = format!("{{{}}}{tail}", fields.join(", "));
            for (veteran, mut novice) in [(&mut veteran, whole()), (&mut unrolls, unrolling())] {
                let said = |message: Result<Message<'_>, MessageError>| message.map(|message| {
                    let rows = message.rows().map(|row| row.map(|row| format!("{row:?} {}", row.digest())));
                    rows.collect::<Vec<_>>()
                });
                prop_assert_eq!(format!("{:?}", said(veteran.parse(payload.as_bytes()))), format!("{:?}", said(novice.parse(payload.as_bytes()))));
            }
        }
    }

    #[test]
    fn what_is_json_is_what_serde_json_accepts(tokens in proptest::collection::vec(prop_oneof![
        Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\""), Just("\"a\""), Just("\\"), Just("\\u00e"),
        Just("\\ud800"), Just("0"), Just("01"), Just("1.5"), Just("-0e1"), Just("1"), Just("-"), Just("."), Just("e"), Just("E+"), Just("true"), Just("nul"), Just("null"),
        Just("NaN"), Just(" "), Just("\n"), Just("\u{1}"), Just("\u{0}"), Just("é"), Just("\u{a0}"), Just("\u{7f}"), Just("\"a\":1"),
    ], 0..12)) {
        let text = tokens.concat();
        for payload in [text.clone(), format!("{{\"a\":{text}}}"), format!("[{text}]"), format!("\"{text}\"")] {
            let theirs = serde_json::from_str::<&RawValue>(&payload).is_ok();
            prop_assert_eq!(is_json(payload.as_bytes()), theirs, "{:?}", payload);
        }
    }

    #[test]
    fn one_changed_byte_is_judged_as_serde_json_does(
        source in fields(), list in fields(), place in any::<proptest::sample::Index>(), byte in any::<u8>(), kind in 0..4,
    ) {
        let mut message = source;
        message.push(("measurements".into(), "measurements".into(), format!("[{}]", object(&list, " "))));
        let mut payload = object(&message, "").into_bytes();
        let place = place.index(payload.len());
        match kind {
            0 => payload[place] = byte,
            1 => payload.insert(place, byte),
            2 => drop(payload.remove(place)),
            _ => payload.truncate(place),
        }
        let theirs = serde_json::from_slice::<&RawValue>(&payload).is_ok();
        prop_assert_eq!(is_json(&payload), theirs, "{:?}", String::from_utf8_lossy(&payload));
        let unrolled = unrolling().parse(&payload);
        let syntax = matches!(unrolled, Err(MessageError::EmptyMessage { .. } | MessageError::OtherEncoding { .. }
            | MessageError::NotUtf8 { .. } | MessageError::Truncated { .. } | MessageError::InvalidJson { .. }
            | MessageError::SchemaRegistry { .. } | MessageError::SeveralLines { .. }));
        prop_assert_eq!(!syntax, theirs);
        if kind == 3 {
            let cut = matches!(unrolled, Err(MessageError::EmptyMessage { .. } | MessageError::NotUtf8 { .. } | MessageError::Truncated { .. }));
            prop_assert!(cut, "a truncated message has to be called so");
        }
    }

    #[test]
    fn any_bytes_give_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64), head in 0..3_usize) {
        let head: &str = ["", "{\"object\":\"o\",\"type\":\"t\",\"id\":1,\"measurements\":[{\"a\":", "\u{feff}{\"a\":\""][head];
        let payload = [head.as_bytes(), &bytes].concat();
        for mut parser in [unrolling(), whole()] {
            match parser.parse(&payload) {
                Ok(message) => prop_assert!(message.rows().all(|row| row.is_err() || row.is_ok_and(|row| row.digest().len() == 32))),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
