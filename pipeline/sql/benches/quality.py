"""Measures 50 checks of a table beside one full scan of it, in wall time and CPU seconds.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r pipeline/lake/tests/requirements.txt
    cargo build --release --bin fms-sql
    /tmp/bench/bin/python pipeline/sql/benches/quality.py --fms-sql target/release/fms-sql

The lake is that of `query.py`. The full scan is a query that reads every column of every row. The checks look at single
rows: that values are there, within a range, one of a list, or matched by a condition. Each is run alternately with the
scan, in a process of its own; the median of the runs is shown.
"""

import argparse
import os
import pathlib
import statistics
import tempfile

from query import TABLE, make, measure

NUMBERS = {
    "latitude": (-90, 90), "longitude": (-180, 180), "speed": (0, 250), "heading": (0, 360), "accel_x": (-78, 78),
    "accel_y": (-78, 78), "accel_z": (-78, 78), "odometer": (1, 2_000_000_000), "seq": (0, 60), "id": (1, 10_000_000),
}
TEXTS = {"firmware": ["2.3.0", "2.4.1"]}
COLUMNS = [*NUMBERS, *TEXTS, "device_id", "timestamp_iso"]


def checks():
    """The file of 50 checks."""
    lines = [f"  - {{name: {c} is there, not_null: {{columns: [{c}]}}}}" for c in COLUMNS]
    for column, (low, high) in NUMBERS.items():
        lines.append(f"  - {{name: {column} is possible, range: {{column: {column}, min: {low}, max: {high}}}}}")
        lines.append(f"  - {{name: {column} is a number, holds: not isnan(cast({column} as double))}}")
        lines.append(f"  - {{name: {column} while driving, range: {{column: {column}, min: {low}}}, where: speed > 5}}")
    for column, values in TEXTS.items():
        lines.append(f"  - {{name: {column} is known, accepted: {{column: {column}, values: {values}}}}}")
        lines.append(f"  - {{name: {column} is short, length: {{column: {column}, max: 20}}}}")
    lines.append("  - {name: gravity, holds: abs(accel_z) > 1}")
    lines.append("  - {name: device has a length, length: {column: device_id, min: 3, max: 20}}")
    lines.append("  - {name: rows, row_count: {min: 1}}")
    lines.append("  - {name: fresh, freshness: {max_age: 87600h}}")
    lines.append("  - {name: level, holds: abs(accel_x) <= 78 and abs(accel_y) <= 78}")
    assert len(lines) == 50, len(lines)
    return f"table: {TABLE}\nowner: fleet@example.com\nchecks:\n" + "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fms-sql", required=True)
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
        file.write_text(checks())
        # Every value is read and looked at, and nothing else is done with it.
        each = ", ".join(f"min({column}), max({column})" for column in COLUMNS)
        scan = [arguments.fms_sql, "--lake", lake, f"select count(*), {each} from {TABLE}"]
        run = [arguments.fms_sql, "quality", "run", str(file), "--lake", lake]
        run += ["--from", "2023-01-01", "--to", "2023-12-31", "--now", "2024-01-01T00:00:00Z"]
        print(f"{size / 1e6:,.0f} MB of Parquet, {os.cpu_count()} CPUs")
        runs = [(measure(scan), measure(run)) for _ in range(arguments.runs)]
        assert all("50 checks: 50 passed" in checked[3] for _, checked in runs), runs[0][1][3]
        scanned, checked = (
            [statistics.median(column) for column in zip(*(one[at][:3] for one in runs))] for at in (0, 1)
        )
        print(f"{'':12}{'wall s':>9}{'CPU s':>9}{'MiB':>8}")
        for name, (wall, cpu, memory) in (("full scan", scanned), ("50 checks", checked)):
            print(f"{name:12}{wall:9.2f}{cpu:9.2f}{memory:8.0f}")
        print(f"{'ratio':12}{checked[0] / scanned[0]:9.2f}{checked[1] / scanned[1]:9.2f}")


if __name__ == "__main__":
    main()
