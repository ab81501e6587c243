//! A suite that is written for people to go on with: from the rules of another tool, or from what the data looks like.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_norway::{Mapping, Value};

use crate::check::Suite;

/// A suite that is being written.
#[derive(Debug, Clone)]
pub(crate) struct WrittenSuite {
    pub table: String,
    pub owner: String,
    pub description: String,
    pub checks: Vec<WrittenCheck>,
    /// What could not be taken, and why.
    pub left: Vec<String>,
}

/// A check that is being written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WrittenCheck {
    pub name: String,
    pub description: String,
    /// The name of its kind.
    pub kind: &'static str,
    /// What the kind asks for.
    pub arguments: Value,
    /// Further keys, such as `where` or `fail`.
    pub more: Vec<(&'static str, Value)>,
}

impl WrittenCheck {
    /// A check of this kind.
    pub fn new(name: impl Into<String>, kind: &'static str, arguments: Value) -> Self {
        Self { name: name.into(), description: String::new(), kind, arguments, more: Vec::new() }
    }
}

/// A map of these keys, in this order.
pub(crate) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Mapping(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// A list of texts.
pub(crate) fn texts<'t>(texts: impl IntoIterator<Item = &'t str>) -> Value {
    Value::Sequence(texts.into_iter().map(Value::from).collect())
}

/// A number as it was written: whole numbers stay whole.
pub(crate) fn number(text: &str) -> Option<Value> {
    let whole = text.parse::<i64>().ok().map(Value::from);
    whole.or_else(|| text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from))
}

impl WrittenSuite {
    /// The text of the file. It begins with what was left out, and is one that `fms quality run` takes.
    ///
    /// # Errors
    ///
    /// The suite is none, such as with an owner that is no e-mail address.
    pub fn text(&self) -> anyhow::Result<String> {
        let mut out = String::new();
        for left in &self.left {
            // Writing to a text does not fail.
            let _ = writeln!(out, "# not taken: {}", left.replace('\n', " "));
        }
        let mut suite = Mapping::new();
        suite.insert("table".into(), self.table.as_str().into());
        suite.insert("owner".into(), self.owner.as_str().into());
        if !self.description.is_empty() {
            suite.insert("description".into(), self.description.as_str().into());
        }
        let mut names: Vec<String> = Vec::new();
        let checks = self.checks.iter().map(|check| {
            let WrittenCheck { name, description, kind, arguments, more } = check;
            // Names are one of a kind; the second one of a name has a number.
            let times = names.iter().filter(|other| *other == name).count();
            names.push(name.clone());
            let name = if times == 0 { name.clone() } else { format!("{name} ({})", times + 1) };
            let mut written = Mapping::new();
            written.insert("name".into(), name.into());
            if !description.is_empty() {
                written.insert("description".into(), description.as_str().into());
            }
            written.insert((*kind).into(), arguments.clone());
            written.extend(more.iter().map(|(key, value)| (Value::from(*key), value.clone())));
            Value::Mapping(written)
        });
        suite.insert("checks".into(), Value::Sequence(checks.collect()));
        out.push_str(&serde_norway::to_string(&suite).context("cannot write the suite")?);
        Suite::parse(&out).with_context(|| format!("the suite of {} cannot be used", self.table))?;
        Ok(out)
    }
}
