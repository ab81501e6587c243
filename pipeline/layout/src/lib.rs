//! The names of objects: which key a set of rows is stored under, and what a key says about the rows behind it. Pure,
//! no I/O.
//!
//! A [`Template`] writes a key from its parts and parses a key back into them:
//!
//! ```text
//! <dir>/<topic>/<folders>/<topic>+<Kafka partition>+<start offset>.json[.gz|.zst]
//! ```
//!
//! ```
//! use fms_layout::{Extension, FileName, Folder, Name, PathFormat, Template, Value};
//!
//! let time = PathFormat::parse("'year'=YYYY/'month'=MM")?;
//! let template = Template::new("raw", vec![Folder::field("object"), Folder::Time(time)]);
//! let file = FileName { topic: "fleet".into(), partition: 3, start: 48211, extension: Extension::JsonGzip };
//! let folders = vec![Value::Whole("a/c".into()), Value::Whole("year=2023/month=01".into())];
//! let name = Name { folders, file };
//!
//! let key = template.write(&name);
//! assert_eq!(key, "raw/fleet/object=a%2Fc/year=2023/month=01/fleet+3+0000048211.json.gz");
//! assert_eq!(template.parse(&key)?, name);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod escape;
mod file_name;
mod path_format;
mod template;
mod zone;

pub use escape::{Value, escape, unescape};
pub use file_name::{Extension, FileName, FileNameError};
pub use path_format::PathFormat;
pub use template::{Field, Folder, Name, ParseError, Template};
pub use zone::time_zone;
