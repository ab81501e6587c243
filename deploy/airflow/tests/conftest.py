"""An Airflow for each run of the tests: a database in a temporary folder, and the DAGs of this repository."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

DAGS = Path(__file__).parent.parent / "dags"
HOME = Path(tempfile.mkdtemp(prefix="airflow-"))

# Airflow reads these when it is imported.
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
)
sys.path.insert(0, str(DAGS))


def pytest_sessionstart(session):
    from airflow.utils.db import initdb

    initdb()


def pytest_sessionfinish(session):
    shutil.rmtree(HOME, ignore_errors=True)
