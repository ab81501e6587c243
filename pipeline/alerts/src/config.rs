//! The file that says who is told where, and when nobody is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{env, fmt, fs};

use anyhow::{Context as _, ensure};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de};

use crate::verdict::{Id, Severity};

/// Where Slack is.
const SLACK: &str = "https://slack.com/api";

/// The file of `--config`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub slack: Slack,
    /// Owners who have a channel of their own.
    #[serde(default)]
    owners: BTreeMap<String, Owner>,
    /// After how long an open problem is told again.
    #[serde(default = "day", with = "crate::serial")]
    pub repeat: SignedDuration,
    /// When a check has not run for so long, its owner is told.
    #[serde(default = "day_and_two_hours", with = "crate::serial")]
    pub did_not_run: SignedDuration,
    /// Failures of checks of this severity and of worse ones are told; the others are in the digest only.
    #[serde(default)]
    pub severity: Severity,
    /// Tags of checks whose problems also end with later days that are well: of what devices did, which stays in the data.
    /// Problems of all other checks end when the days are well on which they were found.
    #[serde(default)]
    pub ended_by_later_days: BTreeSet<String>,
    /// The address of the page that says what to do.
    #[serde(default)]
    pub run_book: String,
    /// The options of `fms query` with which people ask the lake, such as `--database fleet`.
    #[serde(default)]
    pub query_options: String,
    pub digest: Option<DigestTime>,
    #[serde(default)]
    pub maintenance: Vec<Window>,
}

/// How Slack is reached: as a bot by `token`, or by `webhook`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slack {
    pub token: Option<Secret>,
    /// Where the bot writes.
    channel: Option<String>,
    pub webhook: Option<Secret>,
    /// Where the calls of a bot go.
    #[serde(default = "slack")]
    pub api: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    channel: String,
}

/// When the daily digest is sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DigestTime {
    #[serde(with = "crate::serial")]
    pub at: Time,
    #[serde(default = "utc", deserialize_with = "time_zone")]
    pub time_zone: TimeZone,
    /// The channel of a bot's digest, if it is another one.
    channel: Option<String>,
}

/// A time in which nobody is told of new problems. Those that are still there at its end are told then.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    #[serde(with = "crate::serial")]
    pub from: Timestamp,
    #[serde(with = "crate::serial")]
    pub to: Timestamp,
    /// Only problems of these, if there are any.
    #[serde(default)]
    pub tables: BTreeSet<String>,
    #[serde(default)]
    pub checks: BTreeSet<String>,
    #[serde(default)]
    pub owners: BTreeSet<String>,
    /// Why, for those who read the file.
    pub reason: String,
}

/// Where a secret is.
#[derive(Debug, Clone)]
pub(crate) enum Secret {
    /// In a variable of the environment.
    Env(String),
    /// Alone in a file.
    File(PathBuf),
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // No error shows what was written: it may be the secret itself.
        let wrong =
            || de::Error::custom("a secret is not written here, but where it is: `{env: VARIABLE}` or `{file: PATH}`");
        let place = BTreeMap::<String, String>::deserialize(deserializer).map_err(|_| wrong())?;
        let mut place = place.into_iter();
        let is_variable = |name: &str| {
            name.chars().all(|character| character.is_ascii_uppercase() || "_0123456789".contains(character))
        };
        match (place.next(), place.next()) {
            (Some((kind, name)), None) if kind == "env" && is_variable(&name) => Ok(Self::Env(name)),
            (Some((kind, path)), None) if kind == "file" => Ok(Self::File(path.into())),
            _ => Err(wrong()),
        }
    }
}

fn day() -> SignedDuration {
    SignedDuration::from_hours(24)
}

fn day_and_two_hours() -> SignedDuration {
    SignedDuration::from_hours(26)
}

fn slack() -> String {
    SLACK.to_owned()
}

fn utc() -> TimeZone {
    TimeZone::UTC
}

fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(deserializer)?;
    TimeZone::get(&name).map_err(de::Error::custom)
}

