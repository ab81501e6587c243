//! What devices do wrong: every kind of fault with its name, and how often it was seen in the field.

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
    Hot,
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
pub static FAULTS: [About; 36] = [
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
    about(
        F::Hot,
        "hot",
        SELDOM,
        "vehicles",
        "a device sends each report 14 times, each time as a message of its own, so that its partition has more to do",
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
    /// The kind of this name.
    ///
    /// # Errors
    ///
    /// There is none. The error is the name that is most like it.
    pub fn named(name: &str) -> Result<Self, &'static str> {
        if let Some(about) = FAULTS.iter().find(|about| about.name == name) {
            return Ok(about.fault);
        }
        let likeness = |about: &&About| strsim::jaro_winkler(about.name, name);
        Err(FAULTS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).map_or("", |about| about.name))
    }

    /// What is known of it.
    pub fn about(self) -> &'static About {
        &FAULTS[self as usize]
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
