use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::ledger::AccountBalance;

fn facts() -> RunFacts {
    RunFacts {
        started: 1_767_225_600_000,
        root: "/projects/orders".into(),
        commit: Some("1a2b3c4, and files that differ from it".into()),
        stack: "embedded".into(),
        schedule: "killed:s3.PutObject:2:after".into(),
        subject: "`python3 -m app`".into(),
    }
}

fn passed(name: &str) -> CaseReport {
    CaseReport {
        name: name.into(),
        case: name.into(),
        kind: "plain".into(),
        description: Some("Two orders, one of which is paid.".into()),
        weaker: Vec::new(),
        verdict: CaseVerdict::Passed,
        failure: String::new(),
        difference: None,
        log: None,
        evidence: Vec::new(),
        counts: vec![("messages".into(), 3), ("rows".into(), 7), ("dead letters".into(), 0)],
        faults: 0,
        ledger: None,
        phases: vec![("start".into(), 0.1), ("settle".into(), 0.4)],
        seconds: 0.5,
    }
}

fn failed(name: &str) -> CaseReport {
    CaseReport {
        verdict: CaseVerdict::Failed,
        failure: "while comparing: 1 snapshot differs\n\n  - <b>\n  + x & y".into(),
        difference: Some(format!("  - {}", "a very long line ".repeat(40))),
        log: Some("0.1 started".into()),
        evidence: vec!["orders/broken/worker.log".into(), "orders/100%/calls.txt".into()],
        ..passed(name)
    }
}

#[test]
fn failures_come_first_and_lead_to_their_evidence() {
    let page = html::page(&facts(), &[passed("a::first"), failed("z::last")], 2.0);
    for text in [
        "<title>1 of 2 cases failed</title>",
        "<span class=minus>  - &lt;b&gt;</span>\n<span class=plus>  + x &amp; y</span>",
        "<a href=\"orders/100%25/calls.txt\">calls.txt</a>",
        "<a href=\"#z::last\">z::last</a>",
        "<dd>/projects/orders",
        "<dd>1a2b3c4, and files",
        "<dd>killed:s3.PutObject:2:after",
        "<dd>`python3 -m app`",
        "<dd>2026-01-01 00:00:00 UTC",
        "<small>Two orders, one of which is paid.</small>",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    let place = |text: &str| page.find(text).expect(text);
    assert!(place("id=\"z::last\"") < place("All cases") && place(">z::last</a>") < place("a::first"));
}

#[test]
fn processes_of_one_run_share_a_page_and_the_last_ten_runs_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = Report::new(folder.path(), "run");
    std::thread::scope(|scope| {
        for name in ["a::a", "b::b", "c::c", "d::d"] {
            let report = &report;
            scope.spawn(move || report.add(facts, &[passed(name)]).expect("written"));
        }
    });
    report.add(|| unreachable!("the first process has told the facts"), &[failed("b::b")]).expect("written");
    let page = fs::read_to_string(report.page()).expect("a page");
    assert!(page.contains("1 of 4 cases failed"), "{page}");
    assert_eq!(fs::read_to_string(folder.path().join("report.html")).expect("the newest"), page);
    for number in 0..12 {
        Report::new(folder.path(), &format!("run-{number}")).add(facts, &[passed("a::a")]).expect("written");
    }
    let pages = fs::read_dir(folder.path()).expect("a folder").flatten();
    let pages = pages.filter(|entry| entry.file_name().to_string_lossy().starts_with("report-")).count();
    assert_eq!(pages, 10);
}

/// The name under which Chromium is installed, if it is.
fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found = names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").stdin(Stdio::null()).output();
        version.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        assert!(std::env::var_os("GITHUB_ACTIONS").is_none(), "GitHub's runners have Chrome, but it was not found");
        println!("SKIPPED: none of {} is installed, so the layout of the page was not checked", names.join(", "));
    }
    found
}

