//! The file of a table's checks, as people write it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::column::Path;
use crate::kind::{
    Accepted, Columns, Equal, Freshness, InDynamoDb, InTable, Jump, Kind, Length, Pattern, Range, RowCount, Rows,
    Stuck, Transitions, Volume, duration,
};
use crate::limit::Limit;

/// The checks of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The table's name in the catalog.
    pub table: String,
    /// Who is told of what fails, as an e-mail address.
    pub owner: String,
    /// What the table is for.
    #[serde(default)]
    pub description: String,
    /// The column with a row's event time.
    #[serde(default = "time")]
    pub time: Path,
    /// The columns whose rows follow each other, such as those of one vehicle.
    #[serde(default = "series")]
    pub series: Vec<Path>,
    /// The columns by which the rows of a series are in order.
    #[serde(default = "order")]
    pub order: Vec<Path>,
    /// The columns whose values are not shown to anybody.
    #[serde(default)]
    pub mask: BTreeSet<String>,
    /// The checks, in the order in which they are reported.
    pub checks: Vec<Check>,
}

fn time() -> Path {
    column("timestamp_iso")
}

fn series() -> Vec<Path> {
    vec![column("id")]
}

fn order() -> Vec<Path> {
    vec![time()]
}

fn column(name: &str) -> Path {
    #[expect(clippy::expect_used, reason = "the names are written in this module")]
    name.parse().expect("the path of a column")
}

/// A check.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Check {
    /// Its name, one of a kind in its table.
    pub name: String,
    /// What it means if it fails, and what to do about it.
    pub description: String,
    /// Who is told instead of the owner of the table.
    pub owner: Option<String>,
    /// How bad it is if it fails.
    pub severity: Severity,
    /// When it warns.
    pub warn: Option<Limit>,
    /// When it fails. By default, one bad row is enough.
    pub fail: Option<Limit>,
    /// Which rows are looked at, as SQL; all if it is not given.
    pub only: Option<String>,
    /// For how long rows may still be incomplete: younger ones are not looked at.
    pub settle: Option<SignedDuration>,
    /// What checks are chosen by.
    pub tags: BTreeSet<String>,
    /// The columns of a query of its own that are shown although the table has no such column, and masks others.
    pub shows: BTreeSet<String>,
    /// What is checked.
    pub kind: Kind,
}

/// How bad it is if a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody may want to know.
    Info,
    /// Somebody has to look at it.
    Warning,
    /// The data must not be used.
    #[default]
    Error,
}

impl Severity {
    /// Its name in files and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A check as it is written: its kind is the one key of a kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    description: String,
    owner: Option<String>,
    #[serde(default)]
    severity: Severity,
    warn: Option<Limit>,
    fail: Option<Limit>,
    #[serde(rename = "where")]
    only: Option<String>,
    #[serde(default, deserialize_with = "some_duration")]
    settle: Option<SignedDuration>,
    #[serde(default)]
    tags: BTreeSet<String>,
    #[serde(default)]
    shows: BTreeSet<String>,
    not_null: Option<Columns>,
    range: Option<Range>,
    accepted: Option<Accepted>,
    pattern: Option<Pattern>,
    length: Option<Length>,
    holds: Option<String>,
    step: Option<String>,
    jump: Option<Jump>,
    stuck: Option<Stuck>,
    transitions: Option<Transitions>,
    unique: Option<Columns>,
    in_table: Option<InTable>,
    row_count: Option<RowCount>,
    volume: Option<Volume>,
    freshness: Option<Freshness>,
    schema: Option<BTreeMap<String, String>>,
    sql: Option<String>,
    equal: Option<Equal>,
    stable: Option<String>,
    in_dynamodb: Option<InDynamoDb>,
}

impl TryFrom<Written> for Check {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        // The reader of the file shows an error without its causes.
        Self::of(written).map_err(|error| format!("{error:#}"))
    }
}

