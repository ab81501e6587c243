//! The plan of a load test: a file that a team reviews, with what is sent when, what disturbs it, and the limits that it
//! has to keep.

use std::collections::BTreeMap;
use std::path::Path;

use fms_simulator::{Made, Protocols, Rates, Rhythm, Shard};
use serde::{Deserialize, Serialize};

use super::limits::Limits;

/// A plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What is tested, in a sentence.
    pub description: String,
    /// The number of the fleet.
    #[serde(default = "one")]
    pub seed: u64,
    /// How many seconds of the fleet pass in one.
    #[serde(default = "real_time")]
    pub speed: u32,
    /// How days pass for the fleet.
    #[serde(default = "steady")]
    pub rhythm: Rhythm,
    /// What goes wrong: `field`, `none`, or a file of rates beside the plan.
    #[serde(default = "field")]
    pub faults: String,
    /// The time of the fleet with which the run begins.
    #[serde(default = "morning")]
    pub from: String,
    /// How long the pipeline may take to store what is left when everything was sent, in seconds.
    #[serde(default = "minute")]
    pub drain_seconds: u64,
    /// In how many messages a second the first row is looked for in DynamoDB.
    #[serde(default = "twenty")]
    pub looks_per_second: u32,
    /// What each worker prints when it is ready. A rolling restart of another pipeline than this project's needs it.
    #[serde(default)]
    pub ready: Option<String>,
    /// What is added to the environment of the pipeline's processes.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What is sent, one step after the other.
    pub steps: Vec<Step>,
    /// What has to be kept.
    #[serde(default)]
    pub limits: Limits,
}

/// A part of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is called.
    pub name: String,
    /// How long it takes.
    pub seconds: u32,
    /// How many vehicles the fleet has.
    pub vehicles: u64,
    /// How many it has in the end, if their number changes evenly.
    #[serde(default)]
    pub to_vehicles: Option<u64>,
    /// What they send, as `fms simulate --protocols` takes it.
    #[serde(default = "all")]
    pub protocols: String,
    /// How many workers there are; as many as before if it is not said.
    #[serde(default)]
    pub workers: Option<usize>,
    /// What disturbs the step.
    #[serde(default)]
    pub disturb: Option<Disturb>,
}

/// What disturbs a step, from its begin on; all but a rolling restart to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Disturb {
    /// S3 gets every call by so many milliseconds later.
    SlowS3 {
        /// By how many.
        by_ms: u64,
    },
    /// DynamoDB gets every call by so many milliseconds later.
    SlowDynamodb {
        /// By how many.
        by_ms: u64,
    },
    /// The broker does not answer, and connections to it break. Not on external services.
    BrokerAway,
    /// Each worker is stopped in good order and started again under its name, and the next one follows when all are ready.
    /// A run of which the step is over before that says nothing.
    RollingRestart,
}

fn one() -> u64 {
    1
}

fn real_time() -> u32 {
    1
}

fn steady() -> Rhythm {
    Rhythm::Steady
}

fn field() -> String {
    "field".to_owned()
}

/// A Friday morning in Korea.
fn morning() -> String {
    "2026-11-27T08:00:00+09:00".to_owned()
}

fn minute() -> u64 {
    60
}

fn twenty() -> u32 {
    20
}

fn all() -> String {
    "all".to_owned()
}

/// How long the longest step has to be if the growth of processes is limited, in seconds.
const SOAK: u32 = 120;
/// In how many parts the number of vehicles changes in a step.
const PARTS: u32 = 10;

