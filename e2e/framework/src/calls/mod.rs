//! The AWS calls that the subject of one run made, in the order of their arrival at the recording proxy, and the faults
//! to inject into them.

mod faults;
mod throttled;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Instant;

use tokio::sync::oneshot;

use self::faults::Faults;
pub use self::faults::{Fault, Moment};
pub(crate) use self::faults::{Hits, Hook, Plan, Trouble};
use crate::mutate::Mutations;

/// The status of a call whose client closed the connection before it had the whole answer, as happens when a subject is
/// killed. HTTP has no status for this; 499 is the one that nginx logs. The service may or may not have done what was
/// asked, but it is no longer doing it.
pub const CLIENT_GONE: u16 = 499;

/// The status of a call that the service never received, because the proxy closed the connection, see
/// [`Trouble::LostBefore`], or answered in the service's place, see [`crate::mutate::Instead::Unsent`]. HTTP has no
/// status for this; 444 is the one that nginx logs.
pub(crate) const NO_ANSWER: u16 = 444;

/// What a call does to the service that it is made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing that a test observes.
    Read,
    /// It may change something that a test observes. Only such calls are throttled, and none of them may begin after
    /// the offset commit that covers it.
    Write,
    /// It waits for something that may never come, as a long poll does, and changes nothing that a test observes. A
    /// pipeline that has drained still makes such calls, so a call of this kind that is not answered does not count as
    /// in flight.
    Wait,
}

/// One call of the subject.
#[derive(Debug, Clone)]
pub struct Call {
    /// The number of the call, from 1, in the order in which requests arrived.
    pub number: usize,
    /// The service's name as its requests are signed for it: `dynamodb`, `s3`, `sqs`, `glue`; it is `unknown` if the
    /// request does not name its service.
    pub service: String,
    /// The operation's name in the service's own documentation: `BatchWriteItem`, `PutObject`,
    /// `CompleteMultipartUpload`.
    pub operation: String,
    /// What the call is about: a table (the names of several tables are joined by commas), a queue, or a bucket and a
    /// key joined by a slash.
    pub target: String,
    /// What the call does to the service.
    pub effect: Effect,
    /// The name that the call's request carries for the program that sent it. Every process of the pipeline but the first
    /// is told to use the name that the fixture gives it.
    pub process: String,
    /// How many messages the call takes out of a queue.
    pub deletes: usize,
    /// Whether it is a batch of two items or more that its service carries out one by one.
    pub can_be_torn: bool,
    /// When the request arrived.
    pub started: Instant,
    /// When the answer was sent, with its HTTP status or [`CLIENT_GONE`]. It is `None` as long as the call is not
    /// answered.
    pub finished: Option<(Instant, u16)>,
    /// Whether the service refused the call, or a part of its batch, because there were too many.
    pub is_throttled: bool,
    /// How many bytes of the request's body have arrived so far.
    pub request_bytes: usize,
}

impl Call {
    /// Whether the service may still be at work on the call: it has not answered, and the call is not of the kind
    /// [`Effect::Wait`].
    pub fn is_in_flight(&self) -> bool {
        self.finished.is_none() && self.effect != Effect::Wait
    }
}

/// The name of one call of a run: the n-th call of an operation, counted over the whole run or over the calls to one
/// target. The calls that a subject makes in parallel arrive in any order, but the same name means the same kind of
/// call in every run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallName {
    /// The name of the service, see [`Call::service`].
    pub service: String,
    /// The name of the operation, see [`Call::operation`].
    pub operation: String,
    /// Which one of these calls is meant, counted from 1.
    pub nth: usize,
    /// The beginning of the target that the call has to have, such as a bucket and a prefix; `None` counts calls to any
    /// target.
    pub target: Option<String>,
}

impl CallName {
    /// The same call where targets begin with the `namespace` of a shared stack.
    pub(crate) fn within(mut self, namespace: &str) -> Self {
        self.target = self.target.map(|target| format!("{namespace}{target}"));
        self
    }

