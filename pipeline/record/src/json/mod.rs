//! Reading JSON text without building a tree: a strict scanner of positions, the decoder of strings, and a stream of
//! events.

pub(crate) mod compact;
mod events;
pub(crate) mod scan;
mod string;

pub use events::{Error, Event, Events};
pub use string::{LoneSurrogate, decode, raw};
