//! Load tests: a simulated fleet is sent at a fixed schedule, and what the pipeline makes of it is measured, and checked
//! row by row.
//!
//! A [`Plan`] says what is sent and which limits have to be kept. [`run`] carries it out and gives a [`Report`], of which
//! text, Markdown and a page are made.

mod capacity;
pub mod command;
mod cost;
mod delays;
mod look;
mod metrics;
pub(crate) mod page;
mod pipeline;
mod plan;
pub(crate) mod plot;
mod ready;
mod report;
mod rolling;
mod run;
mod running;
mod send;
pub(crate) mod text;
mod usage;

pub use page::page;
pub use pipeline::{Pipeline, Process};
pub use plan::Plan;
pub use report::Report;
pub use rolling::Restart;
pub use run::{Target, run};
pub use text::{comparison, markdown, text};
