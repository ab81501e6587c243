"""Builds the mart each day, checks what was built, and publishes it."""

import os
from datetime import timedelta

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable
from fms_operator import START, FmsOperator, FmsQualityOperator, place, tries

MART = Asset("fms://mart")

# The last day that was over when the data interval ended, and all before it: there is no first day, because `fms` knows
# itself what has changed, however late. A day that goes on is not built, so that nobody is served half a day.
UNTIL = ["--to", "{{ (data_interval_end - macros.timedelta(days=1)) | ds }}"]

with DAG(
    dag_id="fms_mart",
    description="Builds the days of the mart whose inputs have changed, and checks their integrity.",
    doc_md="""
One task builds all models: `fms mart apply` knows which days of which models depend on what has changed, be it of
yesterday or of last month, and builds them in order. When it is done, the DAG `fms_quality` runs. The task `integrity`
looks at the days that have changed since they were checked last. It fails for good if a check fails, and its owner is
told; nobody should use the mart of that day until it is mended. Clear the task when it is.

With `FMS_MART_PUBLISH_TO` in the environment, `publish` then sends the days that have changed to the server that
applications ask, without those on which a check of their table has failed.
""",
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["fms", "mart"],
    default_args=tries(3, timedelta(hours=4)),
):
    build = FmsOperator(task_id="build", arguments=["mart", "apply", *place(), *UNTIL], outlets=[MART])
    integrity = FmsQualityOperator(
        task_id="integrity",
        arguments=["quality", "run", "--tag", "mart", "--tag", "integrity", "--changed", *place(), *UNTIL],
    )
    build >> integrity
    if os.environ.get("FMS_MART_PUBLISH_TO"):
        integrity >> FmsOperator(task_id="publish", arguments=["mart", "publish", *place(), *UNTIL])
