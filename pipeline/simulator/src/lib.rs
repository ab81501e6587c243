//! A fleet of vehicles that sends what real ones send, with what real ones do wrong, and says what has to become of it.
//!
//! A [`Vehicle`] drives recorded trips, moved to a home of its own. Every message is a function of the seed, the vehicle,
//! the protocol and the time, so it can be made again by anyone: [`Simulation::plan`] gives the messages in the order in
//! which they leave, [`Simulation::message`] writes one. Both do no I/O and ask no clock.

mod expect;
mod faults;
mod happening;
mod json;
mod message;
mod motion;
mod plan;
mod protocol;
mod random;
mod run;
mod simulation;
pub mod target;
mod timetable;
mod track;
mod vehicle;

pub use expect::{Expectation, ExpectationError, Hour, KeySet, OfProtocol};
pub use faults::{About, FAULTS, Fault, Rates, RatesError};
pub use message::{Message, RowId};
pub use plan::{Plan, Shard};
pub use protocol::{Protocol, Protocols};
pub use run::{Progress, Run};
pub use simulation::{Departure, Simulation};
pub use timetable::{FIRST_SECOND, LAST_SECOND, Rhythm};
pub use vehicle::{Fleet, Vehicle};
