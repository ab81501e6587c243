//! How `transforms` and `predicates` of a configuration become transforms, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::predicate::{self, Predicate};
use super::{Record, TransformError, fields, router, shape, timestamp};
use crate::{Config, ConfigError, Key};

/// The package of Kafka Connect's transforms.
const PACKAGE: &str = "org.apache.kafka.connect.transforms.";

/// The package of Kafka Connect's predicates.
const PREDICATES: &str = "org.apache.kafka.connect.transforms.predicates.";

/// Whether the key belongs to a transform or to a predicate.
pub(crate) fn is_key(key: &str) -> bool {
    key.starts_with("transforms.") || key.starts_with("predicates.")
}

/// What a transform works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

/// What a transform does to a key or value, or to a record.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Fields(Part, fields::FieldTransform),
    Shape(Part, shape::ShapeTransform),
    Timestamp(Part, timestamp::TimestampConverter),
    Route(router::RegexRouter),
    /// The record is dropped.
    Filter,
}

/// A transform with its predicate.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// `transform a`, for errors.
    pub alias: String,
    pub action: Action,
    /// The transform is applied to the records for which this gives the expected value.
    predicate: Option<(Predicate, bool)>,
}

impl Step {
    /// The record after this transform; `None` if it is dropped.
    pub fn apply<'r>(&self, mut record: Record<'r>) -> Result<Option<Record<'r>>, TransformError> {
        if let Some((predicate, expected)) = &self.predicate
            && predicate.holds(&record) != *expected
        {
            return Ok(Some(record));
        }
        let part = match &self.action {
            Action::Filter => return Ok(None),
            Action::Route(router) => {
                if let Some(topic) = router.route(&record.topic) {
                    record.topic = topic.into();
                }
                return Ok(Some(record));
            }
            Action::Fields(part, _) | Action::Shape(part, _) | Action::Timestamp(part, _) => *part,
        };
        let operand = match part {
            Part::Key => std::mem::replace(&mut record.key, super::Json::Null),
            Part::Value => std::mem::replace(&mut record.value, super::Json::Null),
        };
        let result = match &self.action {
            Action::Fields(_, transform) => transform.apply(operand, &record)?,
            Action::Shape(_, transform) => transform.apply(operand)?,
            Action::Timestamp(_, converter) => converter.apply(operand)?,
            Action::Route(_) | Action::Filter => operand,
        };
        match part {
            Part::Key => record.key = result,
            Part::Value => record.value = result,
        }
        Ok(Some(record))
    }

    /// Whether it may change the key.
    pub fn changes_key(&self) -> bool {
        matches!(
            self.action,
            Action::Fields(Part::Key, _) | Action::Shape(Part::Key, _) | Action::Timestamp(Part::Key, _)
        )
    }

    /// Whether the topic alone decides whether it is applied.
    pub fn depends_on_topic_alone(&self) -> bool {
        self.predicate.as_ref().is_none_or(|(predicate, _)| matches!(predicate, Predicate::TopicNameMatches(_)))
    }

    /// Whether the topic of this name is routed by it.
    pub fn routes(&self, topic: &str) -> bool {
        match &self.predicate {
            Some((Predicate::TopicNameMatches(pattern), expected)) => pattern.is_match(topic) == *expected,
            Some(_) => false,
            None => true,
        }
    }
}

/// A kind of transform or predicate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransformKind {
    /// The name of its class, without that of its package and of what it works on.
    name: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Whether there is one for keys and one for values.
    halves: bool,
}

const KINDS: &[TransformKind] = &[
    TransformKind { name: "RegexRouter", keys: router::KEYS, halves: false },
    TransformKind { name: "Filter", keys: &[], halves: false },
    TransformKind { name: "InsertField", keys: fields::INSERT_KEYS, halves: true },
    TransformKind { name: "ReplaceField", keys: fields::REPLACE_KEYS, halves: true },
    TransformKind { name: "MaskField", keys: fields::MASK_KEYS, halves: true },
    TransformKind { name: "TimestampConverter", keys: timestamp::KEYS, halves: true },
    TransformKind { name: "ExtractField", keys: shape::EXTRACT_KEYS, halves: true },
    TransformKind { name: "HoistField", keys: shape::HOIST_KEYS, halves: true },
    TransformKind { name: "Flatten", keys: shape::FLATTEN_KEYS, halves: true },
];

