//! The folder that keeps what REST has changed: a file for each connector, which `--config` could read too.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::error::StartError;
use crate::config::file::{self, Definition, TargetState};
use crate::providers::Providers;

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Store(PathBuf);

impl Store {
    pub fn new(folder: &Path) -> Self {
        Self(folder.into())
    }

    /// The connectors of the folder, and those of `given` whose names are not among them. A folder that does not exist
    /// yet is made.
    pub fn merged(&self, given: Vec<Definition>, providers: &Providers) -> Result<Vec<Definition>, Vec<StartError>> {
        let unusable = |error| vec![StartError::Store { folder: self.0.clone(), error }];
        fs::create_dir_all(&self.0).map_err(unusable)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(unusable)? {
            let path = entry.map_err(unusable)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
        files.sort();
        let mut all = file::read(&files, providers)
            .map_err(|wrong| wrong.into_iter().map(StartError::Stored).collect::<Vec<_>>())?;
        let kept: Vec<_> = all.iter().map(|definition| definition.name.clone()).collect();
        all.extend(given.into_iter().filter(|definition| !kept.contains(&definition.name)));
        Ok(all)
    }

    /// Keeps a connector. The file is replaced as a whole, so a crash leaves the old one or the new one.
    pub fn keep(&self, definition: &Definition, state: TargetState) -> io::Result<()> {
        let text = format!(
            "{:#}\n",
            json!({"name": definition.name, "initial_state": state.name(), "config": definition.written})
        );
        let path = self.path(&definition.name);
        let new = path.with_extension("new");
        // A password may stand in it as it was sent.
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, path)
    }

    /// Forgets a connector.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A file name that no other connector has, whatever is in the name.
    fn path(&self, name: &str) -> PathBuf {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let escaped = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        let file: Vec<String> = name.bytes().map(escaped).collect();
        self.0.join(format!("{}.json", file.concat()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_stands_over_what_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("made"));
        let providers = Providers::new(|_| Some("x".into()));
        let define = |name: &str, table: &str| {
            let text = json!({"name": name, "config": {"table": table}}).to_string();
            file::parse(Path::new("given.json"), &text, &providers).unwrap()
        };
        assert_eq!(store.merged(Vec::new(), &providers).unwrap().len(), 0);
        store.keep(&define("a/b", "${env:T}"), TargetState::Paused).unwrap();
        let merged = store.merged(vec![define("a/b", "given"), define("c", "given")], &providers).unwrap();
        assert_eq!(merged.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["a/b", "c"]);
        assert_eq!((merged[0].written["table"].as_str(), merged[0].state), ("${env:T}", TargetState::Paused));
        store.forget("a/b").unwrap();
        store.forget("a/b").unwrap();
        assert_eq!(store.merged(Vec::new(), &providers).unwrap().len(), 0);
    }
}
