//! The requests that a relay has seen, and the one that it is to hold.

use std::collections::BTreeSet;

use crate::calls::Moment;

/// The kinds of requests by which a pipeline makes something last, with their numbers in Kafka's protocol.
const KINDS: [(&str, i16); 2] = [("Produce", 0), ("OffsetCommit", 8)];

/// The number of a request for committed offsets.
const OFFSET_FETCH: i16 = 9;

/// All requests of a relay's connections.
#[derive(Debug, Default)]
pub(super) struct Requests {
    names: Vec<&'static str>,
    offset_fetches: usize,
    /// The connections that have asked for committed offsets.
    fetching: BTreeSet<usize>,
    connections: usize,
    hold: Option<Hold>,
}

/// A request that is to be held.
#[derive(Debug)]
struct Hold {
    key: i16,
    /// How many requests of this kind are still to come, this one among them.
    left: usize,
    moment: Moment,
    /// Whether it has come and, where the broker carries it out, whether that has happened.
    is_held: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The broker gets it, and its client the answer.
    Pass,
    /// The broker gets it, and its client no answer.
    HoldAnswer,
    /// The broker does not get it.
    Hold,
}

impl Requests {
    /// The number of a new connection.
    pub(super) fn connect(&mut self) -> usize {
        self.connections += 1;
        self.connections
    }

    /// Notes a request on a connection, and says what becomes of it.
    pub(super) fn arrived(&mut self, connection: usize, key: i16) -> Fate {
        if key == OFFSET_FETCH {
            self.offset_fetches += 1;
            self.fetching.insert(connection);
        }
        self.names.extend(KINDS.iter().find(|kind| kind.1 == key).map(|kind| kind.0));
        let Some(hold) = self.hold.as_mut().filter(|hold| hold.key == key && hold.left > 0) else { return Fate::Pass };
        hold.left -= 1;
        match (hold.left, hold.moment) {
            (1.., _) => Fate::Pass,
            (0, Moment::After) => Fate::HoldAnswer,
            (0, Moment::Before | Moment::Torn) => {
                hold.is_held = true;
                Fate::Hold
            }
        }
    }

    /// Notes that the broker has answered the request whose answer is held.
    pub(super) fn answered(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.is_held = true;
        }
    }

    pub(super) fn names(&self) -> &[&'static str] {
        &self.names
    }

    pub(super) fn offset_fetches(&self) -> usize {
        self.offset_fetches
    }

    pub(super) fn fetching_connections(&self) -> usize {
        self.fetching.len()
    }

    pub(super) fn hold(&mut self, name: &str, nth: usize, moment: Moment) -> bool {
        let kind = KINDS.iter().find(|kind| kind.0 == name);
        if let Some(&(_, key)) = kind {
            self.hold = Some(Hold { key, left: nth.max(1), moment, is_held: false });
        }
        kind.is_some()
    }

    pub(super) fn holds(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.is_held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_request_of_a_kind_is_held_and_no_other() {
        let mut requests = Requests::default();
        assert!(!requests.hold("Fetch", 1, Moment::Before));
        assert!(requests.hold("OffsetCommit", 2, Moment::Before));
        let fates = [8, 0, 9, 8, 8, 9].map(|key| requests.arrived(1, key));
        assert_eq!(fates, [Fate::Pass, Fate::Pass, Fate::Pass, Fate::Hold, Fate::Pass, Fate::Pass]);
        assert!(requests.holds());
        assert_eq!(requests.names(), ["OffsetCommit", "Produce", "OffsetCommit", "OffsetCommit"]);
        assert_eq!((requests.offset_fetches(), requests.fetching_connections()), (2, 1));
    }

    #[test]
    fn a_request_that_takes_effect_is_held_when_the_broker_has_answered() {
        let mut requests = Requests::default();
        assert!(requests.hold("Produce", 1, Moment::After));
        assert_eq!(requests.arrived(1, 0), Fate::HoldAnswer);
        assert!(!requests.holds());
        requests.answered();
        assert!(requests.holds());
    }
}
