//! The values of one column, collected row by row straight from JSON text.
//!
//! A row that does not fit is taken back by [`Column::truncate`]: the column then does not know of it.

use std::cmp::Ordering;

use fms_record::json;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::columns::{Columns, Problem};
use crate::json::elements;
use crate::misfit::{Misfit, Reason};
use crate::number;
use crate::rename::Renames;
use crate::rest::{Elements, Left};
use crate::time::Instant;
use crate::types::Type;

/// The values of one column, of one field of a struct, or of the elements of an array.
#[derive(Debug)]
pub(crate) struct Column {
    pub data_type: Type,
    /// Whether there is a value, for each row.
    pub valid: Vec<bool>,
    pub values: Values,
    /// The last text of a column of times: the rows of a message have some of them in common.
    last_time: LastTime,
}

/// A text, and what it is as a time: its milliseconds, and whether it says more than those; `None` if it is no time.
#[derive(Debug, Default)]
struct LastTime {
    text: String,
    time: Option<(i64, bool)>,
}

/// The values themselves. A row without a value has one that does not count.
#[derive(Debug)]
pub(crate) enum Values {
    Boolean(Vec<bool>),
    /// `int`, and `date` in days.
    Int(Vec<i32>),
    /// `bigint`, and `timestamp` in milliseconds.
    Bigint(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Text {
        /// Where each text ends in `bytes`.
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    Array {
        /// Where the elements of each array end.
        ends: Vec<i32>,
        elements: Box<Column>,
    },
    Struct(Columns),
}

impl Column {
    /// A column without rows. If it `keeps_rest`, fields that its structs lack are left over instead of being unknown.
    pub fn new(data_type: &Type, keeps_rest: bool) -> Self {
        let values = match data_type {
            Type::Boolean => Values::Boolean(Vec::new()),
            Type::Int | Type::Date => Values::Int(Vec::new()),
            Type::Bigint | Type::Timestamp => Values::Bigint(Vec::new()),
            Type::Float => Values::Float(Vec::new()),
            Type::Double => Values::Double(Vec::new()),
            Type::String => Values::Text { ends: Vec::new(), bytes: Vec::new() },
            Type::Array(element) => {
                Values::Array { ends: Vec::new(), elements: Box::new(Self::new(element, keeps_rest)) }
            }
            Type::Struct(fields) => Values::Struct(Columns::new(fields, keeps_rest)),
        };
        Self { data_type: data_type.clone(), valid: Vec::new(), values, last_time: LastTime::default() }
    }

    /// Adds the fields of its structs that have other names as columns. The path is that of this column.
    pub fn add_renames(&self, path: &str, all: &mut Renames) {
        match &self.values {
            Values::Array { elements, .. } => elements.add_renames(&format!("{path}[]"), all),
            Values::Struct(columns) => columns.add_renames(&format!("{path}."), all),
            _ => {}
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.valid.len()
    }

    /// Appends a row without a value.
    pub fn push_null(&mut self) {
        self.valid.push(false);
        match &mut self.values {
            Values::Boolean(values) => values.push(false),
            Values::Int(values) => values.push(0),
            Values::Bigint(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Text { ends, .. } | Values::Array { ends, .. } => ends.push(ends.last().copied().unwrap_or(0)),
            Values::Struct(columns) => columns.push_nulls(),
        }
    }

    /// Appends a value, given as JSON text, if the column's type holds it without loss. After an error, the column may
    /// have a part of it, and [`Self::truncate`] has to be called.
    ///
    /// Gives what the column does not take of the value.
    pub fn push(&mut self, value: &str, zone: &TimeZone) -> Result<Left, Problem> {
        if value == "null" {
            self.push_null();
            return Ok(Left::Nothing);
        }
        if self.push_common(value) {
            self.valid.push(true);
            return Ok(Left::Nothing);
        }
        let mut left = Left::Nothing;
        let decoded = json::raw(value).map(json::decode).transpose().map_err(Misfit::from)?;
        let is_string = decoded.is_some();
        let text = decoded.as_deref().unwrap_or(value);
        // Nothing but a number reads like one outside of quotes.
        let number = || Some(text).filter(|text| !is_string || number::is_number(text));
        let fits = match &mut self.values {
            Values::Boolean(values) => boolean(text).map(|value| values.push(value)),
            Values::Int(values) if matches!(self.data_type, Type::Date) => date(text).map(|days| values.push(days)),
            Values::Int(values) => {
                let integer = number().and_then(number::integer).and_then(|value| i32::try_from(value).ok());
                integer.map(|value| values.push(value))
            }
            Values::Bigint(values) if matches!(self.data_type, Type::Timestamp) => {
                let time = if !is_string {
                    None
                } else if self.last_time.text == text {
                    self.last_time.time
                } else {
                    let time = Instant::parse(text).map(|instant| (instant.millis, instant.says_more(zone)));
                    self.last_time.text.clear();
                    self.last_time.text.push_str(text);
                    self.last_time.time = time;
                    time
                };
                if time.is_some_and(|(_, says_more)| says_more) {
                    left = Left::Original;
                }
                time.map(|(millis, _)| values.push(millis))
            }
            Values::Bigint(values) => number().and_then(number::integer).map(|value| values.push(value)),
            Values::Float(values) => number().and_then(number::float).map(|value| values.push(value)),
            Values::Double(values) => number().and_then(number::double).map(|value| values.push(value)),
            Values::Text { ends, bytes } => push_text(text, is_string, ends, bytes)?,
            Values::Array { ends, elements } => {
                if value.starts_with('[') {
                    left = push_elements(value, ends, elements, zone)?.into();
                    Some(())
                } else {
                    None
                }
            }
            Values::Struct(columns) => {
                if value.starts_with('{') {
                    left = columns.push_object(value, zone)?.into();
                    Some(())
                } else {
                    None
                }
            }
        };
        if fits.is_none() {
            return Err(Misfit::new(Reason::Type, self.data_type.to_string(), value).into());
        }
        self.valid.push(true);
        Ok(left)
    }

    /// Appends a value of the kinds that most values are: an integer, a short number, or a string without escapes, in
    /// a column for such. Gives whether it was one.
    #[inline]
    fn push_common(&mut self, value: &str) -> bool {
        match (&mut self.values, &self.data_type) {
            (Values::Double(values), _) => number::short_double(value).map(|value| values.push(value)).is_some(),
            (Values::Bigint(values), Type::Bigint) => value.parse().map(|value| values.push(value)).is_ok(),
            (Values::Text { ends, bytes }, _) => {
                let Some(raw) = json::raw(value).filter(|raw| !raw.as_bytes().contains(&b'\\')) else { return false };
                // An array that is full is told of by the general way.
                let Ok(end) = i32::try_from(bytes.len() + raw.len()) else { return false };
                bytes.extend_from_slice(raw.as_bytes());
                ends.push(end);
                true
            }
            _ => false,
        }
    }

    /// Takes back all rows from the row `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        self.valid.truncate(rows);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int(values) => values.truncate(rows),
            Values::Bigint(values) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Text { ends, bytes } => bytes.truncate(truncate_ends(ends, rows)),
            Values::Array { ends, elements } => elements.truncate(truncate_ends(ends, rows)),
            Values::Struct(columns) => columns.truncate(rows),
        }
    }

    /// The order of two rows by the values of a scalar column: rows without a value come first.
    pub fn compare(&self, a: usize, b: usize) -> Ordering {
        let values = || match &self.values {
            Values::Boolean(values) => values[a].cmp(&values[b]),
            Values::Int(values) => values[a].cmp(&values[b]),
            Values::Bigint(values) => values[a].cmp(&values[b]),
            Values::Float(values) => values[a].total_cmp(&values[b]),
            Values::Double(values) => values[a].total_cmp(&values[b]),
            Values::Text { ends, bytes } => bytes[range(ends, a)].cmp(&bytes[range(ends, b)]),
            Values::Array { .. } | Values::Struct(_) => Ordering::Equal,
        };
        self.valid[a].cmp(&self.valid[b]).then_with(values)
    }
}

/// Where the text or the elements of a row are.
fn range(ends: &[i32], row: usize) -> std::ops::Range<usize> {
    let start = row.checked_sub(1).map_or(0, |before| ends[before]);
    start.unsigned_abs() as usize..ends[row].unsigned_abs() as usize
}

/// Keeps the ends of the first rows. Gives where the last of them ends.
fn truncate_ends(ends: &mut Vec<i32>, rows: usize) -> usize {
    ends.truncate(rows);
    ends.last().map_or(0, |end| end.unsigned_abs() as usize)
}

/// The end as Arrow counts it, if it can.
fn end(length: usize) -> Result<i32, Problem> {
    i32::try_from(length).map_err(|_| Problem::Full)
}

/// Appends a string, or the text of a number or boolean.
fn push_text(text: &str, is_string: bool, ends: &mut Vec<i32>, bytes: &mut Vec<u8>) -> Result<Option<()>, Problem> {
    if !is_string && text.starts_with(['{', '[']) {
        return Ok(None);
    }
    bytes.extend_from_slice(text.as_bytes());
    ends.push(end(bytes.len())?);
    Ok(Some(()))
}

/// Appends an array. Gives what is left of it.
fn push_elements(
    value: &str,
    ends: &mut Vec<i32>,
    column: &mut Column,
    zone: &TimeZone,
) -> Result<Option<String>, Problem> {
    let mut left = Elements::default();
    for (place, element) in elements(value).map_err(Misfit::from)?.into_iter().enumerate() {
        match column.push(element, zone).map_err(|problem| problem.within("[]"))? {
            Left::Nothing => {}
            Left::Part(part) => left.add(place, &part),
            Left::Original => {
                // An element has no column beside it that could keep its original text.
                let expected = format!("{} to the millisecond, in UTC or the fleet's zone", column.data_type);
                return Err(Problem::from(Misfit::new(Reason::Type, expected, element)).within("[]"));
            }
        }
    }
    ends.push(end(column.len())?);
    Ok(left.finish())
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The days from the Unix epoch to a date such as `2023-01-31`.
fn date(text: &str) -> Option<i32> {
    let date: Date = Some(text).filter(|text| text.len() == "2023-01-31".len())?.parse().ok()?;
    date.since((jiff::Unit::Day, Date::constant(1970, 1, 1))).ok().map(|span| span.get_days())
}