    /// Whether a call is one of those that are counted.
    pub(crate) fn is_about(&self, call: &Call) -> bool {
        self.service == call.service
            && self.operation == call.operation
            && self.target.as_ref().is_none_or(|target| call.target.starts_with(target.as_str()))
    }
}

/// The name of Kafka where a call is named, see [`CallName::service`].
pub(crate) const KAFKA: &str = "kafka";

/// The name of each call of which service and operation are given, in the order in which they were made.
pub fn numbered<'a>(calls: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<CallName> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let name = |(service, operation): (&'a str, &'a str)| {
        let nth = counts.entry((service, operation)).or_default();
        *nth += 1;
        CallName { service: service.to_owned(), operation: operation.to_owned(), nth: *nth, target: None }
    };
    calls.map(name).collect()
}

/// The name of each of these calls, in the order in which they were made, by its target: the same call has the same name in
/// every run, whatever is done to other targets at the same time. `namespace` is what the targets begin with on a shared
/// stack, and no part of a name.
///
/// Of the key of an object only the folder counts, because some pipelines give an object another name in every run.
pub(crate) fn named(calls: &[Call], namespace: &str) -> Vec<CallName> {
    let mut names: Vec<CallName> = Vec::with_capacity(calls.len());
    // The different names, which are few, with how many calls each has been about so far.
    let mut counts: Vec<(CallName, usize)> = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let Call { service, operation, target, .. } = call;
        let target = target.strip_prefix(namespace).unwrap_or(target);
        let folder = target.rfind('/').filter(|_| service == "s3").map_or(target, |slash| &target[..=slash]);
        let target = Some(folder.to_owned()).filter(|target| !target.is_empty());
        let name = CallName { service: service.clone(), operation: operation.clone(), nth: 1, target };
        let counted = name.clone().within(namespace);
        for (known, count) in &mut counts {
            *count += usize::from(known.is_about(call));
        }
        let known = counts.iter().find(|(known, _)| *known == counted).map(|(_, count)| *count);
        let nth = known.unwrap_or_else(|| {
            let count = calls[..=at].iter().filter(|call| counted.is_about(call)).count();
            counts.push((counted, count));
            count
        });
        names.push(CallName { nth, ..name });
    }
    names
}

/// The calls of one run, shared with the proxy that records them. Clones share the same record.
#[derive(Clone, Default)]
pub struct Calls {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// All but those that were taken.
    calls: Vec<Call>,
    /// How many calls were taken.
    taken: usize,
    faults: Faults,
    mutations: Option<Arc<Mutations>>,
    looks: Option<mpsc::Sender<Look>>,
    /// How many calls that wait have been answered by their service while somebody looked at each call.
    waited: usize,
}

/// A call that waits until somebody has looked at the services, see [`Calls::look_at_each`].
#[derive(Debug)]
pub(crate) struct Look {
    /// The number of the call.
    pub call: usize,
    /// Before its service receives it, or after the service has answered; never [`Moment::Torn`].
    pub moment: Moment,
    /// The call goes on when this is dropped.
    pub goes_on: oneshot::Sender<()>,
}

impl Calls {
    /// How many calls are in flight, see [`Call::is_in_flight`].
    pub fn in_flight(&self) -> usize {
        self.state().calls.iter().filter(|call| call.is_in_flight()).count()
    }

    /// How many calls had a [`Trouble`] or were shortened.
    pub fn disturbed(&self) -> usize {
        self.state().faults.disturbed()
    }

    /// Ends the faults of the kinds [`Fault::Trouble`] and [`Fault::Slow`], so that no later call has any trouble by them.
    pub fn end_troubles(&self) {
        self.state().faults.end_troubles();
    }