/// The class names of all transforms and predicates, each with Kafka Connect's name of what it is, and its keys.
pub(crate) fn kinds() -> impl Iterator<Item = (String, &'static str, &'static [Key])> {
    let transforms = KINDS.iter().flat_map(|kind| {
        let halves: &[&str] = if kind.halves { &["$Key", "$Value"] } else { &[""] };
        halves.iter().map(move |half| (format!("{PACKAGE}{}{half}", kind.name), "transformation", kind.keys))
    });
    let predicates = predicate::KINDS.iter().map(|(name, keys)| (format!("{PREDICATES}{name}"), "predicate", *keys));
    transforms.chain(predicates)
}

/// Everything that is wrong with the transforms of a configuration.
pub(crate) fn check(config: &Config) -> Vec<ConfigError> {
    let mut problems = steps(config).err().unwrap_or_default();
    if !config.list("transforms").is_empty() && config.get("converter.extract.field").is_some() {
        let problem = "has no defined order beside `transforms`: name an ExtractField$Value there instead";
        problems.push(config.error("converter.extract.field", problem));
    }
    problems
}

/// The keys under a prefix such as `transforms.a.`, each of which has to be taken by somebody.
struct Settings<'c> {
    config: &'c Config,
    prefix: String,
    values: BTreeMap<String, String>,
}

impl<'c> Settings<'c> {
    fn of(config: &'c Config, kind: &str, alias: &str) -> Self {
        let prefix = format!("{kind}.{alias}.");
        let values = config.prefixed(&prefix).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { config, prefix, values }
    }

    fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        self.config.error(&format!("{}{key}", self.prefix), problem)
    }

    /// What is left of the settings, checked by these keys.
    fn checked(self, keys: &'static [Key]) -> Result<Config, Vec<ConfigError>> {
        Config::check(self.config.name(), &[keys], self.values.clone()).map_err(|wrong| {
            wrong.into_iter().map(|error| self.error(&error.key, error.problem.clone())).collect::<Vec<_>>()
        })
    }
}

