//! SQL over a lake, with `DataFusion` as the engine. `fms query` hands over to the program `fms-sql`, so that nothing
//! else has to link the engine.
//!
//! - `source`, `folder`, `placed`, `glue`: which tables and partitions there are;
//! - `table`: which partitions and files a query needs, by `keys` (what it says of partition keys) and `range` (what it
//!   says of the event time);
//! - `s3`, `meter`: the files, and how much of them is read;
//! - `engine`: the engine with its limits;
//! - `query`, `problem`: from a text to a plan that runs, or to a sentence that says why not;
//! - `output`, `summary`, `command`: the result, what it took, and the command line;
//! - `program`: what the commands of `fms-sql` have in common.

mod command;
mod engine;
mod folder;
mod glue;
mod keys;
mod meter;
mod output;
mod placed;
mod problem;
pub mod program;
mod query;
mod range;
mod s3;
mod schema;
mod size;
mod source;
mod summary;
mod table;

pub use command::main_with;
pub use engine::{Engine, TableFile};
pub use output::{Format, Out, Writer};
pub use placed::{PlacedColumn, PlacedPartition, PlacedTable};
pub use problem::Problem;
pub use query::{Planned, Query};
pub use size::Size;
pub use source::{Definition, EventTime, Lake, Partition};
pub use summary::Summary;