impl Plan {
    /// Reads the file of a plan. An error says what is wrong with it, and where.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read the plan {shown}: {error}"))?;
        let mut plan: Self = toml::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
        if !["field", "none"].contains(&plan.faults.as_str()) {
            let file = path.parent().unwrap_or(Path::new("")).join(&plan.faults);
            plan.faults = file.display().to_string();
        }
        plan.check().map_err(|problem| format!("{shown}: {problem}"))?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        if self.steps.is_empty() {
            return Err("there are no steps".to_owned());
        }
        if self.speed == 0 {
            return Err("`speed` is 0; write how many seconds of the fleet pass in one".to_owned());
        }
        for Step { name, seconds, vehicles, to_vehicles, workers, .. } in &self.steps {
            if *seconds == 0 {
                return Err(format!("the step `{name}` takes no time; write how many `seconds` it takes"));
            }
            if *vehicles == 0 && to_vehicles.is_none_or(|to| to == 0) {
                return Err(format!("the step `{name}` has no vehicles"));
            }
            if *workers == Some(0) {
                return Err(format!("the step `{name}` has no workers, so nobody would store what it sends"));
            }
        }
        let longest = self.steps.iter().map(|step| step.seconds).max().unwrap_or(0);
        if (self.limits.memory_mb_per_hour.is_some() || self.limits.open_per_hour.is_some()) && longest < SOAK {
            return Err(format!(
                "how much processes grow is measured in the longest step, which takes {longest} s; give it {SOAK} at least"
            ));
        }
        let is_away = self.steps.iter().any(|step| step.disturb == Some(Disturb::BrokerAway));
        if self.limits.recover_seconds.is_some() && !is_away {
            return Err(
                "`recover_seconds` is about a step with `disturb = \"broker-away\"`, and there is none".to_owned()
            );
        }
        self.fleet(self.from()?).map(drop)
    }

    /// The first second of the fleet's time.
    pub fn from(&self) -> Result<i64, String> {
        let from: Result<jiff::Timestamp, _> = self.from.parse();
        from.map(jiff::Timestamp::as_second)
            .map_err(|_| format!("`from` is `{}`; write a time such as \"{}\"", self.from, morning()))
    }

    /// How long everything takes to be sent, in seconds.
    pub fn seconds(&self) -> u64 {
        self.steps.iter().map(|step| u64::from(step.seconds)).sum()
    }

    /// The parts of the fleet, each with its time, whose messages together are what is sent from this second on.
    ///
    /// Vehicles that come, and all vehicles when the protocols change, begin to send then: what was due before is not
    /// sent late.
    pub fn fleet(&self, from: i64) -> Result<Vec<Made>, String> {
        let faults = Rates::load(&self.faults).map_err(|error| error.to_string())?;
        let made = |first: u64, vehicles: u64, since: i64, protocols: &[String]| Made {
            seed: self.seed,
            first,
            vehicles,
            shard: Shard::WHOLE,
            from: since,
            until: since,
            since,
            rhythm: self.rhythm,
            protocols: protocols.to_vec(),
            faults: faults.clone(),
            beyond: Vec::new(),
        };
        let (mut done, mut open): (Vec<Made>, Vec<Made>) = (Vec::new(), Vec::new());
        let (mut now, mut sent) = (from, Vec::new());
        for step in &self.steps {
            let protocols = Made::names(
                Protocols::parse(&step.protocols).map_err(|problem| format!("the step `{}`: {problem}", step.name))?,
            );
            if sent != protocols {
                done.append(&mut open);
                sent = protocols;
            }
            for (seconds, vehicles) in step.parts() {
                // Vehicles leave from the end.
                while let Some(last) = open.last().filter(|last| last.vehicles > vehicles) {
                    let rest = Made { vehicles, from: now, until: now, ..last.clone() };
                    done.extend(open.pop());
                    if rest.first < rest.vehicles {
                        open.push(rest);
                    }
                }
                let there = open.last().map_or(0, |last| last.vehicles);
                if there < vehicles {
                    open.push(made(there, vehicles, now, &sent));
                }
                now += i64::from(seconds) * i64::from(self.speed);
                for part in &mut open {
                    part.until = now;
                }
            }
        }
        done.append(&mut open);
        Ok(done)
    }
}