impl Check {
    fn of(written: Written) -> anyhow::Result<Self> {
        let Written { name, description, owner, severity, warn, fail, only, settle, tags, shows, .. } = written;
        let kinds = [
            written.not_null.map(Kind::NotNull),
            written.range.map(Kind::Range),
            written.accepted.map(Kind::Accepted),
            written.pattern.map(Kind::Pattern),
            written.length.map(Kind::Length),
            written.holds.map(Kind::Holds),
            written.step.map(Kind::Step),
            written.jump.map(Kind::Jump),
            written.stuck.map(Kind::Stuck),
            written.transitions.map(Kind::Transitions),
            written.unique.map(Kind::Unique),
            written.in_table.map(Kind::InTable),
            written.row_count.map(Kind::RowCount),
            written.volume.map(Kind::Volume),
            written.freshness.map(Kind::Freshness),
            written.schema.map(Kind::Schema),
            written.sql.map(Kind::Sql),
            written.equal.map(Kind::Equal),
            written.stable.map(Kind::Stable),
            written.in_dynamodb.map(Kind::InDynamoDb),
        ];
        let mut kinds = kinds.into_iter().flatten();
        let kind = kinds.next().with_context(|| {
            format!("the check `{name}` does not say what it checks; add `not_null:`, `range:` or another kind")
        })?;
        if let Some(other) = kinds.next() {
            bail!("the check `{name}` has two kinds, `{}` and `{}`; make two checks of it", kind.name(), other.name());
        }
        let check = Self { name, description, owner, severity, warn, fail, only, settle, tags, shows, kind };
        check.validate().with_context(|| format!("the check `{}`", check.name))?;
        Ok(check)
    }

    /// When it fails.
    pub fn fails_at(&self) -> Option<Limit> {
        // A check that says when it warns need not fail.
        self.fail.or(if self.warn.is_none() { Some(Limit::Count(1)) } else { None })
    }

    fn validate(&self) -> anyhow::Result<()> {
        let takes_rows = !matches!(self.kind, Kind::Schema(_) | Kind::Sql(_) | Kind::Equal(_) | Kind::Stable(_));
        // Items do not have what a condition of rows is about.
        let chooses = takes_rows && !matches!(self.kind, Kind::InDynamoDb(_));
        ensure!(chooses || self.only.is_none(), "`where` has no meaning for `{}`; remove it", self.kind.name());
        let settles =
            takes_rows && !matches!(self.kind, Kind::Volume(_) | Kind::RowCount(RowCount { days: Some(_), .. }));
        ensure!(settles || self.settle.is_none(), "`settle` has no meaning for `{}`; remove it", self.kind.name());
        let is_query = matches!(self.kind, Kind::Sql(_) | Kind::Equal(_) | Kind::Stable(_));
        ensure!(is_query || self.shows.is_empty(), "`shows` has no meaning for `{}`; remove it", self.kind.name());
        let percent = [self.warn, self.fail].into_iter().flatten().find(|limit| matches!(limit, Limit::Percent(_)));
        let has_share = !matches!(
            self.kind,
            Kind::Sql(_) | Kind::RowCount(RowCount { days: None, .. }) | Kind::Freshness(_) | Kind::Stable(_)
        );
        if let Some(percent) = percent.filter(|_| !has_share) {
            bail!(
                "{percent} has no meaning for `{}`, which does not know of how many rows that would be; give a number",
                self.kind.name()
            );
        }
        match &self.kind {
            Kind::NotNull(Columns { columns }) | Kind::Unique(Columns { columns }) => {
                ensure!(!columns.is_empty(), "`columns` is empty; name at least one");
                let lists: BTreeSet<_> = columns.iter().map(Path::list).collect();
                ensure!(lists.len() == 1, "the columns are not of the same list; make a check of each");
            }
            Kind::Range(Range { min: None, max: None, .. })
            | Kind::Length(Length { min: None, max: None, .. })
            | Kind::RowCount(RowCount { min: None, max: None, .. }) => {
                bail!("it allows everything; give `min` or `max`")
            }
            Kind::RowCount(count) => {
                let is_share = |rows: Rows| matches!(rows, Rows::Percent(_));
                let (some, all) = (count.bounds().any(is_share), count.bounds().all(is_share));
                ensure!(
                    if count.days.is_some() { all } else { !some },
                    "`min` and `max` are shares such as `50 %` if `days` says of how many days before, and numbers if it \
                     is not there"
                );
                let days = count.days.unwrap_or(1);
                ensure!((1..=366).contains(&days), "`days` is {days}; it has to be from 1 to 366");
            }
            Kind::Volume(Volume { weeks, warm_up, deviations }) => {
                ensure!(*weeks > 0 && *weeks <= 52, "`weeks` is {weeks}; it has to be from 1 to 52");
                ensure!((1..=*weeks).contains(warm_up), "`warm_up` is {warm_up}; it has to be from 1 to `weeks`");
                ensure!(*deviations > 0.0, "`deviations` is {deviations}; it has to be more");
            }
            Kind::Stuck(Stuck { rows, .. }) => ensure!(*rows > 1, "`rows` is {rows}; at least 2 can be the same"),
            Kind::Jump(Jump { max_speed, min_seconds, .. }) => {
                ensure!(*max_speed > 0.0, "`max_speed` is {max_speed}; it has to be more");
                ensure!(*min_seconds > 0.0, "`min_seconds` is {min_seconds}; it has to be more");
            }
            Kind::Transitions(Transitions { allowed, .. }) => {
                let unknown = allowed.values().flatten().find(|value| !allowed.contains_key(*value));
                if let Some(value) = unknown {
                    bail!(
                        "`{value}` may follow another value, but nothing says what may follow it; add it to `allowed`"
                    );
                }
            }
            _ => {}
        }
        let compared = match &self.kind {
            Kind::Jump(Jump { latitude, longitude, .. }) => vec![latitude, longitude],
            Kind::Stuck(Stuck { column, .. }) | Kind::Transitions(Transitions { column, .. }) => vec![column],
            _ => Vec::new(),
        };
        if let Some(path) = compared.into_iter().find(|path| path.list().is_some()) {
            bail!(
                "`{path}` is of the elements of a list; rows are compared with those before them, and elements cannot be"
            );
        }
        Ok(())
    }
}

