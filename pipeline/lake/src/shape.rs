//! The shape of values that no column exists for yet: which types the columns have to get.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fms_record::json;
use jiff::tz::TimeZone;

use crate::json::{elements, members};
use crate::known::Known;
use crate::misfit::Misfit;
use crate::name::{self, ORIGINAL};
use crate::number;
use crate::time::Instant;
use crate::types::{Field, Type};

/// The name of the column beside a time that keeps the text of those times that say more than their instant.
pub(crate) fn original_of(name: &str) -> String {
    format!("{name}{ORIGINAL}")
}

/// What the values of one column or field have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    /// Only nulls, empty arrays and empty objects, from which no type follows. Such a column waits for its first value.
    #[default]
    Nothing,
    Boolean,
    /// Integers; `in_double` if a double holds each of them.
    Integer {
        in_double: bool,
    },
    /// Numbers that a double holds.
    Number,
    /// Times with a UTC offset; `original` if at least one says more than the instant, so that its text has to be kept.
    Timestamp {
        original: bool,
    },
    /// Strings, and scalars that have no other type in common.
    Text,
    Array(Box<Shape>),
    Struct(Fields),
}

/// The shapes of the fields of an object by the names of their columns, in the order in which they were first seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fields {
    shapes: Vec<(String, Shape)>,
    places: BTreeMap<String, usize>,
}

impl Shape {
    /// The shape of a value, given as JSON text.
    pub fn of(value: &str, zone: &TimeZone) -> Result<Self, Misfit> {
        Ok(match value.as_bytes().first() {
            Some(b't' | b'f') => Self::Boolean,
            Some(b'n') | None => Self::Nothing,
            Some(b'{') => {
                let mut fields = Fields::default();
                fields.learn(&members(value)?, &[], &[], zone)?;
                fields.into_shape()
            }
            Some(b'[') => Self::array(elements(value)?.into_iter().map(|element| Self::of(element, zone)))?,
            Some(b'"') => {
                let text = json::raw(value).map_or(Ok(Cow::Borrowed("")), json::decode);
                let instant = Instant::parse(&text?);
                instant.map_or(Self::Text, |instant| Self::Timestamp { original: instant.says_more(zone) })
            }
            Some(_) => match (number::integer(value), number::double(value)) {
                // Whoever writes 0.0 will write 12.5 as well.
                (_, Some(_)) if !number::is_integer(value) => Self::Number,
                (Some(_), double) => Self::Integer { in_double: double.is_some() },
                (None, Some(_)) => Self::Number,
                (None, None) => Self::Text,
            },
        })
    }

    /// Whether a scalar certainly has this shape. What is found out here takes less than the shape of the value.
    fn covers(&self, value: &str) -> bool {
        match self {
            Self::Boolean => value.starts_with(['t', 'f']),
            Self::Integer { .. } => number::is_short_integer(value),
            Self::Number => number::is_short_number(value),
            // Nothing makes another type of a text, and in a text without escapes nothing can be wrong.
            Self::Text => value.starts_with('"') && !value.contains('\\'),
            _ => false,
        }
    }

    /// The part of a value's shape that a column of this type lacks: the fields that are missing in its structs, and a
    /// time that says more than its instant. A value that does not fit the type lacks nothing.
    fn missing_in(data_type: &Type, value: &str, zone: &TimeZone) -> Result<Self, Misfit> {
        Ok(match (data_type, value.as_bytes().first()) {
            (Type::Struct(columns), Some(b'{')) => {
                let mut fields = Fields::default();
                fields.learn(&members(value)?, columns, &[], zone)?;
                fields.into_shape()
            }
            (Type::Array(element), Some(b'[')) => {
                Self::array(elements(value)?.into_iter().map(|value| Self::missing_in(element, value, zone)))?
            }
            (Type::Timestamp, Some(b'"')) => match Self::of(value, zone)? {
                shape @ Self::Timestamp { original: true } => shape,
                _ => Self::Nothing,
            },
            _ => Self::Nothing,
        })
    }

