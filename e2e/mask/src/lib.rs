//! What takes from recorded messages whose they are, or makes them those of others: values of some fields are replaced,
//! and positions are moved. Everything else stays byte by byte as it was written.
//!
//! ```
//! let fields = ["id".to_owned()];
//! let mask = e2e_mask::Mask::numbered("2", 1, &fields, None);
//! assert_eq!(mask.message(br#"{"id":7,"speed":1.50}"#), Some(br#"{"id":72,"speed":1.50}"#.to_vec()));
//! assert_eq!(mask.key(b"7"), b"72");
//! ```

mod json;
mod mask;
mod rotation;

pub use json::{fields, quoted};
pub use mask::Mask;
