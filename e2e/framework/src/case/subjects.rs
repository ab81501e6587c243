//! The processes that belong to the pipeline beside the subject itself, `[[subjects]]`, and the programs that follow it,
//! `[[afterwards]]`.

use serde::Deserialize;

use crate::stack::namespace;
use crate::subject::Program;

/// A process of the pipeline beside the subject itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FurtherSubject {
    /// The name by which messages, the log and the calls tell it from the others.
    pub name: SubjectName,
    /// Arguments of the suite's own subject, which is started once more with them.
    #[serde(default)]
    pub args: Vec<String>,
    /// A command to start instead of the suite's own subject.
    #[serde(default)]
    pub command: Option<String>,
}

/// The name of a further subject: up to 50 letters, digits, `-` and `_`. The SDKs of AWS send it in the user agent of
/// each request, and this is what they allow there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
pub struct SubjectName(String);

impl SubjectName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SubjectName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if (1..=50).contains(&name.len()) && name.chars().all(is_allowed) {
            Ok(Self(name))
        } else {
            Err(format!("`{name}`: the name of a subject is 1 to 50 letters, digits, `-` and `_`"))
        }
    }
}

impl FurtherSubject {
    /// The subject with the stack's namespace filled in.
    pub(super) fn within(&self, namespace: &str) -> Self {
        let fill_in = |text: &String| namespace::fill_in(text, namespace);
        Self {
            name: self.name.clone(),
            args: self.args.iter().map(fill_in).collect(),
            command: self.command.as_ref().map(fill_in),
        }
    }

    /// What is started. `own` is the suite's own subject.
    pub(crate) fn program(&self, own: &Program) -> Program {
        match &self.command {
            Some(command) => Program::Shell(command.clone()),
            None => own.clone(),
        }
    }
}

/// Checks that further subjects can be told apart and started.
pub(super) fn check(subjects: &[FurtherSubject]) -> Result<(), String> {
    for (at, FurtherSubject { name, args, command }) in subjects.iter().enumerate() {
        let SubjectName(name) = name;
        if subjects[..at].iter().any(|other| other.name.0 == *name) {
            return Err(format!("two of `subjects` and `afterwards` have the name `{name}`"));
        }
        match command {
            Some(_) if !args.is_empty() => {
                return Err(format!(
                    "the subject `{name}` has `args` and `command`; write the arguments into `command`"
                ));
            }
            Some(command) => {
                Program::shell(command).map_err(|problem| format!("the subject `{name}`: {problem}"))?;
            }
            None if args.is_empty() => return Err(format!("the subject `{name}` has neither `args` nor `command`")),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        subjects: Vec<FurtherSubject>,
    }

    fn read(text: &str) -> Result<Vec<FurtherSubject>, String> {
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        check(&file.subjects).map(|()| file.subjects)
    }

    #[test]
    fn a_subject_is_this_program_with_arguments_or_a_command() {
        let own = Program::Itself { name: "fms", role: ("ROLE", "it") };
        let subjects = read(
            "[[subjects]]\nname = 'poller'\nargs = ['poll', '${namespace}q']\n\
             [[subjects]]\nname = 'other'\ncommand = 'python3 -m other ${namespace}q'",
        )
        .expect("valid");
        let within: Vec<_> = subjects.iter().map(|subject| subject.within("n-")).collect();
        assert_eq!((within[0].program(&own), within[0].args[1].as_str()), (own.clone(), "n-q"));
        assert_eq!(within[1].program(&own), Program::Shell("python3 -m other n-q".to_owned()));
    }

    #[test]
    fn a_subject_that_cannot_be_started_or_told_apart_is_refused() {
        for (text, problem) in [
            ("name = 'a b'\nargs = ['x']", "`a b`: the name of a subject is 1 to 50 letters"),
            ("name = 'a'", "the subject `a` has neither `args` nor `command`"),
            ("name = 'a'\nargs = ['x']\ncommand = 'y'", "has `args` and `command`"),
            ("name = 'a'\ncommand = 'X=1 y'", "write `env X=1 y`"),
            (
                "name = 'a'\nargs = ['x']\n[[subjects]]\nname = 'a'\nargs = ['x']",
                "two of `subjects` and `afterwards` have the name `a`",
            ),
        ] {
            let error = read(&format!("[[subjects]]\n{text}")).expect_err(text);
            assert!(error.contains(problem), "{error}");
        }
    }
}
