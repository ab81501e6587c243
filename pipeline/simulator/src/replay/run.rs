//! A replay: recorded messages are sent when they are due, at another time, and as those of more vehicles.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use e2e_mask::{Mask, fields};
use jiff::Timestamp;

use super::batch::LIST;
use super::shift::shifted;
use super::{Next, Recorded, ReplayError, Source};
use crate::Shard;
use crate::marks::Marks;
use crate::pace::{Pace, TELL};
use crate::random::Key;
use crate::run::Progress;
use crate::target::{FIELDS, Header, Missing, Record, Target, TargetError, Template};

/// What is replayed, and how.
#[derive(Debug)]
pub struct Replay<'r> {
    /// The second, since the Unix epoch, that the recorded time `since` becomes.
    pub from: i64,
    /// The recorded second with which the replay begins; that of the first message if there is none.
    pub since: Option<i64>,
    /// How many recorded seconds pass in one; `None` is as many as possible.
    pub speed: Option<f64>,
    /// How many vehicles each of the recorded ones becomes: itself, and copies with other names at other places.
    pub clones: u64,
    /// Which part of the vehicles is sent.
    pub shard: Shard,
    /// Decides where the copies are.
    pub seed: u64,
    /// The fields of which copies have values of their own.
    pub names: &'r [String],
    /// The fields of a latitude and a longitude.
    pub position: Option<&'r (String, String)>,
    /// The topic; the recorded one if there is none, or if the message lacks a field of it.
    pub topic: Option<&'r Template>,
    /// The topic of messages whose own was not recorded.
    pub otherwise: &'r Template,
    /// The topic that is followed, to which nothing may be sent, because it would be read again.
    pub follows: Option<&'r str>,
    /// What every record has beside what was recorded.
    pub headers: &'r [Header],
}

/// How a replay ended.
#[derive(Debug)]
pub struct Done {
    /// What was sent.
    pub progress: Progress,
    /// How another replay goes on, if this one ended early.
    pub goes_on: Option<GoesOn>,
    /// How many messages that one sends again, because they have arrived behind others that have not.
    pub again: u64,
    /// How many more messages may have arrived, of which nobody knows.
    pub uncertain: u64,
    /// Why not everything was sent, if it was not because the replay had to stop.
    pub error: Option<TargetError>,
}

/// How a replay goes on that was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoesOn {
    /// The recorded second from which it goes on.
    pub since: i64,
    /// The second that this becomes.
    pub from: i64,
    /// The offsets of a topic from which it goes on. They, and not the second, say what was sent.
    pub offsets: Option<BTreeMap<i32, i64>>,
}

