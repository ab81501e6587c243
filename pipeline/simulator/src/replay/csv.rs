//! A CSV file with a header: a line is a row.

use std::io::Read;

use e2e_mask::quoted;

use super::ReplayError;

/// What a name in the header ends with if its cells stay text, whatever they look like.
const TEXT: &str = ":text";

/// Gives every line below the header as a JSON object, with the number of the line. An error names the line of `place`.
pub(super) fn each_row(
    file: impl Read,
    place: &str,
    each: &mut dyn FnMut(u64, &str) -> Result<(), ReplayError>,
) -> Result<(), ReplayError> {
    let mut reader = csv::ReaderBuilder::new().from_reader(file);
    let no_message = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        ReplayError::NoMessage { place: format!("line {line} of {place}"), problem: error.to_string() }
    };
    let header = reader.headers().map_err(no_message)?.clone();
    let names: Vec<(String, bool)> = header
        .iter()
        .map(|name| name.strip_suffix(TEXT).map_or((quoted(name), false), |name| (quoted(name), true)))
        .collect();
    for row in reader.records() {
        let row = row.map_err(no_message)?;
        let fields = names.iter().zip(&row).filter(|(_, cell)| !cell.is_empty());
        let fields: Vec<String> =
            fields.map(|((name, is_text), cell)| format!("{name}:{}", value(cell, *is_text))).collect();
        each(row.position().map_or(0, csv::Position::line), &format!("{{{}}}", fields.join(",")))?;
    }
    Ok(())
}

/// A cell as JSON: a number, `true`, `false`, `null`, a list or an object if it is one, else a string.
fn value(cell: &str, is_text: bool) -> String {
    let is_json = !cell.starts_with('"')
        && serde_json::from_str::<&serde_json::value::RawValue>(cell).is_ok_and(|read| read.get() == cell);
    if is_json && !is_text { cell.to_owned() } else { quoted(cell) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_what_they_look_like() {
        let text = "id,speed,name,serial:text,open,list,none\n7,1.50,\"a \"\"b\"\"\",007,true,\"[1,2]\",\n8,-1e5,007,8,x,{,null\n";
        let mut rows = Vec::new();
        let mut each = |line: u64, row: &str| {
            rows.push((line, row.to_owned()));
            Ok(())
        };
        each_row(text.as_bytes(), "a.csv", &mut each).expect("rows");
        assert_eq!(
            rows,
            [
                (2, r#"{"id":7,"speed":1.50,"name":"a \"b\"","serial":"007","open":true,"list":[1,2]}"#.to_owned()),
                (3, r#"{"id":8,"speed":-1e5,"name":"007","serial":"8","open":"x","list":"{","none":null}"#.to_owned()),
            ]
        );
        let wrong = each_row("a,b\n1,2\n3\n".as_bytes(), "a.csv", &mut |_, _| Ok(())).expect_err("a cell is missing");
        assert!(wrong.to_string().starts_with("line 3 of a.csv: "), "{wrong}");
    }
}
