//! A sender, its files, and the receiver that it sends to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::internals::{Embedded, Resources, Stack as _};
use serde_json::{Value, json};

use super::receiver::{Receiver, TOKEN, WEBHOOK};
use crate::common::{self, Ran, run};

pub struct World {
    pub folder: tempfile::TempDir,
    pub slack: Receiver,
    /// Where the state is, if it is in S3.
    pub stack: Option<Embedded>,
}

impl World {
    /// A bot whose configuration has these lines besides.
    pub fn bot(more: &str) -> Self {
        let world = Self { folder: tempfile::tempdir().expect("a folder"), slack: Receiver::start(), stack: None };
        let api = world.slack.url("/api");
        let slack = format!("slack: {{token: {{env: SLACK_BOT_TOKEN}}, channel: '#data', api: '{api}'}}\n{more}\n");
        fs::write(world.path("alerts.yml"), slack).expect("written");
        world
    }

    pub fn webhook(more: &str) -> Self {
        let world = Self::bot("");
        fs::write(world.path("url"), format!("{}\n", world.slack.url(WEBHOOK))).expect("written");
        let slack = format!("slack: {{webhook: {{file: {}}}}}\n{more}\n", world.path("url").display());
        fs::write(world.path("alerts.yml"), slack).expect("written");
        world
    }

    /// Keeps the state in S3.
    pub fn in_s3(self) -> Self {
        let stack = Embedded::start().expect("the services");
        let resources = Resources { buckets: vec!["ops".to_owned()], ..Resources::default() };
        stack.provide(&resources).expect("a bucket");
        Self { stack: Some(stack), ..self }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with this command and the state.
    pub fn program(&self, command: &str) -> Command {
        let mut program = common::program();
        program.args(["alerts", command]).env("SLACK_BOT_TOKEN", TOKEN).arg("--state");
        match &self.stack {
            Some(stack) => program.arg("s3://ops/alerts.json").envs(stack.environment()),
            None => program.arg(self.path("state.json")),
        };
        program
    }

    /// A sender of these results at this hour of the second of January.
    pub fn sender(&self, results: &Path, hour: i64) -> Command {
        let mut program = self.program("send");
        program.arg("--config").arg(self.path("alerts.yml")).arg("--results").arg(results);
        program.args(["--now", &time(hour)]);
        program
    }

    pub fn send(&self, verdicts: &[Value], hour: i64) -> Ran {
        let results = self.results(verdicts);
        run(&mut self.sender(&results, hour))
    }

    /// A file of results.
    pub fn results(&self, verdicts: &[Value]) -> PathBuf {
        let path = self.path("results.json");
        let lines: Vec<String> = verdicts.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n")).expect("written");
        path
    }

    pub fn state(&self) -> Value {
        let text = match &self.stack {
            Some(stack) => {
                let objects = stack.objects("ops").expect("the bucket");
                let Some((_, body)) = objects.into_iter().next() else { return Value::Null };
                body.clone()
            }
            None => fs::read(self.path("state.json")).expect("a state"),
        };
        serde_json::from_slice(&text).expect("JSON")
    }

    /// Lets the time pass after which a sender that is gone is replaced, and the time between two messages.
    pub fn let_time_pass(&self) {
        let mut state = self.state();
        if !state["lease"].is_null() {
            state["lease"]["until"] = json!("2023-01-01T00:00:00Z");
            match &self.stack {
                Some(stack) => stack.put_object("ops", "alerts.json", state.to_string().as_bytes()).expect("put"),
                None => fs::write(self.path("state.json"), state.to_string()).expect("written"),
            }
        }
        self.slack.forget_pace();
    }
}

pub fn time(hour: i64) -> String {
    format!("2023-01-{:02}T{:02}:00:00Z", 2 + hour / 24, hour % 24)
}

/// What a check said of the first of January.
pub fn verdict(table: &str, check: &str, outcome: &str, hour: i64) -> Value {
    json!({
        "table": table, "check": check, "kind": "range", "outcome": outcome, "severity": "error",
        "owner": "workshop@example.com", "description": "", "from": "2023-01-01", "to": "2023-01-01",
        "expected": "a is from 0 to 1 (fails at 1)", "observed": "1 of 2 rows", "total": 2, "bad": 1,
        "ran_at": time(hour),
    })
}
