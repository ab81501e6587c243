//! A lake in memory, rows, and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use fms_lake::{
    Field, Growth, Identity, Lake, Object, ObjectError, Published, Report, Settings, Surroundings, Table, Target, Type,
    Written, convert_object,
};
use jiff::tz::TimeZone;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

/// A catalog and a store in memory.
#[derive(Debug, Default)]
pub struct Memory {
    pub tables: BTreeMap<String, Table>,
    pub files: BTreeMap<String, Vec<u8>>,
    pub announced: BTreeSet<Target>,
    /// A table that cannot be used.
    pub broken: Option<&'static str>,
}

impl Surroundings for Memory {
    type Out = Vec<u8>;

    fn table(&mut self, identity: &Identity) -> io::Result<Option<Table>> {
        match self.broken {
            Some(table) if table == identity.table() => Err(io::Error::other("the table is broken")),
            _ => Ok(self.tables.get(&identity.table()).cloned()),
        }
    }

    fn create(&mut self, _: &Target) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

impl Memory {
    pub fn with(table: &str, columns: &str) -> Self {
        let Ok(Type::Struct(columns)) = format!("struct<{columns}>").parse() else { panic!("{columns}") };
        Self {
            tables: [(table.to_owned(), Table { columns, version: "0".into(), growth: Growth::Open })].into(),
            ..Self::default()
        }
    }

    /// Converts an object. Gives its files by their names.
    pub fn convert(&mut self, settings: &Settings, text: &str) -> BTreeMap<String, Vec<u8>> {
        self.try_convert(settings, text).expect("converted");
        self.files.clone()
    }

    pub fn try_convert(&mut self, settings: &Settings, text: &str) -> Result<Report, ObjectError> {
        self.files.clear();
        let object = Object { bucket: "raw".into(), key: "topics/t/o.json".into(), version_id: None };
        convert_object(settings, &object, || Ok(text.as_bytes()), self)
    }
}

impl Lake for Memory {
    fn grow(&mut self, identity: &Identity, known: Option<&Table>, columns: &[Field]) -> io::Result<()> {
        let version = known.map_or(0, |table| table.version.parse::<u32>().expect("a number") + 1).to_string();
        let growth = known.map_or(Growth::Open, |table| table.growth);
        self.tables.insert(identity.table(), Table { columns: columns.to_vec(), version, growth });
        Ok(())
    }

    fn announce(&mut self, _: &Object, targets: &BTreeSet<Target>) -> io::Result<()> {
        self.announced.extend(targets.iter().cloned());
        Ok(())
    }

    fn publish(&mut self, _: &Object, files: Vec<Written<Vec<u8>>>, _: Option<&str>) -> io::Result<Published> {
        for file in files {
            assert!(self.announced.contains(&file.target), "{} is published and was not announced", file.target);
            let name = match file.target {
                Target::Rows(identity, partition) => format!("{}/{partition}", identity.table()),
                Target::Quarantine(identity) => format!("{}/quarantine", identity.table()),
                Target::Unclassified => "unclassified".to_owned(),
            };
            assert!(self.files.insert(name.clone(), file.out).is_none(), "{name} is published twice");
        }
        Ok(Published::Visible)
    }

    fn end(&mut self, _: &Object, published: &BTreeSet<Target>) -> io::Result<()> {
        assert_eq!(published.len(), self.files.len());
        Ok(())
    }
}

pub fn settings(zone: &str) -> Settings {
    Settings { zone: TimeZone::get(zone).expect("a zone"), ..Settings::default() }
}

/// The rows of a Parquet file, as its reader shows them.
pub fn rows(file: &[u8]) -> Vec<String> {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(file)).expect("a Parquet file");
    reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string()).collect()
}

pub fn row(fields: &str) -> String {
    format!(
        r#"{{"object":"o","type":"t","command":"c","id":7,"timestamp_iso":"2023-01-01T12:00:00.000+09:00",{fields}}}"#
    )
}

/// The sum of what is in files of the table and in quarantine.
pub fn counts(files: &BTreeMap<String, Vec<u8>>) -> (usize, usize) {
    let lines = |file: &Vec<u8>| file.split(|byte| *byte == b'\n').count() - 1;
    let (quarantine, stored): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| name.ends_with("quarantine"));
    (stored.iter().map(|(_, file)| rows(file).len()).sum(), quarantine.iter().map(|(_, file)| lines(file)).sum())
}

/// JSON values that a row may have, small and of every kind.
pub fn value() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-3_i64..3).prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("JSON", |value| value.is_finite()).prop_map(Into::into),
        "[a가\"\\\\ 1.]{0,4}".prop_map(Into::into),
        Just("2023-01-01T00:00:00.5Z".into()),
        Just("2023-01-01T00:00:00.0005+01:00".into()),
    ];
    scalar.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::btree_map("[abA]", inner, 0..3)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}
