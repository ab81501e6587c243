//! The offsets of a connector's group, read, and changed while the connector is stopped.
//!
//! What is changed loses its intent. An intent says that a flush has perhaps been stored in part, and is the only thing
//! by which a repeated flush knows what is there; without it, rows would be stored twice. So a change is refused while a
//! partition that it names has an open intent: a connector that is resumed finishes that flush.

use std::collections::BTreeMap;

use rdkafka::error::RDKafkaErrorCode as Code;
use tracing::info;

use super::herder::{Connectors, Herder};
use super::operation::{OperationError, not_found};
use crate::config::file::TargetState;
use crate::kafka::{Committed, Group};
use crate::{TopicPartition, intent};

/// New offsets of partitions; `None` removes what is committed, so that the partition is read from its beginning.
pub(crate) type NewOffsets = BTreeMap<TopicPartition, Option<i64>>;

impl Herder {
    /// What the connector's group has committed, by partition.
    pub fn offsets(&self, name: &str) -> Result<Vec<(TopicPartition, i64)>, OperationError> {
        let group = self.group(name)?;
        let committed = group.committed(&self.stopping).map_err(|problem| failed("reading", name, &problem))?;
        let offset = |committed: Committed| Some((committed.partition, committed.offset?));
        let mut offsets: Vec<_> = committed.into_iter().filter_map(offset).collect();
        offsets.sort();
        Ok(offsets)
    }

    /// Sets the offsets of these partitions.
    pub fn alter_offsets(&self, name: &str, offsets: &NewOffsets) -> Result<(), OperationError> {
        self.check_changes()?;
        self.check_settled()?;
        let connectors = self.lock();
        let group = self.stopped_group(&connectors, name)?;
        let existing = group.partitions(&self.stopping).map_err(|problem| failed("changing", name, &problem))?;
        for (partition, offset) in offsets {
            if !existing.contains(partition) {
                return Err(OperationError::BadRequest(format!("there is no partition {partition}")));
            }
            let Some(offset) = *offset else { continue };
            let (low, high) = group.range(partition).map_err(|error| failed("changing", name, &error.to_string()))?;
            if !(low..=high).contains(&offset) {
                return Err(OperationError::BadRequest(format!(
                    "offset {offset} of {partition} is out of range: the partition holds {low} to {high}"
                )));
            }
        }
        let committed = group.committed(&self.stopping).map_err(|problem| failed("changing", name, &problem))?;
        change(name, &group, &committed, offsets)
    }

    /// Removes everything that the connector's group has committed, so that the connector begins anew.
    pub fn reset_offsets(&self, name: &str) -> Result<(), OperationError> {
        self.check_changes()?;
        self.check_settled()?;
        let connectors = self.lock();
        let group = self.stopped_group(&connectors, name)?;
        let committed = group.committed(&self.stopping).map_err(|problem| failed("resetting", name, &problem))?;
        let none = committed.iter().map(|committed| (committed.partition.clone(), None)).collect();
        change(name, &group, &committed, &none)
    }

    /// The group of a connector that is stopped.
    fn stopped_group(&self, connectors: &Connectors, name: &str) -> Result<Group, OperationError> {
        let connector = connectors.all.get(name).ok_or_else(|| not_found(name))?;
        let target = match &self.group {
            Some(known) => known.with_configs(|configs| configs.target(name)),
            None => connector.target,
        };
        check_stopped(name, target)?;
        group(name, &connector.checked.client, self)
    }

    fn group(&self, name: &str) -> Result<Group, OperationError> {
        group(name, &self.client(name)?, self)
    }
}

/// Makes the change, unless one of the partitions that it concerns has an open intent.
fn change(name: &str, group: &Group, committed: &[Committed], offsets: &NewOffsets) -> Result<(), OperationError> {
    for committed in committed.iter().filter(|committed| offsets.contains_key(&committed.partition)) {
        let end = match intent::decode(&committed.metadata) {
            Ok(None) => continue,
            Ok(Some(intent)) => format!("a flush up to offset {} is not finished", intent.end),
            Err(problem) => problem,
        };
        let (partition, offset) = (&committed.partition, committed.offset.unwrap_or_default());
        return Err(OperationError::BadRequest(format!(
            "the offset {offset} of {partition} cannot be changed: {end}, and some of its rows may be stored, so they \
             would be stored twice. Resume connector {name}, so that it finishes the flush, and stop it again. If it \
             cannot finish it, `kafka-consumer-groups --reset-offsets` discards the intent; a sink that names what it \
             writes by offsets (S3) then needs another place, such as another topics.dir"
        )));
    }
    info!(connector = name, ?offsets, "the offsets of the connector's group are changed");
    group.change(offsets).map_err(|error| match error.rdkafka_error_code() {
        Some(Code::UnknownMemberId | Code::GroupSubscribedToTopic | Code::NonEmptyGroup | Code::UnknownGroup) => {
            OperationError::Internal(format!(
                "Failed to alter consumer group offsets for connector {name}: the group connect-{name} still has \
                 members: tasks that did not end in time, or other workers with this connector. Stop the connector \
                 there too, and try again"
            ))
        }
        _ => failed("changing", name, &error.to_string()),
    })
}

fn group(name: &str, client: &rdkafka::ClientConfig, herder: &Herder) -> Result<Group, OperationError> {
    Group::new(format!("connect-{name}"), client, herder.settings.cluster_timeout)
        .map_err(|error| failed("reading", name, &error.to_string()))
}

fn check_stopped(name: &str, target: TargetState) -> Result<(), OperationError> {
    if target == TargetState::Stopped {
        return Ok(());
    }
    Err(OperationError::BadRequest(format!(
        "Connectors must be in the STOPPED state before their offsets can be modified: `PUT /connectors/{name}/stop` \
         stops this one"
    )))
}

fn failed(doing: &str, name: &str, problem: &str) -> OperationError {
    OperationError::Internal(format!("{doing} the offsets of group connect-{name}: {problem}"))
}