    /// All calls so far, in the order of their numbers.
    pub fn snapshot(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Takes out the calls that have ended before all others, in the order of their numbers. No other method tells of them
    /// any more, so that a run of many hours does not have to hold all of its calls.
    pub fn take_ended(&self) -> Vec<Call> {
        let mut state = self.state();
        let ended = state.calls.iter().take_while(|call| call.finished.is_some()).count();
        state.taken += ended;
        state.calls.drain(..ended).collect()
    }

    /// How many calls there have been so far.
    pub(crate) fn count(&self) -> usize {
        let state = self.state();
        state.taken + state.calls.len()
    }

    /// All calls so far without the first `calls`.
    pub(crate) fn after(&self, calls: usize) -> Vec<Call> {
        self.state().calls.iter().skip(calls).cloned().collect()
    }

    /// How many calls have begun so far, and how many of them have ended.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let state = self.state();
        let ended = state.calls.iter().filter(|call| call.finished.is_some()).count();
        (state.taken + state.calls.len(), state.taken + ended)
    }

    /// Whether no call but this one is in flight, see [`Call::is_in_flight`].
    pub(crate) fn is_alone(&self, call: usize) -> bool {
        self.state().calls.iter().all(|other| other.number == call || !other.is_in_flight())
    }

    /// How many calls have begun so far that change something, without the one of this number, and how many calls that wait
    /// were answered by their service.
    pub(crate) fn effects(&self, except: Option<usize>) -> (usize, usize) {
        let state = self.state();
        let is_write = |call: &&Call| call.effect == Effect::Write && Some(call.number) != except;
        (state.calls.iter().filter(is_write).count(), state.waited)
    }

    /// Services and operations of which every call so far was of the kind [`Effect::Read`].
    pub(crate) fn reads(&self) -> BTreeSet<(String, String)> {
        let state = self.state();
        let names = |is_read: bool| {
            let calls = state.calls.iter().filter(move |call| (call.effect == Effect::Read) == is_read);
            calls.map(|call| (call.service.clone(), call.operation.clone())).collect::<BTreeSet<_>>()
        };
        &names(true) - &names(false)
    }

