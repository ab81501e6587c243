//! Other fleets' messages: paths, lists that lie deeper, arrays, wrapped values, and what Kafka says of a record.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use fms_record::format::{Required, WithoutList};
use fms_record::{EventTime, Format, Message, MessageError, Parser, Row, Source, Template, TimeSource};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A list, and no more asked of the envelope.
fn listing(list: &str) -> Format {
    Format { list: Some(list.into()), without_list: WithoutList::All, ..Format::default() }
}

fn lines(message: &Message<'_>) -> Vec<String> {
    let line = |row: Row<'_>| {
        let mut out = Vec::new();
        row.write_json(&mut out);
        String::from_utf8(out).expect("UTF-8")
    };
    message.rows().map(|row| row.map_or_else(|(_, error)| error.to_string(), line)).collect()
}

fn read(format: &Format, payload: &str) -> Result<Vec<String>, MessageError> {
    Parser::of(format.clone()).parse(payload.as_bytes()).map(|message| lines(&message))
}

fn one_row<'m>(message: &'m Message<'_>) -> Row<'m> {
    message.rows().next().expect("a row").expect("a row")
}

#[test]
fn what_an_envelope_needs_can_be_said() {
    let mut format = listing("entity");
    let payload = r#"{"header":{"timestamp":"1672542000","incrementality":""},"entity":[{"id":"a"}]}"#;
    assert_eq!(read(&format, payload).expect("valid").len(), 1);
    let mut needs = |required: &str| {
        format.required = vec![Required::parse(required)];
        read(&format, payload).err().map(|error| error.to_string())
    };
    assert_eq!(needs("header.timestamp:string"), None);
    insta::assert_snapshot!(needs("id").expect("an error"), @"the envelope has no field `id`; expected a number, or a string that is not empty");
    insta::assert_snapshot!(needs("header").expect("an error"), @r#"the envelope's field `header` is `{"timestamp":"1672542000","incrementalit…`; expected a number, or a string that is not empty"#);
    insta::assert_snapshot!(needs("header.incrementality:string").expect("an error"), @r#"the envelope's field `header.incrementality` is `""`; expected a string that is not empty"#);
}

#[test]
fn which_messages_go_without_the_list_can_be_said() {
    let with = |without_list| Format { without_list, ..listing("waypoints") };
    let location = r#"{"_type":"location","kind":3}"#;
    assert_eq!(read(&with(WithoutList::All), location), Ok(vec![location.into()]));
    for (condition, takes) in [
        ("_type=location|lwt", true),
        ("kind=3", true),
        ("_type=waypoint", false),
        ("kind=30", false),
        ("no=absent", false),
    ] {
        let format = with(WithoutList::parse(condition).expect("a condition"));
        assert_eq!(read(&format, location).is_ok(), takes, "{condition}");
    }
    let error = |format: &Format, payload: &str| read(format, payload).expect_err("an error").to_string();
    let some = with(WithoutList::parse(" a.b = x | y|z").expect("a condition"));
    insta::assert_snapshot!(error(&some, location), @r#"the envelope has no list `waypoints` to unroll (converter.split.list.key), and its `a.b` is `absent`: only messages whose `a.b` is "x", "y" or "z" go without a list"#);
    insta::assert_snapshot!(error(&with(WithoutList::default()), r#"{"command":7}"#), @r#"the envelope has no list `waypoints` to unroll (converter.split.list.key), and its `command` is `7`: only messages whose `command` is "command" or "response" go without a list"#);
    // A list that is there but is none is told, whatever may go without it.
    insta::assert_snapshot!(error(&with(WithoutList::All), r#"{"waypoints":null}"#), @"the envelope's field `waypoints` is `null`; expected an array to unroll (converter.split.list.key)");
    for wrong in ["", "command", "=a", "a=", "a=b||c"] {
        assert!(WithoutList::parse(wrong).is_err(), "{wrong}");
    }
}

/// What holds the list keeps its other fields, as they stand.
#[test]
fn a_list_that_lies_deeper_is_cut_out_of_what_holds_it() {
    let rows = |payload: &str| read(&listing("data.dp"), payload).expect("valid");
    for (data, rest) in [
        (r#"{"dp":[{"code":1},{"code":2}],"t":1.50}"#, r#"{"t":1.50}"#),
        (r#"{"t":1.50, "dp" : [{"code":1},{"code":2}]}"#, r#"{"t":1.50}"#),
        (r#"{"a":[1, 2], "dp":[{"code":1},{"code":2}] , "b":{}}"#, r#"{"a":[1, 2] , "b":{}}"#),
        (r#"{ "dp":[{"code":1},{"code":2}] }"#, r"{  }"),
        (r#"{"d\u0070":[{"code":1},{"code":2}]}"#, "{}"),
    ] {
        let expected = [1, 2].map(|code| format!(r#"{{"id":7,"data":{rest},"z":0,"code":{code}}}"#));
        assert_eq!(rows(&format!(r#"{{"id":7,"data":{data},"z":0}}"#)), expected, "{data}");
    }
    // On a name clash the element wins, as with any list.
    assert_eq!(rows(r#"{"data":{"dp":[{"data":1}],"t":1},"z":0}"#), [r#"{"z":0,"data":1}"#]);
    assert_eq!(rows(r#"{"a":1,"data":{"dp":[]}}"#), [""; 0]);
    // The literal name first.
    assert_eq!(rows(r#"{"data":{"dp":[{"a":1}]},"data.dp":[{"b":2}]}"#), [r#"{"data":{"dp":[{"a":1}]},"b":2}"#]);
    // What is not there may be absent.
    assert_eq!(rows(r#"{"data":null}"#), [r#"{"data":null}"#]);
    let error = read(&listing("data.dp"), r#"{"data":{"dp":"[]"}}"#).expect_err("no list");
    insta::assert_snapshot!(error, @r#"the envelope's field `data.dp` is `"[]"`; expected an array to unroll (converter.split.list.key)"#);
    assert_eq!(
        read(&listing("a.b.c"), r#"{"a":{"x":1,"b":{"y":2,"c":[{"z":3}]}}}"#),
        Ok(vec![r#"{"a":{"x":1,"b":{"y":2}},"z":3}"#.into()])
    );
}

#[test]
fn a_row_of_a_deeper_list_reads_and_writes_as_any_other() {
    let mut parser = Parser::of(listing("data.dp"));
    let message = parser.parse(br#"{"data":{"t":5,"dp":[{"v":{"x":true}}]}}"#).expect("valid");
    let mut row = one_row(&message);
    assert_eq!((row.find("data.t"), row.find("data.dp"), row.find("v.x")), (Some("5"), None, Some("true")));
    let alone =
        Parser::new(None).parse(br#"{"v":{"x":true},"data":{"t":5}}"#).map(|message| one_row(&message).digest());
    assert_eq!(row.digest(), alone.expect("valid"), "a digest is of the row alone");
    row.set("data", "6".into());
    assert_eq!((row.find("data.t"), row.find("data")), (None, Some("6")));
    assert_eq!(format!("{row:?}"), r#"row 0: {"data":6,"v":{"x":true}}"#);
}

#[test]
fn lists_within_lists_are_refused() {
    assert_eq!(Format::list("data.dp"), Ok("data.dp".into()));
    insta::assert_snapshot!(Format::list("meterValue[].sampledValue").expect_err("refused"), @"lists within lists are not unrolled: one list gives the rows, and what lists its elements have stay in the rows as they are; name the outer one, `meterValue`");
    assert!(Format::list("").is_err());
}

#[test]
fn an_array_is_unrolled() {
    let rows = |payload: &str| read(&listing("$"), payload).expect("valid");
    assert_eq!(rows(r#"[{"n":"a","v":1.50} , {"n":"b"}]"#), [r#"{"n":"a","v":1.50}"#, r#"{"n":"b"}"#]);
    assert_eq!(rows(" [ ] "), [""; 0]);
    assert_eq!(rows(r#"{"n":"a"}"#), [r#"{"n":"a"}"#]);
    insta::assert_snapshot!(rows(r#"[{"a":1},7,[{}],{"a":1,"a":2}]"#).join("\n"), @r#"
    {"a":1}
    list element 1 (counted from 0) is `7`; expected an object
    list element 2 (counted from 0) is `[{}]`; expected an object
    in list element 3 (counted from 0), field `a` appears twice, at byte offsets 17 and 23 of the message: which one is meant cannot be known
    "#);
    let without = Format { without_list: WithoutList::default(), ..listing("$") };
    insta::assert_snapshot!(read(&without, "{}").expect_err("no array"), @r#"the message is an object, not an array to unroll (converter.split.list.key = `$`), and its `command` is `absent`: only messages whose `command` is "command" or "response" go without a list"#);
    insta::assert_snapshot!(read(&listing("$"), "7").expect_err("no array"), @"the message is a number, expected one JSON object: a producer has to send one object a record");
    insta::assert_snapshot!(read(&listing("$"), "[{}").expect_err("cut"), @"the JSON is cut off at its end, line 1 column 4 (byte offset 3 of the message): expected `,` or `]` after `[{}`; was the message truncated on its way?");
    insta::assert_snapshot!(read(&listing("$"), "[{}]]").expect_err("more"), @"invalid JSON at line 1 column 5 (byte offset 4 of the message): expected the end of the message, found `]` after `[{}]`");
}

/// OCPP's `[2,"id","Action",{…}]`.
#[test]
fn scalars_before_an_arrays_first_object_are_fields_of_its_rows() {
    let mut parser = Parser::of(listing("$"));
    let message = parser.parse(br#"[2,"19","MeterValues",{"connectorId":1},{"$1":0}]"#).expect("valid");
    assert_eq!(
        lines(&message),
        [r#"{"connectorId":1,"$0":2,"$1":"19","$2":"MeterValues"}"#, r#"{"$1":0,"$0":2,"$2":"MeterValues"}"#]
    );
    let row = one_row(&message);
    assert_eq!((row.index(), row.get("$2"), row.get("$3")), (3, Some(r#""MeterValues""#), None));
    let rows = |payload: &str| read(&listing("$"), payload).expect("valid");
    // Without an object there is no row that they could be fields of.
    assert!(rows("[2,[{}]]").iter().all(|line| line.contains("expected an object")));
    // Many are no header but a list of something else.
    assert_eq!(rows("[1,2,3,4,5,6,7,8,9,{}]").iter().filter(|line| line.contains("expected an object")).count(), 9);
}

#[test]
fn a_message_may_be_a_part_of_the_value() {
    let schemas = Format { schemas: true, ..Format::default() };
    let after = Format { extract: Some("after".into()), ..Format::default() };
    let both = Format { extract: Some("after".into()), ..schemas.clone() };
    let row = |row: &str| Ok(vec![row.to_owned()]);
    let plain = r#"{"schema":{"type":"struct"}, "payload" : {"id":1.50} }"#;
    assert_eq!(read(&schemas, plain), row(r#"{"id":1.50}"#));
    assert_eq!(read(&after, r#"{"before":null,"after":{"id":1},"op":"c"}"#), row(r#"{"id":1}"#));
    assert_eq!(read(&both, r#"{"payload":{"after":{"id":1}}}"#), row(r#"{"id":1}"#));
    let listed = Format { schemas: true, ..listing("$") };
    assert_eq!(read(&listed, r#"{"payload":[{"a":1}]}"#), row(r#"{"a":1}"#));
    // What is wrong after the message is wrong all the same, and positions are those of the value.
    assert!(matches!(read(&schemas, r#"{"payload":{"id":1}"#), Err(MessageError::Truncated { .. })));
    let twice = read(&schemas, r#"{"payload":{"id":1,"id":2}}"#).expect_err("twice");
    let errors = [
        twice,
        read(&schemas, r#"{"id":1}"#).expect_err("no payload"),
        read(&after, r#"{"op":"c"}"#).expect_err("no after"),
        read(&after, r#"{"op":"d","after":null}"#).expect_err("a deletion"),
        read(&both, r#"{"schema":null,"payload":null}"#).expect_err("a deletion"),
        read(&both, r#"{"payload":7}"#).expect_err("no object"),
        read(&after, r#"{"after":[1]}"#).expect_err("no object"),
        read(&after, r#"{"after":"{\"_id\":1}"}"#).expect_err("a string"),
        read(&schemas, "[]").expect_err("an array"),
    ];
    let texts = errors.map(|error| format!("{}: {error}", error.class())).join("\n");
    insta::assert_snapshot!(texts, @r#"
    DuplicateField: in the envelope, field `id` appears twice, at byte offsets 12 and 19 of the message: which one is meant cannot be known
    MissingBody: the value has no `payload`, which value.converter.schemas.enable expects: it is true for values that are {"schema": …, "payload": …}, and false for plain JSON
    MissingBody: the value has no `after`, which converter.extract.field = `after` expects
    NullValue: the value's `after` is null, which means a deletion, as a null value (a tombstone) does
    NullValue: the value's `payload` is null, which means a deletion, as a null value (a tombstone) does
    NotAnObject: the value's `payload` is a number, expected one JSON object
    NotAnObject: the value's `after` is an array, expected one JSON object
    JsonInString: the value's `after` is a string that holds JSON, so it was serialized twice: the producer has to send what is in it
    NotAnObject: the message is an array, expected one JSON object: a producer has to send one object a record
    "#);
}

#[test]
fn what_is_often_sent_instead_of_a_message_is_named() {
    let said = |payload: &[u8]| {
        let error = Parser::new(None).parse(payload).expect_err("an error");
        format!("{}: {error}", error.class())
    };
    let cases: &[&[u8]] = &[
        b"\0\0\0\0\x07{\"id\":1}",
        b"\0\0\x01\x86\xa0\x02\xfe\xff",
        b"\0\0\0\0{{\"id\":1}",
        b"\0\0\0\0{\"id\":1}",
        b"\0{\0}",
        b"{\"a\":1}\n{\"a\":2}\n",
        b"{\"a\":1} \r\n\r\n [2]",
        b"{\"a\":1} {\"a\":2}",
        b"{\"a\":1}\n,",
        br#" "{\"a\":1}" "#,
        br#""[1] ""#,
        br#""{a}""#,
    ];
    insta::assert_snapshot!(cases.iter().map(|payload| said(payload)).collect::<Vec<_>>().join("\n"), @r#"
    SchemaRegistry: the value begins with a zero byte and the schema id 7: it was written for Confluent's Schema Registry, and values are read without one here: have the producer send plain JSON (a JSON serializer without registry, or Kafka Connect's org.apache.kafka.connect.json.JsonConverter)
    SchemaRegistry: the value begins with a zero byte and the schema id 100000: it was written for Confluent's Schema Registry, and values are read without one here: have the producer send plain JSON (a JSON serializer without registry, or Kafka Connect's org.apache.kafka.connect.json.JsonConverter)
    SchemaRegistry: the value begins with a zero byte and the schema id 123: it was written for Confluent's Schema Registry, and values are read without one here: have the producer send plain JSON (a JSON serializer without registry, or Kafka Connect's org.apache.kafka.connect.json.JsonConverter)
    InvalidJson: invalid JSON at line 1 column 1 (byte offset 0 of the message): expected a value, found 4 NUL bytes; is the producer sending UTF-16, or binary data?
    InvalidJson: invalid JSON at line 1 column 1 (byte offset 0 of the message): expected a value, found a NUL byte; is the producer sending UTF-16, or binary data?
    SeveralLines: the record holds several JSON values, one a line; the second begins at line 2 column 1 (byte offset 8 of the message): the producer has to send each as a record of its own, or all of them as one array, which converter.split.list.key = `$` unrolls
    SeveralLines: the record holds several JSON values, one a line; the second begins at line 3 column 2 (byte offset 13 of the message): the producer has to send each as a record of its own, or all of them as one array, which converter.split.list.key = `$` unrolls
    InvalidJson: invalid JSON at line 1 column 9 (byte offset 8 of the message): expected the end of the message, found `{"a":2}` after `{"a":1} `
    InvalidJson: invalid JSON at line 2 column 1 (byte offset 8 of the message): expected the end of the message, found `,` after `{"a":1}\n`
    JsonInString: the message is a string that holds JSON, so it was serialized twice: the producer has to send what is in it
    JsonInString: the message is a string that holds JSON, so it was serialized twice: the producer has to send what is in it
    NotAnObject: the message is a string, expected one JSON object: a producer has to send one object a record
    "#);
}

#[test]
fn event_times_and_keys_come_by_paths() {
    let mut parser = Parser::new(None);
    let payload = br#"{"position":{"fixTime":"2023-01-01T12:00:00+09:00","speed":1.50},"position.speed":"own","d":{"e.f":{"g":true}}}"#;
    let message = parser.parse(payload).expect("valid");
    let row = one_row(&message);
    let time = EventTime::of(&row, Some("position.fixTime"), Some(7)).expect("a time");
    assert_eq!((time.millis, time.source), (1_672_542_000_000, TimeSource::Field));
    let render =
        |template: &str| Template::parse(template).expect("a template").render(&row).map_err(|error| error.to_string());
    assert_eq!(
        render("${position.speed}/${d.e.f.g}/${d.e.x|position.fixTime}").as_deref(),
        Ok("own/true/2023-01-01T12:00:00+09:00")
    );
    insta::assert_snapshot!(render("${position.x}").expect_err("absent"), @"the template `${position.x}` needs the field `position.x`, which is absent");
    insta::assert_snapshot!(render("${d.e}").expect_err("absent"), @"the template `${d.e}` needs the field `d.e`, which is absent");
    let longest = Template::parse("${position.fixTime}").expect("a template").longest_field(&row);
    assert_eq!(longest, Some(("position.fixTime".into(), 25)));
}

#[derive(Debug)]
struct Record {
    topic: &'static str,
    key: Option<&'static [u8]>,
    headers: &'static [(&'static str, Option<&'static [u8]>)],
}

impl Source for Record {
    fn topic(&self) -> &str {
        self.topic
    }

    fn partition(&self) -> i32 {
        3
    }

    fn offset(&self) -> i64 {
        42
    }

    fn timestamp(&self) -> Option<i64> {
        Some(1_672_542_000_000)
    }

    fn key(&self) -> Option<&[u8]> {
        self.key
    }

    fn header(&self, name: &str) -> Option<Option<&[u8]>> {
        self.headers.iter().rfind(|(own, _)| *own == name).map(|(_, value)| *value)
    }
}

#[test]
fn a_template_knows_the_record() {
    let render = |record: Option<&Record>, template: &str| {
        let mut parser = Parser::new(None);
        let mut message = parser.parse(br#"{"id":7}"#).expect("valid");
        if let Some(record) = record {
            message.set_source(record);
        }
        Template::parse(template)?.render(&one_row(&message)).map_err(|error| format!("{}: {error}", error.class()))
    };
    let record = Record {
        topic: "fleet",
        key: Some("차-1".as_bytes()),
        headers: &[("v", Some(b"1")), ("v", Some(b"2")), ("none", None), ("bin", Some(b"\x00\xff")), ("", Some(b"x"))],
    };
    let all = "${@key}|${@topic}|${@partition}|${@offset}|${@timestamp}|${@header.v}|${@index}|${@header.none|id}";
    assert_eq!(render(Some(&record), all).as_deref(), Ok("차-1|fleet|3|42|1672542000000|2|0|7"));
    let bare = Record { topic: "fleet", key: None, headers: &[] };
    let texts = [
        render(Some(&record), "x${@header.bin}"),
        render(Some(&record), "${@header.absent|@header.none}"),
        render(Some(&bare), "${@key}"),
        render(Some(&Record { topic: "fleet", key: Some(b""), headers: &[] }), "${@key}"),
        render(Some(&Record { topic: "fleet", key: Some(&[0, 0, 0, 0, 7, 0xff]), headers: &[] }), "${@key}"),
        render(None, "${@offset}"),
        render(None, "${@header.}"),
    ]
    .map(|said| said.expect_err("an error"))
    .join("\n");
    insta::assert_snapshot!(texts, @r"
    NotText: the template `x${@header.bin}` needs text in `@header.bin` of the Kafka record, found bytes that are not UTF-8: `\x00\xff`; leave it out of the template, or have the producer write text there
    MissingField: the template `${@header.absent|@header.none}` needs one of the fields `@header.absent` (absent), `@header.none` (null)
    MissingField: the template `${@key}` needs the Kafka record's `@key`, which is null
    MissingField: the template `${@key}` needs the Kafka record's `@key`, which is empty
    NotText: the template `${@key}` needs text in `@key` of the Kafka record, found bytes that are not UTF-8: `\x00\x00\x00\x00\x07\xff`; leave it out of the template, or have the producer write text there
    MissingField: the template `${@offset}` needs the Kafka record's `@offset`, which is absent
    template `${@header.}`, character 3: `@header.` is not known; there are `@index`, `@digest`, `@key`, `@topic`, `@partition`, `@offset`, `@timestamp` and `@header.NAME`
    ");
}

/// An object of few names, so that names clash, some with dots, nested.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(1)), Just(json!("x")), Just(json!(null)), Just(json!([{"a": 1}]))];
    leaf.prop_recursive(4, 24, 4, |inner| {
        proptest::collection::btree_map("[ab](\\.[ab]){0,2}", inner, 0..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
    })
}

/// The value at a path by its definition: at every level the longest name that leads there.
fn by_definition<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let fields = value.as_object()?;
    fields.get(path).or_else(|| {
        let dots = path.rmatch_indices('.');
        dots.map(|(dot, _)| (&path[..dot], &path[dot + 1..]))
            .find_map(|(name, rest)| by_definition(fields.get(name)?, rest))
    })
}

proptest! {
    #[test]
    fn a_path_is_what_it_is_by_definition(fields in tree(), path in "[ab](\\.[ab]){0,3}") {
        prop_assume!(fields.is_object());
        let text = fields.to_string();
        let mut parser = Parser::new(None);
        let message = parser.parse(text.as_bytes()).expect("valid");
        let row = one_row(&message);
        prop_assert_eq!(row.find(&path).map(ToOwned::to_owned), by_definition(&fields, &path).map(ToString::to_string));
        // The literal name wins, and a scalar leads nowhere.
        if let Some(own) = fields.get(&path) {
            let own = own.to_string();
            prop_assert_eq!(row.find(&path), Some(own.as_str()));
        }
    }

    /// Unrolling by a path gives the rows that unrolling the same list at the top gives, and the rest of the envelope.
    #[test]
    fn a_list_gives_the_same_rows_wherever_it_lies(
        elements in proptest::collection::vec(proptest::collection::btree_map("[xyz]", any::<i8>(), 0..4), 0..5),
        before in proptest::collection::btree_map("[pq]", any::<i8>(), 0..3), depth in 1..4_usize,
    ) {
        let list = json!(elements);
        let expected: Vec<Value> = elements.iter().map(|element| json!(element)).collect();
        let array = read(&listing("$"), &list.to_string()).expect("valid");
        prop_assert_eq!(array.iter().map(|row| row.parse::<Value>().expect("JSON")).collect::<Vec<_>>(), expected);

        let (mut nested, mut rest) = (json!(before), json!(before));
        nested["list"] = list;
        let mut path = "list".to_owned();
        for _ in 1..depth {
            (nested, rest) = (json!({"in": nested, "p": 0}), json!({"in": rest, "p": 0}));
            path = format!("in.{path}");
        }
        let rows = read(&listing(&path), &nested.to_string()).expect("valid");
        prop_assert_eq!(rows.len(), elements.len());
        for (row, element) in rows.iter().zip(&elements) {
            let mut whole = rest.clone();
            for (name, value) in element {
                whole[name] = json!(value);
            }
            prop_assert_eq!(row.parse::<Value>().expect("JSON"), whole);
        }
    }

    #[test]
    fn any_bytes_give_rows_or_an_error(text in "[\\[\\]{}:,\"ab1 ]{0,24}", list in "\\$|a|a\\.b|b\\.a", schemas: bool, extract: bool) {
        let extract = extract.then(|| "a".to_owned());
        let mut parser = Parser::of(Format { schemas, extract, ..listing(&list) });
        for payload in [text.clone(), format!("{{\"payload\":{text}}}"), format!("[{text}]"), format!("{{\"a\":{{\"b\":[{text}]}}}}")] {
            if let Ok(message) = parser.parse(payload.as_bytes()) {
                for row in message.rows().flatten() {
                    let mut out = Vec::new();
                    row.write_json(&mut out);
                    prop_assert!(serde_json::from_slice::<Value>(&out).is_ok(), "{}: {:?}", payload, row);
                }
            }
        }
    }
}
