//! What may pass by itself stays in its queue, and how old it gets is shown.

use super::super::message::pause;
use super::*;

/// An outage must not fill the fallback queue: what fails then would have to be sent back by hand.
#[tokio::test]
async fn what_may_pass_stays_in_its_queue_for_longer_each_time_until_the_attempts_are_used_up() {
    let converted = Converted::default();
    let main = Fake::new(&[&event(&["topics/missing", "topics/unreachable", "topics/a"])]);
    let running = start(main.clone(), converted.convert(), settings());
    for (times, pause) in [(1, 30), (2, 120)] {
        let hidden = Done::Hidden("0".into(), Duration::from_secs(pause));
        main.until("postponed", |main| main.done().contains(&hidden)).await;
        assert_eq!((converted.keys().len(), running.fallback.len()), (3 * times, 0), "no letter is sent twice");
        main.reveal();
    }
    let letters = running.letters().await;
    assert_eq!(reasons(&letters), [("topics/missing", "missing"), ("topics/unreachable", "read")]);
    assert_eq!(letters[1]["attempts"], 3);
}

#[test]
fn the_pauses_of_five_attempts_outlast_half_an_hour() {
    let pauses: Vec<u64> = (1..=5).map(|attempts| pause(attempts).as_secs()).collect();
    assert_eq!(pauses, [30, 120, 480, 900, 900]);
    assert_eq!(pause(u32::MAX), Duration::from_mins(15));
}

#[tokio::test]
async fn the_ages_of_both_queues_are_shown() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = ::metrics::set_default_local_recorder(&recorder);
    let main = Fake::new(&[]);
    let fallback = Fake::new(&["a letter"]);
    fallback.sent_before(Duration::from_hours(168));
    main.broken(true);
    let poll = Poll::new(main, fallback.clone(), Converted::default().convert(), settings());
    let long_ago = SystemTime::now() - Duration::from_mins(20);
    poll.handler.ages.received(None, long_ago);
    let text = || recorder.handle().render();
    let shown = |queue: &str| {
        let line = format!("fms_lake_oldest_message_seconds{{queue=\"{queue}\"}} ");
        text().lines().find_map(|found| found.strip_prefix(&line)?.parse::<f64>().ok())
    };
    assert_eq!((shown("main"), shown("fallback")), (Some(0.0), None));
    // The first look at the fallback queue.
    let depth = fallback.depth().await.expect("it works");
    poll.look_at_letters(depth).await;
    let _ = timeout(Duration::from_millis(1), poll.show_ages()).await;
    assert!(shown("main").is_some_and(|age| age >= 1200.0), "{}", text());
    assert!(shown("fallback").is_some_and(|age| age >= 604_800.0), "{}", text());
    assert_eq!(fallback.visible(), ["a letter"], "whoever looks leaves it to others");
}

#[tokio::test]
async fn a_batch_gives_back_what_may_pass_and_nothing_else() {
    let converted = Converted::default();
    let fallback = Fake::new(&[]);
    let batch = Batch::new(fallback.clone(), converted.convert(), 2, 3);
    let message = |id: &str, key: &str, attempts| Message {
        id: id.into(),
        body: event(&[key]),
        receipt: id.into(),
        attempts,
        sent: None,
    };
    let messages = [
        message("a", "topics/unreachable", 1),
        message("b", "topics/b", 1),
        message("c", "topics/broken", 1),
        message("d", "topics/unreachable", 3),
    ];
    assert_eq!(batch.handle(&messages, Instant::now() + LONG).await, ["a"]);
    let letters: Vec<Value> =
        fallback.sent().iter().map(|text| serde_json::from_str(text).expect("a letter")).collect();
    let mut reasons = reasons(&letters);
    reasons.sort_unstable();
    assert_eq!(reasons, [("topics/broken", "read"), ("topics/unreachable", "read")]);
}
