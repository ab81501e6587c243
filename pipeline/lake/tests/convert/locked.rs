//! A table that gets no columns keeps what has none in `_rest`.

use std::collections::BTreeMap;

use bytes::Bytes;
use fms_lake::{Growth, Settings};
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

use crate::harness::{Memory, counts, row, rows, settings, value};

/// A value without fine times, of which column and `_rest` both have a part, and without numbers that the JSON library
/// of this test reads as others than it wrote.
fn plain_value() -> impl Strategy<Value = serde_json::Value> {
    value().prop_filter("plain", |value| {
        let text = value.to_string();
        !text.contains(".0005") && serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|read| read == *value)
    })
}

/// The lines of a table's file: what the Parquet reader shows of each row.
fn stored(files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let tables = files.iter().filter(|(name, _)| !name.ends_with("quarantine"));
    tables.flat_map(|(_, file)| rows(file)).collect()
}

const OWN: &str = "object:string,type:string,command:string,id:bigint,timestamp_iso:timestamp";

fn locked(columns: &str) -> Memory {
    let mut lake = Memory::with("o_t_c", &format!("{OWN},{columns}"));
    lake.tables.get_mut("o_t_c").expect("the table").growth = Growth::Locked;
    lake
}

/// What is in the column `_rest` of each stored row.
fn rests(files: &BTreeMap<String, Vec<u8>>) -> Vec<Option<serde_json::Value>> {
    let mut rests = Vec::new();
    for (_, file) in files.iter().filter(|(name, _)| !name.ends_with("quarantine")) {
        let reader = SerializedFileReader::new(Bytes::copy_from_slice(file)).expect("a Parquet file");
        for row in reader.get_row_iter(None).expect("rows") {
            let row = row.expect("a row");
            let rest = row.get_column_iter().find(|(name, _)| *name == "_rest").map(|(_, value)| value.clone());
            rests.push(match rest {
                Some(parquet::record::Field::Str(rest)) => Some(serde_json::from_str(&rest).expect("JSON")),
                _ => None,
            });
        }
    }
    rests
}

#[test]
fn a_locked_table_keeps_what_has_no_column_with_its_path() {
    let mut lake = locked("n:bigint,s:struct<a:boolean>,l:array<struct<c:int>>,at:timestamp");
    let text = [
        row(r#""n":1,"s":{"a":true},"l":[{"c":1}]"#),
        row(r#""New":1.50,"s":{"a":true,"B":{"x":[]}},"l":[{"c":1},{"c":2,"d":"가"},null]"#),
        row(r#""at":"2023-01-01T12:00:00.0001+09:00","_rest":"own","hour":3,"gone":null"#),
        row(r#""n":1.5,"new":1"#),
        row(r#""new":{"x":1,"x":2}"#),
    ];
    let files = lake.convert(&settings("Asia/Seoul"), &text.join("\n"));
    let expected = [
        serde_json::Value::Null,
        serde_json::json!({"New": 1.5, "s": {"B": {"x": []}}, "l": [null, {"d": "가"}]}),
        serde_json::json!({"at": "2023-01-01T12:00:00.0001+09:00", "_rest": "own", "hour": 3}),
    ];
    let found: Vec<_> = rests(&files).into_iter().map(Option::unwrap_or_default).collect();
    assert_eq!(found, expected);
    let columns: Vec<&str> = lake.tables["o_t_c"].columns.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(columns[5..], ["n", "s", "l", "at", "_rest"], "the one column that is added");
    assert!(stored(&files)[1].contains("1.50") && stored(&files)[2].contains("at: 2023-01-01 03:00:00"));
    assert_eq!(counts(&files), (3, 2), "what does not fit is in quarantine as ever");
}

#[test]
fn a_row_whose_rest_has_no_place_is_in_quarantine() {
    let mut lake = locked("_rest:bigint");
    let files = lake.convert(&settings("Asia/Seoul"), &[row(r#""new":1"#), row(r#""new":null"#)].join("\n"));
    assert_eq!(counts(&files), (1, 1));
    let quarantine = String::from_utf8_lossy(&files["o_t_c/quarantine"]).into_owned();
    assert!(quarantine.contains(r#""column":"_rest","expected":"bigint""#), "{quarantine}");
}

#[test]
fn rows_with_a_rest_are_counted() {
    let mut lake = locked("n:bigint");
    let text = [row(r#""n":1"#), row(r#""new":1"#), row(r#""new":2,"n":2"#), row(r#""new":2,"n":"x""#)].join("\n");
    let report = lake.try_convert(&settings("Asia/Seoul"), &text).expect("converted");
    assert_eq!((report.rows, report.with_rest.values().sum::<u64>()), (3, 2));
}

/// Takes out of a value what is in `_rest` of it; `None` if that is all of it. Everything in `_rest` has to be in the
/// value. Of objects and arrays, the empty ones are left, which no column has to hold.
fn without(value: serde_json::Value, rest: &serde_json::Value) -> Option<serde_json::Value> {
    use serde_json::Value;
    match (value, rest) {
        (Value::Object(mut members), Value::Object(rest)) => {
            for (name, rest) in rest {
                let member = members.remove(name).expect("in the row");
                members.extend(without(member, rest).map(|left| (name.clone(), left)));
            }
            Some(Value::Object(members))
        }
        (Value::Array(elements), Value::Array(rest)) => {
            assert!(rest.len() <= elements.len(), "{rest:?}");
            let rest = rest.iter().chain(std::iter::repeat(&Value::Null));
            let left = elements.into_iter().zip(rest);
            // What is left of an element stays in its place.
            Some(left.map(|(value, rest)| if rest.is_null() { value } else { without(value, rest).into() }).collect())
        }
        (value, rest) => {
            assert_eq!(value, *rest, "what is left is in the row");
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Every value of a row is in a column or in `_rest`: an open table with the same columns stores the row without
    /// what is in `_rest`, and stores it in the same way, without getting a column.
    #[test]
    fn every_value_is_in_a_column_or_in_the_rest(
        fields in prop::collection::btree_map("[abcd]", plain_value(), 0..5),
        known in prop::collection::btree_map("[abcd]", plain_value(), 0..4),
    ) {
        let text = |fields: &BTreeMap<String, serde_json::Value>| {
            let time = "2023-01-01T00:00:00Z";
            let mut row = serde_json::json!({"object": "o", "type": "t", "command": "c", "timestamp_iso": time});
            row.as_object_mut().expect("an object").extend(fields.clone());
            row
        };
        // The columns are those that another row needs.
        let mut open = Memory::default();
        open.convert(&Settings::default(), &text(&known).to_string());
        let mut closed = Memory { tables: open.tables.clone(), ..Memory::default() };
        closed.tables.get_mut("o_t_c").expect("the table").growth = Growth::Locked;
        let whole = text(&fields);
        let files = closed.convert(&Settings::default(), &whole.to_string());
        if counts(&files).0 == 0 {
            prop_assert_eq!(counts(&files).1, 1);
            return Ok(());
        }
        let rest = rests(&files).remove(0).unwrap_or_else(|| serde_json::json!({}));
        let taken = without(whole, &rest).expect("the fields that decide the table have columns");
        let columns = open.tables["o_t_c"].columns.clone();
        let same = open.convert(&Settings::default(), &taken.to_string());
        prop_assert_eq!(&open.tables["o_t_c"].columns, &columns, "{} is not all in columns", taken);
        let columns_of = |files| {
            let row = stored(files).remove(0);
            row.split(", _rest: ").next().map(|columns| columns.trim_end_matches('}').to_owned())
        };
        prop_assert_eq!(columns_of(&files), columns_of(&same));
    }
}
