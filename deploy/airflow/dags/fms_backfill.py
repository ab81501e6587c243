"""Builds a range of days of the mart anew, when somebody asks for it."""

from datetime import timedelta

from airflow.sdk import DAG, Param
from fms_operator import START, FmsOperator, place, tries

with DAG(
    dag_id="fms_backfill",
    description="Builds all days of a range of the mart, whether their inputs have changed or not.",
    doc_md="""
Trigger it with the first and the last day, and a model if not all are meant: `trip`, `+trip` with all that it is made
of, or `trip+` with all that is made of it. One task builds all days, several at a time.
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
    FmsOperator(task_id="backfill", arguments=["mart", "backfill", *place(), *days, *select])
