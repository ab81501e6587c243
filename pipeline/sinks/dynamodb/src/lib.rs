//! The DynamoDB sink: one row of a record is one item, written in batches, the same item however often it is written.
//!
//! - [`json`] reads a row's text value by value, [`number`] knows which numbers a table can hold.
//! - [`item`] turns the text into attributes and says what is wrong with a row that no table can hold.
//! - [`key`] fills in the item's key, [`table`] learns from the table what that key is.
//! - [`batcher`] decides what may be sent when; it does no I/O. [`write`](mod@write) sends it and reads the answers.
//! - [`connector`] and [`task`] tie these to the runtime.

mod batcher;
mod connector;
mod item;
mod key;
mod number;
mod table;
mod task;
mod write;

pub use connector::DynamoDbSink;
