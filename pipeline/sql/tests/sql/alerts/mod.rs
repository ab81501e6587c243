//! `fms-sql alerts` and a receiver that holds to Slack's limits: what is told, once, whatever happens in between.

mod fault;
mod killed;
mod receiver;
mod world;

use std::process::Stdio;

use serde_json::{Value, json};

use self::receiver::{Call, TOKEN, Trick};
use self::world::{World, verdict};
use crate::common::{Ran, run};

/// What was called, in short.
fn short(calls: &[Call]) -> Vec<String> {
    calls.iter().map(|call| format!("{}: {}", call.method, call.answer)).collect()
}

/// The texts of a message, one on each line.
pub fn read(message: &Value) -> String {
    let mut out = Vec::new();
    for block in message["blocks"].as_array().expect("blocks") {
        let texts = block["elements"].as_array().into_iter().flatten().chain(block.get("text"));
        out.extend(texts.map(|text| text["text"].as_str().expect("a text").to_owned()));
    }
    out.join("\n")
}

#[test]
fn two_hundred_failures_at_once_are_few_messages() {
    let world = World::bot("");
    let verdicts: Vec<Value> = (0..200)
        .map(|n| {
            let mut verdict = verdict(&format!("table_{}", n % 40), &format!("check {n}"), "fail", 2);
            verdict["owner"] = json!(["a@example.com", "b@example.com", "c@example.com"][n % 3]);
            verdict["observed"] = json!("<!channel> & ".repeat(400));
            verdict
        })
        .collect();
    assert_eq!(world.send(&verdicts, 2).done(), "200 results taken; 200 problems open; 3 messages sent\n");
    assert_eq!(short(&world.slack.calls()), vec!["chat.postMessage: ok"; 3]);
    for message in world.slack.messages() {
        let text = read(&message);
        assert!(text.contains("And ") && text.contains("&lt;!channel&gt;") && !text.contains("<!channel>"), "{text}");
    }
    // What goes on is silent.
    let again: Vec<Value> = verdicts.into_iter().map(|verdict| with(verdict, "ran_at", &world::time(3))).collect();
    world.send(&again, 3).done();
    assert_eq!(short(&world.slack.calls()), vec!["chat.update: ok"; 3]);
}

fn with(mut verdict: Value, name: &str, value: &str) -> Value {
    verdict[name] = json!(value);
    verdict
}

#[test]
fn a_message_waits_for_as_long_as_slack_asks_and_is_kept_if_slack_refuses_it() {
    let world = World::bot("");
    world.slack.next(Trick::Status(429, "Retry-After: 1\r\n"));
    world.send(&[verdict("t", "c", "fail", 2)], 2).done();
    assert_eq!(short(&world.slack.calls()), ["chat.postMessage: 429", "chat.postMessage: ok"]);
    assert!(!read(&world.slack.messages()[0]).contains("twice"));

    world.slack.next(Trick::Error("not_in_channel"));
    let ran = world.send(&[verdict("other", "c", "fail", 3)], 3);
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.error.contains("a new message: chat.postMessage: not_in_channel"), "{ran:?}");
    assert_eq!(world.slack.messages().len(), 1);
    let shown = run(&mut world.program("show")).done();
    assert!(shown.contains("other: c: failed for 2023-01-01, since 2023-01-02T03:00:00Z"), "{shown}");
    assert!(shown.ends_with("2 checks, 2 problems open, 1 message to be sent\n"), "{shown}");
    // The next time, with nothing new.
    world.send(&[], 4).done();
    let texts: Vec<String> = world.slack.messages().iter().map(read).collect();
    assert!(texts.len() == 2 && texts[1].starts_with("1 check of other has a problem"), "{texts:?}");
    assert!(!texts[1].contains("twice"), "it is known that it did not arrive: {texts:?}");
}

#[test]
fn an_answer_that_is_lost_makes_a_message_say_that_it_may_be_there_twice() {
    let world = World::bot("");
    world.slack.next(Trick::NoAnswer);
    world.send(&[verdict("t", "c", "fail", 2)], 2).done();
    let messages = world.slack.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["client_msg_id"], messages[1]["client_msg_id"]);
    assert!(!read(&messages[0]).contains("twice") && read(&messages[1]).contains("may be here twice"));
    // What is told of it later is told at the second one.
    world.slack.calls();
    world.slack.forget_pace();
    world.send(&[verdict("t", "c", "pass", 3)], 3).done();
    let calls = world.slack.calls();
    assert_eq!(short(&calls), ["chat.postMessage: ok", "chat.update: ok"]);
    assert_eq!(calls[0].body["thread_ts"], calls[1].body["ts"]);
    assert_eq!(calls[1].body["ts"], "1700000000.000002");
}