    /// The shape of an array whose elements have these shapes.
    fn array(elements: impl Iterator<Item = Result<Self, Misfit>>) -> Result<Self, Misfit> {
        let element = elements.reduce(|known, next| Ok(known?.and(next?))).transpose()?.unwrap_or_default();
        Ok(match element {
            Self::Nothing => Self::Nothing,
            // An element has no column beside it that could keep its original text.
            Self::Timestamp { .. } => Self::Array(Box::new(Self::Text)),
            element => Self::Array(Box::new(element)),
        })
    }

    /// The shape of values of both shapes. A scalar and an array or object have nothing in common: what was seen first
    /// counts, and the other does not fit the column.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, shape) | (shape, Self::Nothing) => shape,
            (Self::Struct(mut fields), Self::Struct(others)) => {
                fields.merge(others);
                Self::Struct(fields)
            }
            (Self::Array(element), Self::Array(other)) => Self::Array(Box::new(element.and(*other))),
            (first @ (Self::Array(_) | Self::Struct(_)), _) | (first, Self::Array(_) | Self::Struct(_)) => first,
            (Self::Boolean, Self::Boolean) => Self::Boolean,
            (Self::Integer { in_double: a }, Self::Integer { in_double: b }) => Self::Integer { in_double: a && b },
            (Self::Number, Self::Number | Self::Integer { in_double: true })
            | (Self::Integer { in_double: true }, Self::Number) => Self::Number,
            (Self::Timestamp { original: a }, Self::Timestamp { original: b }) => Self::Timestamp { original: a || b },
            _ => Self::Text,
        }
    }

    /// The type of a column for such values; `None` if there is none yet.
    fn data_type(&self) -> Option<Type> {
        Some(match self {
            Self::Nothing => return None,
            Self::Boolean => Type::Boolean,
            Self::Integer { .. } => Type::Bigint,
            Self::Number => Type::Double,
            Self::Timestamp { .. } => Type::Timestamp,
            Self::Text => Type::String,
            Self::Array(element) => Type::Array(Box::new(element.data_type()?)),
            Self::Struct(fields) => {
                let mut columns = Vec::new();
                fields.grow(&mut columns);
                Type::Struct(columns)
            }
        })
    }
}

/// What the rows of a table have that it lacks. Most rows have the names of a row before them and show nothing new, which
/// is found without looking their names up.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    fields: Fields,
    /// For each name of a row, the place of its column in the table, if there is one, and of its shape.
    known: Known<Vec<(Option<usize>, usize)>>,
}

