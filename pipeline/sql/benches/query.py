"""Measures queries of a lake beside DuckDB on the same files, in CPU seconds, wall time and memory.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r pipeline/lake/tests/requirements.txt
    cargo build --profile dist --bin fms-sql
    /tmp/bench/bin/python pipeline/sql/benches/query.py --fms-sql target/dist/fms-sql

The lake has the rows of 40 vehicles that measure 2.5 times a second, in a file for each hour, sorted by vehicle and
time, as `fms lake convert` writes them. Each engine is started anew for every query, has the same number of threads,
and writes its result to a Parquet file; the results have to be equal. CPU seconds are user and system time, and the
memory is the peak of the process's resident memory; the median of the runs is shown.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

TABLE = "vehicle_kinematic_report"
FOLDER = "formatted/object=vehicle/type=kinematic/command=report"
VEHICLES, HERTZ = 40, 2.5
BEGIN = 1_672_531_200_000

QUERIES = {
    "group by": f"""
        select id, ymd, count(*) as n, avg(speed) as mean, max(odometer) - min(odometer) as meters,
          min(timestamp_iso) as first
        from {TABLE} group by id, ymd order by id, ymd""",
    "lag": f"""
        with steps as (
          select id, speed, lag(speed) over (partition by id order by timestamp_iso) as before from {TABLE}
        )
        select id, count(*) as n, max(before - speed) as braking, avg(abs(speed - before)) as mean
        from steps where before is not null group by id order by id""",
    "one vehicle in one hour": f"""
        select timestamp_iso, speed, latitude, longitude from {TABLE}
        where id = 10017 and timestamp_iso >= timestamp '2023-01-01 05:00:00'
          and timestamp_iso < timestamp '2023-01-01 06:00:00' order by timestamp_iso""",
}
# Every row and column has to be held or written to temporary files, for the order is not that of the files.
SORT = f"select * from {TABLE} order by speed, id, timestamp_iso"


def make(lake, rows):
    """Writes a lake of about so many rows."""
    an_hour = int(VEHICLES * 3600 * HERTZ)
    hours = max(1, round(rows / an_hour))
    database = duckdb.connect()
    noise = "(hash(id, n, {0}) / 1.8446744073709552e19)"
    for hour in range(hours):
        start = BEGIN + hour * 3_600_000
        table = database.sql(f"""
            select id, 'SFT-00' || id as device_id,
              make_timestamp_ms({start} + n * {int(1000 / HERTZ)}) as timestamp_iso,
              n % 60 as seq, round(37 + id / 90000 + n / 1e6 + {noise.format(1)} / 1e4, 6) as latitude,
              round(126 + n / 1e6 + {noise.format(2)} / 1e4, 6) as longitude,
              round(60 + 40 * sin(n / 300 + id) + {noise.format(3)}, 4) as speed,
              round(360 * {noise.format(4)}, 2) as heading, round({noise.format(5)}, 6) as accel_x,
              round({noise.format(6)}, 6) as accel_y, round(9.8 + {noise.format(7)}, 6) as accel_z,
              id * 1000000 + {hour} * 60000 + n * 7 as odometer, if(id % 3 = 0, '2.4.1', '2.3.0') as firmware
            from (select unnest(range({VEHICLES})) + 10000 as id), (select unnest(range({int(3600 * HERTZ)})) as n)
            order by id, n""").to_arrow_table()
        millis = {"timestamp_iso": pa.timestamp("ms", "UTC")}
        fields = [pa.field(field.name, millis.get(field.name, field.type)) for field in table.schema]
        table = table.cast(pa.schema(fields))
        when = time.gmtime(start / 1000)
        folder = pathlib.Path(lake, FOLDER, time.strftime("ymd=%Y-%m-%d/hour=%H", when))
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "rows.parquet", compression="zstd", row_group_size=65_536)
    names = {"string": "string", "int64": "bigint", "double": "double", "timestamp[ms, tz=UTC]": "timestamp"}
    columns = [{"name": f.name, "type": names[str(f.type)]} for f in fields]
    pathlib.Path(lake, "tables").mkdir()
    table = {"location": FOLDER, "version": 0, "columns": columns}
    pathlib.Path(lake, "tables", f"{TABLE}.json").write_text(json.dumps(table))
    return hours * an_hour


def measure(command, **options):
    """Wall time, CPU seconds and peak memory (MiB) of a process, and what it said."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, **options)
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        text = said.read()
    if status != 0:
        sys.exit(f"{command} failed:\n{text}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def by_duckdb(lake, sql, out, threads):
    """Is run in a process of its own."""
    database = duckdb.connect()
    database.sql(f"set timezone = 'UTC'; set threads = {threads}")
    files = f"read_parquet('{lake}/{FOLDER}/*/*/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    database.sql(f"create view {TABLE} as select * exclude (object, type, command) from {files}")
    database.sql(f"copy ({sql}) to '{out}' (format parquet, compression zstd)")


def equal(ours, theirs):
    def rows(path):
        table = pq.read_table(path).to_pylist()
        text = lambda value: f"{value:.9g}" if isinstance(value, float) else str(value)
        return [{name: text(value) for name, value in row.items()} for row in table]
    return rows(ours) == rows(theirs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fms-sql", required=True)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--lake", help="a folder for the lake, which is made there if it does not exist")
    parser.add_argument("--memory-limit", default="200MB", help="of the sort that has to spill")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lake = arguments.lake or f"{temporary}/lake"
        if not pathlib.Path(lake, "tables").exists():
            print(f"{make(lake, arguments.rows):,} rows")
        size = sum(path.stat().st_size for path in pathlib.Path(lake).rglob("*.parquet"))
        print(f"{size / 1e6:,.0f} MB of Parquet, {arguments.threads} threads")
        # As many CPUs are as many threads for both.
        cpus = {"preexec_fn": lambda: os.sched_setaffinity(0, range(arguments.threads))}
        print(f"{'':26}{'engine':>9}{'wall s':>9}{'CPU s':>9}{'MiB':>8}")
        for name, sql in QUERIES.items():
            walls = {}
            for engine in ("fms-sql", "DuckDB"):
                out = f"{temporary}/{engine}.parquet"
                command = [arguments.fms_sql, "--lake", lake, "--timezone", "UTC", "--format", "parquet"]
                command += ["--output", out, sql]
                if engine == "DuckDB":
                    command = [sys.executable, __file__, "--as-duckdb", lake, sql, out, str(arguments.threads)]
                runs = [measure(command, **cpus)[:3] for _ in range(arguments.runs)]
                wall, cpu, memory = (statistics.median(column) for column in zip(*runs))
                walls[engine] = (wall, cpu)
                print(f"{name:26}{engine:>9}{wall:9.2f}{cpu:9.2f}{memory:8.0f}")
            is_equal = equal(f"{temporary}/fms-sql.parquet", f"{temporary}/DuckDB.parquet")
            wall, cpu = (ours / theirs for ours, theirs in zip(walls["fms-sql"], walls["DuckDB"]))
            print(f"{'':26}{'ratio':>9}{wall:9.2f}{cpu:9.2f}    {'equal rows' if is_equal else 'ROWS DIFFER'}")
        command = [arguments.fms_sql, "--lake", lake, "--memory-limit", arguments.memory_limit, "--format", "parquet"]
        wall, cpu, memory, said = measure(command + ["--output", f"{temporary}/sorted.parquet", SORT], **cpus)
        print(f"{'sort, ' + arguments.memory_limit + ' of memory':26}{'fms-sql':>9}{wall:9.2f}{cpu:9.2f}{memory:8.0f}")
        print(said)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-duckdb"]:
        by_duckdb(*sys.argv[2:])
    else:
        main()
