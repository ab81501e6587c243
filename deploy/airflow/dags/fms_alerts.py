"""Tells owners what time brings: checks that did not run, what is still open, and the daily digest."""

from datetime import timedelta

from airflow.sdk import DAG
from fms_operator import START, FmsOperator, alerts, tries

with DAG(
    dag_id="fms_alerts",
    description="Sends what time brings: checks that did not run, reminders, and the daily digest.",
    doc_md="""
The DAGs that run checks tell of them at once. This one finds that they did not run, and sends what could not be sent
before. It fails if Slack does not take a message; the message is kept.
""",
    schedule="10 * * * *",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["fms", "quality"],
    default_args=tries(2, timedelta(minutes=30)),
):
    FmsOperator(task_id="send", arguments=alerts())
