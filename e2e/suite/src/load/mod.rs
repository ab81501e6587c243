//! Load tests: a simulated fleet is sent at a fixed schedule, and what the pipeline makes of it is measured, and checked
//! row by row.
//!
//! A [`Plan`] says what is sent and which limits have to be kept. [`run`] carries it out and gives a [`Report`], of which
//! text, Markdown and a page are made.

mod capacity;
pub mod command;
mod compared;
mod cost;
mod counted;
mod delays;
mod due;
mod failure;
mod limits;
mod look;
mod metrics;
mod objects;
pub(crate) mod page;
mod pipeline;
mod plan;
pub(crate) mod plot;
mod ready;
mod recovery;
mod report;
mod rolling;
mod run;
mod running;
mod send;
mod slope;
pub(crate) mod text;
mod usage;

pub use capacity::{Capacity, Search};
pub use compared::compared;
pub use failure::Failure;
pub use page::page;
pub use pipeline::{Pipeline, Process};
pub use plan::Plan;
pub use recovery::Recovery;
pub use report::Report;
pub use rolling::Restart;
pub use run::{Target, run};
pub use slope::Growth;
pub use text::{comparison, markdown, text};
