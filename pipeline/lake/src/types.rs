//! The types of a table's columns, as the Glue catalog names them, and their text form:
//! `struct<code:string,counts:array<bigint>>`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How deep types may be nested. Athena and Redshift refuse deeper ones long before.
const MAX_DEPTH: usize = 64;

/// The type of a column, of a field of a struct, or of the elements of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `boolean`.
    Boolean,
    /// `int`: 32 bits.
    Int,
    /// `bigint`: 64 bits.
    Bigint,
    /// `float`: 32 bits.
    Float,
    /// `double`: 64 bits.
    Double,
    /// `string`.
    String,
    /// `date`: days since the Unix epoch.
    Date,
    /// `timestamp`: milliseconds since the Unix epoch, UTC.
    Timestamp,
    /// `array<…>`.
    Array(Box<Type>),
    /// `struct<name:type,…>`.
    Struct(Vec<Field>),
}

/// A column of a table, or a field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name as the catalog has it, in lower case.
    pub name: String,
    /// The type.
    pub data_type: Type,
}

impl Field {
    /// A field of this name and type.
    pub fn new(name: impl Into<String>, data_type: Type) -> Self {
        Self { name: name.into(), data_type }
    }
}

/// Why a text is not the type of a column that the lake can write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TypeError {
    /// The catalog knows this type, or may know it, and the lake does not write it.
    #[error(
        "the type `{0}` is not one that the lake writes: boolean, int, bigint, float, double, string, date, \
         timestamp, array<…> or struct<…>"
    )]
    Unknown(String),
    /// The brackets, commas or colons do not make a type.
    #[error("the type `{text}` cannot be read at byte {at}: expected {expected}")]
    Syntax {
        /// The whole text.
        text: String,
        /// Where it stops being a type.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int => f.write_str("int"),
            Self::Bigint => f.write_str("bigint"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Array(element) => write!(f, "array<{element}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{}", field.name, field.data_type)?;
                }
                f.write_str(">")
            }
        }
    }
}

impl FromStr for Type {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let mut reader = Reader { text, at: 0 };
        let read = reader.read(0)?;
        if reader.at == text.len() { Ok(read) } else { reader.expected("the end of the type") }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn read(&mut self, depth: usize) -> Result<Type, TypeError> {
        if depth > MAX_DEPTH {
            return self.expected("no more than 64 nested types");
        }
        let name = self.until(&['<', '>', ',', ':', '(']).trim();
        Ok(match name.to_ascii_lowercase().as_str() {
            "boolean" => Type::Boolean,
            "int" | "integer" => Type::Int,
            "bigint" => Type::Bigint,
            "float" => Type::Float,
            "double" => Type::Double,
            "string" => Type::String,
            "date" => Type::Date,
            "timestamp" => Type::Timestamp,
            "array" => {
                self.take('<', "`<`")?;
                let element = self.read(depth + 1)?;
                self.take('>', "`>`")?;
                Type::Array(Box::new(element))
            }
            "struct" => {
                self.take('<', "`<`")?;
                Type::Struct(self.fields(depth + 1)?)
            }
            "" => return self.expected("a type"),
            _ => return Err(TypeError::Unknown(name.to_owned())),
        })
    }

    /// The fields of a struct, up to its closing bracket.
    fn fields(&mut self, depth: usize) -> Result<Vec<Field>, TypeError> {
        let mut fields = Vec::new();
        loop {
            let name = self.until(&[':', '<', '>', ',']).trim();
            if name.is_empty() {
                return self.expected("the name of a field");
            }
            self.take(':', "`:`")?;
            fields.push(Field::new(name.to_lowercase(), self.read(depth)?));
            if self.text[self.at..].starts_with(',') {
                self.at += 1;
            } else {
                self.take('>', "`,` or `>`")?;
                return Ok(fields);
            }
        }
    }

    fn until(&mut self, ends: &[char]) -> &'t str {
        let rest = &self.text[self.at..];
        let length = rest.find(ends).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn take(&mut self, mark: char, expected: &'static str) -> Result<(), TypeError> {
        if self.text[self.at..].starts_with(mark) {
            self.at += mark.len_utf8();
            return Ok(());
        }
        self.expected(expected)
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, TypeError> {
        Err(TypeError::Syntax { text: self.text.to_owned(), at: self.at, expected })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any type, of up to three levels.
    pub(crate) fn any_type() -> impl Strategy<Value = Type> {
        let scalar = prop_oneof![
            Just(Type::Boolean),
            Just(Type::Int),
            Just(Type::Bigint),
            Just(Type::Float),
            Just(Type::Double),
            Just(Type::String),
            Just(Type::Date),
            Just(Type::Timestamp),
        ];
        scalar.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|element| Type::Array(Box::new(element))),
                prop::collection::btree_map("[a-z_가-힣][a-z0-9_]{0,8}", inner, 1..4).prop_map(|fields| {
                    Type::Struct(fields.into_iter().map(|(name, data_type)| Field { name, data_type }).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_type_is_read_as_it_is_written(data_type in any_type()) {
            prop_assert_eq!(data_type.to_string().parse(), Ok(data_type));
        }
    }

    #[test]
    fn what_is_no_type_is_said_with_its_place() {
        for (text, says) in [
            ("decimal(10,2)", "`decimal`"),
            ("map<string,int>", "`map`"),
            ("array<", "at byte 6: expected a type"),
            ("array<int", "at byte 9: expected `>`"),
            ("struct<>", "expected the name of a field"),
            ("struct<a>", "at byte 8: expected `:`"),
            ("struct<a:int", "expected `,` or `>`"),
            ("int>", "at byte 3: expected the end"),
            ("", "expected a type"),
        ] {
            let error = text.parse::<Type>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let deep = "array<".repeat(100_000);
        assert!(deep.parse::<Type>().expect_err("too deep").to_string().contains("no more than 64"));
    }
}
