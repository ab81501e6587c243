//! Two versions of a model, built of the same inputs and compared by their keys: which rows only one of them has, and
//! in how many rows a column is another.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, ensure};
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::prelude::{ParquetReadOptions, SessionContext};

use crate::build::Output;
use crate::model::Model;

/// How the rows of a day differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Difference {
    pub only_a: i64,
    pub only_b: i64,
    pub both: i64,
    /// In how many rows that both have a column is another; those in which none is are left out.
    pub columns: BTreeMap<String, i64>,
}

impl Difference {
    pub fn is_none(&self) -> bool {
        self.only_a == 0 && self.only_b == 0 && self.columns.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows in both, {} only in A, {} only in B", self.both, self.only_a, self.only_b)?;
        for (column, rows) in &self.columns {
            write!(f, "; `{column}` is another in {rows}")?;
        }
        Ok(())
    }
}

/// Compares the outputs of two models. A column that only one of them has is another in every row.
pub(crate) async fn diff(models: [&Model; 2], outputs: [&Output; 2]) -> anyhow::Result<Difference> {
    let [a, b] = models;
    ensure!(
        a.keys == b.keys,
        "the keys are others, {} and {}, so no rows belong together",
        a.keys.join(", "),
        b.keys.join(", ")
    );
    let context = SessionContext::new();
    for (name, output) in ["a", "b"].into_iter().zip(outputs) {
        let path =
            output.file.path().to_str().context("the temporary folder has a name that is no UTF-8; set TMPDIR")?;
        context.register_parquet(name, path, ParquetReadOptions::default()).await?;
    }
    let on = a.keys.iter().map(|key| format!("a.{key} = b.{key}")).collect::<Vec<_>>().join(" and ");
    // A key is never null.
    let key = &a.keys[0];
    let both = format!("a.{key} is not null and b.{key} is not null");
    let has = |model: &Model, name: &str| model.columns.iter().any(|column| column.field.name == name);
    let names: std::collections::BTreeSet<&str> =
        [a, b].into_iter().flat_map(|model| model.columns.iter().map(|column| column.field.name.as_str())).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !a.keys.iter().any(|key| key == name)).collect();
    let mut counts = vec![
        format!("count(*) filter (where b.{key} is null)"),
        format!("count(*) filter (where a.{key} is null)"),
        format!("count(*) filter (where {both})"),
    ];
    counts.extend(names.iter().map(|name| {
        let is_other = if has(a, name) && has(b, name) {
            format!("a.{name} is distinct from b.{name}")
        } else {
            "true".to_owned()
        };
        format!("count(*) filter (where {both} and {is_other})")
    }));
    let counts: Vec<String> = counts.iter().enumerate().map(|(at, count)| format!("{count} as c{at}")).collect();
    let rows =
        context.sql(&format!("select {} from a full join b on {on}", counts.join(", "))).await?.collect().await?;
    let rows = rows.first().context("there is no result")?;
    let count = |at: usize| rows.column(at).as_primitive::<Int64Type>().value(0);
    let columns = names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), count(at + 3)));
    Ok(Difference {
        only_a: count(0),
        only_b: count(1),
        both: count(2),
        columns: columns.filter(|(_, rows)| *rows > 0).collect(),
    })
}
