"""Looks for anomalies in what vehicles sent, when the mart of a day is built."""

from datetime import timedelta

from airflow.sdk import DAG, Asset
from fms_operator import START, FmsQualityOperator, place, tries

# The days of all runs that have built the mart since. When somebody triggers this without such a run, `fms` takes
# yesterday.
RUNS = "(triggering_asset_events.values() | list | first | map(attribute='source_dag_run'))"
FIRST = "(" + RUNS + " | map(attribute='data_interval_start') | min)"
LAST = "((" + RUNS + " | map(attribute='data_interval_end') | max) - macros.timedelta(days=1))"
DAYS = [
    "{{ '--from' if triggering_asset_events }}",
    "{{ " + FIRST + " | ds if triggering_asset_events }}",
    "{{ '--to' if triggering_asset_events }}",
    "{{ " + LAST + " | ds if triggering_asset_events }}",
]

with DAG(
    dag_id="fms_quality",
    description="Looks for anomalies, losses and drift in what vehicles sent.",
    doc_md="""
Runs when `fms_mart` has built the mart of a day. A check that fails makes the task fail for good, and its owner is
told. It stops nothing else: what devices do wrong is in the data as they sent it.
""",
    schedule=[Asset("fms://mart")],
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["fms", "quality"],
    default_args=tries(3, timedelta(hours=4)),
):
    tags = [option for tag in ("anomaly", "transitions", "loss", "drift") for option in ("--tag", tag)]
    FmsQualityOperator(task_id="anomalies", arguments=["quality", "run", *tags, *place(), *DAYS])
