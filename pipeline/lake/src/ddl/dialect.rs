//! How engines write names, texts and types.

use std::fmt::{self, Write};

use crate::types::{Field, Type};

pub(super) fn list(columns: &[Field], line: impl Fn(&Field) -> String) -> String {
    columns.iter().map(|column| format!("  {}", line(column))).collect::<Vec<_>>().join(",\n")
}

pub(super) fn double_quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn back_quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

pub(super) fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A type as Redshift writes it. Nested types have the form of Hive, with Redshift's names inside.
pub(super) struct Redshift<'a>(pub &'a Type);

impl fmt::Display for Redshift<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // The longest text that Redshift has.
            Type::String => f.write_str("varchar(65535)"),
            Type::Float => f.write_str("real"),
            Type::Double => f.write_str("double precision"),
            Type::Array(element) => write!(f, "array<{}>", Self(element)),
            Type::Struct(fields) => {
                f.write_str("struct<")?;
                fields_of(f, fields, |f, field| write!(f, "{}:{}", field.name, Redshift(&field.data_type)))?;
                f.write_char('>')
            }
            other => write!(f, "{other}"),
        }
    }
}

/// A type as Trino writes it.
pub(super) struct Trino<'a>(pub &'a Type);

impl fmt::Display for Trino<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Type::String => f.write_str("varchar"),
            Type::Int => f.write_str("integer"),
            Type::Float => f.write_str("real"),
            Type::Timestamp => f.write_str("timestamp(3)"),
            Type::Array(element) => write!(f, "array({})", Self(element)),
            Type::Struct(fields) => {
                f.write_str("row(")?;
                fields_of(f, fields, |f, field| {
                    write!(f, "{} {}", double_quoted(&field.name), Trino(&field.data_type))
                })?;
                f.write_char(')')
            }
            other => write!(f, "{other}"),
        }
    }
}

fn fields_of(
    f: &mut fmt::Formatter<'_>,
    fields: &[Field],
    write: impl Fn(&mut fmt::Formatter<'_>, &Field) -> fmt::Result,
) -> fmt::Result {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        write(f, field)?;
    }
    Ok(())
}
