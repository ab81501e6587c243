//! The rows of any number of files in one order and without repeats, in bounded memory.
//!
//! Rows are held until they take as much memory as they may. They are then sorted and written to a temporary file, a
//! run. In the end all runs are merged: of each, only the next rows are in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema};
use arrow_select::interleave::interleave_record_batch;

use super::keys::{Keying, Keys};
use super::widen::widen;
use crate::types::Type;

/// How many runs are merged at a time. When there are as many, they become one.
const MAX_RUNS: usize = 128;
/// The memory that the next rows of one run may take, about.
const CHUNK: usize = 512 << 10;
/// The most rows that are given at a time.
const CHUNK_ROWS: usize = 4096;

/// What was merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Merged {
    /// Rows that were given.
    pub rows: u64,
    /// Rows that were left out, because they repeat one that was given.
    pub repeats: u64,
}

/// A merge that is being filled.
pub(super) struct Merge {
    schema: Arc<Schema>,
    keying: Keying,
    /// How much memory rows may take.
    memory: usize,
    held: Vec<RecordBatch>,
    held_bytes: usize,
    runs: Vec<File>,
}

/// Rows in their order.
type Run = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

impl Merge {
    /// A merge of rows with this schema, in the order of the columns `sort`. Rows are the same if those columns and
    /// the columns `identity` are; if `identity` is empty, if all columns are. `texts` are columns of texts that were
    /// values of another type, and are the same if those would be.
    pub fn new(
        schema: &Arc<Schema>,
        (sort, identity): (&[String], &[String]),
        texts: &[(String, Type)],
        memory: usize,
    ) -> Result<Self, ArrowError> {
        let keying = Keying::new(schema, sort, identity, texts)?;
        Ok(Self { schema: Arc::clone(schema), keying, memory, held: Vec::new(), held_bytes: 0, runs: Vec::new() })
    }

    /// Takes rows, of which columns may be missing.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        let rows = widen(rows, &self.schema)?;
        self.held_bytes += rows.get_array_memory_size();
        self.held.push(rows);
        if self.held_bytes < self.memory {
            return Ok(());
        }
        let run = self.sorted()?;
        let run = self.spill(vec![Box::new(run)])?;
        self.runs.push(run);
        if self.runs.len() == MAX_RUNS {
            let runs = self.runs.drain(..).map(read).collect::<Result<_, _>>()?;
            let run = self.spill(runs)?;
            self.runs.push(run);
        }
        Ok(())
    }

    /// Gives all rows to `out`, with or without repeats.
    pub fn finish(
        mut self,
        without_repeats: bool,
        out: impl FnMut(RecordBatch) -> Result<(), ArrowError>,
    ) -> Result<Merged, ArrowError> {
        let mut runs: Vec<Run> = self.runs.drain(..).map(read).collect::<Result<_, _>>()?;
        runs.push(Box::new(self.sorted()?));
        merge(runs, &self.keying, without_repeats, out)
    }

    /// Writes runs as one. It has all rows, so that repeats are counted once, in the end.
    fn spill(&self, runs: Vec<Run>) -> Result<File, ArrowError> {
        let file = tempfile::tempfile()?;
        let mut writer = StreamWriter::try_new(BufWriter::new(file), &self.schema)?;
        merge(runs, &self.keying, false, |rows| writer.write(&rows))?;
        let written = writer.into_inner()?.into_inner();
        let mut file = written.map_err(std::io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }

    /// The rows that are held, in their order.
    fn sorted(&mut self) -> Result<Sorted, ArrowError> {
        self.held_bytes = 0;
        Sorted::new(std::mem::take(&mut self.held), &self.keying)
    }
}

fn read(run: File) -> Result<Run, ArrowError> {
    Ok(Box::new(StreamReader::try_new(BufReader::new(run), None)?))
}

/// Rows that are in memory, given piece by piece in their order.
struct Sorted {
    held: Vec<RecordBatch>,
    /// The place of each row.
    order: Vec<(usize, usize)>,
    next: usize,
    /// How many rows are given at a time.
    chunk: usize,
}

impl Sorted {
    fn new(held: Vec<RecordBatch>, keying: &Keying) -> Result<Self, ArrowError> {
        let keys: Vec<Keys> = held.iter().map(|rows| keying.of(rows)).collect::<Result<_, _>>()?;
        let places = held.iter().enumerate();
        let mut order: Vec<_> = places.flat_map(|(at, rows)| (0..rows.num_rows()).map(move |row| (at, row))).collect();
        order.sort_unstable_by(|&(a, row_of_a), &(b, row_of_b)| keys[a].of(row_of_a).cmp(keys[b].of(row_of_b)));
        let bytes: usize = held.iter().map(RecordBatch::get_array_memory_size).sum();
        let chunk = (CHUNK / (bytes / order.len().max(1)).max(1)).clamp(1, CHUNK_ROWS);
        Ok(Self { held, order, next: 0, chunk })
    }
}

