//! The members of consumer groups for which a connection has spoken, and the requests by which they leave.

use std::collections::BTreeMap;

/// The numbers of requests in Kafka's protocol, with the first version of each that is encoded in another way.
const JOIN_GROUP: (i16, i16) = (11, 6);
const HEARTBEAT: (i16, i16) = (12, 4);
const LEAVE_GROUP: (i16, i16) = (13, 4);
const SYNC_GROUP: (i16, i16) = (14, 4);

/// Whether a request of this kind says something of a member.
pub(super) fn is_of_group(key: i16) -> bool {
    [JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, SYNC_GROUP].iter().any(|kind| kind.0 == key)
}

/// The members that have used a connection and have not left.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The member of each group. One that has joined again may have another name, and the broker may give the old one to
    /// somebody else.
    joined: BTreeMap<String, String>,
    /// The number of the request that the broker answers only when others have made it, too.
    waits_for: Option<i32>,
}

impl Members {
    /// Notes a request of a group: its kind, version and number, and what comes after them. What cannot be read says nothing.
    pub(super) fn requested(&mut self, key: i16, version: i16, number: i32, rest: &[u8]) {
        if [JOIN_GROUP.0, SYNC_GROUP.0].contains(&key) {
            self.waits_for = Some(number);
        }
        // A client that leaves by itself is about to close its connection.
        if key == LEAVE_GROUP.0 {
            self.joined.clear();
        }
        let names_member = [HEARTBEAT, SYNC_GROUP].iter().any(|kind| kind.0 == key && version < kind.1);
        self.joined.extend(names_member.then(|| member(rest)).flatten());
    }

    /// Notes the answer to the request of this number.
    pub(super) fn answered(&mut self, number: i32) {
        self.waits_for = self.waits_for.filter(|waits_for| *waits_for != number);
    }

    /// Whether the broker has not yet answered a request to join, or one for the partitions.
    pub(super) fn wait(&self) -> bool {
        self.waits_for.is_some()
    }

    /// The requests by which all of them leave; empty if there are none.
    pub(super) fn leave(&self) -> Vec<u8> {
        self.joined.iter().flat_map(|(group, member)| leave(group, member)).collect()
    }
}

/// Group and member of a request that has, after the client's name, a group, a generation and a member.
fn member(rest: &[u8]) -> Option<(String, String)> {
    let (_, rest) = text(rest)?;
    let (group, rest) = text(rest)?;
    let (member, _) = text(rest.get(4..)?)?;
    Some((group, member))
}

/// A text that begins with its length in two bytes, which is -1 if there is none, and what comes after it.
fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(i16::from_be_bytes(*length)).unwrap_or(0))?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

/// Version 0 of `LeaveGroup`, of a client without a name.
fn leave(group: &str, member: &str) -> Vec<u8> {
    let mut request = LEAVE_GROUP.0.to_be_bytes().to_vec();
    request.extend([0, 0]);
    request.extend(i32::MAX.to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    for text in [group, member] {
        // Both came with a length of two bytes.
        request.extend(u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
        request.extend(text.as_bytes());
    }
    let length = u32::try_from(request.len()).unwrap_or_default();
    [&length.to_be_bytes()[..], &request].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes after the number of a request of the client `c`.
    fn rest(group: &str, member: &str) -> Vec<u8> {
        let text = |text: &str| [&[0, u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
        [text("c"), text(group), vec![0, 0, 0, 7], text(member), vec![1, 2, 3]].concat()
    }

    #[test]
    fn a_member_that_has_not_left_is_known_by_its_requests() {
        let mut members = Members::default();
        members.requested(JOIN_GROUP.0, 5, 1, &rest("connect-s3", ""));
        assert!(members.wait() && members.leave().is_empty(), "it does not know its name yet");
        members.answered(1);
        members.requested(SYNC_GROUP.0, 3, 2, &rest("connect-s3", "m1"));
        members.requested(HEARTBEAT.0, 3, 3, &rest("connect-s3", "m1"));
        assert!(members.wait(), "the group is not complete");
        members.answered(2);
        let expected = b"\0\0\0\x1a\0\x0d\0\0\x7f\xff\xff\xff\xff\xff\0\x0aconnect-s3\0\x02m1";
        assert_eq!((members.wait(), &members.leave()[..]), (false, &expected[..]));

        members.requested(SYNC_GROUP.0, 3, 4, &rest("connect-s3", "m2"));
        members.answered(4);
        assert!(members.leave().ends_with(b"\0\x0aconnect-s3\0\x02m2") && members.leave().len() == expected.len());
        members.requested(LEAVE_GROUP.0, 1, 5, &rest("connect-s3", "m1"));
        assert!(members.leave().is_empty());
    }

    #[test]
    fn requests_that_cannot_be_read_say_nothing() {
        let mut members = Members::default();
        members.requested(HEARTBEAT.0, 4, 1, &rest("g", "m"));
        members.requested(HEARTBEAT.0, 3, 2, &rest("g", "m")[..8]);
        members.requested(SYNC_GROUP.0, 3, 3, b"");
        assert!(members.leave().is_empty());
    }
}
