//! What devices do wrong, and how often: every kind of fault has a name and a rate, which a file may change.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below says what each is")]
pub enum Fault {
    Tunnel,
    Late,
    Reordered,
    Twice,
    AnswerLate,
    AnswerNever,
    ClockSkew,
    ClockWrong,
    MinuteTimes,
    MissingSeconds,
    SameSecond,
    SameRecordTwice,
    NoFix,
    ZeroPosition,
    Jump,
    Odometer,
    NumberAsText,
    TextAsNumber,
    FirmwareUpdate,
    Truncated,
    NotUtf8,
    Empty,
    Tombstone,
    NotANumber,
    NotAnObject,
    DuplicateKey,
    MissingIdentity,
    BadList,
    ByteOrderMark,
    Deep,
    BigInteger,
    LoneSurrogate,
    LongNumber,
    EmptyList,
    BadElements,
}

use Fault as F;

/// What is known of a kind of fault.
#[derive(Debug)]
pub struct About {
    /// Which.
    pub fault: Fault,
    /// Its name in files and in expectations.
    pub name: &'static str,
    /// How often it was seen in the field: the share of what `of` names.
    pub field: f64,
    /// What the rate is a share of; faults are counted in messages, except where this says rows or elements.
    pub of: &'static str,
    /// What arrives.
    pub text: &'static str,
}

/// The rate of what was seen in the field without a rate.
const SELDOM: f64 = 0.0002;

const fn about(fault: Fault, name: &'static str, field: f64, of: &'static str, text: &'static str) -> About {
    About { fault, name, field, of, text }
}

/// Every kind of fault, in the order of [`Fault`].
pub static FAULTS: [About; 35] = [
    about(
        F::Tunnel,
        "tunnel",
        0.3,
        "trips",
        "no coverage for 2 to 10 minutes; what was measured meanwhile leaves afterwards, newest first, with `buffered` true",
    ),
    about(
        F::Late,
        "late",
        0.08,
        "batches",
        "a batch leaves 2 to 15 minutes late; by trip, the share is from 0 to five times the rate",
    ),
    about(F::Reordered, "reordered", 0.008, "batches", "a batch leaves a minute late, behind the one that follows it"),
    about(
        F::Twice,
        "twice",
        0.025,
        "messages",
        "a message is sent again, at once or up to 3 minutes later; by trip, the share is from 0 to five times the rate",
    ),
    about(F::AnswerLate, "answer-late", 0.05, "commands", "the response comes after the command has expired"),
    about(F::AnswerNever, "answer-never", 0.03, "commands", "there is no response"),
    about(F::ClockSkew, "clock-skew", 0.5, "trips", "the clock of the device is 4 to 8 seconds fast"),
    about(F::ClockWrong, "clock-wrong", 0.002, "trips", "the clock says 1970, a time 1,024 weeks ago, 2080 or 2094"),
    about(F::MinuteTimes, "minute-times", 0.02, "vehicles", "times are cut to the minute"),
    about(
        F::MissingSeconds,
        "missing-seconds",
        0.039,
        "seconds",
        "one to three seconds are missing in a batch of one row a second; counted in rows",
    ),
    about(
        F::SameSecond,
        "same-second",
        0.018,
        "rows",
        "a row has the time of the row before and other values; counted in rows",
    ),
    about(
        F::SameRecordTwice,
        "same-record-twice",
        0.002,
        "messages",
        "a batch has one of its rows twice; counted in rows",
    ),
    about(
        F::NoFix,
        "no-fix",
        0.02,
        "seconds",
        "at the start of a trip: a stale position with fix_type NONE, altitude -5400 and accuracy 63; counted in rows",
    ),
    about(
        F::ZeroPosition,
        "zero-position",
        0.05,
        "trips",
        "the first fixes are at latitude 0 and longitude 0; counted in rows",
    ),
    about(F::Jump, "jump", 0.0005, "rows", "a position is some kilometres away; counted in rows"),
    about(
        F::Odometer,
        "odometer",
        0.01,
        "trips",
        "the odometer shows 2,312,261,923, or 0, or goes back; counted in rows",
    ),
    about(F::NumberAsText, "number-as-text", 0.0005, "rows", "a number is sent as a string; counted in rows"),
    about(F::TextAsNumber, "text-as-number", 0.0005, "rows", "a string is sent as a number; counted in rows"),
    about(
        F::FirmwareUpdate,
        "firmware-update",
        0.1,
        "vehicles",
        "from a moment on, the firmware is 2.5.0: rows have a new field, a scalar becomes a list, an object a scalar",
    ),
    about(F::Truncated, "truncated", SELDOM, "messages", "the message is cut off"),
    about(F::NotUtf8, "not-utf8", SELDOM, "messages", "a string has a byte that is not UTF-8"),
    about(F::Empty, "empty", SELDOM, "messages", "the value has no bytes"),
    about(F::Tombstone, "tombstone", SELDOM, "messages", "the value is null"),
    about(F::NotANumber, "not-a-number", SELDOM, "messages", "a value is NaN or Infinity"),
    about(F::NotAnObject, "not-an-object", SELDOM, "messages", "the message is a list or a number"),
    about(F::DuplicateKey, "duplicate-key", SELDOM, "messages", "the envelope has `id` twice"),
    about(F::MissingIdentity, "missing-identity", SELDOM, "messages", "`object`, `type` or `id` is missing"),
    about(F::BadList, "bad-list", SELDOM, "messages", "`measurements` is null, missing or not a list"),
    about(F::ByteOrderMark, "byte-order-mark", SELDOM, "messages", "the message begins with a byte order mark"),
    about(F::Deep, "deep", SELDOM, "messages", "the envelope has a field of 12 levels"),
    about(F::BigInteger, "big-integer", SELDOM, "messages", "the envelope has an integer over 2^53"),
    about(
        F::LoneSurrogate,
        "lone-surrogate",
        SELDOM,
        "messages",
        "a string has half of a surrogate pair, which DynamoDB cannot hold",
    ),
    about(F::LongNumber, "long-number", SELDOM, "messages", "a number has 40 digits, which DynamoDB cannot hold"),
    about(F::EmptyList, "empty-list", SELDOM, "messages", "`measurements` is empty"),
    about(
        F::BadElements,
        "bad-elements",
        SELDOM,
        "messages",
        "`measurements` has elements that are no objects; counted in elements",
    ),
];

