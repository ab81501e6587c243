//! The dry run: what objects would add to a lake, put into quarantine and conflict with. Nothing is written.
//!
//! Rows are told apart by the values of some fields, such as that of the firmware, so that the release which broke a
//! field is named. Objects are taken as if they were converted one after another, and within an object the rows of each
//! combination of values by itself, in order: what one of them adds is there for the next.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use fms_record::{Parser, json};

use crate::convert::{Conversion, Converter, Outcome, Settings, Surroundings, Target};
use crate::growth::{self, Grown};
use crate::lines::{Line, each_line};
use crate::object::ObjectError;
use crate::quarantine::Object;
use crate::rename::Renames;
use crate::review::QuarantinedRow;
use crate::table::{Identity, Table};
use crate::types::{Field, Type};

/// How often the rows of a table are converted again because it lacked columns. The first time tells them all.
const MAX_ROUNDS: usize = 4;

/// The values of the fields by which rows are told apart, in the order of the fields; `None` where a row lacks it.
pub type GroupKey = Vec<Option<String>>;

/// What objects would do, by the values of the fields that tell rows apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explained {
    /// What the rows with these values would do.
    pub groups: BTreeMap<GroupKey, Effects>,
    /// The tables as they would be, where the catalog has them otherwise by now.
    grown: BTreeMap<Identity, Table>,
}

/// What rows would do to the tables of a lake. The key is the table's name; empty for lines that belong to no table.
pub type Effects = BTreeMap<String, Effect>;

/// What rows would do to a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effect {
    /// The rows that would be stored.
    pub rows: u64,
    /// Whether the table does not exist.
    pub is_new: bool,
    /// The columns, and fields within structs, that would be added: the name, with that of the column before it, and
    /// the type.
    pub added: Vec<(String, String)>,
    /// The rows that would be put into quarantine, by reason and column.
    pub quarantined: BTreeMap<(String, String), Misfits>,
    /// Why the table cannot be used, if that is so.
    pub problem: Option<String>,
    /// The fields of rows that would be stored under other names.
    pub renames: Renames,
}

/// Rows that do not fit for one reason in one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfits {
    /// How many there are.
    pub rows: u64,
    /// What was expected of the first of them.
    pub expected: String,
    /// What the first of them has.
    pub found: String,
    /// The object of the first of them.
    pub key: String,
    /// Its line in that object, from 1.
    pub line: u64,
}

/// A file of which only the quarantined rows are taken notice of.
#[derive(Debug, Default)]
struct Noted {
    is_quarantine: bool,
    rest: Vec<u8>,
    quarantined: BTreeMap<(String, String), Misfits>,
}

impl Write for Noted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_quarantine {
            self.rest.extend_from_slice(bytes);
            while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                self.note(serde_json::from_slice(&line)?);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Noted {
    fn note(&mut self, row: QuarantinedRow) {
        let QuarantinedRow { reason, column, expected, found, origin, row: _ } = row;
        let first = Misfits { rows: 0, expected, found, key: origin.object.key, line: origin.line };
        self.quarantined.entry((reason, column)).or_insert(first).rows += 1;
    }
}

/// The catalog as it is, and the tables that would be otherwise.
struct Dry<'t, F> {
    catalog: &'t mut F,
    grown: &'t BTreeMap<Identity, Table>,
}

impl<F: FnMut(&Identity) -> io::Result<Option<Table>>> Surroundings for Dry<'_, F> {
    type Out = Noted;

    fn table(&mut self, identity: &Identity) -> io::Result<Option<Table>> {
        self.grown.get(identity).map_or_else(|| (self.catalog)(identity), |table| Ok(Some(table.clone())))
    }

    fn create(&mut self, target: &Target) -> io::Result<Noted> {
        Ok(Noted { is_quarantine: !matches!(target, Target::Rows(..)), ..Noted::default() })
    }
}

