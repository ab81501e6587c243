//! The front matter of a model: a comment of TOML before the query, checked with the line of everything that is wrong.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;

use super::cells::Cells;
use super::columns::{self, Column};
use super::{Check, DAY, Example, Model, ModelError, Reads};

/// What begins and ends the front matter.
const COMMENT: (&str, &str) = ("/*", "*/");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Front {
    description: String,
    owner: String,
    grain: String,
    keys: Spanned<Vec<String>>,
    columns: Spanned<String>,
    sources: Spanned<BTreeMap<String, Spanned<Source>>>,
    #[serde(default)]
    checks: BTreeMap<String, String>,
    examples: Spanned<Vec<FrontExample>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    reads: Option<String>,
    freshness: Option<String>,
    columns: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontExample {
    name: Spanned<String>,
    #[serde(default)]
    given: BTreeMap<String, Spanned<String>>,
    expect: Spanned<String>,
}

/// A place in the front matter, and what is wrong there.
type Problem = (usize, String);

/// Reads the text of a model's file. What it reads of other models is not known yet.
pub(super) fn read(path: &Path, text: &str) -> Result<Model, ModelError> {
    let at_line = |line: usize, problem: String| ModelError { path: path.to_owned(), line, problem };
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    if !columns::is_name(name) {
        let problem = format!("`{name}` is no name of a table; use lower-case letters, digits and `_`");
        return Err(at_line(1, problem));
    }
    let (opening, closing) = COMMENT;
    let begin = text.strip_prefix(opening).ok_or_else(|| {
        at_line(1, "the file does not begin with `/*`, the front matter, and `*/`; see docs/mart.md".to_owned())
    })?;
    let (front, sql) = begin
        .split_once(closing)
        .ok_or_else(|| at_line(1, "the front matter does not end; write `*/` before the query".to_owned()))?;
    let lines = |text: &str| text.matches('\n').count();
    let problem = |(at, problem): Problem| at_line(1 + lines(&front[..at.min(front.len())]), problem);
    let read: Front = toml::from_str(front).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        problem((at, error.message().to_owned()))
    })?;
    let line = 1 + lines(front) + lines(&sql[..sql.len() - sql.trim_start().len()]);
    let sql = sql.trim().trim_end_matches(';').trim_end();
    if sql.is_empty() {
        return Err(at_line(line, "there is no query after the front matter".to_owned()));
    }
    let reader = Reader { front };
    let model = reader.model(name, read).map_err(problem)?;
    let examples = model.examples.into_iter().map(|mut example| {
        example.line = 1 + lines(&front[..example.line]);
        example
    });
    Ok(Model { sql: sql.to_owned(), line, examples: examples.collect(), ..model })
}

struct Reader<'f> {
    front: &'f str,
}

