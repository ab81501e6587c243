//! Which recorded trips vehicles drive: the two of the program, or those of a folder.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::OnceLock;

use crate::refused::RefusedFile;
use crate::track::{Track, own};

static TRACKS: OnceLock<Vec<Track>> = OnceLock::new();

/// How long a trip may be, in seconds, so that it ends in each window of a day, however slowly it is driven; and how long it
/// has to be.
const LONGEST: i64 = 44 * 60;
const SHORTEST: i64 = 2 * 60;

/// The recorded trips, in a fixed order.
pub(crate) fn recorded() -> &'static [Track] {
    TRACKS.get_or_init(own)
}

/// Lets vehicles drive the trips of the files of a folder that end with `.csv` or `.csv.gz`, in the order of the names of
/// files and trips. It has to be called before the first message is made, and gives how many trips there are.
///
/// # Errors
///
/// A file cannot be read or is not as the recordings of the program are, or there is no trip.
pub fn use_recordings(folder: &Path) -> Result<usize, RefusedFile> {
    let failed =
        |path: &Path, error| RefusedFile::Read { what: "the recordings", path: path.into(), error, advice: "" };
    let refused = |path: &Path, problem: String| RefusedFile::Content { path: path.into(), problem };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let uncompressed = name.strip_suffix(".gz").unwrap_or(&name);
        if Path::new(uncompressed).extension().is_some_and(|extension| extension == "csv") {
            files.insert(name, path);
        }
    }
    let mut tracks = Vec::new();
    for path in files.values() {
        let bytes = std::fs::read(path).map_err(|error| failed(path, error))?;
        let mut text = String::new();
        let read = if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text)
        } else {
            bytes.as_slice().read_to_string(&mut text)
        };
        read.map_err(|error| failed(path, error))?;
        tracks.extend(trips(&text).map_err(|problem| refused(path, problem))?);
    }
    let count = tracks.len();
    if count == 0 {
        return Err(refused(folder, "it has no trip; a file ends with .csv or .csv.gz".to_owned()));
    }
    let is_early = TRACKS.set(tracks).is_ok();
    if is_early { Ok(count) } else { Err(refused(folder, "other recordings are in use already".to_owned())) }
}

/// The trips of a file, by their names.
fn trips(text: &str) -> Result<Vec<Track>, String> {
    let names = text.lines().skip(1).filter_map(|line| line.split(',').next());
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let read = |name: &&str| {
        let track = Track::read(text, name).map_err(|problem| format!("trip {name}: {problem}"))?;
        match track.seconds() {
            seconds if seconds > LONGEST => Err(format!("trip {name} takes {seconds} s; cut it after {LONGEST} s")),
            seconds if seconds < SHORTEST => {
                Err(format!("trip {name} has {seconds} s from its first fix on; {SHORTEST} s are the least"))
            }
            _ => Ok(track),
        }
    };
    names.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::text;

    #[test]
    fn a_folder_has_the_trips_of_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        let error = use_recordings(folder.path()).expect_err("no trip").to_string();
        assert!(error.contains("it has no trip"), "{error}");
        let own = text();
        let head = own.lines().next().expect("names");
        for (text, says) in [
            (own.replacen(",Speed,", ",Pace,", 1), "b.csv: trip A: the column `Speed` is missing"),
            (
                format!("{head}\n{}", own.lines().nth(200).expect("a second")),
                "b.csv: trip A has 0 s from its first fix on",
            ),
            (format!("{head}\nZ,,,,,\n"), "b.csv: trip Z: a line has fewer cells than there are columns"),
        ] {
            write("b.csv", &text);
            let error = use_recordings(folder.path()).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
        write("b.csv", &own.replace("\nC,", "\nE,"));
        write("a.csv", &own.replace("\nA,", "\nD,"));
        write("README.md", "no recording");
        assert_eq!(use_recordings(folder.path()).expect("four trips"), 4);
        assert_eq!(recorded().len(), 4);
        assert!(use_recordings(folder.path()).expect_err("used").to_string().contains("already"));
    }
}
