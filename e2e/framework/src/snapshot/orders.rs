//! What insta's variables ask for: whether a snapshot that differs is accepted, put up for review or left as it is.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

/// What is asked for, by variables of insta that `cargo insta` and people set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orders {
    update: Update,
    /// `INSTA_FORCE_PASS`: nothing fails. `cargo insta test` sets it, and then lists the pending snapshots.
    pub pass: bool,
    /// `INSTA_REQUIRE_FULL_MATCH`: the headers are compared too.
    pub full_match: bool,
}

/// The values of `INSTA_UPDATE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Update {
    /// `new`: what differs is pending.
    New,
    /// `always`: what differs is accepted.
    Always,
    /// `force`: everything is written, for the header of a snapshot may differ where its content does not.
    Force,
    /// `unseen`: what has no snapshot yet is accepted, and the rest is pending.
    Unseen,
    /// `no`: nothing is written.
    No,
}

/// What is done with the snapshot of one section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The snapshot is written.
    Accept,
    /// A pending snapshot is written beside it.
    AskForReview,
    /// Neither.
    Nothing,
}

static GIVEN: OnceLock<Orders> = OnceLock::new();

/// Reads the variables. With `accept`, snapshots are written without a review, whatever `INSTA_UPDATE` says.
pub(crate) fn prepare(accept: bool) -> Result<(), String> {
    let orders = Orders::read(|name| std::env::var(name).ok())?;
    let orders = if accept { Orders { update: Update::Force, ..orders } } else { orders };
    // The first call decides: a process has one set of variables.
    let _ = GIVEN.set(orders);
    Ok(())
}

/// What is asked for in this process. Without [`prepare`], nothing is written.
pub(super) fn given() -> Orders {
    GIVEN.get().copied().unwrap_or(Orders { update: Update::No, pass: false, full_match: false })
}

impl Orders {
    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is_set = |name: &str| match variable(name).as_deref() {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(other) => Err(format!("{name} is `{other}`; set it to 1 or 0, or unset it")),
        };
        let update = match variable("INSTA_UPDATE").as_deref() {
            None | Some("auto") if is_ci(&variable) => Update::No,
            None | Some("auto" | "new") => Update::New,
            Some("always" | "1") => Update::Always,
            Some("force") => Update::Force,
            Some("unseen") => Update::Unseen,
            Some("no") => Update::No,
            Some(other) => {
                return Err(format!(
                    "INSTA_UPDATE is `{other}`; set it to auto, new, always, force, unseen or no, or unset it"
                ));
            }
        };
        Ok(Self { update, pass: is_set("INSTA_FORCE_PASS")?, full_match: is_set("INSTA_REQUIRE_FULL_MATCH")? })
    }

    /// Whether snapshots that exist are replaced, and those of which nothing was observed removed.
    pub(super) fn accept_without_review(self) -> bool {
        matches!(self.update, Update::Always | Update::Force)
    }

    /// What to do with the snapshot of a section that is the same or not, and has been approved once or not.
    pub(super) fn action(self, is_same: bool, exists: bool) -> Action {
        match (self.update, is_same) {
            (Update::Force, _) | (Update::Always, false) => Action::Accept,
            (Update::Unseen, false) if !exists => Action::Accept,
            (Update::New | Update::Unseen, false) => Action::AskForReview,
            (Update::No, false) | (_, true) => Action::Nothing,
        }
    }
}

/// Whether this is a run of continuous integration, where nobody would review a pending snapshot.
fn is_ci(variable: &impl Fn(&str) -> Option<String>) -> bool {
    match variable("CI").as_deref() {
        Some("false" | "0") => false,
        Some(_) => true,
        None => variable("TF_BUILD").is_some(),
    }
}

/// Tells `cargo insta` that a test refers to this snapshot. It asks for that by naming a file, to find the snapshots to
/// which no test refers.
pub(super) fn note_reference(snapshot: &Path) -> Result<(), String> {
    let Some(list) = std::env::var_os("INSTA_SNAPSHOT_REFERENCES_FILE") else { return Ok(()) };
    let line = format!("{}\n", snapshot.display());
    let file = File::options().append(true).create(true).open(&list);
    file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(|error| {
        format!(
            "cannot note {} in {}, which cargo insta reads: {error}",
            snapshot.display(),
            Path::new(&list).display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(variables: &[(&str, &str)]) -> Result<Orders, String> {
        Orders::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_variables_mean_what_they_mean_to_insta() {
        let update = |variables: &[(&str, &str)]| orders(variables).expect("valid").update;
        assert_eq!(update(&[]), Update::New);
        assert_eq!(update(&[("CI", "true")]), Update::No);
        assert_eq!(update(&[("CI", "false"), ("INSTA_UPDATE", "")]), Update::New);
        assert_eq!(update(&[("CI", "true"), ("INSTA_UPDATE", "always")]), Update::Always);
        assert!(orders(&[("INSTA_FORCE_PASS", "1")]).expect("valid").pass);
        assert!(orders(&[("INSTA_UPDATE", "yes")]).expect_err("no such value").contains("force, unseen or no"));
        assert!(orders(&[("INSTA_REQUIRE_FULL_MATCH", "x")]).expect_err("no such value").contains("1 or 0"));
    }

    #[test]
    fn what_differs_is_accepted_or_pending_and_what_does_not_is_left() {
        for (update, same, new, changed) in [
            ("new", Action::Nothing, Action::AskForReview, Action::AskForReview),
            ("always", Action::Nothing, Action::Accept, Action::Accept),
            ("force", Action::Accept, Action::Accept, Action::Accept),
            ("unseen", Action::Nothing, Action::Accept, Action::AskForReview),
            ("no", Action::Nothing, Action::Nothing, Action::Nothing),
        ] {
            let orders = orders(&[("INSTA_UPDATE", update)]).expect("valid");
            let found = (orders.action(true, true), orders.action(false, false), orders.action(false, true));
            assert_eq!(found, (same, new, changed), "{update}");
        }
    }
}