impl Explained {
    /// Adds what an object would do, which `open` opens from its first byte as often as it is called. `catalog` gives
    /// the tables as they are, and `by` are the fields that tell rows apart.
    pub fn add<R: Read>(
        &mut self,
        settings: &Settings,
        by: &[String],
        object: &Object,
        mut open: impl FnMut() -> io::Result<R>,
        mut catalog: impl FnMut(&Identity) -> io::Result<Option<Table>>,
    ) -> Result<(), ObjectError> {
        let mut groups = BTreeSet::new();
        let mut grouping = Grouping::new(by);
        each_line(open()?, |line| {
            groups.extend(grouping.of(line));
            Ok::<_, ObjectError>(())
        })?;
        for group in groups {
            let mut only: Option<BTreeSet<Identity>> = None;
            for _ in 0..MAX_ROUNDS {
                let mut dry = Dry { catalog: &mut catalog, grown: &self.grown };
                let mut converter = Converter::new(settings, object, &mut dry).only(only.as_ref());
                each_line(open()?, |line| {
                    if grouping.of(line).as_ref() != Some(&group) {
                        converter.skip();
                        return Ok(());
                    }
                    match line {
                        Line::Whole(line) => converter.line(line).map_err(ObjectError::from),
                        Line::TooLong(start, length) => converter.too_long(start, length).map_err(ObjectError::from),
                    }
                })?;
                let conversion = converter.finish()?;
                let growing = self.note(&group, conversion);
                if growing.is_empty() {
                    break;
                }
                only = Some(growing);
            }
        }
        Ok(())
    }

    /// Notes what rows would do, and gives the tables that have to grow first.
    fn note(&mut self, group: &GroupKey, conversion: Conversion<Noted>) -> BTreeSet<Identity> {
        let effects = self.groups.entry(group.clone()).or_default();
        let mut growing = BTreeSet::new();
        if let Some((file, _)) = conversion.unclassified {
            effects.entry(String::new()).or_default().quarantine(file.out);
        }
        for (identity, error) in conversion.failed {
            effects.entry(identity.table()).or_default().problem = Some(error.to_string());
        }
        for (identity, outcome) in conversion.tables {
            let effect = effects.entry(identity.table()).or_default();
            match outcome {
                Outcome::Written { files, renames, .. } => {
                    effect.renames.extend(renames);
                    for file in files {
                        if matches!(file.target, Target::Rows(..)) {
                            effect.rows += file.rows as u64;
                        }
                        effect.quarantine(file.out);
                    }
                }
                Outcome::Grow { table, columns } => {
                    effect.is_new |= table.is_none();
                    let (before, growth) = table.map(|table| (table.columns, table.growth)).unwrap_or_default();
                    let Grown { columns, growth } = growth::grow(&before, growth, &columns);
                    added("", &before, &columns, &mut effect.added);
                    self.grown.insert(identity.clone(), Table { columns, version: String::new(), growth });
                    growing.insert(identity);
                }
            }
        }
        growing
    }
}

impl Effect {
    fn quarantine(&mut self, file: Noted) {
        for (kind, misfits) in file.quarantined {
            let rows = misfits.rows;
            self.quarantined.entry(kind).or_insert(Misfits { rows: 0, ..misfits }).rows += rows;
        }
    }
}

/// The fields of `after` that `before` has not, also within structs and arrays.
fn added(within: &str, before: &[Field], after: &[Field], added_to: &mut Vec<(String, String)>) {
    for field in after {
        let name = format!("{within}{}", field.name);
        match before.iter().find(|known| known.name == field.name) {
            None => added_to.push((name, field.data_type.to_string())),
            Some(known) => added_type(&name, &known.data_type, &field.data_type, added_to),
        }
    }
}

fn added_type(name: &str, before: &Type, after: &Type, added_to: &mut Vec<(String, String)>) {
    match (before, after) {
        (Type::Struct(before), Type::Struct(after)) => added(&format!("{name}."), before, after, added_to),
        (Type::Array(before), Type::Array(after)) => added_type(&format!("{name}[]"), before, after, added_to),
        _ => {}
    }
}

/// Tells rows apart.
struct Grouping<'b> {
    by: &'b [String],
    parser: Parser,
}

impl<'b> Grouping<'b> {
    fn new(by: &'b [String]) -> Self {
        Self { by, parser: Parser::new(None) }
    }

