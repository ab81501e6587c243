//! `e2e shrink CASE --schedule NAME` finds the fewest messages of a case, and the earliest calls, with which it still fails
//! under a schedule.
//!
//! What fewer messages should lead to is in no snapshot. An undisturbed run of them says it, and messages without which
//! this run fails by itself are kept.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::cases::select;
use super::command::start_containers;
use super::files::{copied, emptied};
use super::{generate, with_subject};
use crate::calls::CallName;
use crate::schedule::CrashPoint;
use crate::stack::{Isolation, StackKind};
use crate::{CaseId, Options, Outcome, Schedule, Suite, hint, machine, variables};

#[derive(Debug, Args)]
pub(super) struct Shrink {
    /// The case: its name, `protocol::case`, or a part of it that no other case has.
    #[arg(value_name = "FILTER")]
    case: String,
    /// The schedule under which the case fails, such as killed:s3.PutObject:7:after.
    #[arg(long, value_name = "NAME")]
    schedule: Schedule,
    /// Test this command instead of the suite's own pipeline.
    #[arg(long, value_name = "COMMAND")]
    subject: Option<String>,
    /// The case is one of the workloads of up to N messages that `--generate N` makes.
    #[arg(long, value_name = "N")]
    generate: Option<NonZeroUsize>,
    /// The services: embedded, docker or external.
    #[arg(long, env = variables::STACK, default_value = "embedded")]
    stack: StackKind,
    /// The containers of the docker stack: shared (one set for the whole run) or per-test.
    #[arg(long, env = variables::ISOLATION, default_value = "shared")]
    isolation: Isolation,
}

/// The messages of a case, each as it stands in its file.
enum Messages {
    /// The lines of `messages.ndjson`.
    Lines(Vec<Vec<u8>>),
    /// The files of `messages/`, in the order of their names.
    Files(Vec<PathBuf>),
}

impl Messages {
    fn read(folder: &Path) -> Result<Self, String> {
        let (lines, files) = (folder.join("messages.ndjson"), folder.join("messages"));
        if files.is_dir() {
            let entries = fs::read_dir(&files).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
            let mut paths: Vec<PathBuf> =
                entries.map_err(|error| format!("cannot list {}: {error}", files.display()))?;
            paths.sort();
            return Ok(Self::Files(paths));
        }
        let bytes = fs::read(&lines).map_err(|error| format!("cannot read {}: {error}", lines.display()))?;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        Ok(Self::Lines(bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()))
    }

    fn count(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.len(),
            Self::Files(paths) => paths.len(),
        }
    }

    /// Writes those of these places.
    fn write(&self, places: &[usize], folder: &Path) -> std::io::Result<()> {
        match self {
            Self::Lines(lines) => {
                let text: Vec<u8> = places.iter().flat_map(|at| lines[*at].iter().copied().chain([b'\n'])).collect();
                fs::write(folder.join("messages.ndjson"), text)
            }
            Self::Files(paths) => {
                let to = folder.join("messages");
                fs::create_dir_all(&to)?;
                let mut paths = places.iter().map(|at| &paths[*at]);
                paths.try_for_each(|path| fs::copy(path, to.join(path.file_name().unwrap_or_default())).map(drop))
            }
        }
    }
}

/// The case that is made smaller.
struct Shrinking<'a> {
    /// The project, with the fixtures that are written here.
    suite: Suite,
    id: &'a CaseId,
    messages: Messages,
    source: PathBuf,
    /// The services on which it runs.
    options: Options,
}

impl Shrinking<'_> {
    fn folder(&self) -> PathBuf {
        self.id.folder(&self.suite.fixtures)
    }

    /// The outcome of these messages under a schedule, if they pass undisturbed.
    fn run(&self, places: &[usize], schedule: &Schedule) -> Result<Option<Outcome>, String> {
        let folder = self.folder();
        emptied(&folder)?;
        for name in ["case.toml", "objects", "queues", "catalog"] {
            copied(&self.source.join(name), &folder.join(name))?;
        }
        let written = self.messages.write(places, &folder);
        written.map_err(|error| format!("cannot write the messages to {}: {error}", folder.display()))?;
        let run = |schedule: &Schedule| {
            let options = Options { schedule: schedule.clone(), ..self.options.clone() };
            crate::run(&self.suite, self.id, &options, String::new())
        };
        let plain = run(&Schedule::Plain);
        Ok(if plain.failure().is_none() { Some(run(schedule)) } else { None })
    }
}

