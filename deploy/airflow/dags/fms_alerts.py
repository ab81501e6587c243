"""Tells owners what time brings: checks that did not run, what is still open, and the daily digest."""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG
from fms_operator import FmsOperator, alerts

with DAG(
    dag_id="fms_alerts",
    description="Sends what time brings: checks that did not run, reminders, and the daily digest.",
    doc_md="""
The DAGs that run checks tell of them at once. This one finds that they did not run, and sends what could not be sent
before. It fails if Slack does not take a message; the message is kept.
""",
    schedule="10 * * * *",
    start_date=pendulum.datetime(2023, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["fms", "quality"],
    default_args={
        "owner": "fleet-data@example.com",
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(minutes=30),
    },
):
    FmsOperator(task_id="send", arguments=alerts())
