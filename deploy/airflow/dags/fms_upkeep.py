"""Keeps the lake and the mart small: merges files, and removes those that others have replaced."""

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG
from fms_operator import FmsOperator, place

with DAG(
    dag_id="fms_upkeep",
    description="Compacts the lake, and removes files of the mart that have been replaced.",
    doc_md="""
With `FMS_LAKE_KEEP` in the environment, such as `400d`, hours that are over for longer leave the lake for good, after
the compaction. Without it nothing leaves.
""",
    schedule="30 4 * * *",
    start_date=pendulum.datetime(2023, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["fms", "lake", "mart"],
    default_args={
        "owner": "fleet-data@example.com",
        "retries": 2,
        "retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=6),
    },
):
    compact = FmsOperator(task_id="compact", arguments=["lake", "compact"])
    FmsOperator(task_id="expire_mart", arguments=["mart", "expire", *place()])
    keep = os.environ.get("FMS_LAKE_KEEP")
    if keep:
        compact >> FmsOperator(task_id="expire_lake", arguments=["lake", "expire", "--older-than", keep])
