//! Reports which case caught each mutation and by what, as a table for people, as Markdown and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::mutate::{Mutation, Mutations};
use crate::observe::counted;
use crate::outcome::FoundBy;
use crate::{CaseId, Outcome};

/// How many cases that have missed a mutation are named in a line.
const CASES_SHOWN: usize = 3;

/// What happened to all mutations.
pub(super) struct Report {
    pub trials: Vec<Trial>,
    /// The cases that failed without a mutation, and so can show nothing.
    pub failed: Vec<Undisturbed>,
    /// The cases that passed without one.
    pub cases: Vec<CaseId>,
    /// Whether every mutation was tried on every case that it concerns.
    pub has_all_cases: bool,
    /// Whether all cases of the project were used, so that each mutation has to concern one.
    pub is_whole: bool,
}

/// A case that failed without a mutation.
pub(super) struct Undisturbed {
    pub id: CaseId,
    pub failure: String,
}

/// What happened to one mutation.
pub(super) struct Trial {
    pub mutation: &'static Mutation,
    /// What a case has to have so that the mutation may concern it, if none has it.
    pub lacks: Option<&'static str>,
    /// The runs with this mutation, in the order of their cases.
    pub attempts: Vec<Attempt>,
}

/// What happened to a mutation in the run of one case.
#[derive(Debug)]
pub(super) struct Attempt {
    id: CaseId,
    end: End,
}

/// How a run with a mutation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// The case failed, and this is what found the defect.
    Caught(Vec<FoundBy>),
    /// The case passed.
    Missed,
    /// The mutation did not concern this run, though it concerned the undisturbed one.
    NotReached,
    /// The run proves nothing, for this reason.
    Broken(String),
}

/// The verdict on a mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Caught,
    Survived,
    NotReached,
    /// No case has what the mutation is about.
    Impossible,
    Broken,
}

impl Verdict {
    /// The word for it, for programs.
    fn name(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Survived => "survived",
            Self::NotReached => "not reached",
            Self::Impossible => "impossible",
            Self::Broken => "broken",
        }
    }
}

impl Attempt {
    /// What an outcome says of the mutation that its run had.
    pub(super) fn of(outcome: &Outcome, mutations: &Mutations) -> Self {
        let end = if let Some(problem) = mutations.refused() {
            End::Broken(format!("{problem}, so the mutation itself is wrong"))
        } else if mutations.reached().is_empty() || outcome.undisturbed().is_some() {
            End::NotReached
        } else {
            match outcome.failure() {
                None => End::Missed,
                Some(_) if !outcome.found_by.is_empty() && !outcome.is_infrastructure() => {
                    End::Caught(outcome.found_by.clone())
                }
                Some(failure) => End::Broken(failure.lines().next().unwrap_or_default().to_owned()),
            }
        };
        Self { id: outcome.id.clone(), end }
    }

    pub(super) fn is_caught(&self) -> bool {
        matches!(self.end, End::Caught(_))
    }
}

impl Trial {
    fn verdict(&self) -> Verdict {
        let any = |is: fn(&End) -> bool| self.attempts.iter().any(|attempt| is(&attempt.end));
        if any(|end| matches!(end, End::Broken(_))) {
            Verdict::Broken
        } else if self.attempts.iter().any(Attempt::is_caught) {
            Verdict::Caught
        } else if any(|end| *end == End::Missed) {
            Verdict::Survived
        } else if self.lacks.is_some() {
            Verdict::Impossible
        } else {
            Verdict::NotReached
        }
    }

    /// The first case that caught it, and by what.
    fn catcher(&self) -> Option<(&CaseId, &[FoundBy])> {
        self.attempts.iter().find_map(|attempt| match &attempt.end {
            End::Caught(found_by) => Some((&attempt.id, found_by.as_slice())),
            _ => None,
        })
    }

    fn count(&self, is: fn(&Attempt) -> bool) -> usize {
        self.attempts.iter().filter(|attempt| is(attempt)).count()
    }

    /// The cases that it concerned and that passed all the same.
    fn missed(&self) -> Vec<&CaseId> {
        let missed = self.attempts.iter().filter(|attempt| attempt.end == End::Missed);
        missed.map(|attempt| &attempt.id).collect()
    }

