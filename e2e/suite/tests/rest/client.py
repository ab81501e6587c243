"""Operates a connector by kafka-connect-py: URL and configuration are the arguments, and, if the worker asks for a
password, `user:password` and the file with the authority of its certificate."""

import json
import sys
import time

from kafka_connect import KafkaConnect
from requests.exceptions import HTTPError

auth, authority = sys.argv[3:] or (None, True)
connect = KafkaConnect(url=sys.argv[1], auth=auth, ssl_verify=authority)
config = json.loads(sys.argv[2])


def states(name):
    status = connect.get_connector_status(name)
    return [status["connector"]["state"]] + [task["state"] for task in status["tasks"]]


def reaches(name, expected):
    deadline = time.monotonic() + 30
    while states(name) != expected:
        assert time.monotonic() < deadline, (states(name), expected)


assert connect.get_cluster_info()["version"]
assert "S3Sink" in [plugin["class"] for plugin in connect.list_connector_plugins()]
assert connect.list_connectors() == []
checked = connect.validate_connector_config("S3Sink", {"name": "a", **config})
assert checked["error_count"] == 0, checked

created = connect.create_connector({"name": "a", "config": config})
assert created["tasks"] == [{"connector": "a", "task": 0}], created
reaches("a", ["RUNNING", "RUNNING"])
try:
    connect.create_connector({"name": "a", "config": config})
    raise AssertionError("created twice")
except HTTPError as error:
    assert error.response.status_code == 409

assert connect.get_connector("a")["type"] == "sink"
assert connect.get_connector_config("a")["flush.size"] == "10"
assert connect.list_connectors(expand="status")["a"]["status"]["name"] == "a"
assert connect.list_connectors(state="RUNNING")
assert len(connect.list_connector_tasks("a")) == 1
assert connect.get_connector_task_status("a", 0)["state"] == "RUNNING"
assert connect.list_connector_topics("a") == {"a": {"topics": []}}

connect.pause_connector("a")
reaches("a", ["PAUSED", "PAUSED"])
connect.resume_connector("a")
reaches("a", ["RUNNING", "RUNNING"])
connect.restart_connector("a", include_tasks=True)
connect.restart_connector("a")
connect.restart_connector_task("a", 0)
reaches("a", ["RUNNING", "RUNNING"])
changed = connect.update_connector("a", {**config, "tasks.max": "2"})
assert len(changed["tasks"]) == 2, changed
reaches("a", ["RUNNING", "RUNNING", "RUNNING"])
connect.stop_connector("a")
reaches("a", ["STOPPED"])
connect.delete_connector("a")
assert connect.list_connectors() == []
