//! The file of a table's checks, as people write it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};

use crate::column::Path;
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
    /// What is checked.
    pub kind: Kind,
}

/// How bad it is if a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, ValueEnum)]
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

/// What is checked.
#[derive(Debug, Clone)]
pub enum Kind {
    /// No value is missing.
    NotNull(Columns),
    /// Every value is between two others.
    Range(Range),
    /// Every value is one of these.
    Accepted(Accepted),
    /// Every text matches a regular expression.
    Pattern(Pattern),
    /// Every text has so many characters.
    Length(Length),
    /// A condition is true of every row.
    Holds(String),
    /// A condition is true of every row and the one before it in its series, whose columns are `previous.…`; `seconds` is
    /// the time between them.
    Step(String),
    /// A position is nowhere farther from the one before it than anybody can drive in the time between.
    Jump(Jump),
    /// A value does not stay the same for so many rows.
    Stuck(Stuck),
    /// Every value is one that may follow the one before it.
    Transitions(Transitions),
    /// No two rows have the same values there.
    Unique(Columns),
    /// Every value is somewhere in a column of another table.
    InTable(InTable),
    /// There are so many rows.
    RowCount(RowCount),
    /// The newest row is not too old.
    Freshness(Freshness),
    /// The table has these columns, of these types.
    Schema(BTreeMap<String, String>),
    /// A query gives no rows.
    Sql(String),
    /// Two queries give the same rows.
    Equal(Equal),
}

/// Columns that are looked at together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// Their paths.
    pub columns: Vec<Path>,
}

/// See [`Kind::Range`]. A bound that is not given does not hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The column.
    pub column: Path,
    /// The least value.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
}

/// See [`Kind::Accepted`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The column, of texts.
    pub column: Path,
    /// The values.
    pub values: Vec<String>,
}

/// See [`Kind::Pattern`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// The column, of texts.
    pub column: Path,
    /// The regular expression, which has to match somewhere; `^…$` makes it match the whole text.
    pub regex: String,
}

/// See [`Kind::Length`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// The column, of texts.
    pub column: Path,
    /// How many characters at least.
    pub min: Option<u64>,
    /// How many characters at most.
    pub max: Option<u64>,
}

/// See [`Kind::Jump`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    /// The column of degrees north.
    pub latitude: Path,
    /// The column of degrees east.
    pub longitude: Path,
    /// The speed that nobody drives, in km/h.
    pub max_speed: f64,
}

/// See [`Kind::Stuck`]. All rows have to be among those that are looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stuck {
    /// The column.
    pub column: Path,
    /// How many rows in a row are too many.
    pub rows: u64,
}

/// See [`Kind::Transitions`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transitions {
    /// The column, of texts.
    pub column: Path,
    /// For each value, those that may follow it.
    pub allowed: BTreeMap<String, BTreeSet<String>>,
}

/// See [`Kind::InTable`]. Each value counts once, however many rows have it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InTable {
    /// The column of this table.
    pub column: Path,
    /// The other table.
    pub table: String,
    /// The column of the other table.
    pub to: Path,
}

/// See [`Kind::RowCount`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowCount {
    /// How many at least.
    pub min: Option<u64>,
    /// How many at most.
    pub max: Option<u64>,
}

/// See [`Kind::Freshness`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// How old the newest row may be.
    #[serde(deserialize_with = "duration")]
    pub max_age: SignedDuration,
}

/// See [`Kind::Equal`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Equal {
    /// One query.
    pub left: String,
    /// The other query.
    pub right: String,
}

impl Kind {
    /// Its name in files and results.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotNull(_) => "not_null",
            Self::Range(_) => "range",
            Self::Accepted(_) => "accepted",
            Self::Pattern(_) => "pattern",
            Self::Length(_) => "length",
            Self::Holds(_) => "holds",
            Self::Step(_) => "step",
            Self::Jump(_) => "jump",
            Self::Stuck(_) => "stuck",
            Self::Transitions(_) => "transitions",
            Self::Unique(_) => "unique",
            Self::InTable(_) => "in_table",
            Self::RowCount(_) => "row_count",
            Self::Freshness(_) => "freshness",
            Self::Schema(_) => "schema",
            Self::Sql(_) => "sql",
            Self::Equal(_) => "equal",
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
    freshness: Option<Freshness>,
    schema: Option<BTreeMap<String, String>>,
    sql: Option<String>,
    equal: Option<Equal>,
}

impl TryFrom<Written> for Check {
    type Error = anyhow::Error;

    fn try_from(written: Written) -> anyhow::Result<Self> {
        let Written { name, description, owner, severity, warn, fail, only, settle, tags, .. } = written;
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
            written.freshness.map(Kind::Freshness),
            written.schema.map(Kind::Schema),
            written.sql.map(Kind::Sql),
            written.equal.map(Kind::Equal),
        ];
        let mut kinds = kinds.into_iter().flatten();
        let kind = kinds.next().with_context(|| {
            format!("the check `{name}` does not say what it checks; add `not_null:`, `range:` or another kind")
        })?;
        if let Some(other) = kinds.next() {
            bail!("the check `{name}` has two kinds, `{}` and `{}`; make two checks of it", kind.name(), other.name());
        }
        let check = Self { name, description, owner, severity, warn, fail, only, settle, tags, kind };
        check.validate().with_context(|| format!("the check `{}`", check.name))?;
        Ok(check)
    }
}

