//! The times in a message, moved by some seconds. Everything else stays byte by byte as it is.

use jiff::SignedDuration;
use jiff::civil::DateTime;

/// The length of `2026-11-27T08:00:00`.
const SECONDS: usize = 19;

/// The message with every string that is a time with an offset, as RFC 3339 has it, so many seconds later. It keeps its
/// offset and its decimals. Names of fields are no times. Whatever the message is, also one that is no JSON, its other
/// bytes stay.
pub(super) fn shifted(message: &[u8], seconds: i64) -> Vec<u8> {
    let mut moved = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some(open) = rest.iter().position(|byte| *byte == b'"') {
        let (before, string) = rest.split_at(open + 1);
        moved.extend_from_slice(before);
        let end = closing(string);
        let (text, after) = string.split_at(end);
        let is_name = after.iter().skip(1).find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        match time(text, seconds) {
            Some(time) if !is_name => moved.extend_from_slice(time.as_bytes()),
            _ => moved.extend_from_slice(text),
        }
        let quote = after.len().min(1);
        moved.extend_from_slice(&after[..quote]);
        rest = &after[quote..];
    }
    moved.extend_from_slice(rest);
    moved
}

/// Where the string ends that begins here.
fn closing(string: &[u8]) -> usize {
    let mut is_escaped = false;
    let closes = |byte: &u8| {
        let closes = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        closes
    };
    string.iter().position(closes).unwrap_or(string.len())
}

/// The time that a text is, later; `None` if it is none.
fn time(text: &[u8], seconds: i64) -> Option<String> {
    // Most strings are too short or have no `-` there.
    if !(SECONDS + 1..=SECONDS + 16).contains(&text.len()) || text[4] != b'-' || !matches!(text[10], b'T' | b't' | b' ')
    {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let (local, behind) = text.split_at_checked(SECONDS)?;
    let offset = behind.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let is_offset = match offset.as_bytes() {
        b"Z" | b"z" => true,
        [b'+' | b'-', hours @ .., b':', m1, m2] => {
            hours.len() == 2 && hours.iter().chain([m1, m2]).all(u8::is_ascii_digit)
        }
        _ => false,
    };
    let fraction = &behind[..behind.len() - offset.len()];
    let is_fraction =
        fraction.is_empty() || fraction.starts_with('.') && fraction.len() > 1 && !fraction[1..].contains('.');
    if !is_offset || !is_fraction {
        return None;
    }
    // A leap second has no place in the times of others.
    if local.ends_with("60") {
        return None;
    }
    // An offset stays, so the local time moves as the instant does.
    let moved = local.parse::<DateTime>().ok()?.checked_add(SignedDuration::from_secs(seconds)).ok()?;
    let moved = (moved.year() >= 0).then(|| moved.to_string())?;
    Some(format!("{}{}{}{behind}", &moved[..10], &text[10..11], &moved[11..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_move_and_keep_their_form() {
        let moved = |text: &str| String::from_utf8(shifted(text.as_bytes(), 86_400 + 61)).expect("text");
        for (before, after) in [
            (r#"{"t":"2026-11-27T08:00:00.000+09:00","u":1.50}"#, r#"{"t":"2026-11-28T08:01:01.000+09:00","u":1.50}"#),
            (
                r#"["2023-12-31T23:59:59Z", {"a":"2023-12-31 23:59:00.5-03:30"}]"#,
                r#"["2024-01-02T00:01:00Z", {"a":"2024-01-02 00:00:01.5-03:30"}]"#,
            ),
            // A message that was cut off has times, too.
            (r#"{"t":"2026-11-27T08:00:00Z","x":"2026-"#, r#"{"t":"2026-11-28T08:01:01Z","x":"2026-"#),
            (r#"{"a\"":"2026-11-27T08:00:00Z"}"#, r#"{"a\"":"2026-11-28T08:01:01Z"}"#),
        ] {
            assert_eq!(moved(before), after);
        }
        for same in [
            r#"{"2026-11-27T08:00:00Z" : 1}"#,
            r#"{"t":"2026-11-27T08:00:00","d":"2026-11-27","n":20261127080000}"#,
            r#"{"t":"2026-13-27T08:00:00Z","x":"2026-11-27T08:00:00.Z","y":"2026-11-27T08:00:00+0900"}"#,
            r#"{"t":"say 2026-11-27T08:00:00Z","q":"\"2026-11-27T08:00:00Z"}"#,
            "",
        ] {
            assert_eq!(moved(same), same);
        }
    }

    proptest! {
        /// There and back again, every byte is as it was, whatever the message is.
        #[test]
        fn what_is_moved_back_is_as_it_was(message: Vec<u8>, seconds in -4_000_000_000_i64..4_000_000_000) {
            prop_assert_eq!(shifted(&shifted(&message, seconds), -seconds), message);
        }

        #[test]
        fn a_time_moves_by_the_seconds(millis in 0_i64..4_000_000_000_000, seconds in -1_000_000_000_i64..1_000_000_000) {
            let time = |millis| jiff::Timestamp::from_millisecond(millis).expect("a time").to_string();
            let moved = shifted(format!("\"{}\"", time(millis)).as_bytes(), seconds);
            let moved: jiff::Timestamp = std::str::from_utf8(&moved).expect("text").trim_matches('"').parse().expect("a time");
            prop_assert_eq!(moved.as_millisecond(), millis + seconds * 1000);
        }
    }
}