impl Step {
    /// The step as parts with the same number of vehicles: how long each takes in seconds, and how many there are.
    fn parts(&self) -> Vec<(u32, u64)> {
        let Some(to) = self.to_vehicles.filter(|to| *to != self.vehicles) else {
            return vec![(self.seconds, self.vehicles)];
        };
        let parts = PARTS.min(self.seconds);
        let at = |part: u32| self.seconds * part / parts;
        // The last part has the last number.
        let vehicles = |part: u32| {
            let (part, last) = (u64::from(part), u64::from(parts - 1).max(1));
            (self.vehicles * (last - part.min(last)) + to * part.min(last)) / last
        };
        (0..parts).map(|part| (at(part + 1) - at(part), vehicles(part))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: &str) -> Plan {
        toml::from_str(&format!("description = \"d\"\n{steps}")).expect("a plan")
    }

    /// What is sent as vehicles come and go: the vehicles, the seconds, and since when.
    fn parts(plan: &Plan) -> Vec<(u64, u64, i64, i64, i64)> {
        let fleet = plan.fleet(0).expect("a fleet");
        let mut parts: Vec<_> = fleet.iter().map(|m| (m.first, m.vehicles, m.from, m.until, m.since)).collect();
        parts.sort_by_key(|(first, _, from, ..)| (*from, *first));
        parts
    }

    #[test]
    fn vehicles_come_and_go() {
        let plan = plan(
            "speed = 2\n[[steps]]\nname = \"a\"\nseconds = 5\nvehicles = 10\n[[steps]]\nname = \"b\"\nseconds = 5\n\
             vehicles = 30\n[[steps]]\nname = \"c\"\nseconds = 5\nvehicles = 5\n",
        );
        // The ten vehicles of the beginning stay through the second step, and five of them through the third.
        let expected = [(0, 10, 0, 20, 0), (10, 30, 10, 20, 10), (0, 5, 20, 30, 0)];
        assert_eq!(parts(&plan), expected);
        assert_eq!(plan.seconds(), 15);
    }

    #[test]
    fn a_ramp_goes_from_one_number_to_the_other() {
        let step: Step =
            toml::from_str("name = \"r\"\nseconds = 20\nvehicles = 10\nto_vehicles = 100").expect("a step");
        let parts = step.parts();
        assert_eq!((parts.len(), parts[0], parts[9]), (10, (2, 10), (2, 100)));
        assert!(parts.windows(2).all(|pair| pair[0].1 < pair[1].1), "{parts:?}");
        let short: Step = toml::from_str("name = \"r\"\nseconds = 1\nvehicles = 10\nto_vehicles = 0").expect("a step");
        assert_eq!(short.parts(), [(1, 10)]);
    }

    #[test]
    fn what_disturbs_a_step_has_a_name() {
        for (text, disturb) in [
            ("\"rolling-restart\"", Disturb::RollingRestart),
            ("\"broker-away\"", Disturb::BrokerAway),
            ("{ slow-s3 = { by_ms = 5 } }", Disturb::SlowS3 { by_ms: 5 }),
        ] {
            let step = format!("name = \"r\"\nseconds = 1\nvehicles = 1\ndisturb = {text}");
            let step: Step = toml::from_str(&step).expect("a step");
            assert_eq!(step.disturb, Some(disturb));
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("p.toml");
        let step = "[[steps]]\nname = \"a\"\nseconds = 1\nvehicles = 1\n";
        for (text, says) in [
            ("steps = []", "there are no steps"),
            ("[[steps]]\nname = \"a\"\nseconds = 0\nvehicles = 1", "the step `a` takes no time"),
            ("[[steps]]\nname = \"a\"\nseconds = 1\nvehicles = 0", "the step `a` has no vehicles"),
            (&format!("{step}workers = 0"), "has no workers"),
            (&format!("{step}protocols = \"x/y\""), "there is no protocol `x/y`"),
            (&format!("from = \"soon\"\n{step}"), "`from` is `soon`"),
            (&format!("faults = \"no.toml\"\n{step}"), "no.toml"),
            (&format!("{step}vehicle = 2"), "unknown field `vehicle`"),
            (&format!("{step}[limits]\ndynamo_p99_ms = 2"), "unknown field `dynamo_p99_ms`, expected"),
            (&format!("{step}[limits]\nopen_per_hour = 2"), "which takes 1 s; give it 120 at least"),
            (&format!("{step}[limits]\nrecover_seconds = 2"), "`recover_seconds` is about a step with"),
        ] {
            std::fs::write(&path, format!("description = \"d\"\n{text}")).expect("written");
            let error = Plan::read(&path).expect_err(says);
            assert!(error.contains(says) && error.contains("p.toml"), "{error}");
        }
    }
}
