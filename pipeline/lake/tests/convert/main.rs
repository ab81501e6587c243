//! A raw object becomes files, and every value of it is in them or in quarantine.

mod harness;
mod locked;
mod memory;

use std::collections::BTreeMap;

use bytes::Bytes;
use fms_lake::{Field, Settings};
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

use self::harness::{Memory, counts, row, rows, settings, value};

#[test]
fn protocols_and_hours_are_files_of_their_own() {
    let mut lake = Memory::default();
    let text = [
        r#"{"object":"vehicle","type":"tire","command":"report","id":1,"timestamp_iso":"2022-12-31T23:59:59.999+09:00","pressure":812.5}"#,
        r#"{"object":"vehicle","type":"tire","command":"report","id":1,"timestamp_iso":"2023-01-01T00:00:00.000+09:00","pressure":813}"#,
        "",
        r#"{"object":"ADAS","type":"event-카","command":"report","id":1,"timestamp_iso":"2023-01-01T00:00:00Z","level":2}"#,
    ]
    .join("\n");
    let files = lake.convert(&settings("Asia/Seoul"), &text);
    let names: Vec<&String> = files.keys().collect();
    assert_eq!(
        names[1..],
        ["vehicle_tire_report/ymd=2022-12-31/hour=23", "vehicle_tire_report/ymd=2023-01-01/hour=00"]
    );
    assert!(names[0].starts_with("adas_event___report_") && names[0].ends_with("/ymd=2023-01-01/hour=09"), "{names:?}");
    assert_eq!(
        rows(&files[names[1]]),
        ["{object: \"vehicle\", type: \"tire\", command: \"report\", id: 1, \
             timestamp_iso: 2022-12-31 14:59:59.999 +00:00, pressure: 812.5}"]
    );
}

