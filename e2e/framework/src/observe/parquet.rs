//! Shows a Parquet file: its rows as JSON, its schema, and how it is laid out.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::body::Bytes;
use jiff::Timestamp;
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use super::counted;
use crate::json::quoted;

/// What is in a Parquet file.
#[derive(Debug)]
pub(super) struct Shown {
    /// The rows, each as a JSON object with its columns in the order of the file, without those that are null.
    pub rows: Vec<String>,
    /// The number of row groups, the compression, the order of the rows that the file declares, and the columns with
    /// their types.
    pub layout: String,
}

/// Reads a file. The error says what is wrong with it.
pub(super) fn show(body: &[u8]) -> Result<Shown, String> {
    read(body).map_err(|error| error.to_string())
}

fn read(body: &[u8]) -> Result<Shown, ParquetError> {
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(body))?;
    let rows = reader.get_row_iter(None)?.map(|row| row.map(|row| object(&row)));
    Ok(Shown { rows: rows.collect::<Result<_, _>>()?, layout: layout(reader.metadata()) })
}

fn layout(file: &ParquetMetaData) -> String {
    let schema = file.file_metadata().schema();
    let mut text = counted(file.num_row_groups(), "row group");
    let chunks = file.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let mut codecs: Vec<String> = chunks.map(|chunk| codec(chunk.compression())).collect();
    codecs.sort();
    codecs.dedup();
    for codec in codecs {
        let _ = write!(text, ", {codec}");
    }
    let sorted = file.row_groups().first().and_then(|group| group.sorting_columns());
    for (at, column) in sorted.into_iter().flatten().enumerate() {
        let index = usize::try_from(column.column_idx).unwrap_or(usize::MAX);
        let leaf = file.file_metadata().schema_descr().columns().get(index).map(|column| column.path().string());
        let order = if column.descending { " descending" } else { "" };
        let _ = write!(
            text,
            "{}{}{order}",
            if at == 0 { ", sorted by " } else { " and " },
            leaf.unwrap_or_else(|| format!("a column {index} that it does not have"))
        );
    }
    text.push_str(": ");
    fields(schema.get_fields(), &mut text);
    text
}

/// The name of a compression, without its level, which a file does not say.
fn codec(compression: parquet::basic::Compression) -> String {
    let name = format!("{compression:?}");
    name.split('(').next().unwrap_or_default().to_lowercase()
}

fn fields(fields: &[Arc<Type>], text: &mut String) {
    for (at, field) in fields.iter().enumerate() {
        let _ = write!(text, "{}{} ", if at > 0 { ", " } else { "" }, field.name());
        type_name(field, text);
    }
}

/// Writes a type, such as `timestamp(ms, UTC)` or `struct<x double, y double>`.
fn type_name(field: &Type, text: &mut String) {
    let info = field.get_basic_info();
    if field.is_primitive() {
        let name = match info.logical_type_ref() {
            Some(LogicalType::String) => "string".to_owned(),
            Some(LogicalType::Timestamp(time)) => {
                let unit = format!("{:?}", time.unit).to_lowercase();
                format!("timestamp({unit}{})", if time.is_adjusted_to_u_t_c { ", UTC" } else { "" })
            }
            Some(logical) => format!("{logical:?}").to_lowercase(),
            None => format!("{:?}", field.get_physical_type()).to_lowercase(),
        };
        let is_converted_only = info.logical_type_ref().is_none() && info.converted_type() != ConvertedType::NONE;
        text.push_str(&name);
        if is_converted_only {
            let _ = write!(text, "({:?})", info.converted_type());
        }
        if field.get_physical_type() == PhysicalType::INT96 {
            text.push_str(", which Parquet has deprecated");
        }
        return;
    }
    let inner = field.get_fields();
    if info.converted_type() == ConvertedType::LIST
        && let [repeated] = inner
        && let [element] = repeated.get_fields()
    {
        text.push_str("list<");
        type_name(element, text);
    } else {
        text.push_str("struct<");
        fields(inner, text);
    }
    text.push('>');
}

fn object(row: &Row) -> String {
    let mut text = String::new();
    write_object(row, &mut text);
    text
}

fn write_object(row: &Row, text: &mut String) {
    text.push('{');
    let set = row.get_column_iter().filter(|(_, field)| **field != Field::Null);
    for (at, (name, field)) in set.enumerate() {
        let _ = write!(text, "{}{}:", if at > 0 { "," } else { "" }, quoted(name));
        write_value(field, text);
    }
    text.push('}');
}

/// Writes a value as JSON. What JSON does not have is a text: times, dates, decimals, numbers that are not finite, and
/// bytes in base64.
fn write_value(field: &Field, text: &mut String) {
    match field {
        Field::Null
        | Field::Bool(_)
        | Field::Byte(_)
        | Field::Short(_)
        | Field::Int(_)
        | Field::Long(_)
        | Field::UByte(_)
        | Field::UShort(_)
        | Field::UInt(_)
        | Field::ULong(_) => {
            let _ = write!(text, "{field}");
        }
        Field::Float(number) if number.is_finite() => {
            let _ = write!(text, "{number:?}");
        }
        Field::Double(number) if number.is_finite() => {
            let _ = write!(text, "{number:?}");
        }
        Field::Str(value) => text.push_str(&quoted(value)),
        Field::Bytes(bytes) => text.push_str(&quoted(&BASE64.encode(bytes.data()))),
        Field::TimestampMillis(millis) => match Timestamp::from_millisecond(*millis) {
            Ok(time) => text.push_str(&quoted(&format!("{time:.3}"))),
            // No calendar shows this time, so its number is shown.
            Err(_) => {
                let _ = write!(text, "{millis}");
            }
        },
        Field::Group(row) => write_object(row, text),
        Field::ListInternal(list) => {
            text.push('[');
            for (at, element) in list.elements().iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                write_value(element, text);
            }
            text.push(']');
        }
        other => text.push_str(&quoted(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::metadata::SortingColumn;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    const SCHEMA: &str = "message row {
        optional binary id (string);
        optional int64 at (timestamp(millis,true));
        optional double speed;
    }";

    fn file() -> Result<Vec<u8>, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_sorting_columns(Some(vec![SortingColumn { column_idx: 0, descending: false, nulls_first: false }]))
            .build();
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
        let mut group = writer.next_row_group()?;
        let mut columns = 0;
        while let Some(mut column) = group.next_column()? {
            match columns {
                0 => {
                    let ids = [ByteArray::from("a"), ByteArray::from("b\"")];
                    column.typed::<ByteArrayType>().write_batch(&ids, Some(&[1, 1]), None)?
                }
                1 => column.typed::<Int64Type>().write_batch(&[1_671_926_400_001], Some(&[1, 0]), None)?,
                _ => column.typed::<DoubleType>().write_batch(&[1.0, f64::NAN], Some(&[1, 1]), None)?,
            };
            column.close()?;
            columns += 1;
        }
        group.close()?;
        writer.into_inner()
    }

    #[test]
    fn a_file_is_shown_with_its_rows_and_its_layout() {
        let shown = show(&file().expect("written")).expect("a Parquet file");
        assert_eq!(
            shown.rows,
            [r#"{"id":"a","at":"2022-12-25T00:00:00.001Z","speed":1.0}"#, r#"{"id":"b\"","speed":"NaN"}"#]
        );
        assert_eq!(
            shown.layout,
            "1 row group, snappy, sorted by id: id string, at timestamp(millis, UTC), speed double"
        );
    }

    #[test]
    fn what_is_no_parquet_file_is_said() {
        assert!(show(b"{}").is_err());
    }
}
