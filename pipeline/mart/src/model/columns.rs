//! Columns as people write them: a name, a type, and what the column means, in lines or between commas.

use fms_lake::{Field, Type};

/// A column of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name and type.
    pub field: Field,
    /// What it means, with its unit.
    pub description: String,
}

/// Reads a column for each line. An error has the number of its line, from 0 on.
pub(super) fn described(text: &str) -> Result<Vec<Column>, (usize, String)> {
    let mut columns: Vec<Column> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let column = column(line).map_err(|problem| (number, problem))?;
        let name = &column.field.name;
        if column.description.is_empty() {
            return Err((number, format!("the column `{name}` has no description; say what it means, with its unit")));
        }
        if columns.iter().any(|other| other.field.name == *name) {
            return Err((number, format!("the column `{name}` is there twice")));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// Reads names and types between commas, such as `id bigint, codes array<struct<code:string,count:int>>`.
pub(super) fn named(text: &str) -> Result<Vec<Field>, String> {
    let mut depth = 0_usize;
    let is_between = |c: char| {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    // A comma may follow the last column.
    let text = text.trim().trim_end_matches(',');
    let mut fields: Vec<Field> = Vec::new();
    for part in text.split(is_between) {
        let Column { field, description } = column(part)?;
        if !description.is_empty() {
            return Err(format!("`{}` is not a name and a type; a comma is between columns", part.trim()));
        }
        if fields.iter().any(|other| other.name == field.name) {
            return Err(format!("the column `{}` is there twice", field.name));
        }
        fields.push(field);
    }
    Ok(fields)
}

fn column(text: &str) -> Result<Column, String> {
    let mut words = text.trim().splitn(2, char::is_whitespace);
    let name =
        words.next().filter(|name| !name.is_empty()).ok_or("a column is a name and a type, such as `id bigint`")?;
    if !is_name(name) {
        return Err(format!("`{name}` is no name of a column; use lower-case letters, digits and `_`"));
    }
    let rest = words.next().unwrap_or_default().trim_start();
    let (data_type, description) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let data_type: Type = data_type.parse().map_err(|error| format!("column `{name}`: {error}"))?;
    Ok(Column { field: Field::new(name, data_type), description: description.trim().to_owned() })
}

/// Whether a name needs no quotes in any engine.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_between_commas_may_have_types_with_commas() {
        let text = "id bigint, codes array<struct<code:string,count:int>>,\n  at timestamp,";
        let fields = named(text).expect("columns");
        let shown: Vec<String> = fields.iter().map(|field| format!("{} {}", field.name, field.data_type)).collect();
        assert_eq!(shown, ["id bigint", "codes array<struct<code:string,count:int>>", "at timestamp"]);
        for wrong in ["", "id", "id bigint at timestamp", "id bigint,, x int", "Id bigint", "a int, a int", "a decimal"]
        {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_described_column_is_a_line() {
        let columns = described("\nid  bigint  the vehicle\n\nkm double km, the way").expect("columns");
        assert_eq!(columns[1].description, "km, the way");
        assert_eq!(columns[1].field, Field::new("km", Type::Double));
        let missing = described("id bigint the vehicle\nkm double");
        assert_eq!(missing.expect_err("no description").0, 1);
    }
}
