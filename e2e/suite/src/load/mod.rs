//! Load tests: a simulated fleet is sent at a fixed schedule, and what the pipeline makes of it is measured, and checked
//! row by row.
//!
//! A [`plan`] says what is sent and which limits have to be kept. [`run`](run::run) carries it out and gives a
//! [`report`], of which text, Markdown and a page are made.

mod cost;
mod delays;
mod look;
mod pipeline;
mod plan;
mod report;
mod run;
mod send;
mod usage;

pub use pipeline::{Pipeline, Process};
pub use plan::Plan;
pub use report::Report;
pub use run::{Target, run};