impl Check {
    /// When it fails.
    pub fn fails_at(&self) -> Option<Limit> {
        // A check that says when it warns need not fail.
        self.fail.or(if self.warn.is_none() { Some(Limit::Count(1)) } else { None })
    }

    fn validate(&self) -> anyhow::Result<()> {
        let takes_rows = !matches!(self.kind, Kind::Schema(_) | Kind::Sql(_) | Kind::Equal(_));
        ensure!(takes_rows || self.only.is_none(), "`where` has no meaning for `{}`; remove it", self.kind.name());
        ensure!(takes_rows || self.settle.is_none(), "`settle` has no meaning for `{}`; remove it", self.kind.name());
        match &self.kind {
            Kind::NotNull(Columns { columns }) | Kind::Unique(Columns { columns }) => {
                ensure!(!columns.is_empty(), "`columns` is empty; name at least one");
                let lists: BTreeSet<_> = columns.iter().map(Path::list).collect();
                ensure!(lists.len() == 1, "the columns are not of the same list; make a check of each");
            }
            Kind::Range(Range { min: None, max: None, .. })
            | Kind::Length(Length { min: None, max: None, .. })
            | Kind::RowCount(RowCount { min: None, max: None }) => bail!("it allows everything; give `min` or `max`"),
            Kind::Stuck(Stuck { rows, .. }) => ensure!(*rows > 1, "`rows` is {rows}; at least 2 can be the same"),
            Kind::Jump(Jump { max_speed, .. }) => {
                ensure!(*max_speed > 0.0, "`max_speed` is {max_speed}; it has to be more")
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

impl Suite {
    /// Reads the file of a table's checks.
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

    /// Who is told of a check.
    pub fn owner<'a>(&'a self, check: &'a Check) -> &'a str {
        check.owner.as_deref().unwrap_or(&self.owner)
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration: SignedDuration = text
        .parse()
        .map_err(|error| de::Error::custom(format!("`{text}` is no duration such as 90m or 26h: {error}")))?;
    if duration.is_negative() {
        return Err(de::Error::custom(format!("`{text}` is negative")));
    }
    Ok(duration)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    duration(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn suite(checks: &str) -> anyhow::Result<Suite> {
        Suite::parse(&format!("table: t\nowner: fleet@example.com\nchecks:\n{checks}"))
    }

    fn error(checks: &str) -> String {
        format!("{:#}", suite(checks).expect_err(checks))
    }

    #[test]
    fn a_check_says_what_it_checks_and_when_it_warns_or_fails() {
        let suite = suite(
            "  - name: fuel is a percentage\n    range: { column: fuel_level, min: 0, max: 100 }\n    warn: 1\n    fail: 0.1 %\n    \
             where: ignition\n    settle: 2h\n    severity: warning\n    tags: [anomaly]\n",
        )
        .expect("a suite");
        let [check] = &suite.checks[..] else { panic!("{suite:?}") };
        assert_eq!(check.kind.name(), "range");
        assert_eq!((check.warn, check.fail), (Some(Limit::Count(1)), Some(Limit::Percent(0.1))));
        assert_eq!(check.settle, Some(SignedDuration::from_hours(2)));
        assert_eq!((check.severity, check.only.as_deref()), (Severity::Warning, Some("ignition")));
        assert_eq!(suite.owner(check), "fleet@example.com");
    }

    #[test]
    fn one_bad_row_fails_a_check_that_says_nothing_and_only_warns_one_that_says_when() {
        let suite = suite("  - {name: a, holds: x > 0}\n  - {name: b, holds: x > 0, warn: 3}\n").expect("a suite");
        assert_eq!(suite.checks[0].fails_at(), Some(Limit::Count(1)));
        assert_eq!(suite.checks[1].fails_at(), None);
    }

    #[test]
    fn mistakes_are_named() {
        let mistakes = [
            "  - {name: a}\n",
            "  - {name: a, holds: x, sql: select 1}\n",
            "  - {name: a, holds: x}\n  - {name: a, holds: y}\n",
            "  - {name: a, range: {column: x}}\n",
            "  - {name: a, sql: select 1, where: x}\n",
            "  - {name: a, hold: x}\n",
            "  - {name: a, holds: x, fail: many}\n",
            "  - {name: a, freshness: {max_age: soon}}\n",
            "  - {name: a, transitions: {column: e, allowed: {trip_start: [trip_end]}}}\n",
            "  - {name: a, stuck: {column: 'dtcs[].code', rows: 5}}\n",
            "  - {name: a, not_null: {columns: ['dtcs[].code', id]}}\n",
        ];
        let named: Vec<String> = mistakes.iter().map(|checks| format!("{checks}{}\n", error(checks))).collect();
        assert_snapshot!(named.join("\n"));
    }
}
