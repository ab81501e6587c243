//! What holds of both servers of SQL. Each is started once; what is tested has a database of its own there.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use insta::assert_snapshot;

use super::proxy::Proxy;
use super::server::{Kind, PASSWORD, Server};
use super::world::{HARD, World};
use crate::common::{Ran, query, run};

const PLAIN: &[&str] = &["--no-tls"];
const WAYS_ONLY: &[&str] = &["--no-tls", "--select", "way+"];
const WAYS: &str = "select ymd, id, rows, meters from way order by ymd, id";

#[test]
fn a_mart_is_published_to_postgres() {
    let Some(server) = Server::start(Kind::Postgres) else { return };
    published(&server);
}

#[test]
fn a_mart_is_published_to_mariadb() {
    let Some(server) = Server::start(Kind::MariaDb) else { return };
    published(&server);
}

fn published(server: &Server) {
    every_value_is_there_and_only_what_changed_is_sent(server);
    a_table_that_is_there_is_used_and_one_that_was_dropped_is_filled_again(server);
    who_is_not_trusted_is_told_so_and_nobody_is_told_the_password(server);
    two_at_once_leave_it_whole(server);
    a_reader_never_sees_half_a_partition_whenever_a_publisher_dies(server);
}

/// The rows of the tables, to be compared.
fn ways(server: &Server, database: &str) -> Vec<String> {
    let ways = WAYS.replace("rows", if server.kind == Kind::MariaDb { "`rows`" } else { "rows" });
    [server.query(database, &ways), server.query(database, "select ymd, meters from total order by ymd")].concat()
}

/// The same of the mart.
fn of_mart(world: &World) -> Vec<String> {
    let rows = [query(world.lake(), WAYS), query(world.lake(), "select ymd, meters from total order by ymd")].concat();
    let names = ["ymd", "id", "rows", "meters"];
    let row = |row: &serde_json::Value| {
        let values = names.iter().filter_map(|name| row.get(name));
        values.map(|value| value.to_string().replace('"', "")).collect::<Vec<_>>().join("|")
    };
    rows.iter().map(row).collect()
}

/// The rows of each day, for each table, which are told apart by how many values a row has.
fn by_day(rows: &[String]) -> BTreeMap<(usize, &str), Vec<&str>> {
    let mut days: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for row in rows {
        let day = row.split('|').next().unwrap_or_default();
        days.entry((row.matches('|').count(), day)).or_default().push(row);
    }
    days
}

