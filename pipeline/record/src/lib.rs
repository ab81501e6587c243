//! One Kafka message as rows: the envelope, the unrolling of its list, event time, templates. Pure, no I/O.

pub mod error;
pub mod message;
pub mod template;
pub mod time;

pub use error::{MessageError, RowError};
pub use message::{Message, Parser, Row};
pub use template::Template;
pub use time::{EventTime, TimeSource};
