"""Runs queries on a lake with DuckDB and compares the rows with results that were written before.

usage: beside_duckdb.py LAKE QUERIES RESULTS

LAKE is a lake in a folder, QUERIES a folder of *.sql files, and RESULTS has a Parquet file of the same name for each of
them. Names, order and values have to be equal; doubles may differ in their last digits. Ends with status 1 if they are
not, or if a query gave no row, which would prove nothing.
"""

import datetime
import json
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq


def plain(value):
    """A value in the form in which both engines have it."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, datetime.datetime):
        utc = datetime.timezone.utc
        return value.replace(tzinfo=utc) if value.tzinfo is None else value.astimezone(utc)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def rows(table):
    return [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]


def main(lake, queries, results):
    database = duckdb.connect()
    database.sql("set timezone = 'UTC'")
    for table in sorted(Path(lake, "tables").glob("*.json")):
        folder = Path(lake, json.loads(table.read_text())["location"])
        # The folders above those of the table are columns of its files, too.
        keys = "regexp_extract(filename, 'ymd=([^/]*)', 1) as ymd, regexp_extract(filename, 'hour=([^/]*)', 1) as hour"
        options = "union_by_name = true, hive_partitioning = false, filename = true"
        files = f"read_parquet('{folder}/**/*.parquet', {options})"
        database.sql(f"create view {table.stem} as select * exclude (filename), {keys} from {files}")
    failed = 0
    for query in sorted(Path(queries).glob("*.sql")):
        ours = rows(pq.read_table(Path(results, query.stem + ".parquet")))
        theirs = rows(database.sql(query.read_text()).to_arrow_table())
        is_equal = bool(ours) and ours == theirs
        verdict = "equal" if is_equal else "NOT EQUAL"
        print(f"{query.stem}: {len(ours)} rows of ours, {len(theirs)} of DuckDB: {verdict}")
        if not is_equal:
            failed = 1
            for mine, other in zip(ours, theirs):
                if mine != other:
                    print(f"  ours   {mine}\n  DuckDB {other}")
                    break
    sys.exit(failed)


main(*sys.argv[1:])