impl Config {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = serde_norway::from_str(text)?;
        let Slack { token, channel, webhook, api } = &config.slack;
        ensure!(
            token.is_some() != webhook.is_some(),
            "`slack` needs either `token` and `channel`, for a bot, or `webhook`"
        );
        ensure!(token.is_none() || channel.is_some(), "`slack` has a `token`, and needs the bot's `channel` beside it");
        let own_channels =
            config.owners.len() + usize::from(config.digest.as_ref().is_some_and(|d| d.channel.is_some()));
        ensure!(
            webhook.is_none() || (channel.is_none() && own_channels == 0 && *api == SLACK),
            "a webhook writes into the channel that it was made for; remove `channel` and `api`, or use a bot's `token`"
        );
        ensure!(is_safe(api), "`slack.api` is `{api}`: it has to begin with https://, for the token is sent there");
        ensure!(config.repeat.is_positive(), "`repeat` has to be longer than nothing");
        ensure!(config.did_not_run.is_positive(), "`did_not_run` has to be longer than nothing");
        for window in &config.maintenance {
            ensure!(window.from < window.to, "the maintenance `{}` ends before it begins", window.reason);
        }
        Ok(config)
    }

    /// The channel of an owner; empty for a webhook, which has one alone.
    pub fn channel(&self, owner: &str) -> String {
        let own = self.owners.get(owner).map(|owner| &owner.channel);
        own.or(self.slack.channel.as_ref()).cloned().unwrap_or_default()
    }

    /// The channel of the digest.
    pub fn digest_channel(&self) -> String {
        let own = self.digest.as_ref().and_then(|digest| digest.channel.as_ref());
        own.or(self.slack.channel.as_ref()).cloned().unwrap_or_default()
    }

    /// Whether nobody is told of this now.
    pub fn is_quiet(&self, id: &Id, now: Timestamp) -> bool {
        let names = |chosen: &BTreeSet<String>, name: &String| chosen.is_empty() || chosen.contains(name);
        self.maintenance.iter().any(|window| {
            (window.from..window.to).contains(&now)
                && names(&window.tables, &id.table)
                && names(&window.checks, &id.check)
                && names(&window.owners, &id.owner)
        })
    }
}

/// Whether a secret may be sent there. A test's receiver is on this machine.
pub(crate) fn is_safe(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://127.0.0.1:")
}

/// A secret's value, which nothing prints.
#[derive(Clone)]
pub(crate) struct Value(pub String);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Secret {
    /// Reads it, without the line's end.
    pub fn read(&self) -> anyhow::Result<Value> {
        let value = match self {
            Self::Env(name) => env::var(name).with_context(|| format!("the variable {name} of the environment"))?,
            Self::File(path) => fs::read_to_string(path).with_context(|| format!("the file {}", path.display()))?,
        };
        let value = value.trim();
        ensure!(!value.is_empty(), "the secret of `slack` is empty");
        Ok(Value(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: &str = "slack: {token: {env: SLACK_BOT_TOKEN}, channel: '#data'}\n";

    #[test]
    fn the_example_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/alerts/slack.yml");
        let config = Config::parse(&fs::read_to_string(path).expect("the example")).expect("a configuration");
        assert_eq!(config.channel("workshop@example.com"), "#workshop");
        assert_eq!(config.maintenance.len(), 1);
    }

    #[test]
    fn what_is_not_said_has_a_value() {
        let config = Config::parse(BOT).expect("a configuration");
        assert_eq!((config.repeat, config.did_not_run), (day(), day_and_two_hours()));
        assert_eq!((config.severity, config.slack.api.as_str()), (Severity::Warning, SLACK));
        assert_eq!(config.channel("anybody@example.com"), "#data");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for (text, says) in [
            ("slack: {}", "needs either"),
            ("slack: {token: {env: A}}", "needs the bot's `channel`"),
            ("slack: {webhook: {env: A}, token: {env: B}, channel: c}", "needs either"),
            ("slack: {webhook: {env: A}, channel: c}", "a webhook writes"),
            ("slack: {webhook: {env: A}}\nowners: {a@b.c: {channel: d}}", "a webhook writes"),
            ("slack: {webhook: {env: A, file: b}}", "a secret is not written here"),
            ("slack: {webhook: xoxb-secret}", "a secret is not written here"),
            ("slack: {webhook: {env: xoxb-secret}}", "a secret is not written here"),
            ("slack: {webhook: {token: xoxb-secret}}", "a secret is not written here"),
            ("slack: {token: {env: A}, channel: c, api: 'http://slack.com/api'}", "https://"),
            ("slack: {token: {env: A}, channel: c}\nrepaet: 1h", "unknown field `repaet`"),
            ("slack: {token: {env: A}, channel: c}\nrepeat: soon", "`soon`"),
            (
                "slack: {webhook: {env: A}}\nmaintenance: [{from: 2023-01-02T00:00:00Z, to: 2023-01-01T00:00:00Z, reason: r}]",
                "ends before it begins",
            ),
        ] {
            let error = format!("{:#}", Config::parse(text).expect_err(text));
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("xoxb-secret"), "{error}");
        }
    }

    #[test]
    fn maintenance_is_of_what_it_names_and_ends() {
        let text = format!(
            "{BOT}maintenance: [{{from: '2023-01-01T09:00:00+09:00', to: 2023-01-01T02:00:00Z, tables: [t], reason: r}}]"
        );
        let config = Config::parse(&text).expect("a configuration");
        let id = |table: &str| Id { table: table.into(), check: "c".into(), owner: "o@example.com".into() };
        let at = |time: &str| time.parse::<Timestamp>().expect("a time");
        assert!(config.is_quiet(&id("t"), at("2023-01-01T00:00:00Z")));
        assert!(!config.is_quiet(&id("other"), at("2023-01-01T00:00:00Z")));
        assert!(!config.is_quiet(&id("t"), at("2023-01-01T02:00:00Z")));
    }

    #[test]
    fn nothing_prints_a_secret() {
        assert_eq!(format!("{:?}", Value("xoxb-1".into())), "(secret)");
    }
}
