"""Compares the stages of the pipeline with each other, until the day before yesterday: late rows have come by then."""

import os
from datetime import timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable
from fms_operator import START, FmsOperator, FmsQualityOperator, place, tries

# The data interval is yesterday.
DAY = "{{ (data_interval_start - macros.timedelta(days=1)) | ds }}"

with DAG(
    dag_id="fms_consistency",
    description="Compares raw objects, the lake and the mart with each other, until the day before yesterday.",
    doc_md="""
`lake` is `fms lake status`: it fails if rows of converted raw objects are missing in the lake or readers do not find
them, and, with `FMS_LAKE_RAW` in the environment, such as `s3://raw/topics/`, if a raw object is not converted. `mart` runs
the checks with the tag `consistency` on the days of which a table has changed since. Both look on their own, so that one that fails hides nothing of the other.
""",
    schedule=CronDataIntervalTimetable("0 5 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["fms", "quality"],
    default_args=tries(3, timedelta(hours=2)),
):
    raw = os.environ.get("FMS_LAKE_RAW")
    FmsOperator(task_id="lake", arguments=["lake", "status", *(["--raw", raw] if raw else [])])
    FmsQualityOperator(
        task_id="mart",
        arguments=["quality", "run", "--tag", "consistency", "--changed", *place(), "--to", DAY],
    )
