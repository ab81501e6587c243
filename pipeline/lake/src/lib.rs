//! The lake: raw objects of JSON lines become typed, partitioned Parquet files of one table for each protocol.
//!
//! The core is [`Converter`]: it takes the lines of one raw object and gives the files of several tables, the rows that
//! do not fit them, and the columns that tables lack. It does no I/O of its own and depends on no clock, so converting
//! an object twice by the same version of a table gives the same bytes.
//!
//! Nothing is changed in silence. A value is stored only if its column holds all of it: `"12.5"` and `1` fit a
//! `double`, and `9007199254740993` does not. A row that does not fit is put into quarantine, with the column, what was
//! expected, what was found, and where it came from; the other rows of the object are stored.

mod arrow;
mod bucket;
mod column;
mod columns;
mod compact;
mod convert;
mod ddl;
mod event;
mod explain;
mod file;
mod folder;
mod growth;
mod hours;
mod json;
mod key;
mod known;
mod lines;
mod misfit;
mod name;
mod number;
mod object;
mod partition;
pub mod poll;
mod quarantine;
mod raw_hour;
mod raw_key;
mod recount;
mod rename;
mod repair;
mod rest;
mod review;
mod rows;
mod shape;
mod status;
mod table;
mod task;
mod time;
mod types;

// The types of settings.
pub use fms_layout::time_zone;
pub use jiff::Timestamp;
pub use jiff::tz::TimeZone;

pub use arrow::schema;
pub use bucket::spool::Spool;
pub use bucket::{Bucket, CallFailed, Conflict, Files, Raw, S3Url, Storage, StoredFile, count_retry};
pub use compact::{Alter, Altered, Compact, Compacted, Compacting, Expire, Expired, Expiring};
pub use convert::{Conversion, ConvertError, Converter, Outcome, Settings, Surroundings, Target, Written};
pub use ddl::{Catalog, Engine, External};
pub use event::{Created, EventError, created_objects, event_of};
pub use explain::{Effect, Effects, Explained, GroupKey, Misfits};
pub use file::TABLE_VERSION;
pub use folder::{Folder, files};
pub use misfit::{Misfit, Reason};
pub use object::{Lake, ObjectError, Published, Report, convert_object};
pub use partition::{KEYS as PARTITION_KEYS, Partition};
pub use quarantine::{Ledger, Object};
pub use raw_key::{KeyTemplate, KeyTemplateError};
pub use rename::{Renames, Renaming};
pub use repair::{Finding, Repair, Repaired};
pub use review::{Group, Kind, Overview, QuarantineFile, QuarantinedRow, RowOrigin, Selection};
pub use rows::{Cell, RawObjects, numbered_lines};
pub use status::{HourStatus, Quarantined, RawHour, Readers, Status, TableStatus, Why};
pub use table::{Growth, Identity, Table};
pub use types::{Field, Type, TypeError};
