//! The file of a snapshot: insta's format, and a way of writing that leaves either the old file or the whole new one.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::case::Case;
use crate::observe::Section;

/// The `source` in every header, in every project. The module that writes snapshots once had this name; another text
/// would change the header of every snapshot.
const SOURCE: &str = "e2e/framework/src/snapshot.rs";

/// The content of a section's snapshot: its text without white space at the end, as insta normalizes it.
pub(super) fn content(section: &Section) -> String {
    section.text().trim_end().replace("\r\n", "\n")
}

/// The whole file of a snapshot of this case with this content.
pub(super) fn text(case: &Case, content: &str) -> String {
    // The fixture by the names of its folders, so that it is the same on every machine.
    let folders: Vec<_> = case.folder.iter().map(|name| name.to_string_lossy()).collect();
    let input_file = folders[folders.len().saturating_sub(3)..].join("/");
    let description = case.description.as_deref();
    whole(description, &input_file, content)
}

fn whole(description: Option<&str>, input_file: &str, content: &str) -> String {
    let description = description.map(|text| format!("description: {}\n", scalar(text))).unwrap_or_default();
    let source = scalar(SOURCE);
    format!("---\nsource: {source}\n{description}input_file: {}\n---\n{content}\n", scalar(input_file))
}

/// A text as YAML, quoted where insta quotes it, so that the files do not depend on who wrote them.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 22] = [
        "yes", "Yes", "YES", "no", "No", "NO", "True", "TRUE", "true", "False", "FALSE", "false", "on", "On", "ON",
        "off", "Off", "OFF", "null", "Null", "NULL", "~",
    ];
    let is_special = |c: char| ":{}[],#`\"'\\".contains(c) || c.is_ascii_control();
    let is_quoted = text.is_empty()
        || text.starts_with(' ')
        || text.ends_with(' ')
        || text.starts_with(|c| "&*?|-<>=!%@.".contains(c))
        || text.contains(is_special)
        || text.starts_with("0x")
        || WORDS.contains(&text)
        || text.parse::<f64>().is_ok();
    if is_quoted { crate::json::quoted(text) } else { text.to_owned() }
}

/// The content of a snapshot file as insta reads it; `None` if the file cannot be read. A file without a header, such
/// as one with the marks of a merge conflict, or one that is not UTF-8 is content as a whole, so that the difference
/// shows it.
pub(super) fn read(path: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
    let snapshot = text.starts_with("---").then(|| insta::Snapshot::from_file(path).ok()).flatten();
    let content = snapshot.as_ref().and_then(|snapshot| snapshot.as_text()).map(ToString::to_string);
    Some(content.unwrap_or_else(|| text.replace("\r\n", "\n").trim_end().to_owned()))
}

/// The names of the files in a folder; none if there is no folder.
pub(super) fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// Whether a file has exactly this text.
pub(super) fn is(path: &Path, text: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes())
}

/// Writes a file as a whole: beside its place first, and then it is moved there. If that fails, the file that was there
/// before is untouched. A file that has this text already is not written.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    if is(path, text) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    let failed = |what: &str, path: &Path, error: io::Error| {
        format!(
            "cannot {what} {}: {error}; what was there before is unchanged. Remove the cause, then run this again",
            path.display()
        )
    };
    fs::create_dir_all(folder).map_err(|error| failed("make the folder", folder, error))?;
    replace(folder, path, text).map_err(|error| failed("write", path, error))
}

