//! Alerts of the [checks of the data](../../../docs/quality.md) reach their owners in Slack.
//!
//! - `verdict`: the results of `fms quality run --format json`, with samples of the bad rows;
//! - `config`: the file that says who is told where, and when nobody is;
//! - `state`: what is kept between two runs: open problems, the messages that tell of them, and what is to be sent;
//! - `step`: what follows from verdicts and from the time that passes; pure, and `digest` likewise;
//! - `message`, `text`: what is sent, within the limits of Slack; pure;
//! - `store`: where the state is kept, replaced only by those who know what they replace;
//! - `slack`: the calls of Slack;
//! - `deliver`: what is to be sent is sent, by one sender at a time;
//! - `command`: the command line.

mod command;
mod config;
mod deliver;
mod digest;
mod message;
mod serial;
mod slack;
mod state;
mod step;
mod store;
mod text;
mod verdict;

pub use command::main_with;