/// The page's body after its script has run, in a window of this width.
fn looked_at(chromium: &str, page: &Path, profile: &Path, width: u32) -> String {
    let output = Command::new(chromium)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--virtual-time-budget=2000",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--window-size={width},900"))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .expect("Chromium runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// In a frame of a phone's and of a screen's width nothing is cut off at the side, the text is large enough, and the
/// first failure can be seen without scrolling.
#[test]
fn the_page_is_legible_on_a_phone_and_on_a_screen() {
    let Some(chromium) = chromium() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let long = passed("a-protocol-with-a-long-name::a-case-whose-name-is-longer-than-a-phone-is-wide-as-many-are");
    let report = html::page(&facts(), &[long, failed("orders::broken"), passed("orders::placed")], 2.0);
    let report = report.replace('&', "&amp;").replace('"', "&quot;");
    for width in [420, 1280] {
        let look = format!(
            "<iframe srcdoc=\"{report}\" style='width:{width}px;height:900px;border:0'></iframe><p id=seen>nothing</p><script>
             const frame = document.querySelector('iframe');
             frame.onload = () => {{
               const page = frame.contentDocument, root = page.documentElement;
               const first = page.querySelector('article h3').getBoundingClientRect();
               const small = [...page.querySelectorAll('h1,h3,dd,td,pre,small,a')].filter(e =>
                 parseFloat(frame.contentWindow.getComputedStyle(e).fontSize) < 12).length;
               document.getElementById('seen').textContent =
                 `wide ${{root.scrollWidth}} small ${{small}} first ${{Math.round(first.bottom)}} title ${{page.title}}`;
             }};
             </script>"
        );
        let page = folder.path().join(format!("look-{width}.html"));
        fs::write(&page, look).expect("written");
        let profile = folder.path().join(format!("profile-{width}"));
        let body = looked_at(chromium, &page, &profile, width + 40);
        let (_, seen) = body.split_once("id=\"seen\">").expect("the page was loaded");
        let number = |name: &str| -> u32 {
            let rest = seen.split_once(name).unwrap_or_else(|| panic!("no `{name}` in {seen}")).1;
            rest.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
        };
        assert!(number("wide ") <= width, "cut off at {width}: {seen}");
        assert_eq!(number("small "), 0, "{seen}");
        assert!(number("first ") < 900 && seen.contains("1 of 3 cases failed"), "{seen}");
    }
}

#[test]
fn the_rows_of_each_account_are_shown() {
    let account = |name: &str, count, missing| AccountBalance {
        name: name.into(),
        places: [(format!("{name}/<x>"), count)].into(),
        missing,
        ..AccountBalance::default()
    };
    let full = Balance { rows: 3, accounts: vec![account("db", 3, 0), account("raw", 2, 1)], exceptions: [].into() };
    let one = Balance { rows: 1, accounts: vec![account("db", 1, 0)], exceptions: [].into() };
    let cases = [
        CaseReport { ledger: Some(full), ..passed("b::b") },
        CaseReport { ledger: Some(one), ..passed("a::a") },
        passed("c::c"),
    ];
    let page = html::page(&facts(), &cases, 1.0);
    for text in [
        "<tr><td>a::a<td data-noun=\"rows produced\">1<td data-noun=\"db\">1 row in db/&lt;x&gt;<td class=none data-noun=\"raw\">not kept\n<tr><td>b::b",
        "<td class=failed data-noun=\"raw\">2 rows in raw/&lt;x&gt;, 1 row missing",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    assert!(!html::page(&facts(), &[passed("c::c")], 1.0).contains("<h2>Rows</h2>"), "nobody keeps a ledger");
}

#[test]
fn the_map_shows_how_the_runs_of_a_case_have_ended_under_each_schedule() {
    let run = |case: &str, kind: &str, verdict| CaseReport {
        name: format!("{case} under {kind}"),
        case: case.into(),
        kind: kind.into(),
        verdict,
        ..passed(case)
    };
    let mut runs = vec![run("a::a", "plain", CaseVerdict::Passed), run("b::b", "plain", CaseVerdict::Passed)];
    assert!(!html::page(&facts(), &runs, 1.0).contains("<h2>Map"), "the table says as much");
    let after = "after s3.PutObject";
    runs.extend([
        CaseReport { name: "a::a, first".into(), ..run("a::a", after, CaseVerdict::Passed) },
        CaseReport {
            name: "a::a, second".into(),
            evidence: vec!["a/a/verdict.txt".into()],
            ..run("a::a", after, CaseVerdict::Passed)
        },
        CaseReport { name: "a::a, third".into(), ..run("a::a", after, CaseVerdict::Failed) },
        CaseReport { name: "a::a, fourth".into(), ..run("a::a", after, CaseVerdict::Failed) },
        run("b::b", after, CaseVerdict::Undisturbed),
    ]);
    let page = html::page(&facts(), &runs, 1.0);
    for text in [
        "<thead><tr><th>case<th>after s3.PutObject<th>plain</thead>",
        "<tr><td>a::a<td data-noun=\"after s3.PutObject\"><span class=failed>\
         <a href=\"#a::a, fourth\" title=\"a::a, fourth\">✗</a><a href=\"#a::a, third\" title=\"a::a, third\">✗</a></span> \
         <span class=passed><a href=\"#a::a, first\" title=\"a::a, first\">✓ 2</a></span> <td data-noun=\"plain\">\
         <span class=passed><a href=\"#a::a under plain\" title=\"a::a under plain\">✓</a></span> \n",
        "<tr><td>b::b<td data-noun=\"after s3.PutObject\"><span class=undisturbed><a href=\"#b::b under after s3.PutObject\"",
        "<tr id=\"a::a, second\"><td><span class=passed>✓</span> a::a, second",
        "<small>evidence: <a href=\"a/a/verdict.txt\">verdict.txt</a></small>",
        "<article class=failed id=\"a::a, third\">",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    let targets = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next());
    for target in targets {
        assert_eq!(page.matches(&format!("id=\"{target}\"")).count(), 1, "{target}");
    }
}

#[test]
fn what_cases_do_not_demand_is_listed_with_the_reasons() {
    let weaker = |what: &str| crate::case::Weaker { what: what.into(), why: "It is not <there>.".into() };
    let cases = [
        CaseReport { weaker: vec![weaker("the account raw")], ..passed("a::a") },
        CaseReport { weaker: vec![weaker("the account raw"), weaker("the <order>")], ..passed("b::b") },
        // The same case under another schedule is no second case.
        CaseReport { weaker: vec![weaker("the <order>")], case: "b::b".into(), ..passed("b::b under twice") },
    ];
    let page = html::page(&facts(), &cases, 1.0);
    for text in [
        "<dt>the account raw<dd>2 cases: It is not &lt;there&gt;.",
        "<dt>the &lt;order&gt;<dd>b::b: It is not &lt;there&gt;.",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    assert!(!html::page(&facts(), &[passed("c::c")], 1.0).contains("Weaker"), "nothing is weaker");
}
