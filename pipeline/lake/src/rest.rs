//! What a row has beyond the columns of a table that gets no new ones: one JSON object in the column `_rest`.
//!
//! The object has the structure of the row, without what columns have taken. So a value is found in it by the path that
//! it has in the row, with the names that the row has: `{"new":1,"doors":{"rear":true},"dtcs":[null,{"lamp":"on"}]}`.
//! An element of an array of which nothing is left is `null`.

use crate::partition::KEYS;

/// The column of what has no column. No field of a row has a column of this name.
pub(crate) const REST: &str = "_rest";

/// The names that no field of a row has as its column.
pub(crate) const RESERVED: [&str; 3] = [KEYS[0], KEYS[1], REST];

/// What a column does not take of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// The text of a time that says more than the instant, which the column has.
    Original,
    /// What is in this JSON text.
    Part(String),
}

impl From<Option<String>> for Left {
    fn from(part: Option<String>) -> Self {
        part.map_or(Self::Nothing, Self::Part)
    }
}

/// What is left of an object.
#[derive(Debug, Default)]
pub(crate) struct Members(String);

impl Members {
    /// Adds a field with what is left of its value.
    pub fn add(&mut self, name: &str, left: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&serde_json::Value::from(name).to_string());
        self.0.push(':');
        self.0.push_str(left);
    }

    /// The object; `None` if nothing is left.
    pub fn finish(mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.push('}');
        Some(self.0)
    }
}

/// What is left of an array.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    text: String,
    /// How many elements there are in the text.
    length: usize,
}

impl Elements {
    /// Adds what is left of the element at this place, which is behind those that were added before.
    pub fn add(&mut self, place: usize, left: &str) {
        while self.length <= place {
            self.text.push(if self.length == 0 { '[' } else { ',' });
            self.text.push_str(if self.length == place { left } else { "null" });
            self.length += 1;
        }
    }

    /// The array up to the last element of which something is left; `None` if that is none.
    pub fn finish(mut self) -> Option<String> {
        if self.text.is_empty() {
            return None;
        }
        self.text.push(']');
        Some(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_has_the_structure_of_the_row() {
        let (mut members, mut elements) = (Members::default(), Elements::default());
        elements.add(1, "{\"a\":1}");
        elements.add(3, "2.50");
        members.add("l", &elements.finish().expect("something is left"));
        members.add("say \"가\"", "1e400");
        let left = members.finish().expect("something is left");
        assert_eq!(left, r#"{"l":[null,{"a":1},null,2.50],"say \"가\"":1e400}"#);
        assert_eq!((Members::default().finish(), Elements::default().finish()), (None, None));
    }
}