impl Shrink {
    /// Prints what is left of the case. `runner` is the command that starts this runner again.
    pub(super) fn run(&self, suite: Suite, runner: &str) -> Result<ExitCode, String> {
        let suite = match self.generate {
            Some(bound) => generate::write(&suite, bound.get())?,
            None => suite,
        };
        let suite = &suite;
        let mut cases = select(suite, std::slice::from_ref(&self.case))?;
        if cases.iter().any(|id| id.to_string() == self.case) {
            cases.retain(|id| id.to_string() == self.case);
        }
        let [id] = cases.as_slice() else {
            return Err(format!("`{}` selects {} cases; name one of them whole", self.case, cases.len()));
        };
        if self.schedule.is_plain() {
            return Err("--schedule: name the schedule under which the case fails, not the plain one".to_owned());
        }
        // The snapshots of the smaller cases are written without a review, in a folder of their own.
        machine::prepare(true)?;
        let options = Options { stack: self.stack, isolation: self.isolation, whole_run: true, ..Options::default() };
        if let Err(status) = start_containers(suite, &options)? {
            return Ok(status);
        }
        let fixtures = suite.target().join("e2e/shrunk/fixtures");
        emptied(&fixtures)?;
        copied(&suite.fixtures.join("suite.toml"), &fixtures.join("suite.toml"))?;
        let protocol = suite.fixtures.join(&id.protocol).join("protocol.toml");
        copied(&protocol, &fixtures.join(&id.protocol).join("protocol.toml"))?;
        let source = id.folder(&suite.fixtures);
        let messages = Messages::read(&source)?;
        let smaller = with_subject(Suite { fixtures, ..suite.clone() }, self.subject.as_deref())?;
        let shrinking = Shrinking { suite: smaller, id, messages, source, options };
        let (schedule, places, failure) = self.shrink(&shrinking)?;
        // The folder has what was tried last.
        shrinking.run(&places, &schedule)?;
        let lines: Vec<String> = places.iter().map(|at| (at + 1).to_string()).collect();
        let folder = shrinking.folder();
        machine::print(&format!(
            "{id} fails under {schedule} with {} of its {} messages: {}\n\n{failure}\n\nthe smaller case: {}\n\
             to keep it as a fixture: cp -r {} {}\nto run the whole case: {runner} {id}{}{}{}\n",
            places.len(),
            shrinking.messages.count(),
            lines.join(", "),
            folder.display(),
            hint::quoted(&folder.display().to_string()),
            hint::quoted(&format!("{}-shrunk", id.folder(&suite.fixtures).display())),
            self.generate.map(|bound| format!(" --generate {bound}")).unwrap_or_default(),
            hint::options(&Options { schedule: schedule.clone(), ..shrinking.options.clone() }),
            self.subject.as_ref().map(|subject| format!(" --subject {}", hint::quoted(subject))).unwrap_or_default(),
        ));
        Ok(ExitCode::SUCCESS)
    }

    /// The schedule with the earliest calls, the places of the fewest messages, and how these fail.
    fn shrink(&self, shrinking: &Shrinking<'_>) -> Result<(Schedule, Vec<usize>, String), String> {
        let mut failure = None;
        let mut problem = None;
        let mut fails = |places: &[usize], schedule: &Schedule| match shrinking.run(places, schedule) {
            Ok(outcome) => {
                let outcome = outcome.filter(|outcome| !outcome.is_infrastructure());
                let found = outcome.as_ref().and_then(Outcome::failure).map(str::to_owned);
                let what = if found.is_some() { "fails" } else { "does not fail" };
                machine::warn(&format!("{} messages under {schedule}: {what}", places.len()));
                failure = found.or(failure.take());
                what == "fails"
            }
            Err(error) => {
                problem.get_or_insert(error);
                false
            }
        };
        let all: Vec<usize> = (0..shrinking.messages.count()).collect();
        if !fails(&all, &self.schedule) {
            let id = shrinking.id;
            return Err(problem.unwrap_or_else(|| {
                format!(
                    "{id} does not fail under {}, or it fails undisturbed, so there is nothing to shrink",
                    self.schedule
                )
            }));
        }
        let places = fewest(all, |places| fails(places, &self.schedule));
        let schedule = earliest(self.schedule.clone(), |schedule| fails(&places, schedule));
        match problem {
            Some(problem) => Err(problem),
            None => Ok((schedule, places, failure.unwrap_or_default())),
        }
    }
}

