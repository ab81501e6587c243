//! How the columns of a table grow, and how far: what the Glue catalog takes of a table is limited.

use std::collections::HashMap;

use crate::rest::REST;
use crate::table::Growth;
use crate::types::{Field, Type};

/// The most columns of a table, partition keys included.
const MAX_COLUMNS: usize = 10_000;
/// The most bytes of a column's type as a text.
const MAX_TYPE: usize = 131_072;
/// The most bytes of a table's definition. Glue refuses one of more than 400 KB.
const MAX_DEFINITION: usize = 400_000;
/// The bytes of the definition that columns leave free: for what it has apart from columns, and for the comments and
/// parameters that people add.
const OTHERS: usize = 20_000;
/// The columns that are not left to new fields: the partition keys, and the column of what has no column.
const OWN_COLUMNS: usize = 3;

/// Columns that were added to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grown {
    /// The columns that the table had, and behind them the new ones.
    pub columns: Vec<Field>,
    /// Whether data may add further ones.
    pub growth: Growth,
}

/// Adds to a table what it lacks of the wanted columns, within structs too. No column changes its type otherwise.
///
/// A locked or full table gets no column but [`REST`]. A table that has no room for all of them gets those for which it
/// has, and [`REST`], and is full from then on.
pub(crate) fn grow(before: &[Field], growth: Growth, wanted: &[Field]) -> Grown {
    let mut room = Room::beside(before);
    let mut places: HashMap<&str, usize> =
        before.iter().enumerate().map(|(place, field)| (field.name.as_str(), place)).collect();
    let mut grown = Grown { columns: before.to_vec(), growth };
    for field in wanted.iter().filter(|field| growth.is_open() || field.name == REST) {
        let has_room = match places.get(field.name.as_str()) {
            Some(&place) => room.widen(&mut grown.columns[place], field),
            None if field.name == REST || room.take(1, 0, field) => {
                places.insert(&field.name, grown.columns.len());
                grown.columns.push(field.clone());
                true
            }
            None => false,
        };
        if !has_room {
            grown.growth = Growth::Full;
        }
    }
    if grown.growth == Growth::Full && !places.contains_key(REST) {
        grown.columns.push(Field::new(REST, Type::String));
    }
    grown
}

/// How much may be added to a table.
struct Room {
    columns: usize,
    bytes: usize,
}

impl Room {
    /// What these columns leave.
    fn beside(columns: &[Field]) -> Self {
        let used: usize = columns.iter().map(bytes).sum();
        Self {
            columns: (MAX_COLUMNS - OWN_COLUMNS).saturating_sub(columns.len()),
            bytes: (MAX_DEFINITION - OTHERS).saturating_sub(used),
        }
    }

    /// Adds the fields that a column lacks within its structs, if there is room. Gives whether there was.
    fn widen(&mut self, known: &mut Field, wanted: &Field) -> bool {
        let mut after = known.clone();
        if !merge_type(&mut after.data_type, &wanted.data_type) {
            return true;
        }
        let has_room = self.take(0, bytes(known), &after);
        if has_room {
            *known = after;
        }
        has_room
    }

    /// Takes room for so many more columns, and for a column in place of one of so many bytes, if there is as much.
    fn take(&mut self, columns: usize, before: usize, after: &Field) -> bool {
        let more = bytes(after).saturating_sub(before);
        let has_room = columns <= self.columns && more <= self.bytes && after.data_type.to_string().len() <= MAX_TYPE;
        if has_room {
            self.columns -= columns;
            self.bytes -= more;
        }
        has_room
    }
}

/// The bytes of a column in a table's definition, `{"Name":"…","Type":"…"},`.
fn bytes(field: &Field) -> usize {
    r#"{"Name":"","Type":""},"#.len() + field.name.len() + field.data_type.to_string().len()
}

/// Adds fields that are missing, also within structs. Gives whether there were any.
fn merge(fields: &mut Vec<Field>, wanted: &[Field]) -> bool {
    let mut changed = false;
    for field in wanted {
        if let Some(known) = fields.iter_mut().find(|known| known.name == field.name) {
            changed |= merge_type(&mut known.data_type, &field.data_type);
        } else {
            fields.push(field.clone());
            changed = true;
        }
    }
    changed
}

