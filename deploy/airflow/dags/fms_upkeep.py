"""Keeps the lake and the mart small: merges files, and removes those that others have replaced."""

import os
from datetime import timedelta

from airflow.sdk import DAG
from fms_operator import START, FmsOperator, place, tries

with DAG(
    dag_id="fms_upkeep",
    description="Compacts the lake, and removes files of the mart that have been replaced.",
    doc_md="""
With `FMS_LAKE_KEEP` in the environment, such as `400d`, hours that are over for longer leave the lake for good, after
the compaction. Without it nothing leaves.
""",
    schedule="30 4 * * *",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["fms", "lake", "mart"],
    default_args=tries(2, timedelta(hours=6), timedelta(minutes=10)),
):
    compact = FmsOperator(task_id="compact", arguments=["lake", "compact"])
    FmsOperator(task_id="expire_mart", arguments=["mart", "expire", *place()])
    keep = os.environ.get("FMS_LAKE_KEEP")
    if keep:
        compact >> FmsOperator(task_id="expire_lake", arguments=["lake", "expire", "--older-than", keep])