#[test]
fn a_table_that_cannot_be_used_keeps_no_other_table_from_its_files() {
    let mut lake = Memory { broken: Some("a_t_c"), ..Memory::default() };
    let row = |object: &str| {
        format!(r#"{{"object":"{object}","type":"t","command":"c","timestamp_iso":"2023-01-01T03:00:00Z","n":1}}"#)
    };
    let text = [row("a"), row("b"), row("a"), "no JSON".to_owned()].join("\n");
    let error = lake.try_convert(&settings("UTC"), &text).expect_err("an error");
    assert_eq!(error.to_string(), "the table is broken");
    let names: Vec<&String> = lake.files.keys().collect();
    assert_eq!(names, ["b_t_c/ymd=2023-01-01/hour=03", "unclassified"]);
}

#[test]
fn a_row_that_does_not_fit_is_quarantined_with_its_reason_and_the_others_are_stored() {
    let mut lake = Memory::with(
        "o_t_c",
        "object:string,type:string,command:string,id:bigint,timestamp_iso:timestamp,n:bigint,s:struct<a:boolean>,l:array<double>",
    );
    let text = [
        row(r#""n":1.0,"s":{"a":"true"},"l":["1.5",2]"#),
        row(r#""n":1.5"#),
        row(r#""n":[1]"#),
        row(r#""s":true"#),
        row(r#""s":{"a":1}"#),
        row(r#""l":[1,"x"]"#),
        row(r#""n":1,"N":2,"n":3"#),
        r#"{"object":"o","type":"t","command":"c","n":1}"#.to_owned(),
        r#"{"object":"o","n":1}"#.to_owned(),
        "{\"cut".to_owned(),
        row(r#""n":"2""#),
    ]
    .join("\n");
    let files = lake.convert(&settings("UTC"), &text);
    let stored = rows(&files["o_t_c/ymd=2023-01-01/hour=03"]);
    assert_eq!(stored.len(), 2, "{stored:?}");
    assert!(stored[0].contains("n: 1, s: {a: true}, l: [1.5, 2.0]") && stored[1].contains("n: 2,"), "{stored:?}");
    let reasons = |file: &str| -> Vec<String> {
        let text = String::from_utf8(files[file].clone()).expect("text");
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        lines
            .map(|l| {
                format!("{}:{} {} {} {}", l["origin"]["line"], l["reason"], l["column"], l["expected"], l["found"])
            })
            .collect()
    };
    let reasons = [reasons("o_t_c/quarantine"), reasons("unclassified")].concat();
    insta::assert_snapshot!(reasons.join("\n"), @r#"
    2:"type" "n" "bigint" "1.5"
    3:"type" "n" "bigint" "[1]"
    4:"type" "s" "struct<a:boolean>" "true"
    5:"type" "s.a" "boolean" "1"
    6:"type" "l[]" "double" "\"x\""
    8:"no-time" "timestamp_iso" "a time here or in `messaged_at`" "nothing in both"
    7:"name-twice" "" "a JSON object on one line" "in the envelope, field `n` appears twice, at byte offsets 94 and 106 of the message: which one is meant cannot be known"
    9:"no-table" "type" "a text or number that says the table" "null"
    10:"not-json" "" "a JSON object on one line" "the JSON is cut off at its end, line 1 column 6 (byte offset 5 of the message): expected `\"` to close a string after `{\"cut`; was the message truncated on its way?"
    "#);
}

#[test]
fn a_table_grows_by_what_it_lacks_and_keeps_its_types() {
    let mut lake = Memory::default();
    lake.convert(&settings("UTC"), &row(r#""a":1,"b":null,"s":{"x":1}"#));
    let before = lake.tables["o_t_c"].columns.clone();
    let files = lake.convert(
        &settings("UTC"),
        &[row(r#""a":2.5"#), row(r#""b":true,"s":{"y":[]}"#), row(r#""s":{"y":["z"]}"#)].join("\n"),
    );
    let after = &lake.tables["o_t_c"].columns;
    assert_eq!(after[..before.len() - 1], before[..before.len() - 1]);
    let shown: Vec<String> =
        after[before.len() - 1..].iter().map(|field: &Field| format!("{}:{}", field.name, field.data_type)).collect();
    assert_eq!(shown, ["s:struct<x:bigint,y:array<string>>", "b:boolean"]);
    assert_eq!(rows(&files["o_t_c/ymd=2023-01-01/hour=03"]).len(), 2, "the row with a: 2.5 is in quarantine");
    assert!(files.contains_key("o_t_c/quarantine"));
}

#[test]
fn rows_are_sorted_by_vehicle_and_time_within_a_row_group_and_the_file_says_so() {
    let line = |id: u32, second: u32| {
        format!(
            r#"{{"object":"o","type":"t","command":"c","id":{id},"timestamp_iso":"2023-01-01T00:00:{second:02}Z"}}"#
        )
    };
    let text = [line(2, 5), line(1, 9), line(2, 1), line(1, 3)].join("\n");
    let files = Memory::default().convert(&settings("UTC"), &text);
    let file = &files["o_t_c/ymd=2023-01-01/hour=00"];
    let stored = rows(file);
    let order: Vec<&str> = stored.iter().filter_map(|row| row.split_once("id: ")).map(|(_, order)| order).collect();
    let expected = |id, second| format!("{id}, timestamp_iso: 2023-01-01 00:00:{second:02}.000 +00:00}}");
    assert_eq!(order, [expected(1, 3), expected(1, 9), expected(2, 1), expected(2, 5)]);
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(file)).expect("a file");
    let sorting = reader.metadata().row_group(0).sorting_columns().expect("declared");
    assert_eq!(sorting.iter().map(|column| column.column_idx).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn a_row_that_lacks_a_column_and_does_not_fit_either_takes_no_other_row_along() {
    let text = [row(r#""s":{"a":1}"#), row(r#""s":{"new":1,"t":{"x":1,"x":2}}"#), row(r#""s":{"a":2}"#)].join("\n");
    assert_eq!(counts(&Memory::default().convert(&settings("UTC"), &text)), (2, 1));
}

#[test]
fn a_field_of_the_key_decides_the_table_of_rows_that_have_none() {
    let of_key = |template: &str| Settings {
        table_fields: vec!["topic".into()],
        key_template: Some(template.parse().expect("a template")),
        ..settings("UTC")
    };
    let text = r#"{"topic":"its own","id":1,"timestamp_iso":"2023-01-01T03:00:00Z"}"#;
    let mut lake = Memory::default();
    let files = lake.convert(&of_key("topics/{topic}/"), text);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["t/ymd=2023-01-01/hour=03"]);
    let files = lake.convert(&of_key("other/{topic}/"), text);
    let quarantine = String::from_utf8_lossy(&files["unclassified"]).into_owned();
    assert!(quarantine.contains(r#""reason":"no-table""#) && quarantine.contains("`other/{topic}/`"), "{quarantine}");
}

#[test]
fn a_partition_whose_rows_are_all_in_quarantine_has_no_file() {
    let columns = "object:string,type:string,command:string,id:bigint,timestamp_iso:timestamp,n:bigint";
    let files = Memory::with("o_t_c", columns).convert(&settings("UTC"), &row(r#""n":"many""#));
    assert_eq!(files.keys().collect::<Vec<_>>(), ["o_t_c/quarantine"]);
}

#[test]
fn a_field_that_is_named_like_an_original_text_has_a_column_of_its_own() {
    let mut lake = Memory::default();
    let text = [
        row(r#""x__raw":"2023-01-01T00:00:00Z","x_raw":"own","x":"2023-01-01T00:00:00Z""#),
        row(r#""x":"2023-01-01T00:00:00.0001Z""#),
    ];
    let files = lake.convert(&settings("UTC"), &text.join("\n"));
    let stored = rows(&files["o_t_c/ymd=2023-01-01/hour=03"]);
    assert_eq!(counts(&files), (2, 0), "{stored:?}");
    assert!(stored[0].contains(r#"x_raw: "own""#) && stored[1].contains("x_raw: null"), "{stored:?}");
    assert!(stored[1].contains(r#"x__raw: "2023-01-01T00:00:00.0001Z""#), "{stored:?}");
}

#[test]
fn an_escape_in_a_string_is_read_before_the_string_is() {
    let text = [
        row(r#""at":"2023-01-01T12:00:00\u002B00:00","n":1,"b":true"#),
        row(r#""at":"2023-01-01T12:00:01Z","n":"\u0031","b":"\u0074rue""#),
    ];
    assert_eq!(counts(&Memory::default().convert(&settings("UTC"), &text.join("\n"))), (2, 0));
}

#[test]
fn a_file_is_the_same_whether_its_table_is_converted_alone_or_with_others() {
    let settings = Settings { buffer: 600, ..Settings::default() };
    let line = |kind: &str, n: u32| {
        format!(r#"{{"object":"o","type":"{kind}","command":"c","timestamp_iso":"2023-01-01T00:00:00Z","n":{n}}}"#)
    };
    let text = (0..60).map(|n| line(if n % 3 == 0 { "a" } else { "b" }, n)).collect::<Vec<_>>().join("\n");
    let mut lake = Memory::with("o_a_c", "object:string,type:string,command:string,timestamp_iso:timestamp,n:bigint");
    // The table of `b` does not exist yet, so its rows are stored in a second round, without those of `a`.
    let first = lake.convert(&settings, &text);
    assert_eq!(first, lake.convert(&settings, &text));
}

proptest! {
    /// Whatever the rows are: the tables stop growing, each row is stored or quarantined once, and a second conversion
    /// gives the same bytes.
    #[test]
    fn every_row_is_stored_or_quarantined_once(
        values in prop::collection::vec(prop::collection::btree_map("[abcABC]|a_raw|a__raw", value(), 0..5), 1..12),
        buffer in 1_usize..400,
    ) {
        let line = |fields: &BTreeMap<String, serde_json::Value>| {
            let fields = serde_json::to_string(fields).expect("JSON");
            let separator = if fields == "{}" { "" } else { "," };
            format!(r#"{{"object":"o","type":"t","command":"c","timestamp_iso":"2023-01-01T00:00:00Z"{separator}{}"#, &fields[1..])
        };
        let text = values.iter().map(line).collect::<Vec<_>>().join("\n");
        let settings = Settings { buffer, ..Settings::default() };
        let mut lake = Memory::default();
        let files = lake.convert(&settings, &text);
        let count = |(name, file): (&String, &Vec<u8>)| {
            if name.ends_with("quarantine") { file.split(|byte| *byte == b'\n').count() - 1 } else { rows(file).len() }
        };
        prop_assert_eq!(files.iter().map(count).sum::<usize>(), values.len());
        prop_assert_eq!(lake.convert(&settings, &text), files);
    }
}