/// The fewest of these that fail, found by leaving out halves, quarters and so on, as long as something can be left out.
fn fewest(mut all: Vec<usize>, mut fails: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    let mut size = all.len().div_ceil(2);
    while size > 0 && all.len() > 1 {
        let mut at = 0;
        while at < all.len() && all.len() > 1 {
            let rest: Vec<usize> = all[..at].iter().chain(all.iter().skip(at + size)).copied().collect();
            if !rest.is_empty() && fails(&rest) {
                all = rest;
            } else {
                at += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    all
}

/// The same schedule with each of its crashes, the first one first, at the earliest call of the same kind with which it fails.
fn earliest(mut schedule: Schedule, mut fails: impl FnMut(&Schedule) -> bool) -> Schedule {
    let crashes = if let Schedule::Killed(crashes) = &schedule { crashes.points().count() } else { 0 };
    for crash in 0..crashes {
        if let Some(earlier) = earlier(&schedule, crash).into_iter().find(&mut fails) {
            schedule = earlier;
        }
    }
    schedule
}

/// The same schedule with this crash, counted from 0, at the earlier calls of the same kind, the first one first.
fn earlier(schedule: &Schedule, crash: usize) -> Vec<Schedule> {
    let Schedule::Killed(crashes) = schedule else { return Vec::new() };
    let Some(point) = crashes.points().nth(crash) else { return Vec::new() };
    let at = |nth| {
        let mut crashes = crashes.clone();
        let moved = CrashPoint { call: CallName { nth, ..point.call.clone() }, moment: point.moment };
        match crash.checked_sub(1) {
            None => crashes.first = moved,
            Some(later) => crashes.then[later] = moved,
        }
        Schedule::Killed(crashes)
    };
    (1..point.call.nth).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_for_the_failure_is_left() {
        for needed in [&[3][..], &[0, 9], &[2, 3, 7], &[]] {
            let mut runs = 0;
            let left = fewest((0..10).collect(), |places| {
                runs += 1;
                needed.iter().all(|place| places.contains(place))
            });
            let expected = if needed.is_empty() { &[9][..] } else { needed };
            assert_eq!(left, expected);
            assert!(runs < 40, "{runs}");
        }
    }

    #[test]
    fn each_crash_moves_to_the_earliest_call_with_which_it_fails() {
        // Fails as long as the first crash is at the second call or a later one, and whatever the second crash is.
        let moved = |text: &str| {
            let mut tried = Vec::new();
            let schedule = earliest(text.parse().expect(text), |schedule| {
                tried.push(schedule.to_string());
                !schedule.to_string().starts_with("killed:s3.PutObject:1")
            });
            (schedule.to_string(), tried)
        };
        let (schedule, tried) = moved("killed:s3.PutObject:4:after+dynamodb.PutItem:3");
        assert_eq!(schedule, "killed:s3.PutObject:2:after+dynamodb.PutItem:1");
        assert_eq!(
            tried,
            [
                "killed:s3.PutObject:1:after+dynamodb.PutItem:3",
                "killed:s3.PutObject:2:after+dynamodb.PutItem:3",
                "killed:s3.PutObject:2:after+dynamodb.PutItem:1",
            ]
        );
        for alone in ["killed:s3.PutObject:1", "twice"] {
            assert_eq!(moved(alone), (alone.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn messages_are_kept_as_they_are_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(&from).expect("created");
        fs::create_dir_all(&to).expect("created");
        fs::write(from.join("messages.ndjson"), b"one\n\xff two\nthree\n").expect("written");
        let messages = Messages::read(&from).expect("messages");
        assert_eq!(messages.count(), 3);
        messages.write(&[1, 2], &to).expect("written");
        assert_eq!(fs::read(to.join("messages.ndjson")).expect("read"), b"\xff two\nthree\n");

        fs::create_dir_all(from.join("messages")).expect("created");
        for name in ["b", "a"] {
            fs::write(from.join("messages").join(name), name).expect("written");
        }
        Messages::read(&from).expect("messages").write(&[1], &to).expect("written");
        assert!(to.join("messages/b").exists() && !to.join("messages/a").exists());
    }
}
