"""Builds a range of days of the mart anew, when somebody asks for it, checks them, and publishes them."""

import os
from datetime import timedelta

from airflow.sdk import DAG, Asset, Param
from fms_operator import START, FmsOperator, FmsQualityOperator, place, tries

MART = Asset("fms://mart")

with DAG(
    dag_id="fms_backfill",
    description="Builds all days of a range of the mart, whether their inputs have changed or not, and checks them.",
    doc_md="""
Trigger it with the first and the last day, and a model if not all are meant: `trip`, `+trip` with all that it is made
of, or `trip+` with all that is made of it. One task builds all days, several at a time. Then the days are checked and
published as `fms_mart` does it, and `fms_quality` runs.
""",
    schedule=None,
    start_date=START,
    max_active_runs=1,
    tags=["fms", "mart"],
    params={
        "from": Param("2023-01-01", type="string", format="date", description="The first day"),
        "to": Param("2023-01-01", type="string", format="date", description="The last day"),
        "select": Param("", type="string", description="A model, such as trip, +trip or trip+; all if it is empty"),
    },
    default_args=tries(1, timedelta(hours=12)),
):
    days = ["--from", "{{ params.from }}", "--to", "{{ params.to }}"]
    select = ["{{ '--select' if params.select else '' }}", "{{ params.select }}"]
    build = FmsOperator(task_id="backfill", arguments=["mart", "backfill", *place(), *days, *select], outlets=[MART])
    # A day whose rows are those of before has its verdict.
    integrity = FmsQualityOperator(
        task_id="integrity",
        arguments=["quality", "run", "--tag", "mart", "--tag", "integrity", "--changed", *place(), *days],
    )
    build >> integrity
    if os.environ.get("FMS_MART_PUBLISH_TO"):
        integrity >> FmsOperator(task_id="publish", arguments=["mart", "publish", *place(), *days, *select])