impl Replay<'_> {
    /// Sends everything that the source has, until its end or until `stops` says so. `tell` is called every five seconds.
    pub fn run(
        &self,
        source: &mut dyn Source,
        target: &mut dyn Target,
        stops: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(&Progress),
    ) -> Result<Done, ReplayError> {
        let width = self.clones.saturating_sub(1).to_string().len();
        let digits: Vec<String> = (1..self.clones).map(|clone| format!("{clone:0width$}")).collect();
        let seeds = (1..).map(|clone| Key::new(self.seed).with(clone).bits());
        let masks = digits.iter().zip(seeds);
        let masks: Vec<Mask<'_>> =
            masks.map(|(digits, seed)| Mask::numbered(digits, seed, self.names, self.position)).collect();
        let begin = Instant::now();
        let mut told = begin;
        let mut progress = Progress { second: self.from, ..Progress::default() };
        let mut start: Option<(Pace, i64)> = None;
        // The second with which another replay goes on, if this one is stopped.
        let mut goes_on = None;
        let mut seconds: Marks<(i64, Option<BTreeMap<i32, i64>>)> = Marks::new();
        let mut sizes = Sizes::default();
        let mut error = None;
        loop {
            let recorded = match source.next()? {
                Next::Message(recorded) => recorded,
                Next::Idle if stops() => {
                    goes_on = Some(progress.second);
                    break;
                }
                Next::Idle => continue,
                Next::End => break,
            };
            let (pace, later) = start.get_or_insert_with(|| {
                let since = self.since.unwrap_or(recorded.at.div_euclid(1000));
                (Pace::begin(self.from * 1000, self.speed), self.from - since)
            });
            let at = recorded.at + *later * 1000;
            let second = at.div_euclid(1000);
            // As a run does, a replay stops between two seconds, so that another one can begin where it stopped.
            if second > progress.second {
                let Some(behind) = pace.wait(at, stops) else {
                    goes_on = Some(second);
                    break;
                };
                (progress.second, progress.behind) = (second, behind);
                if told.elapsed() >= TELL {
                    told = Instant::now();
                    (progress.elapsed, progress.errors) = (begin.elapsed(), target.errors());
                    tell(&progress);
                }
            } else {
                // What is left of a second is sent at once if the replay has to stop.
                progress.behind = pace.wait(at, stops).unwrap_or(progress.behind);
            }
            if seconds.last().is_none_or(|(last, _)| *last < second) {
                let arrived = target.arrived();
                seconds.begin((second, source.offsets()), arrived);
                sizes.forget(arrived);
            }
            let mut sending = Sending {
                target: &mut *target,
                stops,
                marks: &mut seconds,
                sizes: &mut sizes,
                progress: &mut progress,
            };
            match self.send(&Recorded { at, ..recorded }, *later, &masks, &mut sending) {
                Ok(()) => {}
                Err(ReplayError::Target(failed)) => {
                    error = Some(failed);
                    break;
                }
                Err(other) => return Err(other),
            }
        }
        // A message that was not sent is missing, too.
        let unsent = error.is_some().then_some(seconds.sent());
        error = error.or(target.finish(stops).err());
        let missing = if error.is_some() { target.missing() } else { Missing::default() };
        for number in &missing.numbers {
            let (rows, bytes) = sizes.of(*number);
            progress.messages -= 1;
            progress.rows -= rows;
            progress.bytes -= bytes;
        }
        (progress.elapsed, progress.errors) = (begin.elapsed(), target.errors());
        let first_missing = missing.numbers.first().copied().or(unsent);
        let (mut again, mut from) = (0, goes_on.map(|from| (from, source.offsets())));
        if let Some((first, mark)) = first_missing.and_then(|first| seconds.of(first)) {
            again = seconds.sent() - first - missing.numbers.len() as u64;
            from = Some(mark.clone());
        }
        let goes_on =
            start.zip(from).map(|((_, later), (from, offsets))| GoesOn { since: from - later, from, offsets });
        let error = error.filter(|error| !matches!(error, TargetError::Stopped));
        Ok(Done { progress, goes_on, again, uncertain: missing.uncertain, error })
    }

    /// Sends a message as that of each vehicle that its own becomes. Its time is the new one already, and the times in it
    /// are still to be made `later`.
    fn send(
        &self,
        recorded: &Recorded,
        later: i64,
        masks: &[Mask<'_>],
        sending: &mut Sending<'_, '_>,
    ) -> Result<(), ReplayError> {
        let number = Key::new(vehicle(recorded));
        let is_mine = |clone: &u64| self.shard.has(number.with(*clone).bits());
        if !(0..self.clones.max(1)).any(|clone| is_mine(&clone)) {
            return Ok(());
        }
        let value = recorded.value.as_ref().map(|value| shifted(value, later));
        let headers: Cow<'_, [Header]> = match (self.headers, &*recorded.headers) {
            (added, []) => added.into(),
            ([], own) => own.into(),
            (added, own) => [own, added].concat().into(),
        };
        let mut message = |key: Option<&[u8]>, value: Option<&[u8]>| -> Result<(), ReplayError> {
            let found = Found::of(value);
            let identity = found.identity.each_ref().map(String::as_str);
            let template = self.topic.filter(|template| template.is_filled_by(identity));
            let otherwise = || self.otherwise.is_filled_by(identity).then(|| self.otherwise.of(identity));
            let topic = template.map(|template| template.of(identity)).or_else(|| recorded.topic.clone());
            let time = || Timestamp::from_millisecond(recorded.at).unwrap_or_default();
            let topic = topic.or_else(otherwise).ok_or_else(|| ReplayError::NoTopic { at: time() })?;
            if self.follows == Some(&*topic) {
                return Err(ReplayError::Circle(topic));
            }
            let [.., id] = &found.identity;
            let key = key.or_else(|| (!id.is_empty()).then_some(id.as_bytes()));
            let name = format!("message {} of vehicle {id}", found.message_id);
            let (at, is_json) = (recorded.at, found.is_json);
            let record = Record { topic: &topic, key, at, value, headers: &headers, is_json, name: &name };
            let Sending { target, stops, marks, sizes, progress } = &mut *sending;
            target.send(&record, *stops)?;
            marks.count();
            let bytes = value.map_or(0, <[u8]>::len) as u64;
            sizes.on_their_way.push_back((found.rows, bytes));
            progress.messages += 1;
            progress.rows += found.rows;
            progress.bytes += bytes;
            Ok(())
        };
        if is_mine(&0) {
            message(recorded.key.as_deref(), value.as_deref())?;
        }
        for (_, mask) in (1..).zip(masks).filter(|(clone, _)| is_mine(clone)) {
            let key = recorded.key.as_ref().map(|key| mask.key(key));
            // In what is no JSON object, there are no fields.
            let masked = value.as_ref().map(|value| mask.message(value).map_or(Cow::Borrowed(&**value), Cow::Owned));
            message(key.as_deref(), masked.as_deref())?;
        }
        Ok(())
    }
}