impl Fault {
    /// What is known of it.
    pub fn about(self) -> &'static About {
        &FAULTS[self as usize]
    }
}

/// How often each fault happens, and when firmware is updated.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    rates: [f64; FAULTS.len()],
    /// Seconds since the Unix epoch from which updated vehicles have the new firmware.
    pub firmware_update_at: i64,
}

/// Why a file of rates was refused.
#[derive(Debug, Error)]
pub enum RatesError {
    /// It could not be read.
    #[error("cannot read the rates of faults in {}: {error}; write `field`, `none` or the path of a TOML file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It says something that cannot be understood.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
}

/// A file of rates.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where rates come from that are not in the file.
    #[serde(default)]
    base: Base,
    /// All rates are multiplied by it.
    scale: Option<f64>,
    firmware_update_at: Option<String>,
    #[serde(default)]
    rates: toml::Table,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Base {
    Field,
    #[default]
    None,
}

/// 2026-01-01T00:00:00Z.
const FIRMWARE_UPDATE_AT: i64 = 1_767_225_600;

impl Rates {
    /// No faults at all.
    pub const fn none() -> Self {
        Self { rates: [0.0; FAULTS.len()], firmware_update_at: FIRMWARE_UPDATE_AT }
    }

    /// The rates that were seen in the field.
    pub fn field() -> Self {
        Self { rates: std::array::from_fn(|at| FAULTS[at].field), ..Self::none() }
    }