fn replace(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut beside = tempfile::Builder::new();
    // Everybody may read a snapshot, as far as the umask allows; temporary files are private otherwise.
    beside.prefix(".").suffix(".tmp").permissions(Permissions::from_mode(0o666));
    let mut file = beside.tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    // Some file systems say only now that the disk is full.
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Removes a file; it is no error if there is none.
pub(super) fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if ![ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            Err(format!("cannot remove {}: {error}; remove it yourself", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = names(folder).collect();
        names.sort();
        names
    }

    /// Most snapshots of this repository were written by insta itself, and the others by this module.
    #[test]
    fn a_file_is_written_as_insta_writes_it() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let folders = |path: &Path| -> Vec<_> {
            let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
        };
        let cases = folders(&fixtures).iter().flat_map(|protocol| folders(protocol)).collect::<Vec<_>>();
        let mut count = 0;
        for path in cases.iter().flat_map(|case| {
            let folder = case.join("snapshots");
            names(&folder).map(|name| folder.join(name)).collect::<Vec<_>>()
        }) {
            let snapshot = insta::Snapshot::from_file(&path).expect("a snapshot");
            let header = snapshot.metadata();
            let content = read(&path).expect("it has content");
            let text = whole(header.description(), header.input_file().expect("a fixture"), &content);
            assert!(is(&path, &text), "{} differs from\n{text}", path.display());
            count += 1;
        }
        assert!(count > 100, "only {count} snapshots were compared");
        let quoted = "---\nsource: e2e/framework/src/snapshot.rs\ndescription: \"a: b\"\ninput_file: f/p/c\n---\nrow\n";
        assert_eq!(whole(Some("a: b"), "f/p/c", "row"), quoted);
    }

    #[test]
    fn insta_reads_any_description_as_it_was_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.snap");
        for description in [
            "plain words",
            "- a list?",
            "a: b",
            "'quoted' \"twice\" and \\",
            "two\nlines\tand a tab",
            "true",
            "1.5",
            "0x1",
            " spaces ",
            "",
            "é 한 \u{1f600}",
            "#x",
            "@x",
            "~",
            "a \u{7f}",
            ".5",
            "`x`, {y} [z]",
        ] {
            write(&path, &whole(Some(description), "fixtures/a/b", "row")).expect("written");
            let snapshot = insta::Snapshot::from_file(&path).expect(description);
            let expected = Some(description).filter(|text| !text.is_empty());
            assert_eq!(snapshot.metadata().description(), expected);
            assert_eq!(snapshot.metadata().source(), Some(SOURCE));
            assert_eq!(read(&path).as_deref(), Some("row"));
        }
    }

    #[test]
    fn the_content_of_a_snapshot_is_what_comes_behind_its_header() {
        let folder = tempfile::tempdir().expect("a folder");
        for (text, content) in [
            ("---\nsource: x\n---\nb\n---\nc\n", "b\n---\nc"),
            ("---\r\nsource: x\r\n---\r\nb\r\n", "b"),
            ("<<<<<<< ours\n---\n", "<<<<<<< ours\n---"),
        ] {
            let path = folder.path().join("a.snap");
            fs::write(&path, text).expect("written");
            assert_eq!(read(&path).as_deref(), Some(content));
        }
        assert_eq!(read(&folder.path().join("none.snap")), None);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_with_the_cause_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshots = folder.path().join("snapshots");
        fs::write(&snapshots, "a file where the folder should be").expect("written");
        let problem = write(&snapshots.join("a.snap"), "new").expect_err("no folder");
        assert!(problem.contains("make the folder ") && problem.contains("snapshots: File exists"), "{problem}");

        fs::create_dir(folder.path().join("a.snap")).expect("a folder where the file should be");
        let problem = write(&folder.path().join("a.snap"), "new").expect_err("no file");
        assert!(problem.contains("a.snap: Is a directory"), "{problem}");
        assert!(remove(&folder.path().join("a.snap")).expect_err("a folder").contains("remove it yourself"));
        assert_eq!(names_of(folder.path()), ["a.snap", "snapshots"], "nothing is left beside them");
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_others_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/a.snap");
        write(&path, "old").expect("written");
        write(&path, "new").expect("written");
        assert!(is(&path, "new"));
        assert_eq!(names_of(&folder.path().join("deep")), ["a.snap"]);
        let plain = folder.path().join("plain");
        fs::write(&plain, "").expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}
