//! The Helm chart: what it renders, what it refuses, that Kubernetes takes it, and that the programs take what it tells them.

mod chart;
mod programs;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_norway::Value;

use self::chart::{
    VALUES, at, container, contradiction, environment, has_helm, name, pod, refusal, rendered, root, run, text, words,
};

/// The text of a file of the repository.
fn file(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("a file")
}

#[test]
fn helm_finds_nothing_wrong() {
    if !has_helm() {
        return;
    }
    let (output, errors) = run(&["lint", "--strict"], &[]);
    assert!(output.status.success(), "{errors}\n{}", String::from_utf8_lossy(&output.stdout));
}

/// The objects in the order of their names, without what other tests compare and what changes with each version.
#[test]
fn the_objects_are_those_that_were_approved() {
    if !has_helm() {
        return;
    }
    for (values, file) in VALUES {
        let (_, mut objects) = rendered(file);
        objects.sort_by_key(name);
        let mut all = String::new();
        for object in &mut objects {
            match text(object, &["kind"]) {
                "PrometheusRule" => object["spec"]["groups"] = "those of deploy/prometheus/rules.yml".into(),
                "ConfigMap" if !name(object).ends_with("alerts") && values != "minimal" => {
                    for (_, content) in object["data"].as_mapping_mut().expect("files") {
                        *content = "a file of deploy".into();
                    }
                }
                _ => {}
            }
            let annotations = object.get_mut("spec").and_then(|spec| spec.get_mut("template"));
            if let Some(annotations) = annotations.and_then(|template| template["metadata"].get_mut("annotations")) {
                annotations["checksum/config"] = "CHECKSUM".into();
            }
            all.extend(["---\n", &serde_norway::to_string(object).expect("YAML")]);
        }
        assert_snapshot!(values, all.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_path() {
    if !has_helm() {
        return;
    }
    assert_snapshot!(refusal("worker.replica=3"), @"- at '/worker': additional properties 'replica' not allowed");
    assert_snapshot!(refusal("wroker.replicas=3"), @"- at '': additional properties 'wroker' not allowed");
    assert_snapshot!(refusal("worker.replicas=three"), @"- at '/worker/replicas': got string, want integer");
    assert_snapshot!(refusal("worker.env.S3_FLUSH_SIZE=1000"), @"- at '/worker/env/S3_FLUSH_SIZE': got number, want string");
    assert_snapshot!(refusal("worker.env.flush=yes"), @"- at '/worker/env': additional properties 'flush' not allowed");
    assert_snapshot!(refusal("worker.rest.usersSecret=users"), @"- at '/worker/rest/probeUser': minLength: got 0, want 1");
    assert_snapshot!(refusal("lake.enabled=true,lake.to=s3://lake,lake.database=fleet,lake.poller.queueUrl=https://a"), @"- at '/lake/poller/fallbackQueueUrl': minLength: got 0, want 1");
    assert_snapshot!(refusal("mart.enabled=true,mart.to=s3://lake/mart"), @r"
    - at '': 'allOf' failed
    - at '/lake/database': minLength: got 0, want 1
    ");
    assert_snapshot!(refusal("kafka.bootstrapServers=kafka"), @r"- at '/kafka/bootstrapServers': 'kafka' does not match pattern '^[^,\\s]+:[0-9]+(,[^,\\s]+:[0-9]+)*$'");
}

#[test]
fn values_that_do_not_go_together_are_refused_with_what_to_do() {
    if !has_helm() {
        return;
    }
    let group = "worker.group.id=fleet,worker.group.configTopic=connectors,worker.group.statusTopic=status";
    let file = "worker.connectors.events.name=events";
    assert_snapshot!(contradiction(&format!("{group},{file}")), @"worker.connectors has no effect with worker.group.id: the connectors of a group are in its config topic; leave it out, and create them by REST");
    assert_snapshot!(contradiction(&format!("{group},worker.group.statusTopic=connectors")), @"worker.group.configTopic and worker.group.statusTopic are the same topic: name two");
    assert_snapshot!(contradiction("worker.group.configTopic=connectors"), @"worker.group.configTopic and worker.group.statusTopic have no effect without worker.group.id: name the group too, or leave them out");
    assert_snapshot!(contradiction("worker.rest.changes=true"), @"worker.rest.changes needs worker.group.id: workers without a group do not know of each other, and the Service would reach one of them; change worker.connectors instead, or name a group");
    assert_snapshot!(refusal("worker.group.id=fleet,worker.group.configTopic=connectors"), @"- at '/worker/group/statusTopic': minLength: got 0, want 1");
    assert_snapshot!(refusal("worker.group.replicationFactor=0"), @r"
    - at '/worker/group/replicationFactor': 'anyOf' failed
    - at '/worker/group/replicationFactor': value must be -1
    - at '/worker/group/replicationFactor': minimum: got 0, want 1
    ");
}

/// The rules, dashboards and connectors are links to the files that are tested elsewhere, and arrive unchanged.
#[test]
fn rules_dashboards_and_connectors_are_those_of_the_repository() {
    if !has_helm() {
        return;
    }
    let (_, objects) = rendered(Some("everything.yaml"));
    let mut found = BTreeSet::new();
    for object in &objects {
        if text(object, &["kind"]) == "PrometheusRule" {
            let rules: Value = serde_norway::from_str(&file("deploy/prometheus/rules.yml")).expect("YAML");
            assert_eq!(at(object, &["spec", "groups"]), &rules["groups"]);
            found.insert("rules".to_owned());
        }
        let folder = match name(object) {
            name if name.contains("dashboard") => "deploy/grafana",
            name if name.ends_with("connectors") => "deploy/connectors",
            _ => continue,
        };
        for (name, content) in object["data"].as_mapping().expect("files") {
            let name = name.as_str().expect("a name");
            assert_eq!(content.as_str().expect("a file").trim(), file(&format!("{folder}/{name}")).trim(), "{name}");
            found.insert(name.to_owned());
        }
    }
    let expected = [
        "dynamodb.json",
        "fms-lake.json",
        "fms-quality.json",
        "fms-load.json",
        "fms-simulator.json",
        "fms-worker.json",
        "rules",
        "s3.json",
    ];
    assert_eq!(found, BTreeSet::from(expected.map(str::to_owned)));
    let jobs = objects.iter().filter(|object| text(object, &["kind"]) == "PodMonitor").map(|monitor| {
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        text(&endpoint["relabelings"][0], &["replacement"])
    });
    // The rules know these jobs.
    assert_eq!(jobs.collect::<BTreeSet<_>>(), BTreeSet::from(["fms-poller", "fms-worker"]));
}

/// Whatever the values are, no pod may do more than it needs, and each is found by what watches it.
#[test]
fn every_pod_is_confined_and_found() {
    if !has_helm() {
        return;
    }
    for (_, file) in VALUES {
        let (_, objects) = rendered(file);
        for object in &objects {
            let Some(pod) = pod(object) else { continue };
            let (spec, container, name) = (&pod["spec"], container(pod), name(object));
            let yes = Value::Bool(true);
            assert_eq!(at(spec, &["securityContext", "runAsNonRoot"]), &yes, "{name}");
            assert_eq!(text(spec, &["securityContext", "seccompProfile", "type"]), "RuntimeDefault", "{name}");
            assert_eq!(at(spec, &["automountServiceAccountToken"]), &Value::Bool(false), "{name}");
            assert_eq!(at(container, &["securityContext", "readOnlyRootFilesystem"]), &yes, "{name}");
            assert_eq!(at(container, &["securityContext", "allowPrivilegeEscalation"]), &Value::Bool(false), "{name}");
            assert_eq!(words(at(container, &["securityContext", "capabilities", "drop"])), ["ALL"], "{name}");
            for amount in [["resources", "requests", "cpu"], ["resources", "limits", "memory"]] {
                assert!(!at(container, &amount).is_null(), "{name} has no {amount:?}");
            }
            let account = format!("ServiceAccount {}", text(spec, &["serviceAccountName"]));
            assert!(objects.iter().any(|object| chart::name(object) == account), "{name} has no {account}");
            let selector = at(object, &["spec", "selector", "matchLabels"]).as_mapping().cloned().unwrap_or_default();
            let labels = pod["metadata"]["labels"].as_mapping().expect("labels");
            assert!(selector.iter().all(|(label, value)| labels.get(label) == Some(value)), "{name}");
            // A restart mends neither Kafka nor AWS, so no restart depends on them.
            let alive = at(container, &["livenessProbe"]);
            assert!(alive.is_null() || !at(alive, &["tcpSocket"]).is_null(), "{name}");
            let limits = [("CONNECT_TASK_SHUTDOWN_GRACEFUL_TIMEOUT_MS", 1000), ("FMS_LAKE_SHUTDOWN_TIMEOUT", 1)];
            for (variable, unit) in limits {
                let variables = environment(container);
                let Some((_, limit)) = variables.iter().find(|(name, _)| name == variable) else { continue };
                let limit = limit.parse::<u64>().expect("a number") / unit;
                let grace = at(spec, &["terminationGracePeriodSeconds"]).as_u64().expect("a number");
                // Leaving the groups, or giving messages back, takes up to 5 seconds more.
                assert!(grace > limit + 5, "{name}: {grace} s for {limit} s");
            }
        }
    }
}

#[test]
fn kubernetes_keda_and_prometheus_take_the_objects() {
    if !has_helm() {
        return;
    }
    let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = "import kubernetes_validate, yaml, cloudcoil.models.keda, cloudcoil.models.prometheus_operator";
    let import = Command::new(&python).args(["-c", import]).stdin(Stdio::null()).output();
    if !import.is_ok_and(|import| import.status.success()) {
        println!(
            "SKIPPED: `{python}` lacks packages: `pip install -r pipeline/fms/tests/helm/requirements.txt`, or name \
             another interpreter in E2E_PYTHON"
        );
        return;
    }
    let (mut all, mut count) = (String::new(), 0);
    for (_, file) in VALUES {
        let (text, objects) = rendered(file);
        count += objects.len();
        all += &text;
    }
    // What is not known is found.
    let wrong = [
        ("startingDeadlineSeconds", "startingDeadline"),
        ("minReplicaCount", "minReplicas"),
        ("interval: 15s", "every: 15s"),
    ];
    let (everything, _) = rendered(Some("everything.yaml"));
    all += &wrong.iter().fold(everything, |text, (right, wrong)| text.replace(right, wrong));
    let mut validation = Command::new(&python)
        .args(["-c", include_str!("validate.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    validation.stdin.take().expect("a pipe").write_all(all.as_bytes()).expect("read");
    let output = validation.wait_with_output().expect("its end");
    assert!(output.status.success(), "the validation ends by itself");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    let (right, wrong_ones) = lines.split_at(count);
    assert!(right.iter().all(|line| line.starts_with("valid: ")), "{}", right.join("\n"));
    for (_, wrong) in wrong {
        let field = wrong.split(':').next().expect("a field");
        let found = wrong_ones.iter().filter(|line| line.starts_with("NOT VALID: ") && line.contains(field));
        assert_ne!(found.count(), 0, "{field}: {}", wrong_ones.join("\n"));
    }
}
