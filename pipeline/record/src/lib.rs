//! One Kafka message as rows: the envelope, the unrolling of its list, event time, templates. Pure, no I/O.
//!
//! Values are carried as their source text: no number is ever reformatted and key order is kept. A message is scanned
//! once, strictly, into flat vectors of positions; rows borrow them and are written by copying runs of the source.
//!
//! ```
//! use fms_record::{EventTime, Parser, Template, TimeSource};
//!
//! let payload = br#"{"object":"vehicle","type":"tire","id":7,"measurements":[
//!     {"timestamp_iso":"2023-01-01T12:00:00+09:00","pressure":812.50},
//!     {"timestamp_iso":"2023-01-01T12:05:00+09:00","pressure":812.49}]}"#;
//! let message = Parser::new(Some("measurements".into())).parse(payload)?;
//! let mut row = message.rows().next().expect("two rows").map_err(|(_index, error)| error)?;
//!
//! assert_eq!(row.get("pressure"), Some("812.50"));
//! let time = EventTime::of(&row, Some("timestamp_iso"), None)?;
//! assert_eq!((time.millis, time.source), (1_672_542_000_000, TimeSource::Field));
//!
//! let key = Template::parse("${id}#${object}")?.render(&row)?;
//! row.set("pk", format!("\"{key}\""));
//! let mut line = Vec::new();
//! row.write_json(&mut line);
//! assert_eq!(
//!     line,
//!     br#"{"object":"vehicle","type":"tire","id":7,"timestamp_iso":"2023-01-01T12:00:00+09:00","pressure":812.50,"pk":"7#vehicle"}"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod excerpt;
mod field;
pub mod format;
pub mod json;
mod message;
mod object;
mod parser;
mod path;
mod payload;
mod row;
mod source;
mod template;
mod time;
mod unrolled;

pub use error::{MessageError, NameError, NoValue, RowError};
pub use excerpt::{Excerpt, Position};
pub use format::Format;
pub use message::Message;
pub use parser::{Names, Parser};
pub use row::Row;
pub use source::Source;
pub use template::Template;
pub use time::{EventTime, Rfc3339, TimeSource};
