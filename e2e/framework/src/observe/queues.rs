//! Shows the messages that are left in SQS queues.

use super::name::safe;
use super::{EntryKind, Key, Redactor, Rule, Section};
use crate::case::{Case, Place};
use crate::stack::{Stack, StackError};

/// A message. SQS may deliver a message twice, and a pipeline may send one again after a crash.
static MESSAGE: EntryKind = EntryKind {
    noun: "queued message",
    is_block: false,
    place: Some(Place::Messages),
    key: Key::None,
    rule: Rule::AtLeastOnce { offset_line: None, partition_line: None },
};

/// One section for every queue, with the bodies of its messages, sorted: SQS keeps no order.
pub(super) fn sections(case: &Case, stack: &dyn Stack, redactor: &Redactor<'_>) -> Result<Vec<Section>, StackError> {
    let section = |queue: &String| {
        let mut entries = redactor.entries(Place::Messages, stack.messages(queue)?);
        entries.sort();
        Ok(Section::new(safe(&["queue", queue]), &MESSAGE, entries))
    };
    case.settings.resources.queues.keys().map(section).collect()
}
