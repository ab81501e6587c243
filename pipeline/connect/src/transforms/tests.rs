//! What each transform makes of a record, and what it refuses.

use insta::assert_snapshot;

use super::*;
use crate::config::common::{self, COMMON};
use crate::sink::TopicPartition;

const PACKAGE: &str = "org.apache.kafka.connect.transforms.";

fn config(pairs: &[(&str, &str)]) -> Result<Config, Vec<ConfigError>> {
    let base = [("name", "raw"), ("connector.class", "S3Sink"), ("topics", "t")];
    let value = |value: &str| value.replace("PKG.", PACKAGE);
    let values = base.iter().chain(pairs).map(|(key, text)| ((*key).to_owned(), value(text)));
    let config = Config::check("raw", &[COMMON], values.collect())?;
    let problems = common::check(&config);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// The problems, a line each.
fn problems(pairs: &[(&str, &str)]) -> String {
    let problems = config(pairs).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn origin(key: &str) -> Origin {
    Origin {
        partition: TopicPartition { topic: "fms.vehicle.real".into(), partition: 3 },
        offset: 42,
        timestamp: Some(7),
        key: Some(key.into()),
        headers: vec![("trace".into(), None)],
    }
}

/// The value, or `null`, `dropped` or the error; behind it the key, if it was changed.
fn transformed(pairs: &[(&str, &str)], key: &str, value: Option<&str>) -> String {
    let chain = Chain::of(&config(pairs).unwrap()).unwrap().unwrap();
    let origin = origin(key);
    match chain.apply(&origin, value.map(str::as_bytes)) {
        Err(error) => format!("{}: {}", error.class, error.text),
        Ok(transformed) if transformed.dropped => "dropped".into(),
        Ok(Transformed { value, key, .. }) => {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let value = value.map_or_else(|| "null".into(), |value| text(&value));
            key.map_or_else(|| value.clone(), |key| format!("{value} key {}", text(&key)))
        }
    }
}

/// One transform `a` of this class and these keys, applied to this value.
fn one(class: &str, pairs: &[(&str, &str)], value: &str) -> String {
    let class = format!("{PACKAGE}{class}");
    let keys: Vec<_> = pairs.iter().map(|(key, value)| (format!("transforms.a.{key}"), *value)).collect();
    let mut all = vec![("transforms", "a"), ("transforms.a.type", class.as_str())];
    all.extend(keys.iter().map(|(key, value)| (key.as_str(), *value)));
    transformed(&all, "k", (value != "TOMBSTONE").then_some(value))
}

#[test]
fn fields_are_inserted() {
    let all = [
        ("topic.field", "topic"),
        ("partition.field", "partition?"),
        ("offset.field", "offset!"),
        ("timestamp.field", "at"),
        ("static.field", "fleet"),
        ("static.value", "a \"b\""),
    ];
    assert_snapshot!(one("InsertField$Value", &all, r#"{"a": 1.50, "fleet":0}"#), @r#"{"a":1.50,"fleet":"a \"b\"","topic":"fms.vehicle.real","partition":3,"offset":42,"at":7}"#);
    assert_eq!(one("InsertField$Value", &all, "TOMBSTONE"), "null");
    assert_eq!(one("InsertField$Value", &all, " null "), "null");
    assert_snapshot!(one("InsertField$Value", &all, "[1]"), @"DataException: transform `a`: only an object has fields, which field insertion needs: this is a list");
}

#[test]
fn fields_are_left_out_kept_and_renamed() {
    let value = r#"{"a":1,"b":{"x": 2},"c":3}"#;
    assert_eq!(one("ReplaceField$Value", &[("exclude", "a, c")], value), r#"{"b":{"x": 2}}"#);
    assert_eq!(one("ReplaceField$Value", &[("include", "a,b"), ("exclude", "b")], value), r#"{"a":1}"#);
    assert_eq!(one("ReplaceField$Value", &[("renames", "a:z,b:c")], value), r#"{"z":1,"c":3}"#);
    assert_eq!(one("ReplaceField$Value", &[("exclude", "a")], "TOMBSTONE"), "null");
}

#[test]
fn values_are_masked_by_what_is_empty_of_their_kind() {
    let value = r#"{"i":7,"f":1.5,"s":"x","b":true,"l":[1],"o":{"a":1},"n":null,"keep":1.50}"#;
    assert_snapshot!(one("MaskField$Value", &[("fields", "i,f,s,b,l,o,n,absent")], value), @r#"{"i":0,"f":0.0,"s":"","b":false,"l":[],"o":{},"n":null,"keep":1.50,"absent":null}"#);
    let replaced = [("fields", "i,f,s"), ("replacement", "007")];
    assert_snapshot!(one("MaskField$Value", &replaced, value), @r#"{"i":7,"f":7.0,"s":"007","b":true,"l":[1],"o":{"a":1},"n":null,"keep":1.50}"#);
    // Of a name that is there twice, nothing is left to be read.
    assert_eq!(one("MaskField$Value", &[("fields", "s")], r#"{"s":"x","s":"y"}"#), r#"{"s":"","s":""}"#);
    let text = [("fields", "b"), ("replacement", "x")];
    assert_snapshot!(one("MaskField$Value", &text, value), @"DataException: transform `a`: field `b`: a boolean cannot be masked with a `replacement`");
    let number = [("fields", "i"), ("replacement", "x")];
    assert_snapshot!(one("MaskField$Value", &number, value), @"DataException: transform `a`: field `i`: `x`, which is to replace an integer, is none");
    assert_snapshot!(one("MaskField$Value", &[("fields", "i")], "TOMBSTONE"), @"DataException: transform `a`: null has no fields, which masking fields needs");
}

#[test]
fn fields_are_extracted_hoisted_and_flattened() {
    let value = r#"{"a":{"b":{"c":1.0},"l":[{"d":1}]},"a.b":2,"e":null}"#;
    // With its field alone, it would be the converter's own key.
    let plain = ("replace.null.with.default", "true");
    let extract = |pairs: &[(&str, &str)]| one("ExtractField$Value", &[pairs, &[plain]].concat(), value);
    assert_eq!(extract(&[("field", "a")]), r#"{"b":{"c":1.0},"l":[{"d":1}]}"#);
    assert_eq!(extract(&[("field", "a.b")]), "2");
    assert_eq!(extract(&[("field", "a.b"), ("field.syntax.version", "V2")]), r#"{"c":1.0}"#);
    assert_eq!(extract(&[("field", "`a.b`"), ("field.syntax.version", "V2")]), "2");
    assert_eq!(extract(&[("field", "a.l.d"), ("field.syntax.version", "V2")]), "null");
    assert_eq!((extract(&[("field", "e")]), extract(&[("field", "x")])), ("null".into(), "null".into()));
    assert_eq!(one("ExtractField$Value", &[("field", "a"), plain], "TOMBSTONE"), "null");
    assert_eq!(one("HoistField$Value", &[("field", "h")], "[1, 2]"), r#"{"h":[1, 2]}"#);
    assert_eq!(one("HoistField$Value", &[("field", "h")], "TOMBSTONE"), r#"{"h":null}"#);
    assert_eq!(one("Flatten$Value", &[], value), r#"{"a.b.c":1.0,"a.l":[{"d":1}],"a.b":2,"e":null}"#);
    assert_eq!(one("Flatten$Value", &[("delimiter", "_")], r#"{"a":{"b":{}},"a_c":1}"#), r#"{"a_c":1}"#);
    assert_eq!(one("Flatten$Value", &[], "TOMBSTONE"), "null");
}

#[test]
fn times_change_their_form() {
    let convert = |target: &str, format: &str, precision: &str, value: &str| {
        let keys = [("field", "t"), ("target.type", target), ("format", format), ("unix.precision", precision)];
        one("TimestampConverter$Value", &keys, &format!(r#"{{"t":{value}}}"#))
    };
    let iso = "yyyy-MM-dd'T'HH:mm:ss.SSSXXX";
    assert_eq!(convert("string", iso, "milliseconds", "1672531200123"), r#"{"t":"2023-01-01T00:00:00.123Z"}"#);
    assert_eq!(convert("unix", iso, "milliseconds", r#""2023-01-01T09:00:00.123+09:00""#), r#"{"t":1672531200123}"#);
    assert_eq!(convert("unix", iso, "seconds", r#""2023-01-01T09:00:00.999+09:00""#), r#"{"t":1672531200}"#);
    assert_eq!(convert("Timestamp", "", "microseconds", "1672531200123456"), r#"{"t":1672531200123}"#);
    assert_eq!(convert("Date", "", "milliseconds", "1672531200123"), r#"{"t":1672531200000}"#);
    assert_eq!(convert("Time", "", "milliseconds", "-1"), r#"{"t":86399999}"#);
    assert_eq!(convert("string", "yyyyMMddHHmm", "seconds", "0"), r#"{"t":"197001010000"}"#);
    assert_eq!(convert("unix", "yyyyMMddHHmm", "seconds", r#""197001020000 and more""#), r#"{"t":86400}"#);
    assert_eq!(convert("unix", iso, "seconds", "null"), r#"{"t":null}"#);
    assert_snapshot!(convert("unix", iso, "seconds", r#""2023-13-01T00:00:00.000Z""#), @"DataException: transform `a`: field `t`: the text `2023-13-01T00:00:00.000Z` does not match the format `yyyy-MM-dd'T'HH:mm:ss.SSSXXX`");
    assert_snapshot!(convert("unix", "", "seconds", r#""x""#), @"DataException: transform `a`: field `t`: a time that is a text needs `format`");
    assert_snapshot!(convert("unix", "", "seconds", "1.5"), @"DataException: transform `a`: field `t`: a number with a fraction is no time");
    assert_eq!(one("TimestampConverter$Value", &[("target.type", "unix")], "5"), "5");
    assert_eq!(one("TimestampConverter$Value", &[("target.type", "unix")], "TOMBSTONE"), "null");
}

#[test]
fn keys_are_transformed_as_their_converter_reads_them() {
    let insert = [("transforms", "a"), ("transforms.a.type", "PKG.HoistField$Key"), ("transforms.a.field", "id")];
    assert_eq!(transformed(&insert, "10022", Some("{}")), r#"{} key {"id":10022}"#);
    let texts = [&insert[..], &[("key.converter", "org.apache.kafka.connect.storage.StringConverter")]].concat();
    assert_eq!(transformed(&texts, "10022", Some("{}")), r#"{} key {"id":"10022"}"#);
    let extract = [("transforms", "a"), ("transforms.a.type", "PKG.ExtractField$Key"), ("transforms.a.field", "id")];
    assert_eq!(transformed(&extract, r#"{"id":7}"#, None), "null key 7");
    assert_snapshot!(transformed(&extract, "7", None), @"DataException: transform `a`: only an object has fields, which field extraction needs: this is an integer");
}

#[test]
fn filters_and_predicates_decide_by_record() {
    let filter = |predicate: &[(&str, &str)], value: Option<&str>| {
        let base = [
            ("transforms", "a"),
            ("transforms.a.type", "PKG.Filter"),
            ("transforms.a.predicate", "p"),
            ("predicates", "p"),
        ];
        transformed(&[&base[..], predicate].concat(), "k", value)
    };
    let tombstone = ("predicates.p.type", "PKG.predicates.RecordIsTombstone");
    assert_eq!(filter(&[tombstone], None), "dropped");
    assert_eq!(filter(&[tombstone], Some("{}")), "{}");
    assert_eq!(filter(&[tombstone, ("transforms.a.negate", "true")], Some("{}")), "dropped");
    let header = |name| [("predicates.p.type", "PKG.predicates.HasHeaderKey"), ("predicates.p.name", name)];
    assert_eq!(filter(&header("trace"), Some("{}")), "dropped");
    assert_eq!(filter(&header("Trace"), Some("{}")), "{}");
    let topic = |pattern| [("predicates.p.type", "PKG.predicates.TopicNameMatches"), ("predicates.p.pattern", pattern)];
    assert_eq!(filter(&topic("fms[.].*"), Some("{}")), "dropped");
    assert_eq!(filter(&topic("fms"), Some("{}")), "{}", "the whole name has to match");
    let all = [("transforms", "a"), ("transforms.a.type", "PKG.Filter")];
    assert_eq!(transformed(&all, "k", Some("{}")), "dropped");
}

#[test]
fn transforms_follow_each_other() {
    let chain = [
        ("transforms", "route, insert, hoist"),
        ("transforms.route.type", "PKG.RegexRouter"),
        ("transforms.route.regex", r"fms\.(\w+)\.(real|test)"),
        ("transforms.route.replacement", "$1-\\$2$2x"),
        ("transforms.insert.type", "PKG.InsertField$Value"),
        ("transforms.insert.topic.field", "topic"),
        ("transforms.hoist.type", "PKG.HoistField$Value"),
        ("transforms.hoist.field", "h"),
    ];
    assert_eq!(transformed(&chain, "k", Some("{}")), r#"{"h":{"topic":"vehicle-$2realx"}}"#);
    let router = TopicRouter::of(&config(&chain).unwrap()).unwrap();
    assert_eq!(router.route("fms.vehicle.real"), "vehicle-$2realx");
    assert_eq!(router.route("fms.vehicle.other"), "fms.vehicle.other");
    let twice = ["fms.a.real", "fms.b.real", "a-$2realx"];
    assert_eq!(router.collision(twice), Some(("fms.a.real", "a-$2realx", "a-$2realx".to_owned())));
    assert_eq!(router.collision(["fms.a.real", "fms.a.real", "fms.b.real"]), None);
    // In a value with a schema, the payload is transformed.
    let schemas = [&chain[..], &[("value.converter.schemas.enable", "true")]].concat();
    assert_eq!(
        transformed(&schemas, "k", Some(r#"{"schema":{"type":"x"},"payload":{"a":1}}"#)),
        r#"{"schema":{"type":"x"},"payload":{"h":{"a":1,"topic":"vehicle-$2realx"}}}"#
    );
}

/// A replay transforms as its flush did, so everything that is said of transforms is in the intent.
#[test]
fn transforms_are_part_of_the_intent() {
    let pairs = [("transforms", "a"), ("transforms.a.type", "PKG.HoistField$Value"), ("transforms.a.field", "then")];
    let then = config(&pairs).unwrap().intent_settings();
    assert_eq!(then["transforms.a.field"], "then");
    let today = config(&[("transforms", "b"), ("transforms.b.type", "PKG.Filter")]).unwrap();
    let replay = today.with(&then).unwrap();
    let (chain, origin) = (Chain::of(&replay).unwrap().unwrap(), origin("k"));
    assert_eq!(chain.apply(&origin, Some(b"1")).unwrap().value.unwrap(), &br#"{"then":1}"#[..]);
    let none = today.with(&config(&[]).unwrap().intent_settings()).unwrap();
    assert!(Chain::of(&none).unwrap().is_none());
}

#[test]
fn text_that_is_no_json_is_left_to_the_converter() {
    let chain = config(&[("transforms", "a"), ("transforms.a.type", "PKG.Flatten$Value")]).unwrap();
    let (chain, origin) = (Chain::of(&chain).unwrap().unwrap(), origin("k"));
    for value in [&br#"{"a":"#[..], b"{\"a\":1} x", b"\xff"] {
        assert!(chain.apply(&origin, Some(value)).unwrap_err().unreadable, "{value:?}");
    }
    assert!(!chain.apply(&origin, Some(b"[]")).unwrap_err().unreadable);
}

#[test]
fn what_is_wrong_is_said_at_start() {
    assert_snapshot!(problems(&[("transforms", "a,b,c"), ("transforms.a.type", "PKG.Cast$Value"), ("transforms.b.type", "PKG.MaskField"), ("transforms.c.typ", "x")]), @r"
    connector `raw`: `transforms.a.type` = `org.apache.kafka.connect.transforms.Cast$Value`: is not a known transform; known: RegexRouter, Filter, InsertField$Key or $Value, ReplaceField$Key or $Value, MaskField$Key or $Value, TimestampConverter$Key or $Value, ExtractField$Key or $Value, HoistField$Key or $Value, Flatten$Key or $Value
    connector `raw`: `transforms.b.type` = `org.apache.kafka.connect.transforms.MaskField`: is not a known transform; known: RegexRouter, Filter, InsertField$Key or $Value, ReplaceField$Key or $Value, MaskField$Key or $Value, TimestampConverter$Key or $Value, ExtractField$Key or $Value, HoistField$Key or $Value, Flatten$Key or $Value
    connector `raw`: `transforms.c.type`: is missing: name the class
    ");
    assert_snapshot!(problems(&[("transforms", "a"), ("transforms.a.type", "PKG.MaskField$Value"), ("transforms.a.field", "x")]), @r"
    connector `raw`: `transforms.a.field` = `x`: is not a known key; nearest known key: `fields`
    connector `raw`: `transforms.a.fields`: is missing: The values of these fields are masked
    ");
    assert_snapshot!(problems(&[("transforms", "a,a"), ("transforms.a.type", "PKG.RegexRouter"), ("transforms.a.regex", "(?=a)"), ("transforms.z.type", "x")]), @r"
    connector `raw`: `transforms` = `a,a`: names one of them twice
    connector `raw`: `transforms.z.type` = `x`: belongs to nothing that `transforms` names
    connector `raw`: `transforms.a.regex` = `(?=a)`: is not a regular expression that this program understands: look-around, including look-ahead and look-behind, is not supported
    ");
    assert_snapshot!(problems(&[("transforms", "a"), ("transforms.a.type", "PKG.RegexRouter"), ("transforms.a.regex", "(a)"), ("transforms.a.replacement", "$2")]), @"connector `raw`: `transforms.a.replacement` = `$2`: `regex` has no group 2");
    assert_snapshot!(problems(&[("transforms", "a"), ("transforms.a.type", "PKG.InsertField$Value")]), @"connector `raw`: `transforms.a.static.field`: is missing, and so is every other field to insert");
    assert_snapshot!(problems(&[("transforms", "a"), ("transforms.a.type", "PKG.TimestampConverter$Value"), ("transforms.a.target.type", "string"), ("transforms.a.format", "dd MMM yyyy")]), @"connector `raw`: `transforms.a.format` = `dd MMM yyyy`: has the name of a month, which depends on a language: write `MM`");
    assert_snapshot!(problems(&[("transforms", "a"), ("transforms.a.type", "PKG.Filter"), ("transforms.a.predicate", "p"), ("transforms.a.negate", "yes")]), @"connector `raw`: `transforms.a.negate` = `yes`: is not a boolean; allowed: true, false");
    assert_snapshot!(problems(&[("predicates", "p"), ("predicates.p.type", "PKG.predicates.RecordIsTombstone")]), @"connector `raw`: `predicates` = `p`: no transform has the predicate `p`: remove it");
    let header =
        [("predicates", "p"), ("predicates.p.type", "PKG.predicates.HasHeaderKey"), ("predicates.p.name", "x")];
    let route = [
        ("transforms", "a"),
        ("transforms.a.type", "PKG.RegexRouter"),
        ("transforms.a.regex", "a"),
        ("transforms.a.predicate", "p"),
    ];
    assert_snapshot!(problems(&[&header[..], &route].concat()), @"connector `raw`: `transforms.a.predicate` = `p`: may only be TopicNameMatches: the names of objects are made of the topic before any record is read, so all records of a topic go the same way");
}
