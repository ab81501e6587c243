"""Looks for anomalies in what vehicles sent, when the mart was built."""

from datetime import timedelta

from airflow.sdk import DAG, Asset
from fms_operator import START, FmsQualityOperator, place, tries

with DAG(
    dag_id="fms_quality",
    description="Looks for anomalies, losses and drift in what vehicles sent.",
    doc_md="""
Runs when `fms_mart` or `fms_backfill` has built the mart, and looks at the days, until yesterday, that have changed since
they were checked last. A check that fails makes the task fail for good, and its owner is told. It stops nothing else: what
devices do wrong is in the data as they sent it.
""",
    schedule=[Asset("fms://mart")],
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["fms", "quality"],
    default_args=tries(3, timedelta(hours=4)),
):
    tags = [option for tag in ("anomaly", "transitions", "loss", "drift") for option in ("--tag", tag)]
    FmsQualityOperator(task_id="anomalies", arguments=["quality", "run", *tags, "--changed", *place()])
