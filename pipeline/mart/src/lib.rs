//! The mart: tables for people and applications, each of which is a model, a file of SQL over the tables of a lake and
//! over those of other models. The output of a model is Parquet in partitions of days (`ymd`), in a folder or in S3 and
//! Glue.
//!
//! A partition is built of the partitions of its sources that its model reads: those of its day, and of the days before
//! and after it that the model names. Their versions are noted with the partition, so that exactly those are built
//! again of which an input has changed, however late.
//!
//! Pure code:
//! - `model`: a file becomes a [`Model`], and a folder of them [`Models`], in the order in which they are built;
//! - `select`: which models are meant by `+trip+`;
//! - `inputs`, `plan`: which days have to be built, and why;
//! - `engine`: the statements by which other engines build a model.
//!
//! With the engine:
//! - `query`: the query of a model over given tables;
//! - `lineage`: what is made of what, down to columns;
//! - `example`: the examples of a model, run without a lake;
//! - `build`: a partition becomes a file.
//!
//! With a lake:
//! - `catalog`: where the tables of a mart are, and how a partition is swapped in;
//! - `sources`: what there is to read;
//! - `apply`, `diff`, `command`: the work, and the command line;
//! - `publish`: tables of the mart on a server that applications ask.

mod apply;
mod build;
mod catalog;
mod command;
mod diff;
mod engine;
mod example;
mod inputs;
mod lineage;
mod model;
mod plan;
mod publish;
mod query;
mod select;
mod sources;

pub use command::main_with;
pub use example::{Mismatch, examples};
pub use model::{Cells, Check, Column, Example, Model, ModelError, Models, Reads};
