//! Faults of a whole message: what is wrong with it, and what a pipeline has to make of it then.

use super::RowId;
use crate::departure::Departure;
use crate::faults::Fault;
use crate::json::Object;
use crate::random::Key;
use crate::rates::Rates;

/// Those faults. A message has one of them at most.
const SPOILING: [Fault; 16] = [
    Fault::Truncated,
    Fault::NotUtf8,
    Fault::Empty,
    Fault::Tombstone,
    Fault::NotANumber,
    Fault::NotAnObject,
    Fault::DuplicateKey,
    Fault::MissingIdentity,
    Fault::BadList,
    Fault::ByteOrderMark,
    Fault::Deep,
    Fault::BigInteger,
    Fault::LoneSurrogate,
    Fault::LongNumber,
    Fault::EmptyList,
    Fault::BadElements,
];

/// The fault of a message, if it has one.
pub(super) fn choose(rates: &Rates, departure: &Departure) -> Option<Fault> {
    let mut share = departure.key.with(50).share();
    for fault in SPOILING {
        let rate = rates.of(fault);
        if share < rate {
            let needs_list = matches!(fault, Fault::BadList | Fault::EmptyList | Fault::BadElements);
            return (departure.protocol.has_list() || !needs_list).then_some(fault);
        }
        share -= rate;
    }
    None
}

/// Whether no row of such a message arrives, so that the faults of its rows do not either.
pub(super) const fn hides_rows(fault: Fault) -> bool {
    !matches!(
        fault,
        Fault::ByteOrderMark
            | Fault::Deep
            | Fault::BigInteger
            | Fault::LoneSurrogate
            | Fault::LongNumber
            | Fault::BadElements
    )
}

/// The field of the identity that is missing.
pub(super) fn missing(spoiling: Option<Fault>, key: Key) -> Option<&'static str> {
    let fields = ["object", "type", "id"];
    (spoiling == Some(Fault::MissingIdentity)).then(|| fields[usize::try_from(key.with(51).between(0, 3)).unwrap_or(0)])
}

/// A field that the envelope has in addition.
pub(super) fn extra(spoiling: Option<Fault>, id: u64) -> Option<(&'static str, Vec<u8>)> {
    Some(match spoiling? {
        Fault::NotANumber => ("signal", if id.is_multiple_of(2) { "NaN".into() } else { "-Infinity".into() }),
        Fault::DuplicateKey => ("id", (id + 1).to_string().into_bytes()),
        Fault::Deep => ("debug", format!("{}1{}", r#"{"a":"#.repeat(11), "}".repeat(11)).into_bytes()),
        Fault::BigInteger => ("ticks", b"9007199254740993".to_vec()),
        Fault::LoneSurrogate => ("driver", br#""\ud83d""#.to_vec()),
        Fault::LongNumber => ("total", b"1234567890123456789012345678901234567891".to_vec()),
        _ => return None,
    })
}

/// Writes the list, or what stands in its place.
pub(super) fn write_list(message: &mut Object<'_>, list: &[u8], rows: usize, spoiling: Option<Fault>, key: Key) {
    match spoiling {
        Some(Fault::EmptyList) => message.raw("measurements", b"[]"),
        Some(Fault::BadList) => match key.with(52).between(0, 3) {
            0 => message.null("measurements"),
            1 => message.integer("measurements", i64::try_from(rows).unwrap_or(0)),
            _ => return,
        },
        Some(Fault::BadElements) => message.value("measurements", |out| {
            out.extend_from_slice(&list[..list.len() - 1]);
            out.extend_from_slice(if rows == 0 { b"null,7]" } else { b",null,7]" });
        }),
        _ => message.raw("measurements", list),
    };
}

/// What is sent, and what has to become of it.
pub(super) struct Spoiled {
    pub(super) value: Option<Vec<u8>>,
    pub(super) is_json: bool,
    pub(super) rows: Vec<RowId>,
    pub(super) dead_letters: u64,
    pub(super) is_refused_by_dynamodb: bool,
    /// How often the fault counts.
    pub(super) count: u64,
}

impl Spoiled {
    /// Spoils the text of a message, which is written, with those faults that are not in it yet.
    pub(super) fn of(mut text: Vec<u8>, spoiling: Option<Fault>, key: Key, rows: Vec<RowId>) -> Self {
        let fine = |text| Self {
            value: Some(text),
            is_json: true,
            rows: Vec::new(),
            dead_letters: 0,
            is_refused_by_dynamodb: false,
            count: 1,
        };
        let Some(fault) = spoiling else { return Self { rows, ..fine(text) } };
        let dead = |text| Self { dead_letters: 1, ..fine(text) };
        match fault {
            Fault::Truncated => {
                let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
                text.truncate(usize::try_from(key.with(53).between(length / 5, length)).unwrap_or(0));
                Self { is_json: false, ..dead(text) }
            }
            Fault::NotUtf8 => {
                let version = br#""schema_version":""#;
                let place =
                    text.windows(version.len()).position(|part| part == version).map_or(2, |at| at + version.len());
                text[place] = 0xff;
                Self { is_json: false, ..dead(text) }
            }
            Fault::Empty => Self { is_json: false, ..dead(Vec::new()) },
            Fault::Tombstone => Self { value: None, is_json: false, ..dead(Vec::new()) },
            Fault::NotANumber => Self { is_json: false, ..dead(text) },
            Fault::NotAnObject if key.with(54).happens(0.5) => dead(b"42".to_vec()),
            Fault::NotAnObject => dead([b"[", text.as_slice(), b"]"].concat()),
            Fault::ByteOrderMark => Self { rows, is_json: false, ..fine([b"\xef\xbb\xbf", text.as_slice()].concat()) },
            Fault::LoneSurrogate | Fault::LongNumber => Self { rows, is_refused_by_dynamodb: true, ..fine(text) },
            Fault::EmptyList => fine(text),
            Fault::BadElements => Self { rows, count: 2, dead_letters: 2, ..fine(text) },
            Fault::DuplicateKey | Fault::MissingIdentity | Fault::BadList => dead(text),
            _ => Self { rows, ..fine(text) },
        }
    }
}
