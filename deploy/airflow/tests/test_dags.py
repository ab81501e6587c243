"""The DAGs as a team needs them, and what becomes of them when `fms` does well, badly, or nothing.

Where FMS_BIN names a folder with `fms` and `fms-sql`, one test runs these on a lake in a folder.
"""

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from conftest import DAGS

NAMES = ["fms_alerts", "fms_backfill", "fms_consistency", "fms_mart", "fms_quality", "fms_upkeep"]
DAY = datetime.datetime(2023, 1, 1, 2, tzinfo=datetime.timezone.utc)


@pytest.fixture(scope="session")
def bag():
    bag = DagBag(DAGS)
    assert not bag.import_errors, bag.import_errors
    return bag


@pytest.fixture
def fms(tmp_path, monkeypatch):
    """A program that keeps its arguments, and does what a test says for each command."""
    program = tmp_path / "fms"
    program.write_text(f"""#!{sys.executable}
import json, pathlib, sys
folder, arguments = pathlib.Path({str(tmp_path)!r}), sys.argv[1:]
with open(folder / "calls", "a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
if "--output" in arguments:
    pathlib.Path(arguments[arguments.index("--output") + 1]).write_text("")
statuses = json.loads((folder / "statuses").read_text())
sys.exit(statuses.get(" ".join(arguments[:2]), 0))
""")
    program.chmod(0o755)
    (tmp_path / "statuses").write_text("{}")
    monkeypatch.setenv("FMS_PROGRAM", str(program))
    monkeypatch.setenv("FMS_PLACE", "--lake /lake")
    monkeypatch.setenv("FMS_ALERTS_CONFIG", "alerts.yml")

    class Fms:
        def ends(self, **statuses):
            (tmp_path / "statuses").write_text(json.dumps({name.replace("_", " "): s for name, s in statuses.items()}))

        def calls(self):
            path = tmp_path / "calls"
            return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return Fms()


def run(name, **rest):
    """Runs a DAG, parsed anew with the environment as it is, and gives the states of its tasks."""
    dag = DagBag(DAGS / f"{name}.py").dags[name]
    ran = dag.test(logical_date=DAY, **rest)
    return str(ran.state), {instance.task_id: str(instance.state) for instance in ran.get_task_instances()}


def test_all_dags_are_there(bag):
    assert sorted(bag.dags) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_dag_says_whose_it_is_and_what_it_does(bag, name):
    dag = bag.dags[name]
    assert dag.description and dag.doc_md and "fms" in dag.tags and len(dag.tags) > 1
    assert not dag.catchup and dag.max_active_runs == 1
    for task in dag.tasks:
        assert re.fullmatch(r"[^@ ]+@[^@ ]+\.[a-z]+", task.owner), f"{name}.{task.task_id}: {task.owner}"
        assert task.retries >= 1 and task.execution_timeout, f"{name}.{task.task_id}"


