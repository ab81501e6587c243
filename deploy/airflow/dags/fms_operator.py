"""Runs `fms` as a task.

Exit status 1 of `fms` means that it ran and that something is wrong, which another attempt does not mend: the task
fails for good. Any other status than 0 means that it could not run, and the task is tried again. When Airflow stops the
task, `fms` gets SIGTERM.

`fms` finds its settings in the environment of the task (`FMS_LAKE_DATABASE`, `FMS_MART`, `FMS_MART_MODELS`,
`FMS_QUALITY_CHECKS`, `FMS_ALERTS_STATE`, `AWS_REGION` and others). These are read here:

    FMS_PROGRAM        the program; `fms` in PATH if it is not set
    FMS_PLACE          options that name the lake of mart and quality, such as `--lake /data/lake` for one in a folder
    FMS_ALERTS_CONFIG  the file of the alerts; without it nobody is told
    FMS_QUALITY_PUSH_TO  a Pushgateway, such as `http://pushgateway:9091/metrics/job/fms-quality`
"""

import os
import shlex
import signal
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

# When the DAGs begin, which is before every run of theirs: none of them catches up.
START = pendulum.datetime(2023, 1, 1, tz="UTC")
OWNER = "fleet-data@example.com"

FAILED = 1
# How long `fms` may take to end after SIGTERM.
GRACE_SECONDS = 30


def tries(retries, limit, delay=timedelta(minutes=5)):
    """What the tasks of a DAG have in common: who answers for them, how often one is tried again, after which delay, and
    how long it may take."""
    return {"owner": OWNER, "retries": retries, "retry_delay": delay, "execution_timeout": limit}


class FmsOperator(BaseOperator):
    """Runs `fms` with these arguments. Those that are empty once they are rendered are left out."""

    template_fields = ("arguments",)

    def __init__(self, *, arguments, **rest):
        super().__init__(**rest)
        self.arguments = arguments
        self._process = None

    def execute(self, context):
        self.settle(self.run_fms(self.arguments), self.arguments)

    def run_fms(self, arguments):
        """Runs `fms`, with what it says in the task's log, and gives its exit status."""
        program = os.environ.get("FMS_PROGRAM", "fms")
        command = [program, *(argument for argument in arguments if argument)]
        self.log.info("%s", shlex.join(command))
        try:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
        except OSError as error:
            raise AirflowException(f"cannot start {program}: {error}; install it, or name it in FMS_PROGRAM") from error
        for line in self._process.stdout:
            self.log.info("%s", line.rstrip("\n"))
        return self._process.wait()

    def settle(self, status, arguments):
        """Ends the task as the exit status says."""
        name = " ".join(arguments[:2])
        if status == FAILED:
            raise AirflowFailException(f"fms {name}: something is wrong, and another attempt does not mend it")
        if status:
            raise AirflowException(f"fms {name} could not run: exit status {status}; it is tried again")

    def on_kill(self):
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()


class FmsQualityOperator(FmsOperator):
    """Runs checks, and tells the owners of those that fail. Both are one task, because tasks need not share a disk."""

    def execute(self, context):
        with tempfile.TemporaryDirectory() as folder:
            results, rows = Path(folder, "results.json"), Path(folder, "rows")
            kept = ["--format", "json", "--output", str(results), "--bad-rows", str(rows)]
            status = self.run_fms([*self.arguments, *kept, *self.push()])
            told = 0
            if results.exists() and "FMS_ALERTS_CONFIG" in os.environ:
                told = self.run_fms([*alerts(), "--results", str(results), "--bad-rows", str(rows)])
            # A failed check is final, but its owner has to be told, so what keeps the alert from that is tried again.
            self.settle(told, alerts())
            self.settle(status, self.arguments)

    def push(self):
        """The option that names the group of this task in the Pushgateway, where each run replaces a whole group."""
        job = os.environ.get("FMS_QUALITY_PUSH_TO")
        return ["--push-to", f"{job.rstrip('/')}/task/{self.dag_id}.{self.task_id}"] if job else []


def alerts():
    """The arguments that tell the owners."""
    return ["alerts", "send", "--config", os.environ.get("FMS_ALERTS_CONFIG", "/etc/fms/alerts.yml")]


def place():
    """The options that name the lake, if the environment of `fms` does not."""
    return shlex.split(os.environ.get("FMS_PLACE", ""))
