//! Keeps the reports: the pages of the last ten runs, and a copy of the newest page under a fixed name.
//!
//! Under nextest a run consists of many processes, and each of them adds its case. The cases are therefore in a file
//! beside the page, one in each line, to which the processes append one after the other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::html::page;
use super::{CaseReport, RunFacts};

/// The number of reports that are kept.
const KEPT: usize = 10;

/// The name of the copy of the newest report.
const NEWEST: &str = "report.html";

/// The report of one run, in a folder with the reports of other runs.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    folder: PathBuf,
    name: String,
}

impl Report {
    /// The report of the run with this name. The name may have only characters that are allowed in file names.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        Self { folder: folder.to_owned(), name: name.to_owned() }
    }

    /// The page of this run.
    pub(crate) fn page(&self) -> PathBuf {
        self.folder.join(format!("report-{}.html", self.name))
    }

    fn data(&self) -> PathBuf {
        self.folder.join(format!(".report-{}.ndjson", self.name))
    }

    /// Adds cases and writes the page, which then has the cases of all processes. Only the first process calls
    /// `facts`. Returns the path of the newest report.
    pub(crate) fn add(&self, facts: impl FnOnce() -> RunFacts, cases: &[CaseReport]) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let mut data = File::options().create(true).append(true).read(true).open(self.data())?;
        // The other processes wait until the file is closed.
        data.lock()?;
        let is_new = data.metadata()?.len() == 0;
        let mut lines = String::new();
        if is_new {
            lines.push_str(&(serde_json::to_string(&facts())? + "\n"));
        }
        for case in cases {
            lines.push_str(&(serde_json::to_string(case)? + "\n"));
        }
        data.write_all(lines.as_bytes())?;
        data.seek(SeekFrom::Start(0))?;
        let (facts, cases) = read(&data)?;
        let now = jiff::Timestamp::now().as_millisecond();
        #[expect(clippy::cast_precision_loss, reason = "a run takes no millions of years")]
        let seconds = (now - facts.started).max(0) as f64 / 1e3;
        let html = page(&facts, &cases, seconds);
        replace(&self.page(), &html)?;
        let newest = self.folder.join(NEWEST);
        replace(&newest, &html)?;
        if is_new {
            self.remove_old();
        }
        Ok(newest)
    }

    /// Removes all reports but the last ten. A file that cannot be removed stays.
    fn remove_old(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut data: Vec<(SystemTime, String)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let name = name.strip_prefix(".report-")?.strip_suffix(".ndjson")?.to_owned();
                Some((entry.metadata().ok()?.modified().ok()?, name))
            })
            .collect();
        data.sort();
        for (_, name) in data.iter().rev().skip(KEPT) {
            let old = Self { name: name.clone(), ..self.clone() };
            let _ = fs::remove_file(old.page());
            let _ = fs::remove_file(old.data());
        }
    }
}

/// The facts, and the cases sorted by name. If a case ran more than once because nextest retried it, its last run
/// counts.
fn read(data: &File) -> io::Result<(RunFacts, Vec<CaseReport>)> {
    let mut lines = BufReader::new(data).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let facts = serde_json::from_str(&first)?;
    let mut cases: BTreeMap<String, CaseReport> = BTreeMap::new();
    for line in lines {
        let case: CaseReport = serde_json::from_str(&line?)?;
        cases.insert(case.name.clone(), case);
    }
    Ok((facts, cases.into_values().collect()))
}

/// Writes another file and renames it, so that nobody reads half of a page.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("html.new");
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}
