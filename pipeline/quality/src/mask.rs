//! What nobody may see of bad rows: the columns that a suite masks, however deep in lists and fields they are, and what
//! a query makes of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, AsArray as _, GenericListArray, OffsetSizeTrait, RecordBatch, StructArray, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, Schema};

use crate::check::{Check, Suite};
use crate::column::{ELEMENT, Path};
use crate::kind::{InTable, Kind};
use crate::statement::{FILE, SIDE, VALUE};

/// What is hidden of the bad rows of a check.
pub(crate) struct Hidden {
    /// Names at any depth, in small letters.
    names: BTreeSet<String>,
    /// Columns of the result that are made of masked ones, by their places.
    places: BTreeSet<usize>,
    /// The same by their names.
    columns: BTreeSet<&'static str>,
    /// The only columns that are shown of a query that a person wrote, for it may give a masked value any name.
    shown: Option<BTreeSet<String>>,
}

impl Hidden {
    /// What is hidden of the rows of a check, whose table has these columns.
    pub fn of(suite: &Suite, check: &Check, columns: impl IntoIterator<Item = String>) -> Self {
        let names: BTreeSet<String> = suite.mask.iter().map(|name| name.to_lowercase()).collect();
        let is_masked = |path: &Path| path.steps().any(|name| names.contains(&name.to_lowercase()));
        let mut hidden =
            Self { places: BTreeSet::new(), columns: BTreeSet::new(), shown: None, names: BTreeSet::new() };
        if names.is_empty() {
            return hidden;
        }
        match &check.kind {
            Kind::InTable(InTable { column, .. }) if is_masked(column) => {
                hidden.columns.insert(VALUE);
            }
            Kind::Unique(unique) => {
                let masked = unique.columns.iter().enumerate().filter(|(_, path)| is_masked(path));
                hidden.places = masked.map(|(place, _)| place).collect();
            }
            Kind::Sql(_) | Kind::Equal(_) | Kind::Stable(_) => {
                let always = [FILE, SIDE].map(str::to_owned);
                hidden.shown = Some(columns.into_iter().chain(always).chain(check.shows.iter().cloned()).collect());
            }
            kind => {
                let is_element = |path: &&Path| path.list().is_some() && is_masked(path);
                if kind.paths().iter().any(is_element) {
                    hidden.columns.insert(ELEMENT);
                }
            }
        }
        Self { names, ..hidden }
    }

    /// The rows without it: null in its place.
    ///
    /// # Errors
    ///
    /// The rows cannot be put together again.
    pub fn masked(&self, batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).enumerate().map(|(place, (field, column))| {
            let name = field.name().as_str();
            let is_shown = self.shown.as_ref().is_none_or(|shown| shown.contains(name));
            if !is_shown || self.places.contains(&place) || self.columns.contains(name) {
                return null(field, column);
            }
            self.hidden(field, column)
        });
        let (fields, columns): (Vec<_>, Vec<_>) = columns.unzip();
        Ok(RecordBatch::try_new(Schema::new(fields).into(), columns)?)
    }

    fn hidden(&self, field: &FieldRef, column: &ArrayRef) -> (FieldRef, ArrayRef) {
        if self.names.contains(&field.name().to_lowercase()) {
            return null(field, column);
        }
        let with = |column: ArrayRef| {
            let field = field.as_ref().clone().with_data_type(column.data_type().clone());
            (field.into(), column)
        };
        match column.data_type() {
            data_type if self.names.is_empty() || !data_type.is_nested() => (Arc::clone(field), Arc::clone(column)),
            DataType::Struct(_) => with(Arc::new(self.fields(column.as_struct()))),
            DataType::List(element) => with(Arc::new(self.elements::<i32>(element, column))),
            DataType::LargeList(element) => with(Arc::new(self.elements::<i64>(element, column))),
            // No table of a lake has another one.
            _ => null(field, column),
        }
    }

    fn fields(&self, rows: &StructArray) -> StructArray {
        let inner = rows.fields().iter().zip(rows.columns());
        let (fields, columns): (Vec<_>, Vec<_>) = inner.map(|(field, column)| self.hidden(field, column)).unzip();
        let fields = Fields::from(fields);
        if fields.is_empty() { rows.clone() } else { StructArray::new(fields, columns, rows.nulls().cloned()) }
    }

    fn elements<O: OffsetSizeTrait>(&self, element: &FieldRef, column: &ArrayRef) -> GenericListArray<O> {
        let list = column.as_list::<O>();
        let (element, values) = self.hidden(element, list.values());
        GenericListArray::new(element, list.offsets().clone(), values, list.nulls().cloned())
    }
}

fn null(field: &FieldRef, column: &ArrayRef) -> (FieldRef, ArrayRef) {
    let field = field.as_ref().clone().with_nullable(true);
    (field.into(), new_null_array(column.data_type(), column.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    /// The rows of a query as a check with this kind shows them, of a table with the columns `id` and `place`.
    fn shown(kind: &str, sql: &str) -> String {
        let text =
            format!("table: t\nowner: a@example.com\nmask: [latitude, phones]\nchecks:\n  - {{name: a, {kind}}}\n");
        let suite = Suite::parse(&text).expect("a suite");
        let rows = async { SessionContext::new().sql(sql).await.expect(sql).collect().await.expect(sql) };
        let batches = tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(rows);
        let hidden = Hidden::of(&suite, &suite.checks[0], ["id", "place"].map(str::to_owned));
        let mut out = Vec::new();
        let mut writer = datafusion::arrow::json::LineDelimitedWriter::new(&mut out);
        for batch in &batches {
            writer.write(&hidden.masked(batch).expect("rows")).expect("written");
        }
        writer.finish().expect("written");
        String::from_utf8(out).expect("UTF-8").trim().to_owned()
    }

    #[test]
    fn a_masked_name_is_null_in_fields_and_in_the_elements_of_lists() {
        let sql = "select 7 as id, named_struct('latitude', 1.5, 'city', 'B') as place, \
                   [named_struct('at', named_struct('Latitude', 1.5, 'm', 3)), null] as stops, [[1.5]] as latitude";
        let all = r#"{"id":7,"place":{"city":"B"},"stops":[{"at":{"m":3}},null]}"#;
        assert_eq!(shown("holds: id > 0", sql), all);
    }

    #[test]
    fn what_a_check_makes_of_a_masked_column_is_hidden_under_any_name() {
        assert_eq!(shown("in_table: {column: place.latitude, table: u, to: x}", "select 1.5 as value"), "{}");
        assert_eq!(shown("in_table: {column: id, table: u, to: x}", "select 7 as value"), r#"{"value":7}"#);
        let unique = "unique: {columns: [id, place.latitude]}";
        assert_eq!(shown(unique, "select 7 as id, 1.5 as b, 2 as quality_n"), r#"{"id":7,"quality_n":2}"#);
        let element = "select ['010'] as phones, '010' as quality_element, 7 as id";
        assert_eq!(shown("pattern: {column: 'phones[]', regex: x}", element), r#"{"id":7}"#);
    }

    /// A query may call a masked value as it likes. So only what is a column of the table is shown, and what the check
    /// says.
    #[test]
    fn of_a_query_that_a_person_wrote_only_known_columns_are_shown() {
        let sql = "select 7 as id, 1.5 as x, 1.5 as latitude, 3 as n";
        assert_eq!(shown("sql: select 1", sql), r#"{"id":7}"#);
        assert_eq!(shown("sql: select 1, shows: [n]", sql), r#"{"id":7,"n":3}"#);
    }
}
