//! Messages as the folder of a fixture: `messages.ndjson`, and a `case.toml` that says how they were made.

use std::path::{Path, PathBuf};

use super::{Lines, Missing, Record, Target, TargetError};

/// Writes a folder that is a case of the end-to-end tests.
pub struct Fixture {
    lines: Lines,
    folder: PathBuf,
    description: String,
    /// The topic of the first message. A case has to have one, although each message names its own.
    topic: String,
}

impl Fixture {
    /// A new folder. `description` says in words what the messages are. A folder with messages in it is not touched.
    pub fn new(folder: &Path, description: String) -> Result<Self, TargetError> {
        let messages = folder.join("messages.ndjson");
        let failed = |path: &Path, error| TargetError::Write { path: path.into(), error };
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        if messages.exists() {
            return Err(failed(&messages, std::io::ErrorKind::AlreadyExists.into()));
        }
        Ok(Self { lines: Lines::file(&messages)?, folder: folder.into(), description, topic: String::new() })
    }
}

impl Target for Fixture {
    fn send(&mut self, record: &Record<'_>, stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        if self.topic.is_empty() {
            record.topic.clone_into(&mut self.topic);
        }
        self.lines.send(record, stops)
    }

    fn finish(&mut self, stops: &dyn Fn() -> bool) -> Result<(), TargetError> {
        self.lines.finish(stops)?;
        let path = self.folder.join("case.toml");
        let text = |value: &String| toml::Value::String(value.clone());
        let text = format!("description = {}\ntopic = {}\n", text(&self.description), text(&self.topic));
        std::fs::write(&path, text).map_err(|error| TargetError::Write { path, error })
    }

    fn arrived(&self) -> u64 {
        self.lines.arrived()
    }

    fn missing(&mut self) -> Missing {
        self.lines.missing()
    }
}
