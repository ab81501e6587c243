//! Each row is stored once while workers of an older version give way to those of this one, side by side in their groups, and
//! while they come back, and workers of both versions are killed in between.
//!
//! `FMS_PREVIOUS` names the program `fms` of the older version.

use std::thread;

use libtest_mimic::Failed;

use super::{Churn, await_start, seed, stop};

/// Messages are sent this often in each stage, with pauses in which groups sometimes finish a rebalance and sometimes not.
const SENDS: usize = 3;

/// Upgrades and rolls back.
pub fn there_and_back() -> Result<(), Failed> {
    let Ok(previous) = std::env::var("FMS_PREVIOUS") else {
        println!("SKIPPED: FMS_PREVIOUS does not name the program `fms` of an older version");
        return Ok(());
    };
    let mut churn = Churn::embedded(seed())?;
    let verdict = stages(&mut churn, &previous).and_then(|()| churn.check());
    churn.explained(verdict)
}

fn stages(churn: &mut Churn, previous: &str) -> Result<(), Failed> {
    let mut round = 0;
    // Alone, then beside this version, of which the older workers are stopped and one is killed.
    churn.start(Some(previous))?;
    churn.start(Some(previous))?;
    sends(churn, &mut round)?;
    churn.start(None)?;
    sends(churn, &mut round)?;
    kill_oldest(churn);
    churn.start(None)?;
    sends(churn, &mut round)?;
    stop_oldest(churn)?;
    // This version alone, with a crash.
    sends(churn, &mut round)?;
    kill_oldest(churn);
    churn.start(None)?;
    sends(churn, &mut round)?;
    // Back again, in the same way.
    churn.start(Some(previous))?;
    sends(churn, &mut round)?;
    kill_oldest(churn);
    churn.start(Some(previous))?;
    sends(churn, &mut round)?;
    churn.drain_by_last()
}

/// Sends messages while the workers work.
fn sends(churn: &mut Churn, round: &mut usize) -> Result<(), Failed> {
    churn.workers.iter().for_each(await_start);
    for _ in 0..SENDS {
        churn.send(*round)?;
        *round += 1;
        // The length of this pause is part of the disturbance.
        thread::sleep(churn.session * churn.random.u32(5..60) / 100);
    }
    if let Some((_, log)) = churn.workers.iter().find(|(worker, _)| worker.status().is_some()) {
        return Err(format!("a worker has ended: {}", log.last(5)).into());
    }
    Ok(())
}

fn kill_oldest(churn: &mut Churn) {
    // Dropping a subject sends SIGKILL to it.
    drop(churn.workers.remove(0));
    churn.actions.push("kill".into());
}

fn stop_oldest(churn: &mut Churn) -> Result<(), Failed> {
    let worker = churn.workers.remove(0);
    churn.actions.push("leave".into());
    stop(&worker)
}
