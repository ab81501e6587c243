//! A client for AWS Glue's Data Catalog: databases, tables and partitions.
//!
//! It has the operations that the lake needs and no others. The SDK's own crate for Glue takes a minute and a half and
//! 3.4 GB of memory to compile; the calls here go through the same machinery of the SDK, with the requests and answers as
//! JSON.
//!
//! What others wrote into a table or partition stays there: members that this crate does not know are kept, and
//! [`Table::into_input`] gives what an update takes of them.
//!
//! ```no_run
//! # async fn example(glue: fms_glue::Glue) -> Result<(), fms_aws::Error> {
//! if let Some(table) = glue.table("lake", "vehicle_tire_report").await? {
//!     let version = table.version_id.clone();
//!     let mut input = table.into_input();
//!     input.parameters.insert("owner".into(), "fleet".into());
//!     glue.update_table("lake", &input, version.as_deref()).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod model;
mod partitions;
mod tables;

pub use client::{Glue, already_exists, missing, modified_meanwhile};
pub use model::{Column, Database, Partition, PartitionInput, SerDeInfo, StorageDescriptor, Table, TableInput};
pub use partitions::Failed;