@pytest.mark.parametrize("name", NAMES)
def test_a_dag_is_parsed_without_a_call(name, monkeypatch):
    """What a file does when it is parsed, it does every 30 seconds."""

    def refuse(*_, **__):
        raise AssertionError("parsing a DAG must not start programs or open connections")

    monkeypatch.setattr("subprocess.Popen.__init__", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    bag = DagBag(DAGS / f"{name}.py")
    assert not bag.import_errors and list(bag.dags) == [name]


# Late rows change days of long ago, so there is a last day and no first one.
UNTIL = ["--to", "2022-12-31"]


def test_the_mart_is_built_of_all_that_changed_and_checked(fms):
    state, tasks = run("fms_mart")
    assert (state, tasks) == ("success", {"build": "success", "integrity": "success"})
    build, integrity, alerts = fms.calls()
    assert build == ["mart", "apply", "--lake", "/lake", *UNTIL]
    assert integrity[:7] == ["quality", "run", "--tag", "mart", "--tag", "integrity", "--changed"]
    assert integrity[7:11] == ["--lake", "/lake", *UNTIL]
    results = integrity[integrity.index("--output") + 1]
    rows = integrity[integrity.index("--bad-rows") + 1]
    assert alerts == ["alerts", "send", "--config", "alerts.yml", "--results", results, "--bad-rows", rows]


def test_only_what_passed_its_checks_is_published_and_only_where_somebody_asks_for_it(fms, monkeypatch):
    monkeypatch.setenv("FMS_MART_PUBLISH_TO", "postgres://fleet@db/fleet")
    state, tasks = run("fms_mart")
    assert (state, list(tasks)) == ("success", ["build", "integrity", "publish"])
    publish = fms.calls()[-1]
    assert publish == ["mart", "publish", "--lake", "/lake", *UNTIL]
    fms.ends(quality_run=1)
    _, tasks = run("fms_mart")
    assert (tasks["integrity"], tasks["publish"]) == ("failed", "upstream_failed")
    assert fms.calls().count(publish) == 1
    # A server that cannot be reached is tried again.
    fms.ends(mart_publish=2)
    assert attempt("fms_mart", "publish") == ("retry", "AirflowException")


def test_each_task_has_its_own_metrics(fms, monkeypatch):
    """A Pushgateway replaces a whole group, so two tasks must not have the same."""
    assert "--push-to" not in str(run("fms_mart") and fms.calls())
    monkeypatch.setenv("FMS_QUALITY_PUSH_TO", "http://push:9091/metrics/job/fms-quality/")
    for name in ("fms_mart", "fms_quality", "fms_consistency", "fms_backfill"):
        run(name)
    calls = [call for call in fms.calls() if "--push-to" in call]
    groups = [call[call.index("--push-to") + 1].removeprefix("http://push:9091/metrics/job/fms-quality/") for call in calls]
    tasks = ["fms_mart.integrity", "fms_quality.anomalies", "fms_consistency.mart", "fms_backfill.integrity"]
    assert groups == [f"task/{task}" for task in tasks]


@pytest.mark.parametrize(
    ("status", "becomes"), [(1, "for good"), (2, "retry"), (-15, "retry"), (101, "retry")], ids=str
)
def test_only_a_failed_check_of_a_model_is_not_tried_again(fms, status, becomes):
    fms.ends(mart_apply=status)
    assert attempt("fms_mart", "build")[0] == becomes


def test_a_program_that_is_not_there_is_tried_again(fms, monkeypatch):
    monkeypatch.setenv("FMS_PROGRAM", "/nowhere/fms")
    assert attempt("fms_alerts", "send") == ("retry", "AirflowException")


def test_a_failed_check_fails_for_good_and_its_owner_is_told(fms):
    fms.ends(quality_run=1)
    state, tasks = run("fms_mart")
    assert (state, tasks["integrity"]) == ("failed", "failed")
    assert [call[0] for call in fms.calls()] == ["mart", "quality", "alerts"]


def test_a_check_that_could_not_run_is_tried_again(fms):
    fms.ends(quality_run=2)
    assert attempt("fms_mart", "integrity") == ("retry", "AirflowException")


def test_a_mart_that_could_not_be_built_is_not_checked(fms):
    fms.ends(mart_apply=1)
    state, tasks = run("fms_mart")
    assert (state, tasks) == ("failed", {"build": "failed", "integrity": "upstream_failed"})
    assert [call[0] for call in fms.calls()] == ["mart"]


def test_an_alert_that_was_not_sent_is_no_passed_check(fms):
    fms.ends(alerts_send=2)
    assert attempt("fms_mart", "integrity") == ("retry", "AirflowException")


def attempt(name, task):
    """Executes a task's operator alone: whether it is tried again, and what it raises."""
    operator = DagBag(DAGS / f"{name}.py").dags[name].get_task(task)
    try:
        operator.execute({})
    except AirflowFailException as error:
        return "for good", type(error).__name__
    except AirflowException as error:
        return "retry", type(error).__name__
    return "done", None


def test_the_quality_dag_follows_the_mart_and_looks_at_what_has_changed(bag, fms):
    mart = Asset("fms://mart")
    assert bag.dags["fms_mart"].get_task("build").outlets == [mart]
    assert bag.dags["fms_backfill"].get_task("backfill").outlets == [mart]
    assert list(bag.dags["fms_quality"].timetable.asset_condition.objects) == [mart]
    assert run("fms_quality") == ("success", {"anomalies": "success"})
    anomalies = fms.calls()[0]
    tags = ["--tag", "anomaly", "--tag", "transitions", "--tag", "loss", "--tag", "drift"]
    assert anomalies[:13] == ["quality", "run", *tags, "--changed", "--lake", "/lake"]
    assert "--from" not in anomalies and "--to" not in anomalies


def test_stages_are_compared_when_late_rows_have_come(fms, monkeypatch):
    """At two o'clock on the first of January, the last run was on the 31st of December; two days before is the 29th."""
    state, tasks = run("fms_consistency")
    assert (state, tasks) == ("success", {"lake": "success", "mart": "success"})
    calls = {call[0]: call for call in fms.calls()}
    assert calls["lake"] == ["lake", "status"]
    assert calls["quality"][:4] == ["quality", "run", "--tag", "consistency"]
    assert calls["quality"][4:9] == ["--changed", "--lake", "/lake", "--to", "2022-12-29"]
    monkeypatch.setenv("FMS_LAKE_RAW", "s3://raw/topics/")
    fms.ends(lake_status=1)
    state, tasks = run("fms_consistency")
    assert (state, tasks) == ("failed", {"lake": "failed", "mart": "success"})
    assert ["lake", "status", "--raw", "s3://raw/topics/"] in fms.calls()


@pytest.mark.parametrize(("select", "rest"), [("", []), ("+trip", ["--select", "+trip"])])
def test_a_backfill_is_of_the_days_and_the_model_that_somebody_chose_and_is_checked(fms, monkeypatch, select, rest):
    monkeypatch.setenv("FMS_MART_PUBLISH_TO", "postgres://fleet@db/fleet")
    state, tasks = run("fms_backfill", run_conf={"from": "2023-01-02", "to": "2023-01-05", "select": select})
    assert (state, list(tasks)) == ("success", ["backfill", "integrity", "publish"])
    days = ["--from", "2023-01-02", "--to", "2023-01-05"]
    backfill, integrity, _, publish = fms.calls()
    assert backfill == ["mart", "backfill", "--lake", "/lake", *days, *rest]
    assert integrity[:13] == [
        "quality", "run", "--tag", "mart", "--tag", "integrity", "--changed", "--lake", "/lake", *days
    ]
    assert publish == ["mart", "publish", "--lake", "/lake", *days, *rest]


def test_hours_leave_the_lake_only_if_somebody_said_so(fms, monkeypatch):
    run("fms_upkeep")
    assert sorted(call[:2] for call in fms.calls()) == [["lake", "compact"], ["mart", "expire"]]
    monkeypatch.setenv("FMS_LAKE_KEEP", "400d")
    run("fms_upkeep")
    assert ["lake", "expire", "--older-than", "400d"] in fms.calls()


def test_sigterm_of_the_task_stops_fms(tmp_path):
    """A task is a process of its own, which Airflow ends with SIGTERM. It is done here as its task runner does it."""
    program, said = tmp_path / "fms", tmp_path / "said"
    program.write_text(f"""#!/bin/sh
trap 'echo stopped >> {said}; exit 0' TERM
echo begun >> {said}
while :; do sleep 0.1; done
""")
    program.chmod(0o755)
    task = """
import signal
from fms_operator import FmsOperator
operator = FmsOperator(task_id="t", arguments=["mart", "apply"])
signal.signal(signal.SIGTERM, lambda *_: (operator.on_kill(), exit(0)))
operator.execute({})
"""
    environment = {**os.environ, "FMS_PROGRAM": str(program), "PYTHONPATH": str(DAGS)}
    process = subprocess.Popen([sys.executable, "-c", task], env=environment)
    deadline = time.monotonic() + 60
    while not (said.exists() and "begun" in said.read_text()):
        assert time.monotonic() < deadline and process.poll() is None, "fms was not started"
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert said.read_text().splitlines() == ["begun", "stopped"]


@pytest.mark.skipif("FMS_BIN" not in os.environ, reason="FMS_BIN names no folder with fms and fms-sql")
def test_fms_builds_a_mart_and_checks_it(tmp_path, monkeypatch):
    fms, lake = Path(os.environ["FMS_BIN"], "fms"), tmp_path / "lake"
    row = {"object": "vehicle", "type": "status", "command": "report", "id": 7, "seq": 0, "odometer": 100}
    raw = tmp_path / "raw.json"
    raw.write_text(json.dumps({**row, "timestamp_iso": "2022-12-31T08:00:00Z"}) + "\n")
    subprocess.run([fms, "lake", "convert", "--to", lake, raw], check=True)
    models, checks = tmp_path / "models", tmp_path / "checks.yml"
    models.mkdir()
    (models / "way.sql").write_text('''/*
description = "How far the odometer of each vehicle went."
owner = "fleet@example.com"
grain = "a vehicle on a day"
keys = ["id"]
columns = """
id     bigint  the vehicle
meters bigint  m
"""

[sources.vehicle_status_report]
columns = "id bigint, timestamp_iso timestamp, odometer bigint"

[[examples]]
name = "one"
given.vehicle_status_report = """
id | ymd        | odometer
7  | 2023-01-01 | 100
"""
expect = """
ymd        | id | meters
2023-01-01 | 7  | 0
"""
*/
select ymd, id, max(odometer) - min(odometer) as meters from vehicle_status_report group by ymd, id
''')
    suite = "table: way\nowner: fleet@example.com\nchecks: [{name: rows, row_count: {min: %d}, tags: [mart]}]\n"
    checks.write_text(suite % 1)
    for name, value in {
        "FMS_PROGRAM": fms,
        "FMS_PLACE": f"--lake {lake}",
        "FMS_MART_MODELS": models,
        "FMS_QUALITY_CHECKS": checks,
        "FMS_QUALITY_HISTORY": lake,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("FMS_ALERTS_CONFIG", raising=False)
    assert run("fms_mart") == ("success", {"build": "success", "integrity": "success"})
    # A late row of the day before changes a day that no run was of, and it is built and checked.
    raw.write_text(json.dumps({**row, "odometer": 300, "timestamp_iso": "2022-12-30T08:00:00Z"}) + "\n")
    subprocess.run([fms, "lake", "convert", "--to", lake, raw], check=True)
    assert run("fms_mart") == ("success", {"build": "success", "integrity": "success"})
    sql = "select distinct from_day from quality_results where check_name = 'rows' order by 1"
    asked = subprocess.run([fms, "query", "--lake", lake, "--format", "json", sql], check=True, stdout=subprocess.PIPE)
    days = [json.loads(line)["from_day"] for line in asked.stdout.splitlines()]
    assert days == ["2022-12-30", "2022-12-31"]
    # What is not in the mart fails its check, and nothing is tried again.
    checks.write_text(suite % 2)
    state, tasks = run("fms_mart")
    assert (state, tasks) == ("failed", {"build": "success", "integrity": "failed"})
