//! The faults of one run, and what they make the proxy do with each call.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Call, CallName, Effect};

/// The function that a hold runs when it has reached its call. Typically it kills the subject. It may block.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

/// Like [`Hook`], with the name of the process that made the call.
pub(crate) type HookOfProcess = Box<dyn FnOnce(&str) + Send>;

/// The point of a call at which a [`Fault::Hold`] takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The whole request has arrived at the proxy, but the service never receives it.
    Before,
    /// The service has carried out the first half of a batch and has answered, but the client never receives the answer.
    /// Only a batch of at least two items that its service carries out one by one can be torn, see
    /// [`crate::proxy::service::Batch`].
    Torn,
    /// The service has done its work and has answered, but the client never receives the answer.
    After,
}

/// Which calls a fault hits, among those that it concerns. The count begins when the fault is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hits {
    /// As many of the first calls as this number says.
    First(usize),
    /// The first call and then every n-th. With 2 these are the first, third, fifth and so on, so that even a single
    /// call is hit and its repetition is not. With 1 or 0 every call is hit, and a client that retries for ever never
    /// succeeds.
    Every(usize),
}

impl Hits {
    /// Whether the `count`-th call (from 1) is hit.
    fn includes(self, count: usize) -> bool {
        match self {
            Self::First(calls) => count <= calls,
            Self::Every(nth) => (count - 1).is_multiple_of(nth.max(1)),
        }
    }
}

/// What goes wrong with a call on its way to the service or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The call is refused and changes nothing. The answer is the one that the service itself gives to too many
    /// requests, such as `ProvisionedThroughputExceededException` from DynamoDB and 503 `SlowDown` from S3.
    Throttled,
    /// The call is refused and changes nothing. The answer is the one that the service itself gives to a caller without
    /// permission, such as 403 `AccessDenied` from S3.
    Denied,
    /// The service answers with status 500 and has done nothing.
    Failed,
    /// The connection is closed without an answer, and the service has not received the request.
    LostBefore,
    /// The service does what was asked, and the connection is closed without an answer.
    LostAfter,
    /// The service does what was asked, and the connection is closed in the middle of the answer, or without an answer
    /// if the answer has no body.
    Truncated,
    /// The service receives the request after this time.
    Late(Duration),
}

/// A way in which AWS, or the subject's own death, disturbs a run.
pub enum Fault {
    /// Of the first [`THROTTLED`] writes to each service, those that are hit are throttled, see [`Trouble::Throttled`].
    Throttle(Hits),
    /// Of each batch that is hit, the service processes all items except the last one, and the answer says that this
    /// item was not processed. The fault concerns operations that have such an answer, such as DynamoDB's
    /// `BatchWriteItem`, where they are not throttled. The request that is passed on is shorter than the one that was
    /// signed. The embedded DynamoDB and DynamoDB Local accept that; for other services the proxy signs the request
    /// again.
    Unprocessed(Hits),
    /// Of the calls to each service, those that are hit have these troubles in turn.
    Trouble(Hits, Vec<Trouble>),
    /// A service, as [`Call::service`] names it, receives every call only after this time.
    Slow {
        /// The service.
        service: &'static str,
        /// By how much it is slower.
        by: Duration,
    },
    /// The first write of a process is passed on only when `hook` has returned. By then the whole request has arrived, so
    /// the write takes effect even if the process is frozen or killed meanwhile.
    FirstWrite {
        /// The processes that do not count.
        except: Vec<String>,
        /// What is run before the write is passed on.
        hook: HookOfProcess,
    },
    /// The named call proceeds to `moment`, then `hook` runs. The call is never answered: it is in flight until its
    /// client closes the connection.
    Hold {
        /// The name of the call. Calls are counted from the moment at which the fault was injected.
        call: CallName,
        /// How far the call proceeds.
        moment: Moment,
        /// What is run at that moment.
        hook: HookOfProcess,
    },
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throttle(hits) => f.debug_tuple("Throttle").field(hits).finish(),
            Self::Unprocessed(hits) => f.debug_tuple("Unprocessed").field(hits).finish(),
            Self::Trouble(hits, troubles) => f.debug_tuple("Trouble").field(hits).field(troubles).finish(),
            Self::Slow { service, by } => f.debug_struct("Slow").field("service", service).field("by", by).finish(),
            Self::FirstWrite { except, .. } => {
                f.debug_struct("FirstWrite").field("except", except).finish_non_exhaustive()
            }
            Self::Hold { call, moment, .. } => {
                f.debug_struct("Hold").field("call", call).field("moment", moment).finish_non_exhaustive()
            }
        }
    }
}

/// What the proxy is to do with one call.
pub(crate) enum Plan {
    /// The call is passed on.
    Forward,
    /// The call is passed on without its last item.
    Unprocessed,
    /// Something goes wrong with the call.
    Trouble(Trouble),
    /// The call is passed on after this hook has returned.
    ForwardAfter(Hook),
    /// The call is held, see [`Fault::Hold`].
    Hold(Moment, Hook),
}

/// The faults of a run, with what they have done so far.
#[derive(Default)]
pub(super) struct Faults {
    throttles: Vec<Throttles>,
    unprocessed: Vec<Counted<Hits>>,
    troubles: Vec<Troubles>,
    first_writes: Vec<(Vec<String>, HookOfProcess)>,
    holds: Vec<Counted<(CallName, Moment, HookOfProcess)>>,
    /// How many calls were disturbed, without those that were held.
    disturbed: usize,
}

