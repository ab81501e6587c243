//! `e2e mutate` makes the pipeline look broken in one way after the other, and finds for each of them a case that fails.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::cases::{in_parallel, select};
use super::command::{append, start_containers};
use super::mutations::{Attempt, Report, Trial, Undisturbed};
use super::{FAILED, with_subject};
use crate::case::{Case, Settings};
use crate::mutate::{self, Mutation, Mutations, Needs};
use crate::schedule::CrashPoint;
use crate::stack::{Isolation, StackKind};
use crate::{CaseId, Options, Outcome, Schedule, Suite, hint, machine, run, variables};

#[derive(Debug, Args)]
pub(super) struct Mutate {
    /// Use only the cases whose name, `protocol::case`, contains one of these texts.
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Try only these mutations, separated by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = names(), hide_possible_values = true)]
    only: Vec<String>,
    /// Try each mutation on every case that it concerns, and not only until one of them catches it. This also lists the
    /// cases that catch nothing.
    #[arg(long)]
    all_cases: bool,
    /// Print the list of all mutations as Markdown, and run nothing.
    #[arg(long)]
    list: bool,
    /// How many cases run at once. The default is four for every core.
    #[arg(long, short)]
    jobs: Option<NonZeroUsize>,
    /// The services: embedded, docker or external.
    #[arg(long, env = variables::STACK, default_value = "embedded")]
    stack: StackKind,
    /// Test this command instead of the suite's own pipeline.
    #[arg(long, value_name = "COMMAND")]
    subject: Option<String>,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// Append the outcome as Markdown to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(mutate::ALL.iter().map(|mutation| mutation.name))
}

impl Mutate {
    pub(super) fn run(&self, suite: impl FnOnce() -> Result<Suite, String>, runner: &str) -> Result<ExitCode, String> {
        if self.list {
            machine::print(&mutate::markdown());
            return Ok(ExitCode::SUCCESS);
        }
        let suite = with_subject(suite()?, self.subject.as_deref())?;
        machine::prepare(false)?;
        let cases = select(&suite, &self.filters)?;
        let options =
            Options { stack: self.stack, isolation: Isolation::Shared, whole_run: true, ..Options::default() };
        if let Err(status) = start_containers(&suite, &options)? {
            return Ok(status);
        }
        let started = Instant::now();
        let session = Session { suite: &suite, options, runner, mutate: self };
        let settings: Vec<Settings> = cases.iter().map(|id| settings(&suite, id)).collect::<Result<_, _>>()?;
        let report = session.report(&cases, &settings);
        let took = started.elapsed();
        machine::print(&if self.json { format!("{}\n", report.json(took)) } else { report.text(took) });
        if let Some(path) = &self.markdown {
            append(path, &report.markdown(took));
        }
        Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }

    /// The mutations that are tried.
    fn mutations(&self) -> Vec<&'static Mutation> {
        let is_chosen =
            |mutation: &&Mutation| self.only.is_empty() || self.only.iter().any(|name| name == mutation.name);
        mutate::ALL.iter().filter(is_chosen).collect()
    }
}

/// One invocation of the command.
struct Session<'a> {
    suite: &'a Suite,
    options: Options,
    runner: &'a str,
    mutate: &'a Mutate,
}

/// A case that passes undisturbed, and the mutations that concern it.
struct Candidate {
    id: CaseId,
    concerned: BTreeSet<&'static str>,
    crash: Option<CrashPoint>,
    /// How much it sends and stores.
    size: usize,
}

