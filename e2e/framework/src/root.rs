//! Finds the project whose fixtures are run. It is the nearest one above the current folder, and not the checkout in
//! which the executable was compiled.

use std::path::{Path, PathBuf};

use crate::{Program, Suite};

/// Why no project was found.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The current folder is not known, for example because it was deleted.
    #[error("cannot find the current folder; name the project's folder with --root")]
    CurrentFolder(#[source] std::io::Error),
    /// Neither the folder nor one above it has fixtures.
    #[error(
        "there is no fixtures/suite.toml in {} nor in a folder above it; name the project's folder with --root, or begin a project with `init`",
        .0.display()
    )]
    NotFound(PathBuf),
}

impl Suite {
    /// The suite of the project that the current folder is in. The project's folder is the nearest one, from the
    /// current folder upwards, that has `fixtures/suite.toml`.
    pub fn here(program: Program) -> Result<Self, RootError> {
        let folder = std::env::current_dir().map_err(RootError::CurrentFolder)?;
        Self::above(&folder, program)
    }

    fn above(folder: &Path, program: Program) -> Result<Self, RootError> {
        let root = folder.ancestors().find(|folder| folder.join("fixtures/suite.toml").is_file());
        root.map(|root| Self::new(root, program)).ok_or_else(|| RootError::NotFound(folder.to_owned()))
    }

    /// The suite of the project in `root`. It is an error if the project has no fixtures.
    pub fn at(root: &Path, program: Program) -> Result<Self, RootError> {
        if root.join("fixtures").is_dir() {
            Ok(Self::new(root, program))
        } else {
            Err(RootError::NotFound(root.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_project_above_a_folder_wins() {
        let outer = tempfile::tempdir().expect("a folder");
        let outer = outer.path().canonicalize().expect("it is there");
        let (inner, deep) = (outer.join("a/inner"), outer.join("a/inner/src/deep"));
        std::fs::create_dir_all(&deep).expect("created");
        for project in [&outer, &inner] {
            std::fs::create_dir_all(project.join("fixtures")).expect("created");
            std::fs::write(project.join("fixtures/suite.toml"), "").expect("written");
        }
        let root = |folder: &Path| Suite::above(folder, Program::Running).map(|suite| suite.root);
        assert_eq!(root(&deep).expect("inner"), inner);
        assert_eq!(root(&outer.join("a")).expect("outer"), outer);
        let error = Suite::above(Path::new("/nowhere"), Program::Running).expect_err("none").to_string();
        assert!(error.contains("no fixtures/suite.toml in /nowhere") && error.contains("--root"), "{error}");
    }
}