impl Iterator for Sorted {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let places = &self.order[self.next..self.order.len().min(self.next + self.chunk)];
        self.next += places.len();
        let held: Vec<&RecordBatch> = self.held.iter().collect();
        (!places.is_empty()).then(|| interleave_record_batch(&held, places))
    }
}

/// The next rows of a run.
struct Cursor {
    run: Run,
    keys: Keys,
    /// The place of the rows among those that are held.
    at: usize,
    row: usize,
}

/// Gives the rows of all runs to `out` in their order, with or without repeats.
fn merge(
    runs: Vec<Run>,
    keying: &Keying,
    without_repeats: bool,
    mut out: impl FnMut(RecordBatch) -> Result<(), ArrowError>,
) -> Result<Merged, ArrowError> {
    let (mut held, mut cursors, mut heads) = (Vec::new(), Vec::new(), BinaryHeap::new());
    for mut run in runs {
        let Some(rows) = next_rows(&mut run)? else { continue };
        let keys = keying.of(&rows)?;
        heads.push(Reverse((keys.of(0).to_vec(), cursors.len())));
        cursors.push(Cursor { run, keys, at: held.len(), row: 0 });
        held.push(rows);
    }
    let (mut merged, mut places, mut last) = (Merged::default(), Vec::new(), Vec::new());
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((key, which)) = &mut *head;
        let cursor = &mut cursors[*which];
        if without_repeats && merged.rows > 0 && keying.identity(key) == last {
            merged.repeats += 1;
        } else {
            places.push((cursor.at, cursor.row));
            merged.rows += 1;
            last.clear();
            last.extend_from_slice(keying.identity(key));
        }
        cursor.row += 1;
        let mut is_over = false;
        if cursor.row == held[cursor.at].num_rows() {
            if let Some(rows) = next_rows(&mut cursor.run)? {
                (cursor.keys, cursor.at, cursor.row) = (keying.of(&rows)?, held.len(), 0);
                held.push(rows);
            } else {
                is_over = true;
            }
        }
        if is_over {
            PeekMut::pop(head);
        } else {
            key.clear();
            key.extend_from_slice(cursor.keys.of(cursor.row));
            drop(head);
        }
        // Rows that were given are held on until those of as many runs again were read.
        if places.len() == CHUNK_ROWS || held.len() > 2 * cursors.len() {
            give(&held, &mut places, &mut out)?;
            held = cursors
                .iter_mut()
                .enumerate()
                .map(|(at, cursor)| held[std::mem::replace(&mut cursor.at, at)].clone())
                .collect();
        }
    }
    give(&held, &mut places, &mut out)?;
    Ok(merged)
}

/// The next rows of a run, of which there is at least one; `None` at its end.
fn next_rows(run: &mut Run) -> Result<Option<RecordBatch>, ArrowError> {
    run.find(|rows| rows.as_ref().map_or(true, |rows| rows.num_rows() > 0)).transpose()
}

