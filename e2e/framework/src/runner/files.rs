//! Writes fixtures that are made from others: folders that begin empty, and files that are copied if they are there.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Makes an empty folder, in the place of what was there.
pub(super) fn emptied(folder: &Path) -> Result<(), String> {
    let failed = |error| format!("cannot make the folder {}: {error}", folder.display());
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    fs::create_dir_all(folder).map_err(failed)
}

/// Copies a file, or a folder with everything in it. What is not there is not copied.
pub(super) fn copied(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error| format!("cannot copy {} to {}: {error}", from.display(), to.display());
    if from.is_dir() {
        fs::create_dir_all(to).map_err(failed)?;
        for entry in fs::read_dir(from).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            copied(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if from.exists() {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::copy(from, to).map_err(failed)?;
    }
    Ok(())
}
