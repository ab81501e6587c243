//! `RegexRouter`: records go under another topic's name.

use std::borrow::Cow;

use regex::{Captures, Regex};

use super::build::{Action, KeyProblem, Step, compiled, steps, whole};
use crate::{Config, ConfigError, Key, ValueType};

pub(super) const KEYS: &[Key] = &[
    Key::new("regex", ValueType::Text, "A topic is renamed if its whole name matches this pattern").required().high(),
    Key::new(
        "replacement",
        ValueType::Text,
        "The first match is replaced by this text, in which `$1` stands for the first group",
    )
    .default("")
    .high(),
];

/// A part of a replacement, in Java's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
    Name(String),
}

/// The transform.
#[derive(Debug, Clone)]
pub(super) struct RegexRouter {
    whole: Regex,
    regex: Regex,
    replacement: Vec<Part>,
}

impl RegexRouter {
    pub fn new(config: &Config) -> Result<Self, KeyProblem> {
        let text = config.text("regex");
        let whole = whole(text).map_err(|problem| ("regex", problem))?;
        let regex = compiled(text).map_err(|problem| ("regex", problem))?;
        let replacement = parts(config.text("replacement"), &regex).map_err(|problem| ("replacement", problem))?;
        Ok(Self { whole, regex, replacement })
    }

    /// The new name of a topic. `None` if its name does not match, or nothing would be left of it.
    pub fn route(&self, topic: &str) -> Option<String> {
        if !self.whole.is_match(topic) {
            return None;
        }
        let routed = self.regex.replacen(topic, 1, |found: &Captures<'_>| {
            let text = |part: &Part| match part {
                Part::Text(text) => text.clone(),
                Part::Group(group) => found.get(*group).map_or_else(String::new, |group| group.as_str().to_owned()),
                Part::Name(name) => found.name(name).map_or_else(String::new, |group| group.as_str().to_owned()),
            };
            self.replacement.iter().map(text).collect::<String>()
        });
        Some(routed.into_owned()).filter(|routed| !routed.is_empty())
    }
}

/// Reads a replacement as Java does: `$1` and `${name}` are groups, and a backslash takes the next character as it is.
/// Of `$12`, the second digit belongs to the group only if there are that many.
fn parts(text: &str, regex: &Regex) -> Result<Vec<Part>, String> {
    let mut parts = vec![Part::Text(String::new())];
    let push = |parts: &mut Vec<Part>, c: char| match parts.last_mut() {
        Some(Part::Text(text)) => text.push(c),
        _ => parts.push(Part::Text(c.to_string())),
    };
    let groups = regex.captures_len() - 1;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => push(&mut parts, rest.next().ok_or("ends in a backslash, which stands before a character")?),
            '$' if rest.peek() == Some(&'{') => {
                rest.next();
                let name: String = rest.by_ref().take_while(|c| *c != '}').collect();
                if !regex.capture_names().flatten().any(|own| own == name) {
                    return Err(format!("`regex` has no group `{name}`"));
                }
                parts.push(Part::Name(name));
            }
            '$' => {
                let digit = rest.next().and_then(|c| c.to_digit(10)).ok_or("has a `$` before no group: write `\\$`")?;
                let mut group = digit as usize;
                if group > groups {
                    return Err(format!("`regex` has no group {group}"));
                }
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer > groups {
                        break;
                    }
                    group = longer;
                    rest.next();
                }
                parts.push(Part::Group(group));
            }
            c => push(&mut parts, c),
        }
    }
    Ok(parts)
}

/// The topic names under which a connector's `RegexRouter`s put records, for sinks that name what they write by topic.
#[derive(Debug, Clone, Default)]
pub struct TopicRouter(Vec<Step>);

impl TopicRouter {
    /// The routers of the configuration.
    ///
    /// # Errors
    /// The first problem of the configuration's transforms.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let mut steps = steps(config).map_err(|mut wrong| wrong.swap_remove(0))?;
        steps.retain(|step| matches!(step.action, Action::Route(_)));
        Ok(Self(steps))
    }

    /// The name under which the records of a topic are stored. It is the topic's own without a router that matches it.
    pub fn route<'t>(&self, topic: &'t str) -> Cow<'t, str> {
        self.0.iter().fold(Cow::Borrowed(topic), |topic, step| match &step.action {
            Action::Route(router) if step.routes(&topic) => router.route(&topic).map_or(topic, Cow::Owned),
            _ => topic,
        })
    }

    /// Two of these topics whose records would be stored under the same name, and that name.
    pub fn collision<'t>(&self, topics: impl IntoIterator<Item = &'t str>) -> Option<(&'t str, &'t str, String)> {
        if self.0.is_empty() {
            return None;
        }
        let mut routed = std::collections::BTreeMap::new();
        for topic in topics {
            let name = self.route(topic);
            if let Some(other) = routed.insert(name.clone(), topic).filter(|other| *other != topic) {
                return Some((other, topic, name.into_owned()));
            }
        }
        None
    }
}