    /// What there is to say of it, in one line.
    fn line(&self) -> String {
        match (self.verdict(), self.catcher()) {
            (Verdict::Caught, Some((id, found_by))) => {
                let others = self.count(Attempt::is_caught) - 1;
                let others = if others > 0 { format!(" and {others} more") } else { String::new() };
                let missed = self.missed();
                let missed = if missed.is_empty() { String::new() } else { format!("; missed by {}", some(&missed)) };
                format!("{id}{others}, by {}{missed}", words(found_by))
            }
            (Verdict::Broken, _) => {
                let broken = self.attempts.iter().find_map(|attempt| match &attempt.end {
                    End::Broken(problem) => Some(format!("{}: {problem}", attempt.id)),
                    _ => None,
                });
                format!("BROKEN: {}", broken.unwrap_or_default())
            }
            (Verdict::Survived, _) => {
                format!("SURVIVED: a pipeline that {} passes {}", self.mutation.defect, some(&self.missed()))
            }
            (Verdict::Impossible, _) => format!("impossible: no case has {}", self.lacks.unwrap_or_default()),
            _ => "not reached: no case has such a call or record".to_owned(),
        }
    }

    fn mark(&self) -> char {
        match self.verdict() {
            Verdict::Caught => '✓',
            Verdict::NotReached => '○',
            Verdict::Impossible => '–',
            Verdict::Survived | Verdict::Broken => '✗',
        }
    }
}

/// The names of some cases, and how many others there are.
fn some(ids: &[&CaseId]) -> String {
    let names: Vec<String> = ids.iter().take(CASES_SHOWN).map(ToString::to_string).collect();
    let others = ids.len().saturating_sub(CASES_SHOWN);
    let others = if others > 0 { format!(" and {others} more") } else { String::new() };
    names.join(", ") + &others
}

fn words(found_by: &[FoundBy]) -> String {
    let words: Vec<String> = found_by.iter().map(ToString::to_string).collect();
    words.join(" and ")
}

impl Report {
    fn count(&self, verdict: Verdict) -> usize {
        self.trials.iter().filter(|trial| trial.verdict() == verdict).count()
    }

    /// Whether every mutation that concerned a case was caught, and at least one was. If all cases were used, one that a case
    /// might have had and that none had is a gap.
    pub(super) fn is_good(&self) -> bool {
        let not_reached = if self.is_whole { self.count(Verdict::NotReached) } else { 0 };
        let bad = self.count(Verdict::Survived) + self.count(Verdict::Broken) + not_reached + self.failed.len();
        bad == 0 && self.count(Verdict::Caught) > 0
    }

    /// The cases that have caught no mutation; nothing can be said of it unless every case was tried.
    fn idle(&self) -> Vec<&CaseId> {
        if !self.has_all_cases {
            return Vec::new();
        }
        let attempts = self.trials.iter().flat_map(|trial| &trial.attempts);
        let catchers: BTreeSet<&CaseId> =
            attempts.filter(|attempt| attempt.is_caught()).map(|attempt| &attempt.id).collect();
        self.cases.iter().filter(|id| !catchers.contains(id)).collect()
    }

    /// The totals, in one line.
    fn verdict(&self, took: Duration) -> String {
        let runs: usize = self.trials.iter().map(|trial| trial.attempts.len()).sum();
        let rare = [Verdict::Impossible, Verdict::Broken].map(|verdict| match self.count(verdict) {
            0 => String::new(),
            count => format!(", {count} {}", verdict.name()),
        });
        let rare = rare.concat();
        format!(
            "{}: {} caught, {} survived, {} not reached{rare}; {}, {} with a mutation, {:.1} s",
            counted(self.trials.len(), "mutation"),
            self.count(Verdict::Caught),
            self.count(Verdict::Survived),
            self.count(Verdict::NotReached),
            counted(self.cases.len() + self.failed.len(), "case"),
            counted(runs, "run"),
            took.as_secs_f64()
        )
    }

    /// The report for people.
    pub(super) fn text(&self, took: Duration) -> String {
        let mut text = String::new();
        for Undisturbed { id, failure } in &self.failed {
            let failure = failure.trim_end().replace('\n', "\n  ");
            let _ = writeln!(text, "✗ {id} fails without any mutation, and shows nothing:\n  {failure}\n");
        }
        let width = self.trials.iter().map(|trial| trial.mutation.name.len()).max().unwrap_or_default().max(8);
        let _ = writeln!(text, "{:<width$}  caught by", "mutation", width = width + 2);
        for trial in &self.trials {
            let _ = writeln!(text, "{} {:<width$}  {}", trial.mark(), trial.mutation.name, trial.line());
        }
        for id in self.idle() {
            let _ = writeln!(text, "○ {id} catches no mutation");
        }
        let _ = writeln!(text, "\n{}", self.verdict(took));
        text
    }