impl Reader<'_> {
    fn model(&self, name: &str, front: Front) -> Result<Model, Problem> {
        let Front { description, owner, grain, keys, columns, sources, checks, examples } = front;
        for (what, text) in [("description", &description), ("owner", &owner), ("grain", &grain)] {
            if text.trim().is_empty() {
                return Err((0, format!("`{what}` is empty")));
            }
        }
        let described = self.block(&columns, columns::described)?;
        if described.iter().any(|column| column.field.name == DAY) {
            return Err((columns.span().start, format!("`{DAY}` is the partition key, which is no column of files")));
        }
        let is_column = |name: &String| described.iter().any(|column| column.field.name == *name);
        if let Some(missing) = keys.get_ref().iter().find(|key| !is_column(key)) {
            return Err((keys.span().start, format!("the key `{missing}` is not among `columns`")));
        }
        if keys.get_ref().is_empty() {
            return Err((keys.span().start, "name the columns that tell rows of a day apart".to_owned()));
        }
        if sources.get_ref().is_empty() {
            return Err((sources.span().start, "name the tables that the query reads".to_owned()));
        }
        let sources = sources.into_inner().into_iter().map(|(name, source)| Ok((name, self.reads(source)?)));
        let sources: BTreeMap<String, Reads> = sources.collect::<Result<_, Problem>>()?;
        if examples.get_ref().is_empty() {
            return Err((examples.span().start, "give an example, which is the model's test".to_owned()));
        }
        let examples = examples.into_inner().into_iter().map(|example| self.example(example, &sources, &described));
        let examples = examples.collect::<Result<_, _>>()?;
        let checks = checks.into_iter().map(|(name, sql)| Check { name, sql }).collect();
        let (keys, name) = (keys.into_inner(), name.to_owned());
        let (description, sql, line) = (description.trim().to_owned(), String::new(), 0);
        Ok(Model { name, description, owner, grain, keys, columns: described, sources, checks, examples, sql, line })
    }

    fn reads(&self, source: Spanned<Source>) -> Result<Reads, Problem> {
        let at = source.span().start;
        let Source { reads, freshness, columns } = source.into_inner();
        let (before, after) = reads.as_deref().map_or(Ok((0, 0)), window).map_err(|problem| (at, problem))?;
        let freshness = freshness.map(|text| {
            let wrong = |error| (at, format!("`freshness` = `{text}`: {error}; write it as 26h or 30m"));
            text.parse::<SignedDuration>().map_err(wrong)
        });
        let columns = match columns {
            Some(columns) => self.block(&columns, |text| columns::named(text).map_err(|problem| (0, problem)))?,
            None => Vec::new(),
        };
        Ok(Reads { before, after, freshness: freshness.transpose()?, columns, is_model: false })
    }

    /// Until all of the file is read, the line of an example is its place in the front matter.
    fn example(
        &self,
        example: FrontExample,
        sources: &BTreeMap<String, Reads>,
        columns: &[Column],
    ) -> Result<Example, Problem> {
        let FrontExample { name, given, expect } = example;
        let line = name.span().start;
        let mut read = BTreeMap::new();
        for (source, cells) in given {
            if !sources.contains_key(&source) {
                return Err((cells.span().start, format!("`{source}` is not among `sources`")));
            }
            read.insert(source, self.block(&cells, Cells::read)?);
        }
        let at = expect.span().start;
        let expect = self.block(&expect, Cells::read)?;
        let is_column = |name: &&String| *name == DAY || columns.iter().any(|column| column.field.name == **name);
        if let Some(missing) = expect.columns.iter().find(|name| !is_column(name)) {
            return Err((at, format!("the model has no column `{missing}`")));
        }
        Ok(Example { name: name.into_inner(), line, given: read, expect })
    }

    /// Reads a text of several lines. An error is placed at its line.
    fn block<T>(
        &self,
        text: &Spanned<String>,
        read: impl FnOnce(&str) -> Result<T, (usize, String)>,
    ) -> Result<T, Problem> {
        read(text.get_ref()).map_err(|(line, problem)| {
            let start = text.span().start;
            // The text begins on the line after its three quotes.
            let rest = &self.front[start..text.span().end];
            let first = usize::from(rest.starts_with("\"\"\"\n") || rest.starts_with("'''\n"));
            let lines: usize = rest.split_inclusive('\n').take(line + first).map(str::len).sum();
            (start + lines, problem)
        })
    }
}

/// The days before and after that a text names, such as `1 day before and after`, or `2 days before`.
fn window(text: &str) -> Result<(u32, u32), String> {
    let wrong =
        || format!("`reads` = `{text}`; write it as `1 day before`, `2 days after` or `1 day before and after`");
    let words: Vec<&str> = text.split_whitespace().collect();
    let [number, "day" | "days", sides @ ..] = words.as_slice() else { return Err(wrong()) };
    let days: u32 = number.parse().ok().filter(|days| (1..=31).contains(days)).ok_or_else(wrong)?;
    match sides {
        ["before"] => Ok((days, 0)),
        ["after"] => Ok((0, days)),
        ["before", "and", "after"] => Ok((days, days)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;