    /// Waits until `condition` is true of the calls so far. It is checked again whenever a call arrives, receives bytes
    /// or ends. Returns false if it is not true by `deadline`.
    pub fn wait_until(&self, deadline: Instant, mut condition: impl FnMut(&[Call]) -> bool) -> bool {
        let mut state = self.state();
        loop {
            if condition(&state.calls) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Injects a fault, which takes effect from the next call on.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.inject(fault);
    }

    /// Lets every call that is not disturbed wait before its service receives it, and after the service has answered, until
    /// somebody has looked at the services. With `None`, no later call waits.
    pub(crate) fn look_at_each(&self, looks: Option<mpsc::Sender<Look>>) {
        self.state().looks = looks;
    }

    /// Waits until somebody has looked at the services, if somebody does.
    pub(crate) async fn looked_at(&self, call: usize, moment: Moment) {
        let (goes_on, waits) = oneshot::channel();
        {
            let mut state = self.state();
            let Some(looks) = state.looks.clone() else { return };
            let place = state.place(call);
            let waits = place.and_then(|place| state.calls.get(place)).is_some_and(|call| call.effect == Effect::Wait);
            state.waited += usize::from(waits && moment == Moment::After);
            if looks.send(Look { call, moment, goes_on }).is_err() {
                return;
            }
        }
        // It is an error that nobody looks any more, and then nobody has to be waited for.
        let _ = waits.await;
    }

    /// Gives the run mutations, which concern calls from the next one on.
    pub(crate) fn mutate(&self, mutations: Arc<Mutations>) {
        self.state().mutations = Some(mutations);
    }

    /// The mutations of the run, if it has any.
    pub(crate) fn mutations(&self) -> Option<Arc<Mutations>> {
        self.state().mutations.clone()
    }

    /// Records a call that has arrived, and decides what the proxy does with it.
    pub(crate) fn begin(&self, service: &str, process: &str, request: Request) -> (InFlight, Plan) {
        let mut state = self.state();
        let number = state.taken + state.calls.len() + 1;
        let Request { operation, target, effect, can_be_partial, deletes } = request;
        let call = Call {
            number,
            service: service.to_owned(),
            operation,
            target,
            effect,
            process: process.to_owned(),
            deletes,
            can_be_torn: false,
            started: Instant::now(),
            finished: None,
            is_throttled: false,
            request_bytes: 0,
        };
        let plan = state.faults.plan(&call, can_be_partial);
        state.calls.push(call);
        drop(state);
        self.shared.changed.notify_all();
        (InFlight { calls: self.clone(), number, ended: false }, plan)
    }

    /// Notes that a call is a batch that can be torn, see [`Call::can_be_torn`].
    pub(crate) fn note_batch(&self, number: usize) {
        self.state().change(number, |call| call.can_be_torn = true);
    }

    /// Counts bytes of a request's body.
    pub(crate) fn add_request_bytes(&self, number: usize, bytes: usize) {
        self.state().change(number, |call| call.request_bytes += bytes);
        self.shared.changed.notify_all();
    }

    fn end(&self, number: usize, status: u16, is_throttled: bool) {
        self.state().change(number, |call| {
            call.finished = Some((Instant::now(), status));
            call.is_throttled = is_throttled;
        });
        self.shared.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where the call of this number is, unless it was taken.
    fn place(&self, number: usize) -> Option<usize> {
        number.checked_sub(self.taken + 1)
    }

    /// Changes the call of this number, unless it was taken.
    fn change(&mut self, number: usize, change: impl FnOnce(&mut Call)) {
        if let Some(call) = self.place(number).and_then(|place| self.calls.get_mut(place)) {
            change(call);
        }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Calls").field(&self.snapshot()).finish()
    }
}

/// What a service recognises in a request: which call it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// See [`Call::operation`].
    pub operation: String,
    /// See [`Call::target`].
    pub target: String,
    /// See [`Call::effect`].
    pub effect: Effect,
    /// Whether the service may process only a part of the call and say so, see [`Fault::Unprocessed`].
    pub can_be_partial: bool,
    /// See [`Call::deletes`].
    pub deletes: usize,
}

/// A call that is not answered yet. If this value is dropped without an answer, the client has closed the connection.
#[derive(Debug)]
pub(crate) struct InFlight {
    calls: Calls,
    number: usize,
    ended: bool,
}

impl InFlight {
    /// The number of the call, see [`Call::number`].
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Records that the answer has been sent, with this HTTP status.
    pub(crate) fn finish(self, status: u16) {
        self.answered(status, &[]);
    }

    /// The same, with the beginning of the answer's body, as far as it says whether the service refused the call.
    pub(crate) fn answered(mut self, status: u16, said: &[u8]) {
        self.ended = true;
        self.calls.end(self.number, status, throttled::is_throttled(status, said));
    }