/// Where messages go, and what is counted of them.
struct Sending<'a, 't> {
    target: &'a mut (dyn Target + 't),
    stops: &'a dyn Fn() -> bool,
    marks: &'a mut Marks<(i64, Option<BTreeMap<i32, i64>>)>,
    sizes: &'a mut Sizes,
    progress: &'a mut Progress,
}

/// The sizes of messages that may be on their way. They cannot be made again, as those of a run can.
#[derive(Default)]
struct Sizes {
    /// The number of the first one that is known.
    first: u64,
    /// The rows and the bytes of each from that one on.
    on_their_way: VecDeque<(u64, u64)>,
}

impl Sizes {
    /// All messages before the one of this number have arrived.
    fn forget(&mut self, arrived: u64) {
        while self.first < arrived && self.on_their_way.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// The rows and the bytes of a message that has not arrived.
    fn of(&self, number: u64) -> (u64, u64) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.on_their_way.get(at)).copied().unwrap_or_default()
    }
}

/// Whose message it is, as a number of its key, or of the `id` that it says.
fn vehicle(recorded: &Recorded) -> u64 {
    recorded.key.as_deref().map_or_else(
        || {
            let [.., id] = Found::of(recorded.value.as_deref()).identity;
            hash(id.as_bytes())
        },
        hash,
    )
}

