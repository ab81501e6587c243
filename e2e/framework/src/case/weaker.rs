//! What a case does not demand although others do. Each has its reason, and the report lists them.

use serde::{Deserialize, Serialize};

use super::Settings;

/// Something that a case does not demand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Weaker {
    /// What it is, in words.
    pub what: String,
    /// The reason that the fixtures give.
    pub why: String,
}

/// `in_order` as one file says it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "write why, as a text, or `false` to take back what a farther file says")]
pub(super) enum InOrder {
    /// Messages are sent one by one, for this reason.
    Because(String),
    /// They are not, whatever a farther file says. `true` would have no reason and is refused.
    Is(bool),
}

impl InOrder {
    /// The reason, or `None` if messages are not sent one by one.
    pub(super) fn reason(&self) -> Result<Option<&str>, String> {
        match self {
            Self::Because(why) if !why.trim().is_empty() => Ok(Some(why)),
            Self::Is(false) => Ok(None),
            _ => Err("`in_order` has no reason; write why as its value, or `false`".to_owned()),
        }
    }
}

impl Settings {
    /// Everything that the case does not demand.
    pub(crate) fn weaker(&self) -> Vec<Weaker> {
        let exceptions = self.ledger.iter().flat_map(|rules| &rules.exceptions);
        let accounts = exceptions.map(|(account, why)| (format!("the account {account} is not kept"), why));
        let snapshots = self.depends_on_objects.iter().map(|(name, why)| {
            let what = format!("{name}* is not compared under schedules that move the bounds of objects");
            (what, why)
        });
        let order =
            self.in_order_why.iter().map(|why| ("messages are sent one by one under most schedules".to_owned(), why));
        let all = accounts.chain(snapshots).chain(order);
        all.map(|(what, why)| Weaker { what, why: why.trim().to_owned() }).collect()
    }
}