/// A fault with the number of calls that it has concerned so far.
struct Counted<T> {
    fault: T,
    concerned: usize,
}

impl<T> Counted<T> {
    fn new(fault: T) -> Self {
        Self { fault, concerned: 0 }
    }
}

/// Which writes are throttled. Each service counts its own, so that the repetition of a write is not hit because another
/// service was written to meanwhile.
struct Throttles {
    hits: Hits,
    concerned: BTreeMap<String, usize>,
}

/// Among so many writes to a service, some are throttled, and none after them. Of many writes that are made at once, one
/// could otherwise be refused again and again, and its client would wait longer each time.
const THROTTLED: usize = 100;

impl Throttles {
    fn hit(&mut self, call: &Call) -> bool {
        let concerned = self.concerned.entry(call.service.clone()).or_default();
        *concerned += 1;
        *concerned <= THROTTLED && self.hits.includes(*concerned)
    }
}

/// Troubles in turn.
struct Troubles {
    /// The service that they concern; `None` if every one.
    service: Option<&'static str>,
    hits: Hits,
    in_turn: Vec<Trouble>,
    /// How many calls were hit.
    turn: usize,
    /// How many calls there were to each service.
    concerned: BTreeMap<String, usize>,
}

impl Troubles {
    fn new(service: Option<&'static str>, hits: Hits, in_turn: Vec<Trouble>) -> Self {
        Self { service, hits, in_turn, turn: 0, concerned: BTreeMap::new() }
    }

    fn hit(&mut self, call: &Call) -> Option<Trouble> {
        if self.service.is_some_and(|service| service != call.service) {
            return None;
        }
        let concerned = self.concerned.entry(call.service.clone()).or_default();
        *concerned += 1;
        let trouble = self.in_turn.get(self.turn % self.in_turn.len().max(1));
        let hit = trouble.copied().filter(|_| self.hits.includes(*concerned));
        self.turn += usize::from(hit.is_some());
        hit
    }
}

fn hit(faults: &mut [Counted<Hits>]) -> bool {
    faults.iter_mut().fold(false, |hit, Counted { fault, concerned }| {
        *concerned += 1;
        fault.includes(*concerned) || hit
    })
}

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::Throttle(hits) => self.throttles.push(Throttles { hits, concerned: BTreeMap::new() }),
            Fault::Unprocessed(hits) => self.unprocessed.push(Counted::new(hits)),
            Fault::Trouble(hits, troubles) => {
                self.troubles.push(Troubles::new(None, hits, troubles));
            }
            Fault::Slow { service, by } => {
                self.troubles.push(Troubles::new(Some(service), Hits::Every(1), vec![Trouble::Late(by)]));
            }
            Fault::FirstWrite { except, hook } => self.first_writes.push((except, hook)),
            Fault::Hold { call, moment, hook } => self.holds.push(Counted::new((call, moment, hook))),
        }
    }

    /// See [`super::Calls::disturbed`].
    pub(super) fn disturbed(&self) -> usize {
        self.disturbed
    }

    /// Ends all troubles.
    pub(super) fn end_troubles(&mut self) {
        self.troubles.clear();
    }

    /// Decides what happens to a call. A hold takes precedence over a first write that waits, that over a
    /// trouble, and a trouble over a shortened batch.
    /// Every fault that concerns the call counts it, whichever of them is applied, except that a batch that has
    /// another trouble is not counted among those that can be shortened. `can_be_partial` says whether the service can
    /// leave a part of it undone.
    pub(super) fn plan(&mut self, call: &Call, can_be_partial: bool) -> Plan {
        let is_write = call.effect == Effect::Write;
        let throttled =
            is_write && self.throttles.iter_mut().map(|fault| usize::from(fault.hit(call))).sum::<usize>() > 0;
        let throttled = throttled.then_some(Trouble::Throttled);
        let troubles = self.troubles.iter_mut().fold(None, |trouble, fault| fault.hit(call).or(trouble));
        let trouble = throttled.or(troubles);
        let unprocessed = can_be_partial && trouble.is_none() && hit(&mut self.unprocessed);
        if let Some(held) = self.hold(call) {
            return held;
        }
        let is_first = |(except, _): &(Vec<String>, _)| is_write && !except.contains(&call.process);
        if let Some(at) = self.first_writes.iter().position(is_first) {
            let (_, hook) = self.first_writes.swap_remove(at);
            return Plan::ForwardAfter(of_process(hook, call));
        }
        self.disturbed += usize::from(trouble.is_some() || unprocessed);
        match (trouble, unprocessed) {
            (Some(trouble), _) => Plan::Trouble(trouble),
            (None, true) => Plan::Unprocessed,
            (None, false) => Plan::Forward,
        }
    }

    /// Counts the call for every hold that it concerns. If one of them was for this call, the call is held.
    fn hold(&mut self, call: &Call) -> Option<Plan> {
        let mut held = None;
        for (at, hold) in self.holds.iter_mut().enumerate() {
            if hold.fault.0.is_about(call) {
                hold.concerned += 1;
                if hold.concerned == hold.fault.0.nth {
                    held = Some(at);
                }
            }
        }
        let (_, moment, hook) = self.holds.swap_remove(held?).fault;
        Some(Plan::Hold(moment, of_process(hook, call)))
    }
}

/// The hook with the name of the process that makes the call.
fn of_process(hook: HookOfProcess, call: &Call) -> Hook {
    let process = call.process.clone();
    Box::new(move || hook(&process))
}
