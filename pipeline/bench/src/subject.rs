//! The processes that are measured: they are started, watched until they have committed the end of the topic, and stopped.
//! The kernel says how much CPU time and memory they needed.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::process::{Child, Command};

use crate::endpoint::Endpoint;
use crate::topics::Topic;

/// How often the process is checked.
const LOOK: Duration = Duration::from_millis(50);

/// After this time without a call that stores something, the run ends: the process is stuck, or done without having
/// committed.
const QUIET: Duration = Duration::from_secs(15);

/// How long the process may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(40);

/// The resources that the processes used until they had committed the end of the topic.
#[derive(Debug)]
pub struct Usage {
    /// When they were started.
    pub since: Instant,
    /// User and system time.
    pub cpu: Duration,
    /// The peak of their resident memory (`VmHWM`), in KiB.
    pub peak: u64,
    /// The same peak up to half of their time.
    pub peak_at_half: u64,
}

/// Runs the commands until all their groups have committed the end of the topic, or until they store nothing any more, and
/// stops them with SIGTERM.
pub async fn run(
    commands: Vec<Command>,
    log: &Path,
    servers: &str,
    groups: &[String],
    topic: &Topic,
    endpoint: &Endpoint,
) -> anyhow::Result<Usage> {
    let output = File::create(log)?;
    let since = Instant::now();
    let mut children = Vec::new();
    for mut command in commands {
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let pid = child.id().context("it has ended at once")?;
        children.push((child, pid));
    }
    let all_peaks = |children: &[(Child, u32)]| children.iter().map(|(_, pid)| peak(*pid)).sum::<anyhow::Result<u64>>();
    let consumer = |group| ClientConfig::new().set("bootstrap.servers", servers).set("group.id", group).create();
    let consumers: Vec<BaseConsumer> = groups.iter().map(consumer).collect::<Result<_, _>>()?;
    let mut peaks = Vec::new();
    loop {
        tokio::time::sleep(LOOK).await;
        for (child, _) in &mut children {
            if let Some(status) = child.try_wait()? {
                bail!("it ended by itself with {status}; its log ends:\n{}", tail(log));
            }
        }
        peaks.push(all_peaks(&children)?);
        let active = endpoint.last_call().unwrap_or(since);
        if active.elapsed() > QUIET || consumers.iter().all(|consumer| is_behind(consumer, topic)) {
            break;
        }
    }
    let cpu = children.iter().map(|(_, pid)| cpu(*pid)).sum::<anyhow::Result<Duration>>()?;
    let (peak, peak_at_half) = (all_peaks(&children)?, peaks[peaks.len() / 2]);
    for (child, pid) in &mut children {
        stop(child, *pid, log).await?;
    }
    Ok(Usage { since, cpu, peak, peak_at_half })
}

async fn stop(child: &mut Child, pid: u32, log: &Path) -> anyhow::Result<()> {
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM).context("stopping it")?;
    match tokio::time::timeout(STOP, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(_) => bail!("it did not end with status 0 on SIGTERM; its log ends:\n{}", tail(log)),
        Err(_) => bail!("it did not end within {STOP:?} of SIGTERM; its log ends:\n{}", tail(log)),
    }
}

/// Whether the group has committed the end of every partition.
fn is_behind(consumer: &BaseConsumer, topic: &Topic) -> bool {
    let mut list = TopicPartitionList::new();
    list.add_partition_range(&topic.name, 0, i32::from(topic.shape.partitions) - 1);
    // A broker that has just started does not know its groups yet, which counts as not committed.
    let Ok(committed) = consumer.committed_offsets(list, Duration::from_secs(10)) else { return false };
    let offset = |offset| if let Offset::Offset(offset) = offset { u64::try_from(offset).unwrap_or(0) } else { 0 };
    committed.elements().iter().map(|element| offset(element.offset())).sum::<u64>() >= topic.shape.messages
}

/// User and system time of a process, which the kernel counts in steps of 10 ms.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("reading its time")?;
    // The name of the process may contain any character. In the fields after it, the 12th is utime and the 13th is
    // stime.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// The peak of a process's resident memory, in KiB.
pub fn peak(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading its memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).context("reading its VmHWM")
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
