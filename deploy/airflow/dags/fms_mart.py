"""Builds the mart each day, checks what was built, and publishes it."""

import os
from datetime import timedelta

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable
from fms_operator import START, FmsOperator, FmsQualityOperator, place, tries

MART = Asset("fms://mart")

# The days that were over two hours ago: those that begin in the data interval, without the one on which it ends.
DAYS = ["--from", "{{ data_interval_start | ds }}", "--to", "{{ (data_interval_end - macros.timedelta(days=1)) | ds }}"]

with DAG(
    dag_id="fms_mart",
    description="Builds the days of the mart whose inputs have changed, and checks their integrity.",
    doc_md="""
One task builds all models: `fms mart apply` knows which days of which models depend on what has changed, and builds
them in order. When it is done, the DAG `fms_quality` runs. The task `integrity` fails for good if a check fails, and
its owner is told; nobody should use the mart of that day until it is mended. Clear the task when it is.

With `FMS_MART_PUBLISH_TO` in the environment, `publish` then sends the days to the server that applications ask.
""",
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["fms", "mart"],
    default_args=tries(3, timedelta(hours=4)),
):
    build = FmsOperator(task_id="build", arguments=["mart", "apply", *place(), *DAYS], outlets=[MART])
    integrity = FmsQualityOperator(
        task_id="integrity", arguments=["quality", "run", "--tag", "mart", "--tag", "integrity", *place(), *DAYS]
    )
    build >> integrity
    if os.environ.get("FMS_MART_PUBLISH_TO"):
        integrity >> FmsOperator(task_id="publish", arguments=["mart", "publish", *place(), *DAYS])