/// The transforms of the configuration, in their order. The error has every problem found.
pub(super) fn steps(config: &Config) -> Result<Vec<Step>, Vec<ConfigError>> {
    if !config.declares("transforms") {
        return Ok(Vec::new());
    }
    let (names, predicate_names) = (config.list("transforms"), config.list("predicates"));
    let mut problems = Vec::new();
    for (key, all) in [("transforms", &names), ("predicates", &predicate_names)] {
        let distinct: BTreeSet<_> = all.iter().collect();
        if distinct.len() != all.len() {
            problems.push(config.error(key, "names one of them twice"));
        }
        let prefix = format!("{key}.");
        for (rest, _) in config.prefixed(&prefix) {
            if !all.iter().any(|name| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))) {
                let problem = format!("belongs to nothing that `{key}` names");
                problems.push(config.error(&format!("{prefix}{rest}"), problem));
            }
        }
    }
    let mut predicates = BTreeMap::new();
    for name in predicate_names {
        match predicate(config, name) {
            Ok(predicate) => drop(predicates.insert(name, predicate)),
            Err(wrong) => problems.extend(wrong),
        }
    }
    let mut used = BTreeSet::new();
    let mut steps = Vec::new();
    let mut seen = BTreeSet::new();
    for name in names.into_iter().filter(|name| seen.insert(*name)) {
        match step(config, name, &predicates, &mut used) {
            Ok(step) => steps.push(step),
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty()
        && let Some(unused) = predicates.keys().find(|name| !used.contains(**name))
    {
        problems.push(config.error("predicates", format!("no transform has the predicate `{unused}`: remove it")));
    }
    if problems.is_empty() { Ok(steps) } else { Err(problems) }
}

/// Takes the class of a transform or predicate, without its package.
fn class(settings: &mut Settings<'_>, package: &str) -> Result<String, ConfigError> {
    let class = settings.values.remove("type").ok_or_else(|| settings.error("type", "is missing: name the class"))?;
    let class = class.trim();
    Ok(class.strip_prefix(package).unwrap_or(class).to_owned())
}

fn predicate(config: &Config, name: &str) -> Result<Predicate, Vec<ConfigError>> {
    let mut settings = Settings::of(config, "predicates", name);
    let class = class(&mut settings, PREDICATES).map_err(|error| vec![error])?;
    let Some((kind, keys)) = predicate::KINDS.iter().find(|(kind, _)| *kind == class) else {
        let known: Vec<_> = predicate::KINDS.iter().map(|(kind, _)| *kind).collect();
        return Err(vec![settings.error("type", format!("is not a known predicate; known: {}", known.join(", ")))]);
    };
    let prefix = settings.prefix.clone();
    let own = settings.checked(keys)?;
    Predicate::new(kind, &own).map_err(|(key, problem)| vec![config.error(&format!("{prefix}{key}"), problem)])
}

fn step(
    config: &Config,
    name: &str,
    predicates: &BTreeMap<&str, Predicate>,
    used: &mut BTreeSet<String>,
) -> Result<Step, Vec<ConfigError>> {
    let mut settings = Settings::of(config, "transforms", name);
    let class = class(&mut settings, PACKAGE).map_err(|error| vec![error])?;
    let (own, half) = class.split_once('$').map_or((class.as_str(), None), |(own, half)| (own, Some(half)));
    let part = match half {
        Some("Key") => Some(Part::Key),
        Some("Value") => Some(Part::Value),
        Some(_) | None => None,
    };
    let kind =
        KINDS.iter().find(|kind| kind.name == own && kind.halves == part.is_some() && half.is_some() == kind.halves);
    let Some(kind) = kind else {
        let known: Vec<_> = KINDS
            .iter()
            .map(|kind| format!("{}{}", kind.name, if kind.halves { "$Key or $Value" } else { "" }))
            .collect();
        return Err(vec![settings.error("type", format!("is not a known transform; known: {}", known.join(", ")))]);
    };
    let predicate = settings.values.remove("predicate");
    let negate = settings.values.remove("negate");
    let predicate = match (&predicate, &negate) {
        (None, None) => None,
        (None, Some(_)) => return Err(vec![settings.error("negate", "has no effect without `predicate`: remove it")]),
        (Some(named), negate) => {
            let negate = match negate.as_deref().map(str::trim) {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return Err(vec![settings.error("negate", "is not a boolean; allowed: true, false")]),
            };
            let Some(predicate) = predicates.get(named.trim()) else {
                return Err(vec![settings.error("predicate", "is none that `predicates` names")]);
            };
            used.insert(named.trim().to_owned());
            Some((predicate.clone(), !negate))
        }
    };
    let prefix = settings.prefix.clone();
    let own = settings.checked(kind.keys)?;
    let part = part.unwrap_or(Part::Value);
    let made = match kind.name {
        "RegexRouter" => router::RegexRouter::new(&own).map(Action::Route),
        "Filter" => Ok(Action::Filter),
        "InsertField" => fields::FieldTransform::insert(&own).map(|made| Action::Fields(part, made)),
        "ReplaceField" => fields::FieldTransform::replace(&own).map(|made| Action::Fields(part, made)),
        "MaskField" => fields::FieldTransform::mask(&own).map(|made| Action::Fields(part, made)),
        "TimestampConverter" => timestamp::TimestampConverter::new(&own).map(|made| Action::Timestamp(part, made)),
        "ExtractField" => shape::ShapeTransform::extract(&own).map(|made| Action::Shape(part, made)),
        "HoistField" => Ok(Action::Shape(part, shape::ShapeTransform::hoist(&own))),
        _ => Ok(Action::Shape(part, shape::ShapeTransform::flatten(&own))),
    };
    let action = made.map_err(|(key, problem)| vec![config.error(&format!("{prefix}{key}"), problem)])?;
    let step = Step { alias: format!("transform `{name}`"), action, predicate };
    if matches!(step.action, Action::Route(_)) && !step.depends_on_topic_alone() {
        let problem = "may only be TopicNameMatches: the names of objects are made of the topic before any record is read, so \
                       all records of a topic go the same way";
        return Err(vec![config.error(&format!("{prefix}predicate"), problem)]);
    }
    Ok(step)
}

/// A problem with one key of a transform.
pub(super) type KeyProblem = (&'static str, String);

/// The pattern as it has to match a whole text. Rust's syntax has most of Java's, but no look-around and no
/// back-references.
pub(super) fn whole(pattern: &str) -> Result<Regex, String> {
    compiled(pattern)?;
    compiled(&format!("^(?:{pattern})$"))
}

/// The pattern, compiled.
pub(super) fn compiled(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        // Of several lines, the last one says what is wrong.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("is not a regular expression that this program understands: {reason}")
    })
}
