//! Lineage as a page that needs nothing else: no script, no font, no other file. Each column is a place on the page, and
//! leads to those that it is made of and to those that are made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::text::said;
use super::{How, Lineage, Origin};
use crate::model::{DAY, Model};

const STYLE: &str = "\
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border-top: 1px solid #8884; padding: .3rem .6rem; text-align: left; vertical-align: top }
td span { color: #888 }
tr:target { background: #fd06 }
";

/// The tables on a page, each with its columns, their types and what they mean.
type Tables<'m> = BTreeMap<&'m str, BTreeMap<&'m str, (String, &'m str)>>;

/// The page of these models and of the tables that they read.
pub(crate) fn html(lineage: &[(&Model, Lineage)]) -> String {
    // Who is made of a column.
    let mut used: BTreeMap<&Origin, Vec<(Origin, How)>> = BTreeMap::new();
    for (model, lineage) in lineage {
        for (column, origins) in &lineage.columns {
            for (origin, how) in origins {
                let made = Origin { table: model.name.clone(), column: column.clone() };
                used.entry(origin).or_default().push((made, *how));
            }
        }
    }
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Lineage of the mart</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Lineage of the mart</h1>\n<p>"
    );
    for (model, _) in lineage {
        let _ = write!(out, "<a href=\"#{0}\">{0}</a> ", model.name);
    }
    out.push_str("</p>\n");
    for (model, Lineage { columns, deciding }) in lineage {
        let _ = writeln!(out, "<h2 id=\"{}\">{}</h2>\n<p>{}</p>", model.name, model.name, escaped(&model.description));
        out.push_str("<table>\n<tr><th>column</th><th>made of</th><th>used by</th></tr>\n");
        for (column, origins) in columns {
            let of = model.columns.iter().find(|one| one.field.name == *column);
            let (data_type, meaning) =
                of.map_or(("string".to_owned(), "the day"), |one| (one.field.data_type.to_string(), &one.description));
            let made = links(origins.iter().map(|(origin, how)| (origin, *how)));
            row(&mut out, &model.name, column, &format!("{data_type}: {meaning}"), Some(&made), &used);
        }
        let deciding = links(deciding.iter().map(|origin| (origin, How::Same)));
        let _ = writeln!(out, "</table>\n<p>Decided by: {deciding}</p>");
    }
    let mut lake: Tables = BTreeMap::new();
    let is_shown = |name: &str| lineage.iter().any(|(model, _)| model.name == name);
    let sources = lineage.iter().flat_map(|(model, _)| &model.sources);
    for (source, reads) in sources.filter(|(name, _)| !is_shown(name.as_str())) {
        let columns = lake.entry(source).or_default();
        let keys: &[&str] = crate::query::keys(reads);
        columns.extend(
            keys.iter().map(|key| (*key, ("string".to_owned(), if *key == DAY { "the day" } else { "the hour" }))),
        );
        columns.extend(reads.columns.iter().map(|field| (field.name.as_str(), (field.data_type.to_string(), ""))));
    }
    for (table, columns) in lake {
        let _ = writeln!(out, "<h2 id=\"{table}\">{table}</h2>\n<table>\n<tr><th>column</th><th>used by</th></tr>");
        for (column, (data_type, meaning)) in columns {
            let said: Vec<&str> = [data_type.as_str(), meaning].into_iter().filter(|text| !text.is_empty()).collect();
            row(&mut out, table, column, &said.join(": "), None, &used);
        }
        out.push_str("</table>\n");
    }
    out.push_str("</body>\n</html>\n");
    out
}

/// A row of a table's columns, which is the place to which links to the column lead.
fn row(
    out: &mut String,
    table: &str,
    column: &str,
    said: &str,
    made: Option<&str>,
    used: &BTreeMap<&Origin, Vec<(Origin, How)>>,
) {
    let own = Origin { table: table.to_owned(), column: column.to_owned() };
    let made = made.map(|made| format!("<td>{made}</td>")).unwrap_or_default();
    let users = used.get(&own).map_or(&[][..], Vec::as_slice);
    let users = links(users.iter().map(|(user, how)| (user, *how)));
    let _ = writeln!(
        out,
        "<tr id=\"{table}.{column}\"><td>{column} <span>{}</span></td>{made}<td>{users}</td></tr>",
        escaped(said)
    );
}

fn links<'o>(origins: impl Iterator<Item = (&'o Origin, How)>) -> String {
    let link = |(Origin { table, column }, how): (&'o Origin, How)| {
        format!("<a href=\"#{table}.{column}\">{table}.{column}</a><span>{}</span>", said(how))
    };
    origins.map(link).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

/// A text as HTML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