fn every_value_is_there_and_only_what_changed_is_sent(server: &Server) {
    let world = World::new();
    server.create("first");
    let url = server.url("first", server.port);
    assert_snapshot!(world.publish(&url, PLAIN).ok(), @r"
    way 2023-01-01: 2 rows; it is new
    way 2023-01-02: 2 rows; it is new
    way 2023-01-03: 2 rows; it is new
    way 2023-01-04: 2 rows; it is new
    total 2023-01-01: 1 rows; it is new
    total 2023-01-02: 1 rows; it is new
    total 2023-01-03: 1 rows; it is new
    total 2023-01-04: 1 rows; it is new
    types 2023-01-01: 2 rows; it is new
    types 2023-01-02: 2 rows; it is new
    types 2023-01-03: 2 rows; it is new
    types 2023-01-04: 6 rows; it is new
    12 partitions published; 0 were there; 0 failed
    ");
    assert_eq!(ways(server, "first"), of_mart(&world));
    let (at, json, is_far) = match server.kind {
        Kind::Postgres => (r#""at" at time zone 'UTC'"#, r#""both" ->> 0, more ->> 'way'"#, "t"),
        Kind::MariaDb => ("at", "json_value(`both`, '$[0]'), json_value(more, '$.way')", "1"),
    };
    let of = |condition: &str| {
        let columns = format!("color, note, {at}, day, way, round(share), half, is_far, {json}");
        server
            .query("first", &format!("select {columns} from types where ymd = '2023-01-04' and {condition} order by 3"))
    };
    let rows = of("color <> '-'");
    assert_eq!(rows.len(), HARD.len());
    for (row, color) in rows.iter().zip(HARD) {
        let begin = format!("{color}|'{color}'|2023-01-04 09:00:00");
        assert!(row.starts_with(&begin), "{row:?} is not of {color:?}");
        assert!(row.ends_with(&format!("|2023-01-04|4100|586|2050|{is_far}|{color}|4100")), "{row:?}");
    }
    let rows = of("color = '-' and id = 7");
    assert!(rows[0].starts_with("-|null|2023-01-04 09:00:00") && rows[0].ends_with("|null|4100"), "{rows:?}");

    assert_eq!(world.publish(&url, PLAIN).ok(), "0 partitions published; 12 were there; 0 failed\n");
    world.late();
    assert_snapshot!(world.publish(&url, &["--no-tls", "--select", "way+"]).ok(), @r"
    way 2023-01-02: 2 rows; its rows have changed
    total 2023-01-02: 1 rows; its rows have changed
    2 partitions published; 6 were there; 0 failed
    ");
    assert_eq!(ways(server, "first"), of_mart(&world));
    let noted =
        server.query("first", "select table_name, count(*) from fms_mart_published group by table_name order by 1");
    assert_eq!(noted, ["total|4", "types|4", "way|4"]);
}

fn a_table_that_is_there_is_used_and_one_that_was_dropped_is_filled_again(server: &Server) {
    let world = World::new();
    server.create("tables");
    let url = server.url("tables", server.port);
    let arguments = &["--no-tls", "--select", "way", "--from", "2023-01-02"];
    server.query("tables", "create table way (ymd date, id bigint, meters bigint)");
    let refused = world.publish(&url, arguments);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    let add = match server.kind {
        Kind::Postgres => r#"alter table "way" add column "rows" bigint"#,
        Kind::MariaDb => "alter table `way` add column `rows` bigint",
    };
    assert!(refused.output.contains(add), "{refused:?}");
    server.query("tables", add);
    // Columns of others stay as they are, and so do their rows of days that are not published.
    server.query("tables", "alter table way add column note varchar(9) default 'mine'");
    server.query("tables", "insert into way (ymd, id) values ('2022-01-01', 1)");
    assert!(world.publish(&url, arguments).ok().ends_with("3 partitions published; 0 were there; 0 failed\n"));
    let rows = server.query("tables", "select ymd, id, meters, note from way order by ymd, id");
    assert_eq!((rows.len(), rows[0].as_str()), (7, "2022-01-01|1|null|mine"));
    assert_eq!(rows[1], "2023-01-02|7|1100|mine");
    server.query("tables", "drop table way");
    assert!(world.publish(&url, arguments).ok().ends_with("3 partitions published; 0 were there; 0 failed\n"));
    assert_eq!(server.query("tables", "select count(*) from way"), ["6"]);
}

fn who_is_not_trusted_is_told_so_and_nobody_is_told_the_password(server: &Server) {
    let world = World::new();
    server.create("trust");
    let url = server.url("trust", server.port);
    let one = ["--select", "total", "--to", "2023-01-01"];
    let with = |more: &[&str]| world.publish(&url, &[&one, more].concat());
    let of = |ran: Ran, says: &str| {
        assert_eq!((ran.status, ran.output.as_str()), (Some(2), ""), "{}", ran.error);
        assert!(ran.error.contains(says) && !ran.error.contains(PASSWORD), "{says}: {}", ran.error);
    };
    of(with(&[]), "ertificate");
    assert!(with(&["--ca", &server.certificate()]).ok().starts_with("total 2023-01-01: 1 rows; it is new\n"));
    let other = url.replace(PASSWORD, "very-wrong");
    let wrong = world.publish(&other, PLAIN);
    assert!(wrong.error.contains("correct the user and the password") && !wrong.error.contains("very-"), "{wrong:?}");
    of(world.publish(&server.url("nowhere", server.port), PLAIN), "create the database, or correct its name");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    of(world.publish(&server.url("trust", port), PLAIN), "make sure that the server can be reached");
}

fn two_at_once_leave_it_whole(server: &Server) {
    let world = World::new();
    server.create("pair");
    let url = server.url("pair", server.port);
    world.publish(&url, PLAIN).ok();
    world.late();
    let begin =
        || world.publisher(&url, PLAIN).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    for child in [begin(), begin(), begin()] {
        Ran::from(child.wait_with_output().expect("it ends")).ok();
    }
    assert_eq!(ways(server, "pair"), of_mart(&world));
}

/// At how many places a publisher is killed. With `FMS_EVERY_CALL` in the environment they are many, and take minutes.
fn points() -> u64 {
    if std::env::var_os("FMS_EVERY_CALL").is_some() { 60 } else { 5 }
}

/// A publisher is killed when it has sent so many bytes, at several places from its first one to its last one, while
/// somebody reads. What it has sent until then has its effect.
fn a_reader_never_sees_half_a_partition_whenever_a_publisher_dies(server: &Server) {
    let points = points();
    let world = World::new();
    let start = |database: &str| {
        server.create(database);
        run(&mut world.publisher(&server.url(database, server.port), WAYS_ONLY)).ok();
    };
    let databases: Vec<String> = (0..=points).map(|at| format!("killed_{at}")).collect();
    for database in &databases {
        start(database);
    }
    let before = ways(server, &databases[0]);
    world.late();
    world.forget_eight();

    let undisturbed = Proxy::start(server.port, u64::MAX);
    world.publish(&server.url(&databases[0], undisturbed.port), WAYS_ONLY).ok();
    let (after, sent) = (ways(server, &databases[0]), undisturbed.sent());
    assert_ne!(before, after);
    let mut killed = 0;
    for (point, database) in (1..).zip(&databases[1..]) {
        let proxy = Proxy::start(server.port, sent * point / points);
        let mut publisher = world.publisher(&server.url(database, proxy.port), WAYS_ONLY);
        let mut child = publisher.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                loop {
                    let last = is_over.load(Ordering::SeqCst);
                    let seen = ways(server, database);
                    for (day, rows) in by_day(&seen) {
                        let is_whole = [&before, &after].iter().any(|whole| by_day(whole).get(&day) == Some(&rows));
                        assert!(is_whole, "{database}: {day:?} has {rows:?}");
                    }
                    assert_eq!(by_day(&seen).len(), by_day(&before).len(), "{database}: {seen:?}");
                    if last {
                        break;
                    }
                }
            });
            proxy.reached.recv().expect("it sends as much as before");
            child.kill().expect("killed");
            let ended = child.wait().expect("it ends");
            killed += u64::from(ended.signal().is_some());
            // Whatever the dead one has sent is done by the time somebody else is.
            let again = world.publish(&server.url(database, server.port), WAYS_ONLY).ok();
            is_over.store(true, Ordering::SeqCst);
            assert!(again.ends_with("0 failed\n"), "{database}: {again}");
        });
        assert_eq!(ways(server, database), after, "{database}");
        let nothing = world.publish(&server.url(database, server.port), WAYS_ONLY).ok();
        assert!(nothing.starts_with("0 partitions published"), "{database}: {nothing}");
    }
    // At the last byte, it may be done before the signal comes.
    assert!(killed >= points - 1, "{killed} of {points} were killed");
}