fn merge_type(known: &mut Type, wanted: &Type) -> bool {
    match (known, wanted) {
        (Type::Struct(known), Type::Struct(wanted)) => merge(known, wanted),
        (Type::Array(known), Type::Array(wanted)) => merge_type(known, wanted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Field> {
        let Ok(Type::Struct(fields)) = format!("struct<{text}>").parse() else { panic!("{text}") };
        fields
    }

    fn names(grown: &Grown) -> Vec<&str> {
        grown.columns.iter().map(|field| field.name.as_str()).collect()
    }

    fn many(count: usize, name_bytes: usize) -> Vec<Field> {
        (0..count).map(|n| Field::new(format!("{n:0name_bytes$}"), Type::Bigint)).collect()
    }

    #[test]
    fn an_open_table_gets_what_it_lacks() {
        let grown = grow(&of("a:bigint,s:struct<x:int>"), Growth::Open, &of("s:struct<y:date>,a:string,b:double"));
        assert_eq!(grown, Grown { columns: of("a:bigint,s:struct<x:int,y:date>,b:double"), growth: Growth::Open });
    }

    #[test]
    fn a_closed_table_gets_the_column_for_the_rest_and_no_other() {
        for growth in [Growth::Locked, Growth::Full] {
            let grown = grow(&of("a:struct<x:int>"), growth, &of("a:struct<y:int>,b:double,_rest:string"));
            assert_eq!(grown, Grown { columns: of("a:struct<x:int>,_rest:string"), growth });
        }
        let before = of("a:bigint");
        assert_eq!(grow(&before, Growth::Locked, &of("b:bigint")).columns, before);
    }

    #[test]
    fn a_table_is_full_at_as_many_columns_as_the_catalog_takes() {
        let grown = grow(&[], Growth::Open, &many(9_997, 4));
        assert_eq!((grown.columns.len(), grown.growth), (9_997, Growth::Open));
        let grown = grow(&grown.columns, Growth::Open, &of("a:bigint"));
        assert_eq!((grown.columns.len(), grown.growth), (9_998, Growth::Full));
        assert_eq!(grown.columns.last(), Some(&Field::new(REST, Type::String)));
        assert_eq!(grow(&grown.columns, Growth::Full, &of("b:bigint")), grown, "nothing more is added");
        let fewer = grow(&[], Growth::Open, &many(20_000, 5));
        assert_eq!((fewer.columns.len(), fewer.growth), (9_998, Growth::Full));
    }

    #[test]
    fn a_definition_stays_below_what_the_catalog_takes_and_what_has_room_is_added() {
        let mut wanted = many(1_999, 200);
        wanted.push(Field::new("small", Type::Int));
        let grown = grow(&[], Growth::Open, &wanted);
        assert_eq!(grown.growth, Growth::Full);
        let definition: Vec<_> = grown
            .columns
            .iter()
            .map(|field| serde_json::json!({"Name": field.name, "Type": field.data_type.to_string()}))
            .collect();
        let bytes = serde_json::to_vec(&definition).expect("JSON").len();
        assert!((MAX_DEFINITION - OTHERS - 250..MAX_DEFINITION - OTHERS + 50).contains(&bytes), "{bytes}");
        assert_eq!(names(&grown)[grown.columns.len() - 2..], ["small", REST]);
    }

    #[test]
    fn a_type_that_is_too_long_for_the_catalog_is_not_made() {
        let long = Type::Struct(many(700, 200));
        let wanted = [Field::new("s", long.clone()), Field::new("a", Type::Int)];
        let grown = grow(&[], Growth::Open, &wanted);
        assert_eq!((names(&grown), grown.growth), (vec!["a", REST], Growth::Full));
        let before = of("s:struct<x:int>");
        let within = grow(&before, Growth::Open, &[Field::new("s", long)]);
        assert_eq!((&within.columns[0], within.growth), (&before[0], Growth::Full));
    }
}
