//! What a check can be about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};

use crate::column::Path;

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
    /// No position is farther from each of the three before it than anybody can drive in the time between.
    Jump(Jump),
    /// A value does not stay the same for so many rows.
    Stuck(Stuck),
    /// Every value is one that may follow the one before it.
    Transitions(Transitions),
    /// No two rows have the same values there.
    Unique(Columns),
    /// Every value is somewhere in a column of another table.
    InTable(InTable),
    /// There are so many rows, or each day has about as many as those before it.
    RowCount(RowCount),
    /// Each hour has about as many rows as in the weeks before.
    Volume(Volume),
    /// The newest row is not too old.
    Freshness(Freshness),
    /// The table has these columns, of these types.
    Schema(BTreeMap<String, String>),
    /// A query gives no rows.
    Sql(String),
    /// Two queries give the same rows.
    Equal(Equal),
    /// A query gives the rows that it gave when it was checked last.
    Stable(String),
    /// The keys of rows are those of the items of a table in `DynamoDB`.
    InDynamoDb(InDynamoDb),
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
    /// How many seconds are between two positions at least, for clocks that are cut to minutes and rows of one time.
    #[serde(default = "a_second")]
    pub min_seconds: f64,
}

fn a_second() -> f64 {
    1.0
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
    pub min: Option<Rows>,
    /// How many at most.
    pub max: Option<Rows>,
    /// Of how many days before a day it is usual how many there are, for bounds that are shares of that.
    pub days: Option<u32>,
}

/// A number of rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rows {
    /// So many.
    Count(u64),
    /// So many percent of the median of the days before.
    Percent(f64),
}

impl RowCount {
    /// Its bounds.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = Rows> {
        [self.min, self.max].into_iter().flatten()
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "write a number of rows such as 10, or a share of what is usual such as `50 %`")]
        enum Written {
            Count(u64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Count(count) => return Ok(Self::Count(count)),
            Written::Text(text) => text,
        };
        let percent = text.trim().strip_suffix('%').and_then(|text| text.trim().parse::<f64>().ok());
        let percent = percent.filter(|percent| *percent >= 0.0 && percent.is_finite());
        percent.map(Self::Percent).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is neither a number of rows such as 10 nor a share such as `50 %`"))
        })
    }
}

/// See [`Kind::Volume`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// With how many weeks before it an hour is compared.
    #[serde(default = "weeks")]
    pub weeks: u32,
    /// Of how many of them there has to be data, so that an hour is looked at.
    #[serde(default = "warm_up")]
    pub warm_up: u32,
    /// How many deviations from the median are too many.
    #[serde(default = "deviations")]
    pub deviations: f64,
}

fn weeks() -> u32 {
    4
}

fn warm_up() -> u32 {
    2
}

fn deviations() -> f64 {
    5.0
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

/// See [`Kind::InDynamoDb`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InDynamoDb {
    /// The table.
    pub table: String,
    /// The partition key of a row's item.
    pub key: Key,
}

/// A text with columns, such as `${id}#vehicle#tire#report`: a template of the connector without what no column has, such as
/// `${a|b}`, `${@topic}` and `$${`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Key {
    /// A text, and the column after it, one after the other.
    parts: Vec<(String, Path)>,
    /// The text behind the last column.
    rest: String,
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        while let Some((before, after)) = rest.split_once("${") {
            let (column, after) =
                after.split_once('}').ok_or_else(|| format!("`{text}` has a `${{` without its `}}`"))?;
            if before.ends_with('$') || column.contains(['|', '@']) || column.contains("[]") {
                return Err(format!(
                    "`{text}` is more than this check understands: each `${{…}}` is one column of a row, such as `${{id}}`, \
                     without `|`, `@` or `[]` in it, or another `$` before it"
                ));
            }
            parts.push((before.to_owned(), column.parse()?));
            rest = after;
        }
        if parts.is_empty() {
            return Err(format!("`{text}` names no column; write `${{id}}` for the value of `id`"));
        }
        Ok(Self { parts, rest: rest.to_owned() })
    }
}

impl Key {
    /// Its columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|(_, column)| column)
    }

    /// The text as SQL. It is null if one of the columns is.
    pub(crate) fn sql(&self) -> String {
        let part = |(before, column): &(String, Path)| {
            format!("{} || cast({} as varchar)", crate::column::text(before), column.sql())
        };
        let parts: Vec<String> = self.parts.iter().map(part).collect();
        format!("{} || {}", parts.join(" || "), crate::column::text(&self.rest))
    }
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
            Self::Volume(_) => "volume",
            Self::Freshness(_) => "freshness",
            Self::Schema(_) => "schema",
            Self::Sql(_) => "sql",
            Self::Equal(_) => "equal",
            Self::Stable(_) => "stable",
            Self::InDynamoDb(_) => "in_dynamodb",
        }
    }

    /// The paths of its table that it names. Conditions and queries in SQL are not looked into.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::NotNull(columns) | Self::Unique(columns) => columns.columns.iter().collect(),
            Self::Range(range) => vec![&range.column],
            Self::Accepted(accepted) => vec![&accepted.column],
            Self::Pattern(pattern) => vec![&pattern.column],
            Self::Length(length) => vec![&length.column],
            Self::Jump(jump) => vec![&jump.latitude, &jump.longitude],
            Self::Stuck(stuck) => vec![&stuck.column],
            Self::Transitions(transitions) => vec![&transitions.column],
            Self::InTable(other) => vec![&other.column],
            Self::InDynamoDb(items) => items.key.columns().collect(),
            _ => Vec::new(),
        }
    }

    /// The columns of its table that it names.
    pub fn columns(&self) -> Vec<String> {
        match self {
            Self::Schema(columns) => columns.keys().cloned().collect(),
            other => other.paths().into_iter().map(ToString::to_string).collect(),
        }
    }
}

/// A duration such as `26h`, which is not negative.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration: SignedDuration = text
        .parse()
        .map_err(|error| de::Error::custom(format!("`{text}` is no duration such as 90m or 26h: {error}")))?;
    if duration.is_negative() {
        return Err(de::Error::custom(format!("`{text}` is negative")));
    }
    Ok(duration)
}