impl Session<'_> {
    /// Runs every case undisturbed, and then the mutations on the cases that they concern.
    fn report(&self, cases: &[CaseId], settings: &[Settings]) -> Report {
        let mutations = self.mutate.mutations();
        let undisturbed = in_parallel(cases, self.mutate.jobs, |id, _| {
            let watched = Arc::new(Mutations::watched(&mutations));
            let outcome = self.run(id, None, Schedule::Plain, &watched);
            let (concerned, crash) = (watched.reached(), watched.crash_point());
            let candidate = Candidate { id: id.clone(), concerned, crash, size: outcome.counts.total() };
            (outcome, candidate)
        });
        let (mut failed, mut candidates) = (Vec::new(), Vec::new());
        for (outcome, candidate) in undisturbed {
            match outcome.failure() {
                Some(failure) => failed.push(Undisturbed { id: candidate.id, failure: failure.to_owned() }),
                None => candidates.push(candidate),
            }
        }
        // Small cases are fast, and their differences are read at once.
        candidates.sort_by(|a, b| (a.size, &a.id).cmp(&(b.size, &b.id)));
        let mut trials = if self.mutate.all_cases {
            self.on_all_cases(&mutations, &candidates)
        } else {
            in_parallel(&mutations, self.mutate.jobs, |mutation, _| self.until_caught(mutation, &candidates))
        };
        for trial in &mut trials {
            trial.lacks = lacking(trial.mutation, settings);
        }
        let mut cases: Vec<CaseId> = candidates.into_iter().map(|candidate| candidate.id).collect();
        cases.sort();
        let is_whole = self.mutate.filters.is_empty();
        Report { trials, failed, cases, has_all_cases: self.mutate.all_cases, is_whole }
    }

    /// Tries a mutation on one case after the other, until one of them catches it.
    fn until_caught(&self, mutation: &'static Mutation, candidates: &[Candidate]) -> Trial {
        let mut attempts = Vec::new();
        for candidate in concerned(mutation, candidates) {
            let attempt = self.attempt(mutation, candidate);
            let is_caught = attempt.is_caught();
            attempts.push(attempt);
            if is_caught {
                break;
            }
        }
        Trial { mutation, lacks: None, attempts }
    }

    /// Tries every mutation on every case that it concerns.
    fn on_all_cases(&self, mutations: &[&'static Mutation], candidates: &[Candidate]) -> Vec<Trial> {
        let pairs: Vec<(&'static Mutation, &Candidate)> = mutations
            .iter()
            .flat_map(|mutation| concerned(mutation, candidates).map(|candidate| (*mutation, candidate)))
            .collect();
        let attempts =
            in_parallel(&pairs, self.mutate.jobs, |(mutation, candidate), _| self.attempt(mutation, candidate));
        let mut attempts = attempts.into_iter();
        let trial = |mutation: &&'static Mutation| {
            let cases = concerned(mutation, candidates).count();
            Trial { mutation, lacks: None, attempts: attempts.by_ref().take(cases).collect() }
        };
        mutations.iter().map(trial).collect()
    }

    /// Runs a case with a mutation.
    fn attempt(&self, mutation: &'static Mutation, candidate: &Candidate) -> Attempt {
        let schedule = match (mutation.needs, &candidate.crash) {
            (Needs::KillAtStore, Some(point)) => Schedule::Killed(point.clone().into()),
            _ => Schedule::Plain,
        };
        let mutations = Arc::new(Mutations::of(mutation));
        let outcome = self.run(&candidate.id, Some(mutation), schedule, &mutations);
        Attempt::of(&outcome, &mutations)
    }

    fn run(&self, id: &CaseId, mutation: Option<&Mutation>, schedule: Schedule, mutations: &Arc<Mutations>) -> Outcome {
        let name = mutation.map_or("undisturbed", |mutation| mutation.name);
        let only = mutation.map(|mutation| format!(" --only {}", mutation.name)).unwrap_or_default();
        let subject = self.mutate.subject.as_ref().map(|subject| format!(" --subject {}", hint::quoted(subject)));
        let repeat = [format!("{} mutate {id}{only}", self.runner), hint::options(&self.options)].concat();
        let repeat = repeat + &subject.unwrap_or_default();
        // A mutation that survives is what people want to look at, and then the run has passed.
        let options = Options { schedule, keep_evidence: mutation.is_some(), ..self.options.clone() };
        run::mutated(self.suite, id, &options, repeat, &self.suite.target().join("mutations").join(name), mutations)
    }
}

/// What a case is run with.
fn settings(suite: &Suite, id: &CaseId) -> Result<Settings, String> {
    let case = Case::read(&suite.fixtures, id).map_err(|error| error.to_string())?;
    Ok(case.settings)
}

/// What a case has to have so that a mutation may concern it, if none has it.
fn lacking(mutation: &Mutation, settings: &[Settings]) -> Option<&'static str> {
    let required: Vec<_> = settings.iter().map(|settings| mutation.requires(settings)).collect();
    required.iter().all(|(_, has)| !has).then(|| required.first().map(|(what, _)| *what))?
}

/// The cases that a mutation concerns.
fn concerned<'a>(mutation: &'static Mutation, candidates: &'a [Candidate]) -> impl Iterator<Item = &'a Candidate> {
    candidates.iter().filter(move |candidate| {
        let can_be_killed = mutation.needs == Needs::Nothing || candidate.crash.is_some();
        candidate.concerned.contains(mutation.name) && can_be_killed
    })
}