fn give(
    held: &[RecordBatch],
    places: &mut Vec<(usize, usize)>,
    out: &mut impl FnMut(RecordBatch) -> Result<(), ArrowError>,
) -> Result<(), ArrowError> {
    if places.is_empty() {
        return Ok(());
    }
    let rows = interleave_record_batch(&held.iter().collect::<Vec<_>>(), places)?;
    places.clear();
    out(rows)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use arrow_array::cast::AsArray as _;
    use arrow_array::types::{Float64Type, Int64Type};
    use arrow_array::{Array as _, Float64Array, Int64Array, ListArray, StringArray};
    use proptest::prelude::*;

    use super::*;
    use crate::arrow::schema;

    /// A row: the sort fields, a text, and a list.
    type Row = (Option<i64>, Option<u64>, String, Option<Vec<Option<i64>>>);

    fn of(columns: &str) -> Arc<Schema> {
        let Ok(Type::Struct(columns)) = format!("struct<{columns}>").parse() else { panic!("{columns}") };
        Arc::new(schema(&columns))
    }

    fn batch(rows: &[Row]) -> RecordBatch {
        let times = rows.iter().map(|row| row.1.map(f64::from_bits));
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(|row| row.3.clone()));
        let schema = of("id:bigint,time:double,text:string,list:array<bigint>");
        let (_, offsets, values, nulls) = lists.into_parts();
        let element = match schema.field(3).data_type() {
            arrow_schema::DataType::List(element) => Arc::clone(element),
            other => panic!("{other}"),
        };
        let columns: Vec<arrow_array::ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(times.collect::<Float64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.2.clone())).collect::<StringArray>()),
            Arc::new(ListArray::try_new(element, offsets, values, nulls).expect("lists")),
        ];
        RecordBatch::try_new(schema, columns).expect("rows")
    }

    fn rows(batch: &RecordBatch) -> Vec<Row> {
        let (ids, times) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Float64Type>());
        let (texts, lists) = (batch.column(2).as_string::<i32>(), batch.column(3).as_list::<i32>());
        let row = |at: usize| {
            let list = (!lists.is_null(at)).then(|| lists.value(at).as_primitive::<Int64Type>().iter().collect());
            let time = (!times.is_null(at)).then(|| times.value(at).to_bits());
            ((!ids.is_null(at)).then(|| ids.value(at)), time, texts.value(at).to_owned(), list)
        };
        (0..batch.num_rows()).map(row).collect()
    }

    /// What a merge gives of some files, of which each batch is held until it is a run of its own.
    fn merged(files: &[Vec<Row>], identity: &[&str], memory: usize) -> (Vec<Row>, Merged) {
        let [sort, identity] =
            [&["id", "time"][..], identity].map(|names| names.iter().map(|&n| n.to_owned()).collect());
        let (sort, identity): (Vec<String>, Vec<String>) = (sort, identity);
        let mut merge = Merge::new(batch(&[]).schema_ref(), (&sort, &identity), &[], memory).expect("a merge");
        for file in files {
            merge.add(&batch(file)).expect("added");
        }
        let mut found = Vec::new();
        let merged = merge.finish(true, |batch| {
            found.extend(rows(&batch));
            Ok(())
        });
        (found, merged.expect("merged"))
    }

    fn row() -> impl Strategy<Value = Row> {
        let id = proptest::option::of(-2..3_i64);
        let time = proptest::option::of(prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), -1e9..1e9_f64]);
        let list = proptest::option::of(proptest::collection::vec(proptest::option::of(0..3_i64), 0..3));
        (id, time.prop_map(|time| time.map(f64::to_bits)), "[ab]{0,2}", list)
    }

    /// The sort fields as the lake orders them: nulls first.
    fn order(row: &Row) -> (Option<i64>, Option<i64>) {
        let total = |bits: u64| {
            let bits = bits.cast_signed();
            bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
        };
        (row.0, row.1.map(total))
    }

    proptest! {
        #[test]
        fn every_row_comes_once_in_order_and_what_repeats_it_is_counted(
            files in proptest::collection::vec(proptest::collection::vec(row(), 0..20), 0..8),
            memory in prop_oneof![Just(1), Just(4000), Just(1 << 20)],
        ) {
            let (found, counts) = merged(&files, &[], memory);
            prop_assert!(found.is_sorted_by_key(order));
            let given: BTreeSet<Row> = files.iter().flatten().cloned().collect();
            prop_assert_eq!(found.iter().cloned().collect::<BTreeSet<Row>>(), given);
            let all: usize = files.iter().map(Vec::len).sum();
            prop_assert_eq!((counts.rows, counts.repeats), (found.len() as u64, (all - found.len()) as u64));
            prop_assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
        }

        #[test]
        fn of_rows_with_the_same_key_the_same_one_stays_whatever_the_files_are(
            rows in proptest::collection::vec(row(), 0..40),
            cut in 0..40_usize,
        ) {
            let (one, counts) = merged(std::slice::from_ref(&rows), &["id", "time", "text"], 1 << 20);
            let (head, tail) = rows.split_at(cut.min(rows.len()));
            let (other, _) = merged(&[tail.to_vec(), head.to_vec()], &["id", "time", "text"], 1);
            prop_assert_eq!(&one, &other);
            let mut keys: BTreeMap<_, u64> = BTreeMap::new();
            for row in &rows {
                *keys.entry((row.0, row.1, row.2.clone())).or_default() += 1;
            }
            prop_assert_eq!(counts.repeats, keys.values().map(|count| count - 1).sum::<u64>());
        }
    }

    #[test]
    fn more_runs_than_are_merged_at_a_time_become_one() {
        let files: Vec<Vec<Row>> = (0..300_i64)
            .map(|n| vec![(Some(299 - n), None, String::new(), None), (Some(7), None, String::new(), None)])
            .collect();
        let (found, counts) = merged(&files, &[], 1);
        assert_eq!(counts, Merged { rows: 300, repeats: 300 });
        assert!(found.iter().map(|row| row.0).eq((0..300).map(Some)));
    }
}
