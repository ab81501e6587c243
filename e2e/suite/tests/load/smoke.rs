//! `e2e load` runs a plan from its file to its verdict and its report.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::StackKind;
use fms_e2e::load::{Plan, Report, Target, compared, comparison, markdown, page, run, text};
use libtest_mimic::Failed;

const PLANS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/load");

/// Every plan in the repository can be read.
pub(crate) fn plans_are_read() -> Result<(), Failed> {
    let mut plans = 0;
    for file in std::fs::read_dir(PLANS)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Plan::read(&path)?;
            plans += 1;
        }
    }
    if plans < 8 {
        return Err(format!("{plans} plans in {PLANS}").into());
    }
    Ok(())
}

/// A short run keeps its limits, and says the same in every form. Then a limit is set that nothing can keep.
pub(crate) fn a_short_run_keeps_its_limits() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let plan = Plan::read(&Path::new(PLANS).join("smoke.toml"))?;
    let suite = fms_e2e::suite();
    let target = Target { suite: &suite, stack: StackKind::Embedded, subject: None, folder: folder.path() };
    let metrics = fms::MetricsPage::start(0).map_err(|error| error.to_string())?;
    let mut report = run(&target, "smoke", &plan, &|_| {})?;
    has_metrics_of_its_dashboard(metrics.port())?;
    let said = text(&report);
    let broken: Vec<_> = report.checks.iter().filter(|check| !check.is_kept).collect();
    assert!(broken.is_empty() && report.stores.len() == 5, "{said}");
    // A machine on which other tests run may be too slow for the fleet itself, which the report says then.
    assert!(report.invalid.is_none() || said.ends_with("INVALID\n"), "{said}");
    for store in ["dynamodb", "raw", "lake"] {
        let delay = &report.delays[store];
        assert!(delay.count > 0 && delay.missing == 0 && delay.p50 > 0.0 && delay.p50 <= delay.max, "{store}: {said}");
    }
    assert_eq!(report.delays["raw"].count, report.delays["lake"].count, "{said}");
    assert_eq!(report.sent.rows, report.stores[1].expected, "{said}");
    let names: Vec<&str> = report.memory().into_keys().collect();
    assert_eq!(names, ["poller", "worker-1", "worker-2"], "{said}");
    assert!(report.calls.iter().any(|call| call.operation == "BatchWriteItem" && call.bytes > 0), "{said}");
    assert!(report.cost.total_usd > 0.0 && report.steps.len() == 3, "{said}");
    let restarted: Vec<&str> = report.restarts.iter().map(|restart| &*restart.worker).collect();
    assert!(restarted == ["worker-1", "worker-2"] && said.contains("worker-2: told to stop at "), "{said}");
    assert!(report.cost.usd_per_vehicle_month > 0.0 && said.contains("by vehicles like these"), "{said}");
    // What a process has used since it was started, and not what another one of its name has.
    let cores = report.moments.iter().flat_map(|moment| moment.processes.values()).map(|usage| usage.cores);
    assert!(cores.fold(0.0, f64::max) < 64.0, "{said}");

    // The forms of the report.
    let path = folder.path().join("report.json");
    std::fs::write(&path, report.to_json()?)?;
    let read = Report::read(&path)?;
    assert_eq!(text(&read), said);
    let html = page(&read);
    assert!(html.matches("<svg").count() == 6 && html.matches("<polyline").count() > 10, "{html}");
    for outside in ["<script", "http://", "https://", "<link", "@import"] {
        assert!(!html.contains(outside), "the page is not self-contained: {outside}");
    }
    crate::browser::looks_at(&html, folder.path())?;
    let beside = comparison(&report, &read);
    assert!(beside.contains("| p99 from due to dynamodb, ms |") && beside.contains("+0 %"), "{beside}");
    assert!(!beside.contains("The runs are of"), "{beside}");
    let html = compared(&report, &read);
    assert!(html.matches("<svg").count() == 5 && html.matches("<polyline").count() == 10, "{html}");
    crate::browser::looks_at(&html, folder.path())?;

    report.plan.limits.dynamodb_p99_ms = Some(0);
    report.check();
    assert!(!report.is_passed() && markdown(&report).contains("**broken**"), "{}", markdown(&report));
    report.stores[0].missing = 1;
    report.check();
    assert!(text(&report).contains("BROKEN rows lost: DynamoDB table fleet: 1.0 (at most 0)"), "{}", text(&report));
    Ok(())
}

/// The page of the metrics has everything that the dashboard asks for.
fn has_metrics_of_its_dashboard(port: u16) -> Result<(), Failed> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let dashboard = std::fs::read_to_string(Path::new(PLANS).join("../grafana/fms-load.json"))?;
    let names =
        dashboard.split(|c: char| !c.is_ascii_lowercase() && c != '_').filter(|name| name.starts_with("fms_load_"));
    let missing: BTreeSet<&str> = names.filter(|name| !answer.lines().any(|line| line.starts_with(name))).collect();
    if !missing.is_empty() || !answer.contains("fms_load_lag_messages{group=") {
        return Err(format!("the metrics lack {missing:?}:\n{answer}").into());
    }
    Ok(())
}

/// Mistakes are told before anything is started, with exit status 2.
pub(crate) fn mistakes_are_explained() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, "description = \"d\"\nsteps = []\n")?;
    let plan = plan.display().to_string();
    let rolling = Path::new(PLANS).join("rolling-restart.toml").display().to_string();
    for (arguments, says) in [
        (vec!["load", &rolling, "--subject", "cat"], "what its workers print when they are ready"),
        (vec!["load"], "<PLAN>"),
        (vec!["load", "nowhere.toml"], "cannot read the plan nowhere.toml"),
        (vec!["load", &plan], "there are no steps"),
        (vec!["load", &rolling, "--workers", "1,2"], "--capacity"),
        (vec!["load", "compare", &plan, &plan], "is no report of `e2e load`"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_e2e")).args(&arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{arguments:?}: {:?} {said}", output.status);
    }
    Ok(())
}