    /// The report for the summary of a job.
    pub(super) fn markdown(&self, took: Duration) -> String {
        let mark = if self.is_good() { "✅" } else { "❌" };
        format!("### {mark} {}\n\n``````\n{}``````\n", self.verdict(took), self.text(took))
    }

    /// The report for programs.
    pub(super) fn json(&self, took: Duration) -> Value {
        let names = |ids: Vec<&CaseId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mutations = self.trials.iter().map(|trial| {
            let caught = trial.attempts.iter().filter_map(|attempt| match &attempt.end {
                End::Caught(found_by) => {
                    let found_by: Vec<String> = found_by.iter().map(ToString::to_string).collect();
                    Some(json!({"case": attempt.id.to_string(), "by": found_by}))
                }
                _ => None,
            });
            json!({
                "name": trial.mutation.name,
                "defect": trial.mutation.defect,
                "verdict": trial.verdict().name(),
                "caught": caught.collect::<Vec<_>>(),
                "missed": names(trial.missed()),
            })
        });
        json!({
            "mutations": mutations.collect::<Vec<_>>(),
            "failed_undisturbed": names(self.failed.iter().map(|failed| &failed.id).collect()),
            "catch_nothing": self.has_all_cases.then(|| names(self.idle())),
            "seconds": took.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate;

    fn id(name: &str) -> CaseId {
        CaseId { protocol: "p".into(), name: name.into() }
    }

    fn report(ends: &[&[(&str, End)]]) -> Report {
        let trials = mutate::ALL.iter().zip(ends).map(|(mutation, ends)| Trial {
            mutation,
            lacks: None,
            attempts: ends.iter().map(|(name, end)| Attempt { id: id(name), end: end.clone() }).collect(),
        });
        let (trials, cases) = (trials.collect(), vec![id("a"), id("b")]);
        Report { trials, failed: Vec::new(), cases, has_all_cases: true, is_whole: false }
    }

    #[test]
    fn a_report_says_who_caught_what_and_what_survived() {
        let caught = End::Caught(vec![FoundBy::Ledger, FoundBy::Snapshots]);
        let report = report(&[
            &[("a", caught.clone()), ("b", End::Missed)],
            &[("b", End::Missed)],
            &[("a", End::NotReached)],
            &[("a", caught), ("b", End::Broken("S3 answered PutObject with status 403".into()))],
        ]);
        let text = report.text(Duration::from_secs(2));
        for line in [
            "✓ s3-first-row-lost  p::a, by ledger and snapshots; missed by p::b\n",
            "✗ s3-last-row-lost   SURVIVED: a pipeline that leaves out the last row of an object passes p::b\n",
            "○ s3-row-twice       not reached: no case has such a call or record\n",
            "✗ s3-row-cut         BROKEN: p::b: S3 answered PutObject with status 403\n",
            "○ p::b catches no mutation\n",
            "\n4 mutations: 1 caught, 1 survived, 1 not reached, 1 broken; 2 cases, 6 runs with a mutation, 2.0 s\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!report.is_good());
        let json = report.json(Duration::ZERO);
        assert_eq!(json["mutations"][0]["caught"][0], json!({"case": "p::a", "by": ["ledger", "snapshots"]}));
        assert_eq!((&json["mutations"][1]["verdict"], &json["catch_nothing"]), (&"survived".into(), &json!(["p::b"])));
    }

    #[test]
    fn it_is_good_if_something_was_caught_and_nothing_survived_and_no_case_fails_by_itself() {
        let caught = End::Caught(vec![FoundBy::Lag]);
        let mut good = report(&[&[("a", caught)], &[]]);
        assert!(good.is_good());
        good.is_whole = true;
        assert!(!good.is_good(), "no case has reached the second one");
        good.trials[1].lacks = Some("an output topic");
        assert!(good.is_good());
        let text = good.text(Duration::ZERO);
        assert!(text.contains("– s3-last-row-lost   impossible: no case has an output topic\n"), "{text}");
        assert!(text.contains("2 mutations: 1 caught, 0 survived, 0 not reached, 1 impossible; "), "{text}");
        good.failed.push(Undisturbed { id: id("c"), failure: "no".into() });
        assert!(!good.is_good());
        assert!(!report(&[&[]]).is_good(), "none was reached");
    }
}