impl Learned {
    /// What was learned.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Whether a row has the names of one before it, and shows nothing that is not known.
    pub fn knows(&mut self, row: &[(Cow<'_, str>, &str)], columns: &[Field], zone: &TimeZone) -> bool {
        let Some(places) = self.known.find(row) else { return false };
        places.iter().zip(row).all(|(&(column, shape), (_, value))| {
            let known = &self.fields.shapes[shape].1;
            match column.map(|place| &columns[place].data_type) {
                Some(data_type) => Shape::missing_in(data_type, value, zone),
                None if known.covers(value) => return true,
                None => Shape::of(value, zone),
            }
            .is_ok_and(|shape| shape == Shape::Nothing || known.clone().and(shape) == *known)
        })
    }

    /// Adds what a row shows, which is `lacks`.
    pub fn add(&mut self, row: &[(Cow<'_, str>, &str)], lacks: Fields, columns: &[Field], reserved: &[&str]) {
        self.fields.merge(lacks);
        let names: Vec<&str> = row.iter().map(|(name, _)| &**name).collect();
        let place = |name: &Cow<'_, str>| {
            let column = columns.iter().position(|field| field.name == **name);
            Some((column, *self.fields.places.get(&**name)?))
        };
        // The names are right, or nothing could have been learned. Those of a closed table have no shapes.
        let places = name::columns(&names, reserved).ok().and_then(|names| names.iter().map(place).collect());
        if let Some(places) = places {
            self.known.keep(row, places);
        }
    }
}

impl Fields {
    /// Adds what an object shows that the columns lack. `reserved` are names that no column may have.
    pub fn learn(
        &mut self,
        object: &[(Cow<'_, str>, &str)],
        columns: &[Field],
        reserved: &[&str],
        zone: &TimeZone,
    ) -> Result<(), Misfit> {
        let names: Vec<&str> = object.iter().map(|(name, _)| &**name).collect();
        let known: BTreeMap<&str, &Type> = columns.iter().map(|field| (&*field.name, &field.data_type)).collect();
        let names = name::columns(&names, reserved).map_err(|twice| Misfit::name_twice(&twice))?;
        for (name, (_, value)) in names.iter().zip(object) {
            let shape = match known.get(&**name) {
                Some(data_type) => Shape::missing_in(data_type, value, zone),
                None => Shape::of(value, zone),
            };
            self.add(name, shape.map_err(|misfit| misfit.within(name))?);
        }
        Ok(())
    }

    /// Adds what other objects have shown.
    pub fn merge(&mut self, others: Self) {
        others.shapes.into_iter().for_each(|(name, shape)| self.add(&name, shape));
    }

    /// The shape of the object; nothing if no field has one.
    fn into_shape(self) -> Shape {
        if self.shapes.iter().all(|(_, shape)| *shape == Shape::Nothing) { Shape::Nothing } else { Shape::Struct(self) }
    }

    /// Adds what a field of this column has shown.
    pub fn add(&mut self, name: &str, shape: Shape) {
        if let Some(&place) = self.places.get(name) {
            let known = std::mem::take(&mut self.shapes[place].1);
            self.shapes[place].1 = known.and(shape);
        } else {
            self.places.insert(name.to_owned(), self.shapes.len());
            self.shapes.push((name.to_owned(), shape));
        }
    }

    /// Appends to the columns what is missing in them for these fields, within structs too. No column changes its type
    /// otherwise. Gives whether anything was added.
    pub fn grow(&self, columns: &mut Vec<Field>) -> bool {
        let mut places: BTreeMap<String, usize> =
            columns.iter().enumerate().map(|(place, field)| (field.name.clone(), place)).collect();
        let before = columns.len();
        let mut has_grown_within = false;
        for (name, shape) in &self.shapes {
            let place = match (places.get(name), shape.data_type()) {
                (Some(&place), _) => {
                    has_grown_within |= shape.grow_within(&mut columns[place].data_type);
                    place
                }
                (None, Some(data_type)) => {
                    columns.push(Field::new(name, data_type));
                    columns.len() - 1
                }
                (None, None) => continue,
            };
            places.insert(name.clone(), place);
            let original = original_of(name);
            let is_needed = *shape == Shape::Timestamp { original: true } && !places.contains_key(&original);
            if is_needed && columns[place].data_type == Type::Timestamp {
                places.insert(original.clone(), columns.len());
                columns.push(Field::new(original, Type::String));
            }
        }
        has_grown_within || columns.len() > before
    }
}

impl Shape {
    /// Adds the missing fields of the structs in a type.
    fn grow_within(&self, data_type: &mut Type) -> bool {
        match (self, data_type) {
            (Self::Struct(fields), Type::Struct(columns)) => fields.grow(columns),
            (Self::Array(element), Type::Array(data_type)) => element.grow_within(data_type),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns(known: &str, rows: &[&str]) -> (bool, String) {
        let mut columns = match format!("struct<{known}>").parse() {
            Ok(Type::Struct(columns)) => columns,
            _ => Vec::new(),
        };
        let mut fields = Fields::default();
        for row in rows {
            let row = members(row).expect("an object");
            fields.learn(&row, &columns, &["hour"], &TimeZone::UTC).expect("learned");
        }
        let has_grown = fields.grow(&mut columns);
        let columns: Vec<String> = columns.iter().map(|field| format!("{}:{}", field.name, field.data_type)).collect();
        (has_grown, columns.join(" "))
    }

    fn new_column(values: &[&str]) -> String {
        let rows: Vec<String> = values.iter().map(|value| format!("{{\"a\":{value}}}")).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        columns("", &rows).1
    }

    #[test]
    fn the_type_of_a_new_column_holds_all_of_its_values() {
        for (values, expected) in [
            (&["true"][..], "a:boolean"),
            (&["1", "-2"], "a:bigint"),
            (&["1", "2.5"], "a:double"),
            (&["1.0"], "a:double"),
            (&["1", "2e0"], "a:double"),
            (&["9007199254740993.0"], "a:bigint"),
            (&["9007199254740993"], "a:bigint"),
            (&["9007199254740993", "0.5"], "a:string"),
            (&["9223372036854775808"], "a:double"),
            (&["92233720368547758099"], "a:string"),
            (&["\"x\"", "1"], "a:string"),
            (&["true", "1"], "a:string"),
            (&["\"2023-01-01T00:00:00Z\""], "a:timestamp"),
            (&["\"2023-01-01T00:00:00+09:00\"", "\"2023-01-01T00:00:00Z\""], "a:timestamp a__raw:string"),
            (&["\"2023-01-01T00:00:00Z\"", "\"soon\""], "a:string"),
            (&["null", "[]", "{}", "{\"b\":null}"], ""),
            (&["[]", "[1]", "[2.5]"], "a:array<double>"),
            (&["[\"2023-01-01T00:00:00Z\"]"], "a:array<string>"),
            (&["{\"b\":1}", "{\"c\":[{\"d\":true}]}"], "a:struct<b:bigint,c:array<struct<d:boolean>>>"),
            // A scalar and a list have no type in common: the first one seen counts.
            (&["1", "[1]"], "a:bigint"),
            (&["[1]", "1"], "a:array<bigint>"),
        ] {
            assert_eq!(new_column(values), expected, "{values:?}");
        }
    }

    #[test]
    fn columns_that_exist_get_fields_but_no_other_type() {
        let (has_grown, columns) = columns(
            "a:bigint,s:struct<b:int>,l:array<struct<c:int>>,t:timestamp",
            &[
                r#"{"a":[1],"s":{"b":"x","d":true},"l":[{"c":1},{"e":"y"}],"t":"2023-01-01T00:00:00.0001Z","Hour":1}"#,
                r#"{"a":1,"s":1,"l":{},"t":1}"#,
            ],
        );
        assert!(has_grown);
        assert_eq!(
            columns,
            "a:bigint s:struct<b:int,d:boolean> l:array<struct<c:int,e:string>> t:timestamp t__raw:string hour__2:bigint"
        );
    }

    #[test]
    fn nothing_grows_where_nothing_is_missing() {
        assert_eq!(columns("a:bigint", &[r#"{"a":"no number","b":null,"c":[]}"#]), (false, "a:bigint".to_owned()));
    }

    proptest! {
        /// Rows that are passed over because they show nothing new would have added nothing.
        #[test]
        fn what_is_passed_over_adds_nothing(
            rows in proptest::collection::vec(
                proptest::collection::vec(
                    prop::sample::select(vec![
                        "null", "true", "1", "-2", "1.5", "-0.25", "1e300", "9007199254740993", "1234567890123456",
                        "\"a\"", "\"\\n\"", "\"2023-01-01T00:00:00Z\"", "\"2023-01-01T00:00:00+09:00\"", "[1]", "[]",
                        "{\"b\":1}", "{\"c\":\"x\"}",
                    ]),
                    1..4,
                ),
                1..12,
            ),
        ) {
            let table = [Field::new("a", "struct<b:bigint>".parse().expect("a type"))];
            for columns in [&[][..], &table] {
                let (mut all, mut learned) = (Fields::default(), Learned::default());
                for values in &rows {
                    let row: Vec<(Cow<'_, str>, &str)> = ["a", "b", "c"].map(Cow::Borrowed).into_iter().zip(values.iter().copied()).collect();
                    let mut lacks = Fields::default();
                    lacks.learn(&row, columns, &[], &TimeZone::UTC).expect("learned");
                    all.merge(lacks.clone());
                    if !learned.knows(&row, columns, &TimeZone::UTC) {
                        learned.add(&row, lacks, columns, &[]);
                    }
                    prop_assert_eq!(learned.fields(), &all);
                }
            }
        }
    }
}
