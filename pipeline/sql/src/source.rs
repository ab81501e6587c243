//! What a lake tells about itself: its tables, their partitions, and where the files of these are.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use fms_lake::{Field, TimeZone};
use object_store::ObjectStore;
use object_store::path::Path;

/// A table as the catalog has it.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    pub name: String,
    /// The columns of the files.
    pub columns: Vec<Field>,
    /// The names of the partition keys, whose values are texts.
    pub keys: Vec<String>,
    /// Where the files are, as far as no partition has a place of its own.
    pub folder: Path,
}

/// A partition of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The values of the partition keys.
    pub values: Vec<String>,
    /// The folder of its files.
    pub folder: Path,
}

/// Where tables and partitions are looked up.
#[async_trait]
pub(crate) trait Source: Debug + Send + Sync {
    /// The names of all tables.
    async fn names(&self) -> anyhow::Result<Vec<String>>;

    /// A table; `None` if there is none of this name.
    async fn table(&self, name: &str) -> anyhow::Result<Option<Definition>>;

    /// The partitions of a table. The expression, in the words of Glue, chooses some of them; a source may give more.
    async fn partitions(&self, table: &Definition, expression: Option<&str>) -> anyhow::Result<Vec<Partition>>;
}

/// How the partition of a row follows from its time, as the lake was converted.
#[derive(Debug, Clone)]
pub struct EventTime {
    /// The column with a row's event time.
    pub column: String,
    /// The zone of the partitions' days and hours. If it is not known, every zone is allowed for.
    pub zone: Option<TimeZone>,
}

/// A lake that can be queried.
#[derive(Debug, Clone)]
pub struct Lake {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// What may stand before the name of a table, as in `fleet.vehicle_tire_report`.
    pub(crate) database: String,
    pub(crate) time: EventTime,
}
