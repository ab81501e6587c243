//! Changes of S3 objects that consist of lines: rows that are lost, repeated or in another order, and values that a
//! pipeline with a defect writes in another way.

use std::sync::LazyLock;

use regex::Regex;

use super::Instead;
use super::sent::Sent;
use crate::json::{fields, quoted};

/// A time of day with a part of a second.
static SUBSECONDS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(\d\d:\d\d:\d\d)\.\d+").expect("the pattern is constant and valid"));

/// The lines of an object.
pub(super) type Lines = Vec<String>;

/// The fields of a row in their order, each with its value as it is written.
pub(super) type Row = Vec<(String, String)>;

/// Changes the lines of an object. It does not concern objects that are no text, such as Parquet files.
pub(super) fn in_lines(sent: &Sent, change: fn(&mut Lines) -> bool) -> Option<Instead> {
    let text = sent.text()?;
    let end = if text.ends_with('\n') { "\n" } else { "" };
    let mut lines: Lines = text.lines().map(str::to_owned).collect();
    change(&mut lines).then(|| sent.with_text(&(lines.join("\n") + end)))?.map(Instead::request)
}

/// Changes the first row, in the order of the object, that `change` concerns.
pub(super) fn in_a_row(sent: &Sent, change: fn(&mut Row) -> bool) -> Option<Instead> {
    let text = sent.text()?;
    let mut place = 0;
    for line in text.split('\n') {
        if let Some(changed) = changed_row(line, change) {
            let text = [&text[..place], &changed, &text[place + line.len()..]].concat();
            return sent.with_text(&text).map(Instead::request);
        }
        place += line.len() + 1;
    }
    None
}

/// The row with the change; `None` if it is not concerned. A row with white space between its fields is not, so that a
/// changed row differs from the other one by the change alone.
fn changed_row(line: &str, change: fn(&mut Row) -> bool) -> Option<String> {
    let written = |row: &Row| {
        let fields: Vec<String> = row.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
        format!("{{{}}}", fields.join(","))
    };
    let fields = fields(line.as_bytes())?;
    let mut row: Row = fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect();
    (written(&row) == line && change(&mut row)).then(|| written(&row))
}

/// The last row is lost. A pipeline stores no object without rows.
pub(super) fn lose_last(lines: &mut Lines) -> bool {
    lines.len() > 1 && lines.pop().is_some()
}

/// The first row is lost.
pub(super) fn lose_first(lines: &mut Lines) -> bool {
    lines.len() > 1 && !lines.remove(0).is_empty()
}

/// The last row is there twice.
pub(super) fn repeat_last(lines: &mut Lines) -> bool {
    let last = lines.last().cloned();
    lines.extend(last.clone());
    last.is_some()
}

/// The rows are in the opposite order.
pub(super) fn reverse(lines: &mut Lines) -> bool {
    let reversed: Lines = lines.iter().rev().cloned().collect();
    std::mem::replace(lines, reversed) != *lines
}

/// Two rows stand in one line.
pub(super) fn join_first(lines: &mut Lines) -> bool {
    if lines.len() < 2 {
        return false;
    }
    let second = lines.remove(1);
    lines[0].push_str(&second);
    true
}

/// The second half of the last row is lost.
pub(super) fn cut_last(lines: &mut Lines) -> bool {
    let Some(last) = lines.last_mut() else { return false };
    let half = (0..=last.len() / 2).rev().find(|at| last.is_char_boundary(*at)).unwrap_or_default();
    last.truncate(half);
    half > 0
}

/// The first character that is not ASCII is lost and replaced.
pub(super) fn mangle(lines: &mut Lines) -> bool {
    let line = lines.iter_mut().find(|line| !line.is_ascii() && !line.contains('\u{fffd}'));
    line.is_some_and(|line| {
        *line = super::mangled(line);
        true
    })
}

/// Changes the first value of which `to` makes another one.
fn value(row: &mut Row, to: impl Fn(&str) -> Option<String>) -> bool {
    row.iter_mut().any(|(_, value)| match to(value) {
        Some(changed) if changed != *value => {
            *value = changed;
            true
        }
        _ => false,
    })
}

