//! The DynamoDB sink: each row of a record is one item, which is the same item however often it is written.
//!
//! - [`item`] turns the text of a row into attributes, and reports why a row cannot be an item; [`number`] knows which
//!   numbers a table holds.
//! - [`key`] fills in the item's key; [`table`] learns from the table which key that is.
//! - [`batcher`] decides which rows may be sent when, without I/O; [`write`](mod@write) sends them and reads the
//!   answers.
//! - [`connector`] and [`task`] connect these with the runtime.

mod batcher;
mod connector;
mod item;
mod key;
mod number;
mod table;
mod task;
mod write;

pub use connector::DynamoDbSink;
