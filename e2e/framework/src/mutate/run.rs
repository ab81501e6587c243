//! The mutations of one run: where they change something, and whether they have changed anything.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::{Change, Context, Instead, Mutation, Records, Sent};
use crate::calls::{Call, CallName, Calls, Effect, Moment};
use crate::case::Settings;
use crate::proxy::service::S3;
use crate::schedule::CrashPoint;
use crate::stack::Commits;

/// For how long at most a call is put off. It is shorter than a run may take to drain.
const LATEST: Duration = Duration::from_secs(10);

/// The mutations of one run: either one that is carried out, or several of which is only noted whether they concern
/// anything.
#[derive(Debug)]
pub(crate) struct Mutations {
    list: Vec<&'static Mutation>,
    are_carried_out: bool,
    state: Mutex<State>,
    /// Whether the pipeline has committed all offsets.
    has_committed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    context: Context,
    reached: BTreeSet<&'static str>,
    refused: Option<String>,
    crash: Option<CrashPoint>,
}

impl Mutations {
    /// Notes which of these mutations concern a run that is not disturbed by any of them.
    pub(crate) fn watched(mutations: &[&'static Mutation]) -> Self {
        Self::new(mutations.to_vec(), false)
    }

    /// Carries out a mutation.
    pub(crate) fn of(mutation: &'static Mutation) -> Self {
        Self::new(vec![mutation], true)
    }

    fn new(list: Vec<&'static Mutation>, are_carried_out: bool) -> Self {
        Self { list, are_carried_out, state: Mutex::default(), has_committed: watch::Sender::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has to be called before the pipeline is started.
    pub(crate) fn begin(&self, settings: &Settings, namespace: &str) {
        self.state().context = Context::of(settings, namespace);
    }

    /// Has to be called with all calls of the run when the pipeline has ended.
    pub(crate) fn end(&self, calls: &[Call]) {
        let mut state = self.state();
        state.crash = first_store_of_receiver(calls, &state.context.namespace);
    }

    /// Forgets that anything was concerned, for nothing of this run is observed.
    pub(crate) fn forget(&self) {
        self.state().reached.clear();
    }

    /// The names of the mutations that concerned something.
    pub(crate) fn reached(&self) -> BTreeSet<&'static str> {
        self.state().reached.clone()
    }

    /// What a service said that refused a call which a mutation had changed. Then the mutation itself is wrong.
    pub(crate) fn refused(&self) -> Option<String> {
        self.state().refused.clone()
    }

    /// Where the process that receives messages stores its first object, if one does so.
    pub(crate) fn crash_point(&self) -> Option<CrashPoint> {
        self.state().crash.clone()
    }

    /// Notes that a service has refused a changed call.
    pub(crate) fn refuse(&self, problem: String) {
        self.state().refused.get_or_insert(problem);
    }

    /// Waits until the pipeline has committed all offsets, or for [`LATEST`]: it may wait for the call itself.
    pub(crate) async fn until_committed(&self) {
        let mut has_committed = self.has_committed.subscribe();
        let _ = tokio::time::timeout(LATEST, has_committed.wait_for(|has_committed| *has_committed)).await;
    }

    /// Whether calls of this operation may be concerned, so that their bodies are needed as a whole.
    pub(crate) fn concern(&self, service: &str, operation: &str) -> bool {
        self.list.iter().any(|mutation| mutation.change.concerns(service, operation))
    }

    /// What happens in place of a call; `None` if it is passed on as it is.
    pub(crate) fn instead(&self, service: &str, operation: &str, sent: &Sent) -> Option<Instead> {
        let mut state = self.state();
        if service == S3.name && state.context.is_unobserved(sent) {
            return None;
        }
        let mut watched = None;
        for mutation in self.list.iter().filter(|mutation| mutation.change.concerns(service, operation)) {
            match &mutation.change {
                Change::Call { change, .. } if mutation.shows_always || !state.reached.contains(mutation.name) => {
                    let Some(instead) = change(sent, &state.context) else { continue };
                    state.reached.insert(mutation.name);
                    if self.are_carried_out {
                        return Some(instead);
                    }
                }
                Change::Answer { .. } => watched = Some(Instead::Watched(mutation)),
                _ => {}
            }
        }
        watched
    }

    /// The calls that a mutation makes of the answer to a call; none if it does not concern the answer.
    pub(crate) fn further(&self, mutation: &'static Mutation, sent: &Sent, answer: &Value) -> Vec<Sent> {
        let Change::Answer { change, .. } = &mutation.change else { return Vec::new() };
        let Some(requests) = change(sent, answer) else { return Vec::new() };
        let shows = self.state().reached.insert(mutation.name) || mutation.shows_always;
        if shows && self.are_carried_out { requests } else { Vec::new() }
    }

    /// Carries out the changes of what was read, or only notes that they concern it.
    fn change<T: Clone>(&self, read: &mut T, of: impl Fn(&Change) -> Option<fn(&mut T) -> bool>) {
        for mutation in &self.list {
            let Some(change) = of(&mutation.change) else { continue };
            let mut changed = read.clone();
            if change(&mut changed) {
                self.state().reached.insert(mutation.name);
                if self.are_carried_out {
                    *read = changed;
                }
            }
        }
    }
}

/// The dead letters that were read from a topic, as the pipeline with the run's mutation would have left them.
pub(crate) fn dead_letters(calls: &Calls, mut records: Records) -> Records {
    if let Some(mutations) = calls.mutations() {
        mutations
            .change(&mut records, |change| if let Change::DeadLetters(change) = change { Some(*change) } else { None });
    }
    records
}

/// The same for the records of an output topic.
pub(crate) fn records(calls: &Calls, mut records: Records) -> Records {
    if let Some(mutations) = calls.mutations() {
        mutations
            .change(&mut records, |change| if let Change::Records(change) = change { Some(*change) } else { None });
    }
    records
}

/// The same for what a group has committed.
pub(crate) fn commits(calls: &Calls, mut commits: Commits) -> Commits {
    if let Some(mutations) = calls.mutations() {
        mutations
            .change(&mut commits, |change| if let Change::Commits(change) = change { Some(*change) } else { None });
    }
    commits
}

/// Has to be called when the pipeline has committed all offsets.
pub(crate) fn note_committed(calls: &Calls) {
    if let Some(mutations) = calls.mutations() {
        mutations.has_committed.send_replace(true);
    }
}

/// The crash point before the first object that a process stores which receives messages. It is named by its bucket,
/// because other processes may store objects as well.
fn first_store_of_receiver(calls: &[Call], namespace: &str) -> Option<CrashPoint> {
    let receiver = calls.iter().find(|call| call.effect == Effect::Wait)?;
    let is_of_receiver = |call: &&Call| call.process == receiver.process && call.number > receiver.number;
    let is_store = |call: &Call| call.service == S3.name && call.effect == Effect::Write;
    let store = calls.iter().filter(is_of_receiver).find(|call| is_store(call))?;
    let bucket = store.target.split('/').next()?;
    let is_alike = |call: &&Call| {
        is_store(call) && call.operation == store.operation && call.target.split('/').next() == Some(bucket)
    };
    let nth = calls.iter().filter(is_alike).position(|call| call.number == store.number)? + 1;
    let target = Some(format!("{}/", bucket.strip_prefix(namespace).unwrap_or(bucket)));
    let call = CallName { service: store.service.clone(), operation: store.operation.clone(), nth, target };
    Some(CrashPoint { call, moment: Moment::Before })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::sent::tests::put;
    use super::*;
    use crate::mutate::ALL;

    fn mutation(name: &str) -> &'static Mutation {
        ALL.iter().find(|mutation| mutation.name == name).expect("there is such a mutation")
    }

    fn put_lines(key: &str) -> Sent {
        put(&format!("/test-lake/{key}"), "one\ntwo\n")
    }

    /// Mutations of a case that does not observe `lake/own/`, on services that it shares.
    fn begun(mutations: Mutations) -> Mutations {
        let settings = Settings { unobserved_objects: vec!["lake/own/".to_owned()], ..Settings::default() };
        mutations.begin(&settings, "test-");
        mutations
    }

    #[test]
    fn a_mutation_shows_once_and_never_where_nobody_looks() {
        let mutations = begun(Mutations::of(mutation("s3-last-row-lost")));
        let is_changed = |key: &str| mutations.instead("s3", "PutObject", &put_lines(key)).is_some();
        assert_eq!(["own/state", "a", "b"].map(is_changed), [false, true, false]);
        assert!(mutations.reached().contains("s3-last-row-lost"));
        let always = begun(Mutations::of(mutation("s3-early")));
        assert!(["a", "b"].iter().all(|key| always.instead("s3", "PutObject", &put_lines(key)).is_some()));
    }

    #[test]
    fn mutations_that_are_watched_change_nothing_and_are_noted() {
        let watched = begun(Mutations::watched(&ALL.iter().collect::<Vec<_>>()));
        assert!(watched.concern("s3", "PutObject") && !watched.concern("s3", "GetObject"));
        assert!(watched.instead("s3", "PutObject", &put_lines("a")).is_none());
        let reached = watched.reached();
        assert!(reached.contains("s3-row-twice") && !reached.contains("parquet-lost"), "{reached:?}");
        let mut commits = Commits::from([(("t".to_owned(), 0), (1, String::new()))]);
        watched.change(&mut commits, |change| if let Change::Commits(change) = change { Some(*change) } else { None });
        assert_eq!(commits.values().map(|(offset, _)| *offset).collect::<Vec<_>>(), [1]);
        assert!(watched.reached().contains("offset-not-committed"));
    }

    #[test]
    fn a_receiver_is_killed_at_the_first_object_that_it_stores() {
        let calls = [
            ("connect", "PutObject", "test-raw/a"),
            ("connect", "PutObject", "test-lake/b"),
            ("poller", "ReceiveMessage", "test-events"),
            ("connect", "PutObject", "test-lake/c"),
            ("poller", "GetObject", "test-raw/a"),
            ("poller", "PutObject", "test-lake/d"),
            ("poller", "PutObject", "test-lake/e"),
        ];
        let call = |number: usize, (process, operation, target): (&str, &str, &str)| Call {
            number,
            service: if operation == "ReceiveMessage" { "sqs" } else { "s3" }.to_owned(),
            operation: operation.to_owned(),
            target: target.to_owned(),
            effect: match operation {
                "ReceiveMessage" => Effect::Wait,
                "GetObject" => Effect::Read,
                _ => Effect::Write,
            },
            process: process.to_owned(),
            deletes: 0,
            can_be_torn: false,
            started: Instant::now(),
            finished: None,
            is_throttled: false,
            request_bytes: 0,
        };
        let calls: Vec<Call> = (1..).zip(calls).map(|(number, of)| call(number, of)).collect();
        let point = first_store_of_receiver(&calls, "test-").map(|point| point.to_string());
        assert_eq!(point.as_deref(), Some("s3.PutObject:3@lake/"));
        assert_eq!(first_store_of_receiver(&calls[..2], "test-"), None);
    }
}