#[test]
fn a_webhook_tells_what_is_new_and_what_is_resolved() {
    let world = World::webhook("digest: {at: '09:00'}");
    world.send(&[verdict("t", "c", "fail", 2)], 2).done();
    world.slack.forget_pace();
    world.send(&[verdict("t", "c", "fail", 3)], 3).done();
    world.send(&[verdict("t", "c", "pass", 4)], 4).done();
    world.slack.forget_pace();
    world.send(&[], 9).done();
    world.send(&[], 10).done();
    let texts: Vec<String> = world.slack.messages().iter().map(read).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("1 check of t has a problem\nworkshop@example.com: 1 failed"), "{texts:?}");
    assert!(texts[1].starts_with("Resolved: 1 check of t"), "{texts:?}");
    assert!(texts[2].starts_with("Checks of the data on 2023-01-02: all is well"), "{texts:?}");
}

#[test]
fn what_somebody_removed_from_the_channel_is_told_anew() {
    let world = World::bot("");
    world.send(&[verdict("t", "c", "fail", 2)], 2).done();
    world.slack.remove_messages();
    world.slack.forget_pace();
    world.slack.calls();
    world.slack.next(Trick::Error("thread_not_found"));
    world.send(&[verdict("t", "c", "pass", 3)], 3).done();
    let calls = world.slack.calls();
    assert_eq!(short(&calls), ["chat.postMessage: thread_not_found", "chat.postMessage: ok"]);
    assert_eq!(calls[1].body.get("thread_ts"), None);
    assert_eq!(world.state()["threads"], json!([]));
}

#[test]
fn two_senders_of_the_same_results_send_one_message() {
    for world in [World::bot(""), World::bot("").in_s3()] {
        let results = world.results(&[verdict("t", "c", "fail", 2), verdict("u", "c", "fail", 2)]);
        let begin =
            || world.sender(&results, 2).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        for child in [begin(), begin(), begin()] {
            let ran = Ran::from(child.wait_with_output().expect("it ends"));
            assert_eq!(ran.status, Some(0), "{ran:?}");
        }
        let tables: Vec<String> = world.slack.messages().iter().map(|message| message["text"].to_string()).collect();
        assert_eq!(tables.len(), 2, "{tables:?}");
        assert!(tables[0].contains("of t ") && tables[1].contains("of u "), "{tables:?}");
        assert_eq!((&world.state()["outbox"], &world.state()["lease"]), (&json!([]), &Value::Null));
    }
}

#[test]
fn a_check_that_is_gone_is_forgotten() {
    let world = World::bot("");
    world.send(&[verdict("t", "c", "fail", 2), verdict("t", "d", "fail", 2)], 2).done();
    let forget = |check: &str| -> Ran {
        let mut program = world.program("forget");
        run(program.args(["--table", "t", "--check", check]))
    };
    assert_eq!(forget("c").done(), "1 check forgotten\n");
    assert!(forget("c").error.contains("has no such check"));
    world.slack.forget_pace();
    world.send(&[], 40).done();
    let text = read(&world.slack.messages()[0]);
    assert!(text.contains("*c* is resolved: there is no such check any more"), "{text}");
    assert!(text.contains(":hourglass: t: *d* did not run"), "{text}");
}

#[test]
fn no_secret_is_said_or_kept() {
    let world = World::bot("");
    world.slack.next(Trick::Error("invalid_auth"));
    let results = world.results(&[verdict("t", "c", "fail", 2)]);
    let ran = run(world.sender(&results, 2).env("RUST_LOG", "trace"));
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.error.contains("invalid_auth"), "{ran:?}");
    let webhook = World::webhook("");
    webhook.slack.next(Trick::Status(404, ""));
    let results = webhook.results(&[verdict("t", "c", "fail", 2)]);
    let by_webhook = run(webhook.sender(&results, 2).env("RUST_LOG", "trace"));
    assert_eq!(by_webhook.status, Some(2), "{by_webhook:?}");
    for text in [ran.output, ran.error, by_webhook.output, by_webhook.error] {
        assert!(!text.contains("very-secret"), "{text}");
    }
    assert!(TOKEN.contains("very-secret") && receiver::WEBHOOK.contains("very-secret"));
    assert!(!world.state().to_string().contains("very-secret"));

    let without = run(world.sender(&results, 3).env_remove("SLACK_BOT_TOKEN"));
    assert_eq!(without.status, Some(2));
    assert!(without.error.contains("the variable SLACK_BOT_TOKEN of the environment"), "{without:?}");
}

#[test]
fn mistakes_are_explained_and_nothing_is_sent() {
    let world = World::bot("");
    let results = world.path("results.json");
    for (content, says) in [
        ("{\"table\": \"t\"}", "results.json:1: is no result of `fms quality run --format json`: missing field"),
        ("pass t: c", "results.json:1: is no result"),
    ] {
        std::fs::write(&results, content).expect("written");
        let ran = run(&mut world.sender(&results, 2));
        assert_eq!(ran.status, Some(2));
        assert!(ran.error.contains(says), "{ran:?}");
    }
    std::fs::write(world.path("state.json"), "{}").expect("written");
    let ran = world.send(&[verdict("t", "c", "fail", 2)], 2);
    assert!(ran.status == Some(2) && ran.error.contains("state.json: it is no state of this program"), "{ran:?}");
    assert!(world.slack.messages().is_empty());
}
