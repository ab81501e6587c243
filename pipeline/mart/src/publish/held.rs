//! Days that are not served: those on which a check of the table has failed, as the history of the checks has it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use fms_query::{Lake, Planned, Query};
use futures_util::TryStreamExt as _;
use jiff::civil::Date;

/// The table into which `fms quality run --history` writes.
const HISTORY: &str = "quality_results";

/// What the checks of tables have said last of days, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<Said>);

#[derive(Debug)]
struct Said {
    table: String,
    check: String,
    from: Date,
    to: Date,
    has_failed: bool,
}

impl Held {
    /// Reads the history of a lake. Where nobody keeps one, nothing is held.
    ///
    /// # Errors
    ///
    /// The history cannot be read.
    pub async fn read(lake: &Lake) -> anyhow::Result<Self> {
        if lake.table(HISTORY).await?.is_none() {
            return Ok(Self::default());
        }
        let sql = format!(
            "select table_name, check_name, from_day, to_day, outcome, severity from {HISTORY} \
             where outcome in ('pass', 'warn', 'fail') order by ran_at"
        );
        let read = async {
            let planned = Planned::new(lake, &Query { sql, ..Query::default() }).await?;
            let mut rows = planned.start()?;
            let mut said = Vec::new();
            while let Some(batch) = rows.try_next().await? {
                let texts: Vec<_> =
                    batch.columns().iter().map(|column| cast(column, &DataType::Utf8)).collect::<Result<_, _>>()?;
                for row in 0..batch.num_rows() {
                    let text = |at: usize| texts[at].as_string::<i32>().value(row);
                    let day = |at: usize| text(at).parse().with_context(|| format!("`{}` is no day", text(at)));
                    said.push(Said {
                        table: text(0).to_owned(),
                        check: text(1).to_owned(),
                        from: day(2)?,
                        to: day(3)?,
                        has_failed: text(4) == "fail" && text(5) == "error",
                    });
                }
            }
            anyhow::Ok(Self(said))
        };
        read.await.with_context(|| format!("cannot read the table {HISTORY}, which says what may be published"))
    }

    /// A check that has failed on a day of a table, and has not passed since.
    pub fn failed(&self, table: &str, date: Date) -> Option<&str> {
        let of_day = self.0.iter().filter(|said| said.table == table && said.from <= date && date <= said.to);
        let last: BTreeMap<&str, bool> = of_day.map(|said| (said.check.as_str(), said.has_failed)).collect();
        last.into_iter().find(|(_, has_failed)| *has_failed).map(|(check, _)| check)
    }
}