fn is_number(value: &str) -> bool {
    value.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// A time loses the part of its second.
pub(super) fn lose_subseconds(row: &mut Row) -> bool {
    value(row, |value| value.starts_with('"').then(|| without_subseconds(value)))
}

/// A time without its part of a second.
pub(super) fn without_subseconds(text: &str) -> String {
    SUBSECONDS.replace(text, "$1").into_owned()
}

/// A number becomes a string.
pub(super) fn number_as_text(row: &mut Row) -> bool {
    value(row, |value| is_number(value).then(|| format!("\"{value}\"")))
}

/// A number is written as a double, so that it loses digits or the way in which it was written.
pub(super) fn number_as_double(row: &mut Row) -> bool {
    value(row, |value| is_number(value).then(|| value.parse::<f64>().ok()).flatten().map(|double| double.to_string()))
}

/// A truth value becomes a number.
pub(super) fn boolean_as_number(row: &mut Row) -> bool {
    value(row, |value| match value {
        "true" => Some("1".to_owned()),
        "false" => Some("0".to_owned()),
        _ => None,
    })
}

/// Two numbers that follow each other are swapped.
pub(super) fn swap(row: &mut Row) -> bool {
    let numbers: Vec<usize> = (0..row.len()).filter(|at| is_number(&row[*at].1)).collect();
    let differ = |pair: &&[usize]| row[pair[0]].1 != row[pair[1]].1;
    let Some(&[first, second]) = numbers.windows(2).find(differ) else { return false };
    let value = row[first].1.clone();
    row[first].1 = std::mem::replace(&mut row[second].1, value);
    true
}

/// The last field is lost. A row has others.
pub(super) fn lose_field(row: &mut Row) -> bool {
    row.len() > 1 && row.pop().is_some_and(|(_, value)| value != "null")
}

/// A field that is null is lost.
pub(super) fn lose_null(row: &mut Row) -> bool {
    let null = row.iter().position(|(_, value)| value == "null");
    null.is_some_and(|at| {
        row.remove(at);
        true
    })
}

/// An empty text becomes null.
pub(super) fn empty_as_null(row: &mut Row) -> bool {
    value(row, |value| (value == "\"\"").then(|| "null".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::sent::tests::put;
    use super::*;

    /// The text that is stored instead.
    fn text(instead: Option<Instead>) -> Option<String> {
        match instead? {
            Instead::Requests(requests) => requests.last()?.text(),
            _ => None,
        }
    }

    #[test]
    fn lines_are_lost_repeated_and_moved() {
        let changed = |body: &'static str, change| text(in_lines(&put("/raw/a", body), change));
        for (change, two, one) in [
            (lose_last as fn(&mut Lines) -> bool, Some("a\n"), None),
            (lose_first, Some("b\n"), None),
            (repeat_last, Some("a\nb\nb\n"), Some("ab\nab\n")),
            (reverse, Some("b\na\n"), None),
            (join_first, Some("ab\n"), None),
            (cut_last, None, Some("a\n")),
            (mangle, None, None),
        ] {
            assert_eq!(changed("a\nb\n", change).as_deref(), two);
            assert_eq!(changed("ab\n", change).as_deref(), one);
        }
        assert_eq!(changed("a\nb", lose_last).as_deref(), Some("a"), "there was no line end");
        assert_eq!(changed("a\n한국\n", mangle).as_deref(), Some("a\n\u{fffd}국\n"));
        assert!(in_lines(&put("/raw/a", &b"\xff"[..]), repeat_last).is_none());
    }

    #[test]
    fn one_value_of_one_row_is_changed_and_all_else_is_as_it_was_written() {
        let row = r#"{"t":"2024-01-01T00:00:00.250Z","a":1.50,"b":"","c":null,"d":true,"e":2}"#;
        let body = format!("not JSON\n{row}\n{row}\n");
        for (change, before, after) in [
            (lose_subseconds as fn(&mut Row) -> bool, "00.250Z", "00Z"),
            (number_as_text, "1.50", "\"1.50\""),
            (number_as_double, "1.50", "1.5"),
            (boolean_as_number, "true", "1"),
            (swap, r#""a":1.50,"b":"","c":null,"d":true,"e":2"#, r#""a":2,"b":"","c":null,"d":true,"e":1.50"#),
            (lose_field, r#","e":2"#, ""),
            (lose_null, r#","c":null"#, ""),
            (empty_as_null, r#""b":"""#, r#""b":null"#),
        ] {
            let expected = format!("not JSON\n{}\n{row}\n", row.replace(before, after));
            assert_eq!(text(in_a_row(&put("/raw/a", body.clone()), change)), Some(expected));
        }
    }

    #[test]
    fn a_row_without_such_a_value_is_not_concerned() {
        for body in ["{\"a\": 1.50}\n", "{\"a\":\"x\"}\n", "one\n", ""] {
            for change in [lose_subseconds, number_as_text, number_as_double, swap, lose_null, empty_as_null] {
                assert!(in_a_row(&put("/raw/a", body), change).is_none(), "{body}");
            }
        }
        assert!(in_a_row(&put("/raw/a", "{\"a\":1.5}\n"), number_as_double).is_none());
        let long = text(in_a_row(&put("/raw/a", "{\"a\":9007199254740993}\n"), number_as_double));
        assert_eq!(long.as_deref(), Some("{\"a\":9007199254740992}\n"));
    }
}