    /// Whether an answer that is no error may still refuse a part of the call.
    pub(crate) fn is_batch(&self) -> bool {
        let state = self.calls.state();
        let call = state.place(self.number).and_then(|place| state.calls.get(place));
        call.is_some_and(|call| call.operation.contains("Batch"))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.ended {
            self.calls.end(self.number, CLIENT_GONE, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn begin(calls: &Calls, operation: &str, effect: Effect) -> (InFlight, Plan) {
        let target = "raw/a".to_owned();
        let operation = operation.to_owned();
        calls.begin("s3", "", Request { operation, target, effect, can_be_partial: false, deletes: 0 })
    }

    fn write(calls: &Calls) -> (InFlight, Plan) {
        begin(calls, "PutObject", Effect::Write)
    }

    fn hold(calls: &Calls, nth: usize, target: Option<&str>) {
        let target = target.map(str::to_owned);
        let call = CallName { service: "s3".into(), operation: "PutObject".into(), nth, target };
        calls.inject(Fault::Hold { call, moment: Moment::After, hook: Box::new(|_| ()) });
    }

    #[test]
    fn a_call_is_in_flight_until_it_is_answered_or_its_client_has_left() {
        let calls = Calls::default();
        let (first, _) = write(&calls);
        let (second, _) = write(&calls);
        assert_eq!(calls.in_flight(), 2);
        second.finish(200);
        drop(first);
        assert_eq!(calls.in_flight(), 0);
        let ends: Vec<_> = calls.snapshot().iter().map(|call| call.finished.map(|(_, status)| status)).collect();
        assert_eq!(ends, [Some(CLIENT_GONE), Some(200)]);
    }

    #[test]
    fn calls_that_have_ended_are_taken_and_the_others_keep_their_numbers() {
        let calls = Calls::default();
        let all = [(); 4].map(|()| write(&calls).0);
        let [first, second, third, fourth] = all;
        first.finish(200);
        second.answered(400, br#"{"__type":"ThrottlingException"}"#);
        fourth.finish(200);
        let taken: Vec<_> = calls.take_ended().iter().map(|call| (call.number, call.is_throttled)).collect();
        assert_eq!(taken, [(1, false), (2, true)]);
        assert_eq!((calls.count(), calls.in_flight(), calls.snapshot().len()), (4, 1, 2));
        assert_eq!(write(&calls).0.number(), 5);
        calls.add_request_bytes(third.number(), 7);
        calls.note_batch(third.number());
        third.finish(200);
        let taken = calls.take_ended();
        let taken: Vec<_> = taken.iter().map(|call| (call.number, call.request_bytes, call.can_be_torn)).collect();
        assert_eq!(taken, [(3, 7, true), (4, 0, false), (5, 0, false)]);
    }

    #[test]
    fn a_long_poll_is_never_in_flight() {
        let calls = Calls::default();
        let _unanswered = begin(&calls, "ReceiveMessage", Effect::Wait);
        assert_eq!(calls.in_flight(), 0);
    }

    #[test]
    fn throttling_hits_writes_only_and_counts_a_repetition_as_a_call_of_its_own() {
        let calls = Calls::default();
        calls.inject(Fault::Throttle(Hits::First(2)));
        let effects = [Effect::Write, Effect::Read, Effect::Wait, Effect::Write, Effect::Write];
        let is_throttled = |plan| matches!(plan, Plan::Trouble(Trouble::Throttled));
        let throttled = effects.map(|effect| is_throttled(begin(&calls, "Any", effect).1));
        assert_eq!(throttled, [true, false, false, true, false]);
        assert_eq!(calls.disturbed(), 2);

        let calls = Calls::default();
        calls.inject(Fault::Throttle(Hits::Every(2)));
        let throttled = [(); 4].map(|()| is_throttled(write(&calls).1));
        assert_eq!(throttled, [true, false, true, false], "the first write is refused, and its repetition is not");
        let later = [(); 200].map(|()| is_throttled(write(&calls).1));
        assert_eq!(later.iter().filter(|throttled| **throttled).count(), 48, "50 of 100 writes, and none after them");
    }

    #[test]
    fn troubles_come_in_turn_and_every_service_counts_its_own_calls() {
        let calls = Calls::default();
        calls.inject(Fault::Trouble(Hits::Every(3), vec![Trouble::Failed, Trouble::LostAfter]));
        let trouble = |service: &str| {
            let request = Request {
                operation: "Any".to_owned(),
                target: String::new(),
                effect: Effect::Wait,
                can_be_partial: false,
                deletes: 0,
            };
            if let Plan::Trouble(trouble) = calls.begin(service, "", request).1 { Some(trouble) } else { None }
        };
        let (failed, lost) = (Some(Trouble::Failed), Some(Trouble::LostAfter));
        assert_eq!([(); 5].map(|()| trouble("s3")), [failed, None, None, lost, None]);
        assert_eq!([(); 4].map(|()| trouble("sqs")), [failed, None, None, lost]);
        assert_eq!(calls.disturbed(), 4);
        calls.end_troubles();
        assert_eq!([(); 3].map(|()| trouble("sqs")), [None; 3]);
    }

    #[test]
    fn a_batch_that_is_throttled_is_not_counted_among_those_that_can_be_shortened() {
        let calls = Calls::default();
        calls.inject(Fault::Throttle(Hits::Every(2)));
        calls.inject(Fault::Unprocessed(Hits::Every(2)));
        let plans = [(); 6].map(|()| {
            let (operation, target) = ("BatchWriteItem".to_owned(), String::new());
            let request = Request { operation, target, effect: Effect::Write, can_be_partial: true, deletes: 0 };
            match calls.begin("dynamodb", "", request).1 {
                Plan::Trouble(Trouble::Throttled) => 't',
                Plan::Unprocessed => 'u',
                _ => '-',
            }
        });
        assert_eq!(plans, ['t', 'u', 't', '-', 't', 'u']);
    }

    #[test]
    fn a_hold_hits_the_call_that_it_names_once_and_wins_over_a_refusal() {
        let calls = Calls::default();
        calls.inject(Fault::Throttle(Hits::Every(1)));
        hold(&calls, 2, None);
        assert!(matches!(write(&calls).1, Plan::Trouble(Trouble::Throttled)));
        assert!(
            matches!(begin(&calls, "UploadPart", Effect::Write).1, Plan::Trouble(Trouble::Throttled)),
            "another operation"
        );
        assert!(matches!(write(&calls).1, Plan::Hold(Moment::After, _)));
        assert!(matches!(write(&calls).1, Plan::Trouble(Trouble::Throttled)));
    }

    #[test]
    fn the_first_write_of_a_process_that_counts_waits_for_its_hook_and_no_other_call_does() {
        let calls = Calls::default();
        let (sender, receiver) = std::sync::mpsc::channel();
        let hook = Box::new(move |process: &str| sender.send(process.to_owned()).expect("it is received"));
        calls.inject(Fault::FirstWrite { except: vec!["poller".to_owned()], hook });
        let plan = |process: &str, effect| {
            let (operation, target) = ("Any".to_owned(), String::new());
            let request = Request { operation, target, effect, can_be_partial: false, deletes: 0 };
            calls.begin("s3", process, request).1
        };
        assert!(matches!(plan("poller", Effect::Write), Plan::Forward));
        assert!(matches!(plan("second", Effect::Read), Plan::Forward));
        let Plan::ForwardAfter(hook) = plan("second", Effect::Write) else { panic!("it waits") };
        hook();
        assert_eq!(receiver.recv().as_deref(), Ok("second"));
        assert!(matches!(plan("second", Effect::Write), Plan::Forward), "only the first one waits");
    }

    #[test]
    fn a_hold_with_a_target_counts_the_calls_to_that_target() {
        let calls = Calls::default();
        hold(&calls, 1, Some("raw/b"));
        assert!(matches!(write(&calls).1, Plan::Forward));
        let target = "raw/b/1".to_owned();
        let (operation, effect) = ("PutObject".to_owned(), Effect::Write);
        let request = Request { operation, target, effect, can_be_partial: false, deletes: 0 };
        assert!(matches!(calls.begin("s3", "", request).1, Plan::Hold(..)));
    }

    #[test]
    fn every_call_has_a_name_of_its_own() {
        let calls = Calls::default();
        for operation in ["HeadBucket", "PutObject", "PutObject"] {
            let _ = begin(&calls, operation, Effect::Write);
        }
        let names = named(&calls.after(0), "ra");
        let names: Vec<_> =
            names.iter().map(|name| (name.operation.as_str(), name.nth, name.target.as_deref())).collect();
        let folder = Some("w/");
        assert_eq!(names, [("HeadBucket", 1, folder), ("PutObject", 1, folder), ("PutObject", 2, folder)]);
    }

    #[test]
    fn waiting_ends_with_the_change_or_with_the_deadline() {
        let calls = Calls::default();
        let (call, _) = write(&calls);
        let waiter = {
            let calls = calls.clone();
            thread::spawn(move || {
                calls.wait_until(Instant::now() + Duration::from_mins(1), |calls| calls[0].finished.is_some())
            })
        };
        call.finish(200);
        assert!(waiter.join().expect("the waiter does not panic"));
        assert!(!calls.wait_until(Instant::now() + Duration::from_millis(5), |calls| calls.len() > 1));
    }
}
