//! The attributes of a queue that its owner sets.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::{Refusal, arn, invalid_parameter, refusal};

/// What the owner of a queue has set, or AWS's defaults. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// How long a message is hidden after it was sent.
    pub delay: u32,
    /// The most bytes that a message may have.
    pub max_size: u32,
    /// How long a message is kept.
    pub retention: u32,
    /// How long a receive waits for a message.
    pub wait: u32,
    /// How long a message is hidden after it was received.
    pub visibility: u32,
    pub redrive: Option<Redrive>,
}

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redrive {
    /// The name of the dead-letter queue.
    pub target: String,
    /// How often a message is received before it is moved there.
    pub max_receives: u32,
    /// The policy as it was given.
    text: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { delay: 0, max_size: 1024 * 1024, retention: 345_600, wait: 0, visibility: 30, redrive: None }
    }
}

/// The range of a `VisibilityTimeout`, wherever it is given.
pub(super) const VISIBILITY: RangeInclusive<u32> = 0..=43_200;
/// The range of `DelaySeconds`, wherever it is given.
pub(super) const DELAY: RangeInclusive<u32> = 0..=900;
/// The range of the time that a receive waits, wherever it is given.
pub(super) const WAIT: RangeInclusive<u32> = 0..=20;

impl Settings {
    /// These settings with the attributes of a request.
    pub(super) fn with(&self, attributes: &BTreeMap<String, String>) -> Result<Self, Refusal> {
        let mut settings = self.clone();
        for (name, value) in attributes {
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let (number, range) = match name {
            "DelaySeconds" => (&mut self.delay, DELAY),
            "MaximumMessageSize" => (&mut self.max_size, 1024..=1_048_576),
            "MessageRetentionPeriod" => (&mut self.retention, 60..=1_209_600),
            "ReceiveMessageWaitTimeSeconds" => (&mut self.wait, WAIT),
            "VisibilityTimeout" => (&mut self.visibility, VISIBILITY),
            "RedrivePolicy" => {
                self.redrive = Redrive::parse(value)?;
                return Ok(());
            }
            _ => return Err(unknown(name)),
        };
        *number = value.parse().ok().filter(|value| range.contains(value)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            let problem = format!("Invalid value `{value}` for the parameter {name}: it is from {least} to {most}.");
            refusal(("InvalidAttributeValue", "InvalidAttributeValue"), problem)
        })?;
        Ok(())
    }

    /// The attributes as a request for them reads them.
    pub(super) fn shown(&self) -> Vec<(&'static str, String)> {
        let mut shown = vec![
            ("DelaySeconds", self.delay.to_string()),
            ("MaximumMessageSize", self.max_size.to_string()),
            ("MessageRetentionPeriod", self.retention.to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait.to_string()),
            ("VisibilityTimeout", self.visibility.to_string()),
        ];
        shown.extend(self.redrive.as_ref().map(|redrive| ("RedrivePolicy", redrive.text.clone())));
        shown
    }
}

impl Redrive {
    /// Reads a policy. An empty one means that there is none.
    fn parse(text: &str) -> Result<Option<Self>, Refusal> {
        if text.is_empty() {
            return Ok(None);
        }
        let refused = |reason: &str| {
            invalid_parameter(format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"))
        };
        let policy: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|_| refused("Redrive policy is not a valid JSON map."))?;
        let (Some(target), Some(max), 2) =
            (policy.get("deadLetterTargetArn"), policy.get("maxReceiveCount"), policy.len())
        else {
            return Err(refused("It has exactly deadLetterTargetArn and maxReceiveCount."));
        };
        let target = target.as_str().and_then(|target| target.strip_prefix(&arn("")));
        let target = target.ok_or_else(|| refused(&format!("deadLetterTargetArn is not {}", arn("NAME"))))?;
        // Clients write the number as a number or as a text.
        let max = max.as_u64().or_else(|| max.as_str()?.parse().ok()).and_then(|max| u32::try_from(max).ok());
        let max_receives = max.filter(|max| (1..=1000).contains(max));
        let max_receives = max_receives.ok_or_else(|| refused("maxReceiveCount is a number from 1 to 1000."))?;
        Ok(Some(Self { target: target.to_owned(), max_receives, text: text.to_owned() }))
    }
}

/// The refusal of an attribute that a queue does not have.
pub(super) fn unknown(name: &str) -> Refusal {
    refusal(("InvalidAttributeName", "InvalidAttributeName"), format!("Unknown Attribute {name}."))
}
