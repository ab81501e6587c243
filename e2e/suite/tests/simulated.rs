//! The pipeline makes of a simulated fleet with many faults exactly what the simulator says: every item, every raw row,
//! every dead letter.

use std::fs;
use std::path::Path;
use std::process::Command;

use fms_simulator::target::Fixture;
use fms_simulator::{Expectation, Fault, Fleet, OfProtocol, Protocols, Rates, Rhythm, Run, Shard, Simulation};

/// A Friday at 08:00 in Korea.
const MORNING: i64 = 1_795_734_000;
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A fleet of which every tenth message is wrong, without the two protocols that have a row a second. No fault changes the
/// type of a value, for then the type of a column depends on which raw object is converted first.
fn simulation() -> Simulation {
    let faults = [
        Fault::Truncated,
        Fault::NotUtf8,
        Fault::Tombstone,
        Fault::MissingIdentity,
        Fault::BadElements,
        Fault::LoneSurrogate,
        Fault::SameRecordTwice,
        Fault::Twice,
        Fault::ClockWrong,
    ];
    Simulation {
        fleet: Fleet::new(3),
        since: MORNING,
        rhythm: Rhythm::Steady,
        rates: faults.iter().fold(Rates::none(), |rates, fault| rates.with(*fault, 0.03)),
        protocols: Protocols::parse(
            "vehicle/status,vehicle/ev,vehicle/tire,vehicle/event,sensor/measurements,blackbox/status,blackbox/upload,\
             vehicle/control,device/heartbeat",
        )
        .expect("protocols"),
    }
}

/// How many lines begin with this text in the snapshots whose names begin with `name`.
fn counted(snapshots: &Path, name: &str, begin: &str) -> u64 {
    let mut count = 0;
    for entry in fs::read_dir(snapshots).expect("snapshots") {
        let path = entry.expect("a file").path();
        if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)) {
            let text = fs::read_to_string(&path).expect("a snapshot");
            count += text.lines().filter(|line| line.starts_with(begin)).count() as u64;
        }
    }
    count
}

#[test]
fn the_pipeline_ends_with_what_the_simulator_expects() {
    let project = tempfile::tempdir().expect("a folder");
    let root = project.path();
    let case = root.join("fixtures/simulated/fleet");
    for file in ["fixtures/suite.toml", "deploy/connectors/dynamodb.json", "deploy/connectors/s3.json"] {
        let to = root.join(file);
        fs::create_dir_all(to.parent().expect("a folder")).expect("created");
        fs::copy(Path::new(REPOSITORY).join(file), to).expect("copied");
    }
    let simulation = simulation();
    let mut expectation = Expectation::default();
    let mut fixture = Fixture::new(&case, "A simulated fleet.".to_owned()).expect("a new folder");
    let run = Run {
        simulation: &simulation,
        vehicles: 10,
        shard: Shard::WHOLE,
        from: MORNING,
        until: MORNING + 900,
        speed: None,
        topic: "fms.{object}.real",
    };
    let done = run.run(&mut fixture, Some(&mut expectation), &|| false, &mut |_| {}).expect("written");
    assert!((100..600).contains(&done.messages), "{done}");

    // The ledger of the framework finds each row wherever it has to be, in DynamoDB, in S3 and in the lake.
    let output = Command::new(env!("CARGO_BIN_EXE_e2e"))
        .current_dir(root)
        .env_remove("CARGO_MANIFEST_DIR")
        .env("CARGO_TARGET_DIR", root.join("target"))
        .args(["--update", "simulated"])
        .output()
        .expect("the runner");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let snapshots = case.join("snapshots");
    let sum = |of: &dyn Fn(&OfProtocol) -> u64| expectation.protocols.values().map(of).sum::<u64>();
    assert_eq!(counted(&snapshots, "table__fleet", "{"), sum(&|of| of.items), "{said}");
    assert_eq!(counted(&snapshots, "s3__fms__raw", "{"), sum(&|of| of.rows), "{said}");
    let letters = sum(&|of| of.dead_letters);
    assert!(letters > 10 && sum(&|of| of.refused_by_dynamodb) > 0, "{expectation:?}");
    assert_eq!(counted(&snapshots, "dead-letters__fms.dead-letter.s3", "key: "), letters, "{said}");
    let refused = sum(&|of| of.refused_by_dynamodb);
    assert_eq!(counted(&snapshots, "dead-letters__fms.dead-letter.dynamodb", "key: "), letters + refused, "{said}");
}
