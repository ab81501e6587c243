//! A failed check becomes an alert of Prometheus, which Alertmanager sends to its owner, and so does its end. Both are
//! Debian's, with the files of `deploy`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::process::{Process, free_port, program, prometheus, until};
use crate::site::Site;
use crate::{read, repository};

/// Alertmanager, which `ALERTMANAGER` names, with the shipped file, whose alerts go to a site; and its port. It does
/// not wait for others of a group.
fn alertmanager(folder: &Path, slack: &Site) -> Option<(Process, u16)> {
    let program = program("ALERTMANAGER", "prometheus-alertmanager")?;
    let webhook = folder.join("webhook");
    fs::write(&webhook, format!("http://127.0.0.1:{}/services/x", slack.port())).expect("written");
    let mut settings = read("deploy/alertmanager/alertmanager.yml");
    let webhook = webhook.to_str().expect("UTF-8");
    for (shipped, here) in [
        ("/run/secrets/slack-webhook", webhook),
        ("group_wait: 30s", "group_wait: 1s"),
        ("group_interval: 5m", "group_interval: 1s"),
    ] {
        assert!(settings.contains(shipped), "deploy/alertmanager/alertmanager.yml has no {shipped}");
        settings = settings.replace(shipped, here);
    }
    let (config, port) = (folder.join("alertmanager.yml"), free_port());
    fs::write(&config, settings).expect("written");
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", folder.join("alertmanager").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.arg("--cluster.listen-address=");
    Some((Process::start(&mut command, folder.join("alertmanager.log")), port))
}

fn outcome(value: u8) -> String {
    format!(
        "fms_quality_outcome{{table=\"vehicle_tire_report\",check=\"pressure\",severity=\"error\",\
         owner=\"workshop@example.com\"}} {value}\n"
    )
}

#[test]
fn a_failed_check_reaches_its_owner_and_so_does_its_end() {
    let (folder, quality, slack) = (tempfile::tempdir().expect("a folder"), Site::start(&outcome(0)), Site::start(""));
    let Some((alertmanager, port)) = alertmanager(folder.path(), &slack) else { return };
    let more = json!({
        "rule_files": [repository().join("deploy/prometheus/rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [format!("127.0.0.1:{port}")]}]}]},
    });
    let Some((prometheus, _)) = prometheus(folder.path(), &[("fms-quality", quality.port())], more) else { return };
    let titled = |title: &str| {
        until(
            &format!("message with the title {title}"),
            || format!("{:?}\n{}\n{}", slack.posts(), alertmanager.said(), prometheus.said()),
            || {
                let posts = slack.posts();
                let mut posts = posts.iter().map(|post| serde_json::from_str::<Value>(post).expect("JSON"));
                posts.find(|post| post["attachments"][0]["title"] == title)
            },
        )
    };
    quality.show(&outcome(2));
    let fired = titled("1 firing: workshop@example.com vehicle_tire_report");
    let text = fired["attachments"][0]["text"].as_str().expect("a text");
    assert!(text.contains("For workshop@example.com"), "{text}");
    assert!(text.contains("The check \"pressure\" of the table vehicle_tire_report failed"), "{text}");
    assert!(text.contains("docs/runbook.md#fmsqualityfailed"), "{text}");
    assert_eq!(fired["attachments"][0]["color"], "warning");
    quality.show(&outcome(0));
    let resolved = titled("Resolved: workshop@example.com vehicle_tire_report");
    assert_eq!(resolved["attachments"][0]["color"], "good");
}

/// Alertmanager's own tool, which lies beside it.
#[test]
fn alerts_go_to_their_owners_and_all_others_to_the_operators() {
    let Some(program) = program("ALERTMANAGER", "prometheus-alertmanager") else { return };
    let beside = Path::new(&program).with_file_name("amtool");
    let file = repository().join("deploy/alertmanager/alertmanager.yml");
    let checked = Command::new(&beside).arg("check-config").arg(&file).output().expect("amtool starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let amtool = |arguments: &[&str]| {
        let mut command = Command::new(&beside);
        let output =
            command.args(arguments).arg(format!("--config.file={}", file.display())).output().expect("amtool starts");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text.trim().to_owned()
    };
    for (label, receiver) in [
        ("owner=workshop@example.com", "workshop"),
        ("owner=battery@example.com", "owners"),
        ("severity=page", "operators"),
        ("severity=ticket", "operators"),
    ] {
        assert_eq!(amtool(&["config", "routes", "test", label]), receiver, "{label}");
    }
}