    /// These rates, with one changed.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: f64) -> Self {
        self.rates[fault as usize] = rate;
        self
    }

    /// How often a fault happens, from 0 to 1.
    pub fn of(&self, fault: Fault) -> f64 {
        self.rates[fault as usize]
    }

    /// `field`, `none`, or what a TOML file says.
    pub fn load(text: &str) -> Result<Self, RatesError> {
        match text {
            "field" => Ok(Self::field()),
            "none" => Ok(Self::none()),
            path => {
                let path = Path::new(path);
                let file =
                    std::fs::read_to_string(path).map_err(|error| RatesError::Read { path: path.into(), error })?;
                Self::read(&file).map_err(|problem| RatesError::Content { path: path.into(), problem })
            }
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let mut rates = match file.base {
            Base::Field => Self::field(),
            Base::None => Self::none(),
        };
        for (name, value) in &file.rates {
            let Some(about) = FAULTS.iter().find(|about| about.name == name) else {
                let nearest = FAULTS
                    .iter()
                    .max_by(|a, b| strsim::jaro_winkler(a.name, name).total_cmp(&strsim::jaro_winkler(b.name, name)));
                let nearest = nearest.map_or("", |about| about.name);
                return Err(format!("`rates` has `{name}`, which is no kind of fault; did you mean `{nearest}`?"));
            };
            #[expect(clippy::cast_precision_loss, reason = "only 0 and 1 are taken")]
            let rate = value.as_float().or(value.as_integer().map(|whole| whole as f64));
            let rate = rate.ok_or_else(|| format!("the rate of `{name}` is {value}; write a number from 0 to 1"))?;
            rates = rates.with(about.fault, rate);
        }
        let scale = file.scale.unwrap_or(1.0);
        for (rate, about) in rates.rates.iter_mut().zip(&FAULTS) {
            *rate *= scale;
            if !(0.0..=1.0).contains(rate) {
                let with = if file.scale.is_some() { format!(" with the scale {scale}") } else { String::new() };
                return Err(format!("the rate of `{}` is {rate}{with}; a rate is from 0 to 1", about.name));
            }
        }
        if let Some(text) = file.firmware_update_at {
            let at: jiff::Timestamp = text.parse().map_err(|_| {
                format!("`firmware_update_at` is `{text}`; write a time such as \"2026-11-27T08:00:00+09:00\"")
            })?;
            rates.firmware_update_at = at.as_second();
        }
        Ok(rates)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// The table of all faults, as the documentation has it.
    fn markdown() -> String {
        let mut text = String::from("| name | rate | share of | what arrives |\n| --- | --- | --- | --- |\n");
        for About { name, field, of, text: what, .. } in &FAULTS {
            let _infallible = writeln!(text, "| `{name}` | {field} | {of} | {what} |");
        }
        text
    }

    #[test]
    fn the_table_is_in_the_order_of_the_faults_and_names_each_once() {
        for (at, about) in FAULTS.iter().enumerate() {
            assert_eq!(about.fault as usize, at, "{about:?}");
            assert!((0.0..=1.0).contains(&about.field) && about.field > 0.0);
            assert!(FAULTS[..at].iter().all(|other| other.name != about.name), "{about:?}");
        }
    }

    #[test]
    fn a_file_changes_rates() {
        let read = Rates::read("base = \"field\"\nscale = 2\n[rates]\nlate = 0.25\ntunnel = 0").expect("rates");
        assert!((read.of(F::Late) - 0.5).abs() < 1e-9 && read.of(F::Tunnel) == 0.0);
        assert!((read.of(F::Twice) - 0.05).abs() < 1e-9);
        let read = Rates::read("firmware_update_at = \"2026-11-27T03:00:00Z\"\n[rates]\njump = 1").expect("rates");
        assert_eq!(read.firmware_update_at, 1_795_748_400);
        assert_eq!(Rates { firmware_update_at: FIRMWARE_UPDATE_AT, ..read }, Rates::none().with(F::Jump, 1.0));
        assert_eq!(Rates::load("none").expect("none"), Rates::none());
    }

    #[test]
    fn mistakes_in_a_file_are_explained() {
        for (text, says) in [
            ("[rates]\nlaet = 0.1", "`laet`, which is no kind of fault; did you mean `late`?"),
            ("[rates]\nlate = \"often\"", "the rate of `late` is \"often\"; write a number from 0 to 1"),
            ("scale = 20\nbase = \"field\"", "the rate of `tunnel` is 6 with the scale 20; a rate is from 0 to 1"),
            ("late = 0.1", "unknown field `late`"),
        ] {
            let error = Rates::read(text).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
        let error = Rates::load("/nowhere/rates.toml").expect_err("no file").to_string();
        assert!(error.contains("/nowhere/rates.toml") && error.contains("`field`, `none`"), "{error}");
    }

    /// The page of the simulator has the table as it is.
    #[test]
    fn the_documentation_has_every_fault_with_its_rate() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulator.md"));
        assert!(
            page.expect("the page").contains(&markdown()),
            "docs/simulator.md has to have this table:\n{}",
            markdown()
        );
    }
}
