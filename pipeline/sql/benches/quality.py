"""Measures 50 checks of a table beside one full scan of it, and beside other tools on the same files.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r pipeline/lake/tests/requirements.txt
    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install soda-core-duckdb great-expectations pyarrow pytz
    cargo build --release --bin fms-sql
    /tmp/bench/bin/python pipeline/sql/benches/quality.py --fms-sql target/release/fms-sql --peers /tmp/peers/bin/python

The lake is that of `query.py`. The full scan is a query that reads every column of every row. The checks look at single
rows: that values are there, within a range, one of a list, or matched by a condition. Each way is run in turn, in a
process of its own; the median of the runs is shown. CPU seconds are user and system time. With `--peers`, the same
checks are run by Soda Core on DuckDB and by Great Expectations on a data frame of pandas, which `quality_peers.py`
translates them for, and DuckDB does the same scan.
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile

from query import FOLDER, TABLE, make, measure

NUMBERS = {
    "latitude": (-90, 90), "longitude": (-180, 180), "speed": (0, 250), "heading": (0, 360), "accel_x": (-78, 78),
    "accel_y": (-78, 78), "accel_z": (-78, 78), "odometer": (1, 20_000_000_000), "seq": (0, 60), "id": (1, 10_000_000),
}
TEXTS = {"firmware": ["2.3.0", "2.4.1"]}
COLUMNS = [*NUMBERS, *TEXTS, "device_id", "timestamp_iso"]


def checks():
    """The 50 checks, each as `fms quality` has it."""
    found = [{"name": f"{column} is there", "not_null": {"columns": [column]}} for column in COLUMNS]
    for column, (low, high) in NUMBERS.items():
        found += [
            {"name": f"{column} is possible", "range": {"column": column, "min": low, "max": high}},
            {"name": f"{column} is a number", "holds": f"not isnan(cast({column} as double))"},
            {"name": f"{column} while driving", "range": {"column": column, "min": low}, "where": "speed > 5"},
        ]
    for column, values in TEXTS.items():
        found += [
            {"name": f"{column} is known", "accepted": {"column": column, "values": values}},
            {"name": f"{column} is short", "length": {"column": column, "max": 20}},
        ]
    found += [
        {"name": "gravity", "holds": "abs(accel_z) > 1"},
        {"name": "device has a length", "length": {"column": "device_id", "min": 3, "max": 20}},
        {"name": "rows", "row_count": {"min": 1}},
        {"name": "fresh", "freshness": {"max_age": "87600h"}},
        {"name": "level", "holds": "abs(accel_x) <= 78 and abs(accel_y) <= 78"},
    ]
    assert len(found) == 50, len(found)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fms-sql", required=True)
    parser.add_argument("--peers", help="a Python that has Soda Core and Great Expectations")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lake", help="a folder for the lake, which is made there if it does not exist")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lake = arguments.lake or f"{temporary}/lake"
        if not pathlib.Path(lake, "tables").exists():
            make(lake, arguments.rows)
        size = sum(path.stat().st_size for path in pathlib.Path(lake).rglob("*.parquet"))
        file = pathlib.Path(temporary, "checks.yml")
        # JSON is YAML.
        file.write_text(json.dumps({"table": TABLE, "owner": "fleet@example.com", "checks": checks()}))
        # Every value is read and looked at, and nothing else is done with it.
        each = ", ".join(f"min({column}), max({column})" for column in COLUMNS)
        scan = [arguments.fms_sql, "--lake", lake, f"select count(*), {each} from {TABLE}"]
        run = [arguments.fms_sql, "quality", "run", str(file), "--lake", lake]
        run += ["--from", "2023-01-01", "--to", "2023-12-31", "--now", "2024-01-01T00:00:00Z"]
        ways = {"fms-sql: full scan": scan, "fms-sql: 50 checks": run}
        if arguments.peers:
            script = str(pathlib.Path(__file__).with_name("quality_peers.py"))
            peer = [arguments.peers, script, f"{lake}/{FOLDER}/*/*/*.parquet", str(file)]
            ways |= {"DuckDB: full scan": [*peer, "scan", each], "Soda Core: 50 checks": [*peer, "soda"]}
            ways |= {"pandas: reading": [*peer, "read"], "Great Expectations: 50": [*peer, "gx"]}
        print(f"{size / 1e6:,.0f} MB of Parquet, {os.cpu_count()} CPUs")
        runs = {way: [] for way in ways}
        for _ in range(arguments.runs):
            for way, command in ways.items():
                runs[way].append(measure(command))
        for way in runs:
            for *_, said in runs[way] if "50" in way else []:
                assert "50 passed" in said, f"{way}: {said}"
        print(f"{'':24}{'wall s':>9}{'CPU s':>9}{'MiB':>8}")
        figures = {way: zip(*(one[:3] for one in of)) for way, of in runs.items()}
        median = {way: [statistics.median(column) for column in of] for way, of in figures.items()}
        for way, (wall, cpu, memory) in median.items():
            print(f"{way:24}{wall:9.2f}{cpu:9.2f}{memory:8.0f}")
        names = list(ways)
        for one, other in zip(names[1::2], names[::2]):
            wall, cpu = (median[one][at] / median[other][at] for at in (0, 1))
            print(f"{one} / {other.split(': ')[1]}: {wall:.2f} of wall time, {cpu:.2f} of CPU")


if __name__ == "__main__":
    main()
