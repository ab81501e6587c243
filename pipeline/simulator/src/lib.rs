//! A fleet of vehicles that sends what real ones send, with what real ones do wrong, and says what has to become of it.
//!
//! A [`Vehicle`] drives recorded trips, moved to a home of its own. Every message is a function of the seed, the vehicle,
//! the protocol and the time, so it can be made again by anyone: [`Simulation::plan`] gives the messages in the order in
//! which they leave, [`Simulation::message`] writes one. Both do no I/O and ask no clock.

mod departing;
mod departure;
mod expect;
mod fault_set;
mod faults;
mod happening;
mod in_time;
mod json;
mod key;
mod made;
mod marks;
mod message;
mod motion;
mod observed;
mod pace;
mod plan;
mod protocol;
mod random;
mod rates;
mod recordings;
mod refused;
pub mod replay;
mod run;
mod simulation;
pub mod target;
mod timetable;
mod track;
mod trip;
mod vehicle;
mod verify;

pub use departure::Departure;
pub use expect::{Expectation, ExpectationError, OfHour, OfLetters, OfProtocol};
pub use fault_set::Faults;
pub use faults::{About, FAULTS, Fault};
pub use key::{FIELDS, Field, Hour, KeySet, RowKey, Sum};
pub use made::Made;
pub use message::{Letters, Message, RowId};
pub use observed::{Observed, recorded_trips};
pub use plan::{Plan, Shard};
pub use protocol::{Protocol, Protocols};
pub use rates::Rates;
pub use recordings::use_recordings;
pub use refused::RefusedFile;
pub use run::{Done, Progress, Run};
pub use simulation::Simulation;
pub use timetable::{FIRST_SECOND, LAST_SECOND, Rhythm};
pub use track::METRES_A_DEGREE;
pub use vehicle::{Fleet, Vehicle};
pub use verify::{Difference, Found, NamedRow, NamedRows, VerifyError, What};