/// The endings of the names of files with checks.
const ENDINGS: [&str; 2] = ["yml", "yaml"];

impl Suite {
    /// Reads files of checks, and those of folders in the order of their names.
    ///
    /// # Errors
    ///
    /// A file cannot be read or is no such file, or a folder has none. The error names it, and the line.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        let mut files = Vec::new();
        for path in paths {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let read = || -> std::io::Result<Vec<PathBuf>> {
                fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect()
            };
            let mut found = read().with_context(|| format!("cannot read the folder {}", path.display()))?;
            found.retain(|file| file.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)));
            ensure!(!found.is_empty(), "{} has no file that ends in .yml or .yaml", path.display());
            found.sort();
            files.extend(found);
        }
        let read = |file: PathBuf| {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            Self::parse(&text).with_context(|| file.display().to_string())
        };
        files.into_iter().map(read).collect()
    }

    /// Reads the text of a file of a table's checks.
    ///
    /// # Errors
    ///
    /// The text is no such file. The error names the line.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let suite: Self = serde_norway::from_str(text)?;
        ensure!(suite.owner.contains('@'), "the owner `{}` is no e-mail address", suite.owner);
        ensure!(!suite.series.is_empty(), "`series` is empty; name the columns whose rows follow each other");
        ensure!(!suite.order.is_empty(), "`order` is empty; name the columns by which rows are in order");
        let mut names = BTreeSet::new();
        if let Some(check) = suite.checks.iter().find(|check| !names.insert(check.name.as_str())) {
            bail!("two checks are called `{}`; rename one, so that their results can be told apart", check.name);
        }
        Ok(suite)
    }

    /// A digest of how a check is defined: of all that its outcome, and what follows from it, depend on besides the rows.
    pub(crate) fn definition(&self, check: &Check) -> String {
        let Check { severity, name: _, description: _, owner: _, tags: _, shows: _, warn, fail, only, settle, kind } =
            check;
        let Self { time, series, order, .. } = self;
        let all = format!("{:?}", (time, series, order, severity, warn, fail, only, settle, kind));
        hex::encode(&Sha256::digest(all)[..8])
    }

    /// Who is told of a check.
    pub fn owner<'a>(&'a self, check: &'a Check) -> &'a str {
        check.owner.as_deref().unwrap_or(&self.owner)
    }
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    duration(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
