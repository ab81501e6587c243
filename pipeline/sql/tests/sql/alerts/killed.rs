//! A sender is killed with SIGKILL, at each call by which it keeps its state and while Slack answers, and the next one
//! goes on. Nothing is lost, and what may be there twice says so.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use e2e::internals::CallName;
use nix::sys::signal::Signal;

use super::read;
use super::receiver::Trick;
use super::world::{World, verdict};
use crate::crash::{calls_after, points, run_killed};

#[test]
fn a_sender_that_dies_while_slack_answers_is_followed_by_one_that_says_so() {
    let world = World::bot("");
    let results = world.results(&[verdict("t", "c", "fail", 2)]);
    world.slack.next(Trick::Hang);
    let mut child = world.sender(&results, 2).stderr(Stdio::null()).spawn().expect("fms-sql starts");
    world.slack.wait_for_message();
    child.kill().expect("killed");
    child.wait().expect("it ends");
    assert_eq!(world.state()["outbox"][0]["begun"], 1);
    world.slack.go_on();

    world.let_time_pass();
    world.send(&[], 3).done();
    let messages = world.slack.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["client_msg_id"], messages[1]["client_msg_id"]);
    assert!(read(&messages[1]).contains("may be here twice"));
    assert_eq!(world.state()["outbox"], serde_json::json!([]));
}

/// The calls of a sender that nobody disturbs, each by its name.
fn calls() -> Vec<CallName> {
    let world = World::bot("").in_s3();
    world.send(&[verdict("t", "c", "fail", 2)], 2).done();
    calls_after(world.stack.as_ref().expect("services"), 0)
}

#[test]
fn wherever_a_sender_dies_the_next_one_tells_what_is_to_be_told() {
    let calls = calls();
    let (mut tried, mut twice) = (0, 0);
    for (call, moment) in points(&calls) {
        let at = format!("killed {moment:?} {call:?}");
        let world = World::bot("").in_s3();
        let stack = world.stack.as_ref().expect("services");
        let results = world.results(&[verdict("t", "c", "fail", 2)]);
        let ended = run_killed(stack, &mut world.sender(&results, 2), call, moment);
        assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32), "{at}: {ended}");
        tried += 1;

        world.let_time_pass();
        world.send(&[verdict("t", "c", "fail", 2)], 3).done();
        let messages = world.slack.messages();
        assert!(matches!(messages.len(), 1 | 2), "{at}: {} messages", messages.len());
        if messages.len() == 2 {
            twice += 1;
            assert!(read(&messages[1]).contains("may be here twice"), "{at}");
        }
        world.slack.forget_pace();
        world.send(&[], 4).done();
        assert_eq!(world.slack.messages().len(), messages.len(), "{at}: it is told once more");
    }
    println!("{tried} points, {twice} with the message twice");
    assert!(tried >= 8 && twice >= 1, "{tried} points, {twice} with the message twice");
}
