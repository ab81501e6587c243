//! The pipeline makes of a simulated fleet, with all its faults, exactly what the simulator says: every item, every raw
//! row, every dead letter.

use std::fs;
use std::path::Path;
use std::process::Command;

use fms_simulator::target::Fixture;
use fms_simulator::{Expectation, Fault, Fleet, OfProtocol, Protocols, Rates, Rhythm, Run, Shard, Simulation};

/// A Friday at 08:00 in Korea.
const MORNING: i64 = 1_795_734_000;
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A fleet of which every tenth message is wrong, without the two protocols that have a row a second.
fn simulation() -> Simulation {
    let faults = [
        Fault::Truncated,
        Fault::NotUtf8,
        Fault::Tombstone,
        Fault::MissingIdentity,
        Fault::BadElements,
        Fault::LoneSurrogate,
        Fault::NumberAsText,
        Fault::SameRecordTwice,
        Fault::Twice,
        Fault::ClockWrong,
    ];
    Simulation {
        fleet: Fleet::new(3),
        since: MORNING,
        rhythm: Rhythm::Steady,
        rates: faults.iter().fold(Rates::field(), |rates, fault| rates.with(*fault, 0.03)),
        protocols: Protocols::parse(
            "vehicle/status,vehicle/ev,vehicle/tire,vehicle/event,sensor/measurements,blackbox/status,blackbox/upload,\
             vehicle/control,device/heartbeat",
        )
        .expect("protocols"),
    }
}

/// How many lines begin with this text in the sections of what was observed whose names begin with `name`.
fn counted(observed: &str, name: &str, begin: &str) -> u64 {
    let sections = observed.split("==== ").filter(|section| section.starts_with(name));
    sections.map(|section| section.lines().filter(|line| line.starts_with(begin)).count() as u64).sum()
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
    let topic = "fms.{object}.real".parse().expect("a template");
    let run = Run {
        simulation: &simulation,
        vehicles: 10,
        shard: Shard::WHOLE,
        from: MORNING,
        until: MORNING + 900,
        speed: None,
        topic: &topic,
        headers: &[],
    };
    let done = run.run(&mut fixture, Some(&mut expectation), &|| false, &mut |_| {}).progress;
    assert!((100..600).contains(&done.messages), "{done}");

    // The ledger of the framework finds each row wherever it has to be, in DynamoDB, in S3 and in the lake. There are no
    // snapshots, for the types of columns depend on which raw object is converted first.
    let output = Command::new(env!("CARGO_BIN_EXE_e2e"))
        .current_dir(root)
        .env_remove("CARGO_MANIFEST_DIR")
        .env("CARGO_TARGET_DIR", root.join("target"))
        .env("INSTA_UPDATE", "no")
        .arg("simulated")
        .output()
        .expect("the runner");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("while comparing with the snapshots") && !said.contains("ledger"), "{said}");
    let observed = fs::read_to_string(root.join("target/e2e/simulated/fleet/observed.txt")).expect("what was observed");

    let sum = |of: &dyn Fn(&OfProtocol) -> u64| expectation.protocols.values().map(of).sum::<u64>();
    assert_eq!(counted(&observed, "table__fleet", "{"), sum(&|of| of.items), "{said}");
    assert_eq!(counted(&observed, "s3__fms__raw", "{"), sum(&|of| of.rows), "{said}");
    let letters = sum(&|of| of.dead_letters);
    assert!(letters > 10 && sum(&|of| of.refused_by_dynamodb) > 0, "{expectation:?}");
    assert_eq!(counted(&observed, "dead-letters__fms.dead-letter.s3", "key: "), letters, "{said}");
    let refused = sum(&|of| of.refused_by_dynamodb);
    assert_eq!(counted(&observed, "dead-letters__fms.dead-letter.dynamodb", "key: "), letters + refused, "{said}");
}