    /// The values of a line; none of an empty one. A line that is no row has no value of any field.
    fn of(&mut self, line: Line<'_>) -> Option<GroupKey> {
        let nothing = || vec![None; self.by.len()];
        let Line::Whole(line) = line else { return Some(nothing()) };
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let Ok(message) = self.parser.parse(line) else { return Some(nothing()) };
        let Some(Ok(row)) = message.rows().next() else { return Some(nothing()) };
        let value = |field: &String| {
            let value = row.find(field).filter(|value| *value != "null")?;
            let text = json::raw(value).and_then(|text| json::decode(text).ok());
            Some(text.map_or_else(|| value.to_owned(), std::borrow::Cow::into_owned))
        };
        Some(self.by.iter().map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Growth;

    fn row(firmware: &str, fields: &str) -> String {
        let time = "2023-01-01T03:00:00Z";
        format!(r#"{{"object":"o","type":"t","command":"c","id":1,"timestamp_iso":"{time}",{firmware}{fields}}}"#)
    }

    fn explained(columns: Option<&str>, lines: &[String]) -> Explained {
        let (object, text) = (Object { bucket: "raw".into(), key: "k".into(), version_id: None }, lines.join("\n"));
        let table = columns.map(|columns| {
            let Ok(Type::Struct(columns)) = format!("struct<{columns}>").parse() else { panic!("{columns}") };
            Table { columns, version: "1".into(), growth: Growth::Open }
        });
        let mut explained = Explained::default();
        let by = ["firmware".to_owned()];
        let catalog = |_: &Identity| Ok(table.clone());
        explained.add(&Settings::default(), &by, &object, || Ok(text.as_bytes()), catalog).expect("read");
        explained
    }

    const KNOWN: &str = "object:string,type:string,command:string,id:bigint,timestamp_iso:timestamp,firmware:string";

    #[test]
    fn the_release_that_broke_a_field_is_named() {
        let old = row(r#""firmware":"2.3","#, r#""pressure":812.5"#);
        let new = row(r#""firmware":"2.4","#, r#""pressure":[812.5]"#);
        let lines = [old.clone(), new.clone(), old, "no JSON".into(), new];
        let explained = explained(Some(&format!("{KNOWN},pressure:double")), &lines);
        let effect = |firmware: &str| &explained.groups[&vec![Some(firmware.to_owned())]]["o_t_c"];
        assert_eq!(effect("2.3"), &Effect { rows: 2, ..Effect::default() });
        let misfits = &effect("2.4").quarantined[&("type".to_owned(), "pressure".to_owned())];
        assert_eq!((effect("2.4").rows, misfits.rows, misfits.line, misfits.key.as_str()), (0, 2, 2, "k"));
        assert_eq!((misfits.expected.as_str(), misfits.found.as_str()), ("double", "[812.5]"));
        let unclassified = &explained.groups[&vec![None]][""];
        assert_eq!(unclassified.quarantined[&("not-json".to_owned(), String::new())].line, 4);
    }

    #[test]
    fn what_would_be_added_is_told_and_is_there_for_the_next_rows() {
        let first = row(r#""firmware":"1","#, r#""load":1,"s":{"x":1,"y":2}"#);
        let second = row(r#""firmware":"2","#, r#""load":"a lot","s":{"x":1}"#);
        let explained = explained(Some(&format!("{KNOWN},s:struct<x:bigint>")), &[second, first]);
        let effect = |firmware: &str| &explained.groups[&vec![Some(firmware.to_owned())]]["o_t_c"];
        let added = [("s.y", "bigint"), ("load", "bigint")].map(|(name, of)| (name.to_owned(), of.to_owned()));
        assert_eq!((effect("1").rows, &effect("1").added[..], effect("1").is_new), (1, &added[..], false));
        assert_eq!((effect("2").rows, effect("2").quarantined.len(), effect("2").added.len()), (0, 1, 0));
    }

    #[test]
    fn names_that_would_be_others_and_conflicts_of_them_are_told() {
        let explained = explained(None, &[row("", r#""Speed":1,"speed":2,"s":{"A.b":1}"#)]);
        let effect = &explained.groups[&vec![None]]["o_t_c"];
        let renames: Vec<_> = effect.renames.iter().map(|(field, column, why)| (field, column, why.as_str())).collect();
        assert_eq!(renames, [("Speed", "speed__2", "conflict"), ("s.A.b", "s.a_b", "form")]);
        assert_eq!(effect.rows, 1);
    }

    #[test]
    fn a_table_that_does_not_exist_would_be_created() {
        let explained = explained(None, &[row("", r#""n":1"#)]);
        let effect = &explained.groups[&vec![None]]["o_t_c"];
        assert_eq!((effect.rows, effect.is_new, effect.added.len()), (1, true, 6));
    }
}