/// A number of a text (FNV-1a).
fn hash(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a message says of itself.
#[derive(Default)]
struct Found {
    /// The values of [`FIELDS`], as text; empty where the message has none.
    identity: [String; FIELDS.len()],
    message_id: String,
    rows: u64,
    /// Whether it is JSON on one line.
    is_json: bool,
}

impl Found {
    fn of(value: Option<&[u8]>) -> Self {
        let Some(fields) = value.and_then(fields) else {
            return Self::default();
        };
        let find = |name: &str| fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.get());
        let text = |name: &str| find(name).map(|text| text.trim_matches('"').to_owned()).unwrap_or_default();
        let list: Option<Vec<&serde_json::value::RawValue>> =
            find(LIST).and_then(|list| serde_json::from_str(list).ok());
        Self {
            identity: FIELDS.map(text),
            message_id: text("message_id"),
            rows: list.map_or(1, |list| list.len() as u64),
            is_json: value.is_some_and(|value| !value.contains(&b'\n')),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static OTHERWISE: LazyLock<Template> = LazyLock::new(|| "fms.{object}.real".parse().expect("a template"));

    /// Gives what it has.
    struct Given<I>(I);

    impl<I: Iterator<Item = Recorded>> Source for Given<I> {
        fn next(&mut self) -> Result<Next, ReplayError> {
            Ok(self.0.next().map_or(Next::End, Next::Message))
        }
    }

    /// Keeps topic, key, time and value.
    #[derive(Default)]
    struct Kept(Vec<(String, String, i64, String)>);

    impl Target for Kept {
        fn send(&mut self, record: &Record<'_>, _stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
            let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"none")).into_owned();
            self.0.push((record.topic.to_owned(), text(record.key), record.at, text(record.value)));
            Ok(())
        }

        fn finish(&mut self, _stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
            Ok(())
        }
    }

    /// Loses the records of these numbers, which it says in the end.
    struct Losing {
        lost: Vec<u64>,
        sent: u64,
    }

    impl Target for Losing {
        fn send(&mut self, _record: &Record<'_>, _stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
            self.sent += 1;
            Ok(())
        }

        fn finish(&mut self, _stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
            Err(TargetError::Closed)
        }

        fn arrived(&self) -> u64 {
            self.lost[0].min(self.sent)
        }

        fn missing(&mut self) -> Missing {
            Missing { numbers: self.lost.clone(), uncertain: 0 }
        }
    }

    fn recorded(at: i64, id: u64) -> Recorded {
        let time = Timestamp::from_millisecond(at).expect("a time");
        let value = format!(
            r#"{{"object":"vehicle","type":"tire","command":"report","id":{id},"message_id":"m{at}","messaged_at":"{time}","latitude":37.5,"longitude":127.0}}"#
        );
        let (key, value) = (Some(id.to_string().into_bytes()), Some(value.into_bytes()));
        Recorded { at, topic: Some("old".to_owned()), key, value, headers: Vec::new() }
    }

    fn replay<'r>(names: &'r [String], position: &'r (String, String), shard: &str) -> Replay<'r> {
        Replay {
            from: 2_000_000_000,
            since: None,
            speed: None,
            clones: 3,
            shard: shard.parse().expect("a shard"),
            seed: 1,
            names,
            position: Some(position),
            topic: None,
            follows: None,
            otherwise: &OTHERWISE,
            headers: &[],
        }
    }

    fn sent(replay: &Replay<'_>, messages: &[Recorded]) -> (Kept, Done) {
        let mut kept = Kept::default();
        let done = replay.run(&mut Given(messages.iter().cloned()), &mut kept, &|| false, &mut |_| {});
        (kept, done.expect("sent"))
    }

    #[test]
    fn a_message_is_sent_later_and_as_that_of_copies() {
        let names = ["id".to_owned(), "message_id".to_owned()];
        let position = ("latitude".to_owned(), "longitude".to_owned());
        let (kept, done) = sent(&replay(&names, &position, "1/1"), &[recorded(1_500, 7), recorded(4_250, 8)]);
        let keys: Vec<_> = kept.0.iter().map(|(topic, key, at, _)| (topic.as_str(), key.as_str(), *at)).collect();
        let (first, second) = (2_000_000_000_500, 2_000_000_003_250);
        assert_eq!(
            keys,
            [
                ("old", "7", first),
                ("old", "71", first),
                ("old", "72", first),
                ("old", "8", second),
                ("old", "81", second),
                ("old", "82", second)
            ]
        );
        assert!(
            kept.0[0].3.contains(r#""message_id":"m1500","messaged_at":"2033-05-18T03:33:20.5Z","latitude":37.5"#),
            "{}",
            kept.0[0].3
        );
        let copy = &kept.0[2].3;
        assert!(copy.contains(r#""id":72,"message_id":"m1500-2""#) && !copy.contains(r#""latitude":37.5"#), "{copy}");
        assert_eq!((done.progress.messages, done.progress.rows, done.goes_on), (6, 6, None));
    }

    #[test]
    fn shards_are_the_whole_and_a_seed_gives_the_same_again() {
        let names = ["id".to_owned()];
        let position = ("latitude".to_owned(), "longitude".to_owned());
        let messages: Vec<Recorded> =
            (0..40_i64).map(|number| recorded(number * 700, number.unsigned_abs() % 7)).collect();
        let whole = sent(&replay(&names, &position, "1/1"), &messages).0.0;
        assert_eq!(whole, sent(&replay(&names, &position, "1/1"), &messages).0.0);
        let other = Replay { seed: 2, ..replay(&names, &position, "1/1") };
        assert_ne!(whole, sent(&other, &messages).0.0);
        let parts = ["1/3", "2/3", "3/3"].map(|shard| sent(&replay(&names, &position, shard), &messages).0.0);
        assert!(parts.iter().all(|part| !part.is_empty() && part.len() < whole.len()));
        let (mut parts, mut whole) = (parts.concat(), whole);
        parts.sort();
        whole.sort();
        assert_eq!(parts, whole);
    }

    #[test]
    fn a_stopped_replay_says_where_it_goes_on() {
        let names = ["id".to_owned()];
        let position = ("latitude".to_owned(), "longitude".to_owned());
        let messages: Vec<Recorded> = (0..20_i64).map(|number| recorded(number * 700, 7)).collect();
        let replay = replay(&names, &position, "1/1");
        let whole = sent(&replay, &messages).0.0;
        let asked = std::cell::Cell::new(0);
        let stops = || {
            asked.set(asked.get() + 1);
            asked.get() > 5
        };
        let mut parts = Kept::default();
        let stopped = replay.run(&mut Given(messages.iter().cloned()), &mut parts, &stops, &mut |_| {});
        let GoesOn { since, from, offsets } = stopped.expect("stopped").goes_on.expect("it was stopped");
        assert_eq!(offsets, None);
        let rest: Vec<Recorded> = messages.into_iter().filter(|message| message.at >= since * 1000).collect();
        let replay = Replay { from, since: Some(since), ..replay };
        replay.run(&mut Given(rest.into_iter()), &mut parts, &|| false, &mut |_| {}).expect("sent");
        assert_eq!(parts.0, whole);
    }

    #[test]
    fn what_has_not_arrived_is_in_no_total() {
        let names = ["id".to_owned()];
        let position = ("latitude".to_owned(), "longitude".to_owned());
        let replay = Replay { clones: 1, ..replay(&names, &position, "1/1") };
        // Messages of one row, two rows, three rows …
        let message = |number: i64| {
            let list = vec![r#"{"speed":1}"#; usize::try_from(number).expect("few") + 1].join(",");
            let value = format!(r#"{{"id":7,"measurements":[{list}]}}"#);
            Recorded { value: Some(value.into_bytes()), ..recorded(number * 700, 7) }
        };
        let messages: Vec<Recorded> = (0..20).map(message).collect();
        let mut target = Losing { lost: vec![11, 14, 19], sent: 0 };
        let done = replay.run(&mut Given(messages.iter().cloned()), &mut target, &|| false, &mut |_| {});
        let done = done.expect("a replay that failed");
        let (whole, _) = sent(&replay, &messages);
        let arrived = whole.0.iter().enumerate().filter(|(number, _)| ![11, 14, 19].contains(number));
        let (rows, bytes) = arrived.fold((0, 0), |(rows, bytes), (number, (.., value))| {
            (rows + number as u64 + 1, bytes + value.len() as u64)
        });
        assert_eq!((done.progress.messages, done.progress.rows, done.progress.bytes), (17, rows, bytes));
    }

    #[test]
    fn what_is_no_json_is_sent_as_it_was() {
        let names = ["id".to_owned()];
        let position = ("latitude".to_owned(), "longitude".to_owned());
        let broken = Recorded { value: Some(br#"{"id":7,"#.to_vec()), ..recorded(0, 7) };
        let tombstone = Recorded { value: None, ..recorded(0, 7) };
        let (kept, _) = sent(&replay(&names, &position, "1/1"), &[broken, tombstone]);
        let values: Vec<_> = kept.0.iter().map(|(_, key, _, value)| (key.as_str(), value.as_str())).collect();
        let broken = r#"{"id":7,"#;
        assert_eq!(
            values,
            [("7", broken), ("71", broken), ("72", broken), ("7", "none"), ("71", "none"), ("72", "none")]
        );
        let template: Template = "new.{type}".parse().expect("a template");
        let replay = Replay { topic: Some(&template), clones: 1, ..replay(&names, &position, "1/1") };
        let unknown = Recorded { topic: None, ..recorded(0, 7) };
        assert_eq!(sent(&replay, std::slice::from_ref(&unknown)).0.0[0].0, "new.tire");
        let replay = Replay { topic: None, ..replay };
        assert_eq!(sent(&replay, &[unknown]).0.0[0].0, "fms.vehicle.real");
    }
}
