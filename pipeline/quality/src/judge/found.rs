//! What checks report, and what is in quarantine, as keys.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, bail};
use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use fms_lake::{Folder, QuarantineFile, Selection};
use fms_query::{Lake, Planned, Size};
use fms_simulator::RowKey;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;

use super::truth::{Key, Unit, message_key, row_key, vehicle_key};
use crate::check::Suite;
use crate::run;
use crate::statement::Days;

/// What a check reports. Each row, message or vehicle counts once.
#[derive(Debug)]
pub(super) struct Found {
    pub unit: Unit,
    pub keys: HashSet<Key>,
}

/// The rows in quarantine, by the names of their tables.
///
/// # Errors
///
/// A file in quarantine cannot be read.
pub(super) fn quarantine(root: &Path) -> anyhow::Result<BTreeMap<String, HashSet<Key>>> {
    let selection = Selection::default();
    let read = |file: &QuarantineFile, bytes: &mut dyn Read| -> std::io::Result<(String, Vec<Key>)> {
        let keys = selection.rows(bytes).map(|row| {
            let key = RowKey::of_json(row?.row.as_bytes());
            Ok(row_key(&key.message_id, key.seq.parse().ok()))
        });
        Ok((file.table(), keys.collect::<std::io::Result<_>>()?))
    };
    let files = Folder::new(root).quarantine(&selection, read).context("cannot read the rows in quarantine")?;
    let mut tables: BTreeMap<String, HashSet<Key>> = BTreeMap::new();
    for (table, keys) in files {
        tables.entry(table).or_default().extend(keys);
    }
    Ok(tables)
}

/// What a check reports.
///
/// # Errors
///
/// It cannot run, or what it reports can be told neither by message nor by vehicle.
pub(super) async fn rows(
    lake: &Lake,
    (suite, index): (&Suite, usize),
    (days, now): (Days, Timestamp),
    memory: Option<Size>,
) -> anyhow::Result<Found> {
    let sql = run::bad_rows(lake, suite, index, (days, now)).await?.context("it has no rows to show")?;
    let columns = Planned::new(lake, &days.query(&sql, memory)).await?.schema();
    let has = |name: &str| columns.column_with_name(name).is_some();
    let (unit, names) = match (has("message_id"), has("seq"), has("id")) {
        (true, true, _) => (Unit::Row, "message_id, seq"),
        (true, false, _) => (Unit::Message, "message_id"),
        (false, _, true) => (Unit::Vehicle, "id"),
        (false, _, false) => bail!("its rows have neither `message_id` nor `id`, so nobody can tell whose they are"),
    };
    let planned = Planned::new(lake, &days.query(&format!("select {names} from ({sql})"), memory)).await?;
    let mut rows = planned.start()?;
    let mut keys = HashSet::new();
    while let Some(batch) = rows.try_next().await? {
        match unit {
            Unit::Row | Unit::Message => {
                let message_ids = cast(batch.column(0), &DataType::Utf8)?;
                let message_ids = message_ids.as_string::<i32>();
                let seqs = (unit == Unit::Row).then(|| numbers(batch.column(1))).transpose()?;
                // A row without a message is none that was sent.
                for row in (0..batch.num_rows()).filter(|row| message_ids.is_valid(*row)) {
                    let message_id = message_ids.value(row);
                    keys.insert(match &seqs {
                        None => message_key(message_id),
                        Some(seqs) => row_key(message_id, seqs[row]),
                    });
                }
            }
            Unit::Vehicle => {
                let ids = numbers(batch.column(0))?.into_iter().flatten();
                keys.extend(ids.filter_map(|id| u64::try_from(id).ok()).map(vehicle_key));
            }
        }
    }
    Ok(Found { unit, keys })
}

fn numbers(column: &ArrayRef) -> anyhow::Result<Vec<Option<i64>>> {
    let column = cast(column, &DataType::Int64)?;
    Ok(column.as_primitive::<Int64Type>().iter().collect())
}
