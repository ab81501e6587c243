//! The messages of the fallback queue: each says which object could not be converted, or which message not be read, and
//! why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::event_of;
use crate::quarantine::Object;

/// The version of this format. A reader knows the formats up to its own.
const VERSION: u32 = 1;
/// The most bytes of a message that a letter repeats. A queue takes up to 1 MiB, and until 2025 it took 256 KiB.
const MAX_EVENT: usize = 200 << 10;
/// The most characters of a message that is no JSON, or longer than that, of which the letter has the beginning.
const SHOWN: usize = 1024;

/// A message of the fallback queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Letter {
    version: u32,
    /// The message that named the object.
    event: Box<RawValue>,
    /// The object; none if the message could not be read.
    object: Option<Object>,
    /// The kind of failure, which is also the label of the metric.
    reason: String,
    /// What went wrong, in a sentence.
    error: String,
    /// How often the message had been received.
    attempts: u32,
    /// When the letter was written.
    time: String,
}

impl Letter {
    /// A letter about an object, or about a message as a whole.
    pub(super) fn new(message: &str, object: Option<Object>, reason: &str, error: String, attempts: u32) -> Self {
        let time = Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap_or_default().to_string();
        Self { version: VERSION, event: event(message), object, reason: reason.to_owned(), error, attempts, time }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn error(&self) -> &str {
        &self.error
    }

    /// The text for the queue.
    pub(super) fn text(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        // SQS takes all characters but these two and some controls. JSON has them in texts only, and controls escaped.
        text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
    }
}

/// The message as it is, or a JSON text of its beginning.
fn event(message: &str) -> Box<RawValue> {
    let whole = if message.len() <= MAX_EVENT { RawValue::from_string(message.to_owned()).ok() } else { None };
    let beginning = || serde_json::value::to_raw_value(&message.chars().take(SHOWN).collect::<String>());
    whole.or_else(|| beginning().ok()).unwrap_or_default()
}

/// What a message of the fallback queue is.
#[derive(Debug)]
pub(super) enum Fallen {
    /// A letter of the poller.
    Letter(Letter),
    /// A letter of a later version of this program, which this one cannot send back.
    Newer,
    /// Any other message. SQS moves messages as they are if the queue has a redrive policy, which a function needs.
    Other,
}

impl Fallen {
    pub(super) fn read(message: &str) -> Self {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "a letter is told by these fields")]
        struct Known {
            version: u32,
            reason: String,
        }
        match serde_json::from_str(message) {
            Ok(letter @ Letter { version: VERSION, .. }) => Self::Letter(letter),
            _ if serde_json::from_str::<Known>(message).is_ok() => Self::Newer,
            _ => Self::Other,
        }
    }
}

impl Letter {
    /// What to send so that the object is converted again, and only that one; or the message that could not be read.
    pub(super) fn again(&self) -> String {
        match &self.object {
            Some(object) => event_of(object),
            None => serde_json::from_str(self.event.get()).unwrap_or_else(|_| self.event.get().to_owned()),
        }
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.object.as_ref().map(|object| object.key.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object() -> Object {
        Object { bucket: "raw".into(), key: "topics/a b".into(), version_id: None }
    }

    fn letter(message: &str, object: Option<Object>) -> Letter {
        let text = Letter::new(message, object, "missing", "it is gone".into(), 3).text();
        let Fallen::Letter(letter) = Fallen::read(&text) else { panic!("no letter: {text}") };
        letter
    }

    #[test]
    fn a_letter_has_the_message_as_it_was() {
        let mut letter = letter(r#"{ "a" :1.0e0}"#, Some(object()));
        letter.time = "2026-11-27T00:00:00Z".into();
        insta::assert_snapshot!(letter.text(), @r#"{"version":1,"event":{ "a" :1.0e0},"object":{"bucket":"raw","key":"topics/a b"},"reason":"missing","error":"it is gone","attempts":3,"time":"2026-11-27T00:00:00Z"}"#);
    }

    #[test]
    fn a_letter_about_an_object_sends_that_object_and_another_one_its_message() {
        assert_eq!(letter("{}", Some(object())).again(), event_of(&object()));
        assert_eq!(letter(r#"{"a":1}"#, None).again(), r#"{"a":1}"#);
        assert_eq!(letter("hello \u{ffff}", None).again(), "hello \u{ffff}");
    }

    #[test]
    fn a_message_that_is_too_long_for_a_letter_is_cut() {
        let message = format!("[{}0]", "0,".repeat(MAX_EVENT));
        let text = Letter::new(&message, Some(object()), "read", String::new(), 1).text();
        assert!(text.len() < 2 * SHOWN && text.contains(r#""event":"[0,0,"#), "{text}");
    }

    #[test]
    fn other_messages_and_newer_letters_are_told_apart() {
        let newer = letter("{}", None).text().replace(r#""version":1"#, r#""version":2"#);
        assert!(matches!(Fallen::read(&newer), Fallen::Newer));
        for other in ["hello", r#"{"Records":[]}"#, r#"{"version":"0","source":"aws.s3"}"#] {
            assert!(matches!(Fallen::read(other), Fallen::Other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_letter_can_be_read_and_has_no_character_that_sqs_refuses(message: String, error: String) {
            let text = Letter::new(&message, None, "unreadable", error.clone(), 1).text();
            let refused = |c: char| (c < ' ' && !"\t\n\r".contains(c)) || c == '\u{fffe}' || c == '\u{ffff}';
            prop_assert!(!text.contains(refused), "{}", text);
            let Fallen::Letter(letter) = Fallen::read(&text) else { panic!("no letter: {text}") };
            prop_assert_eq!(letter.error(), error);
        }
    }
}
