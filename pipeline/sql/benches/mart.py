"""Measures the build of all models over a day of a simulated fleet, beside DuckDB with the same SQL on the same files.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r pipeline/lake/tests/requirements.txt
    cargo build --profile dist --bin fms --bin fms-sql
    /tmp/bench/bin/python pipeline/sql/benches/mart.py --programs target/dist --vehicles 200

The fleet sends what is right only, to a file; its rows are one raw object, which `fms lake convert` makes a lake of.
`fms mart apply` builds into a copy of the lake, each time anew. DuckDB runs the queries of the models, in their order,
in one process with as many threads, and writes each table to a Parquet file, which the models after it read. The rows
of both have to be equal, numbers to nine digits. CPU seconds are user and system time, the memory is the peak of the
process's resident memory, and the median of the runs is shown.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib

import duckdb

from query import measure

MODELS = pathlib.Path(__file__).parents[3] / "deploy/mart"
DAY = "2026-11-03"
TYPES = {"string": "varchar", "timestamp": "timestamptz", "float": "real"}


def make(programs, lake, vehicles):
    """A lake of a day of a fleet."""
    with tempfile.TemporaryDirectory() as temporary:
        sent, raw = (pathlib.Path(temporary, name) for name in ("sent.json", "raw.json"))
        simulate = [f"{programs}/fms", "simulate", "--to", "file", "--out", str(sent), "--vehicles", str(vehicles)]
        simulate += ["--from", f"{DAY}T00:00:00Z", "--duration", "1d", "--speed", "max", "--faults", "none"]
        subprocess.run(simulate, check=True, stderr=subprocess.DEVNULL)
        rows = 0
        with sent.open() as messages, raw.open("w") as out:
            for line in messages:
                message = json.loads(line)["$record"]["value"]
                elements = message.pop("measurements", None)
                for element in [{}] if elements is None else elements:
                    out.write(json.dumps(message | element) + "\n")
                    rows += 1
        convert = [f"{programs}/fms", "lake", "convert", str(raw), "--to", str(lake)]
        subprocess.run(convert, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"{rows:,} rows of {vehicles} vehicles")


def model(name):
    """The front matter of a model, and its query."""
    front, query = (MODELS / f"{name}.sql").read_text().split("*/", 1)
    return tomllib.loads(front.removeprefix("/*")), query


def order(programs):
    """The models, each after those that it reads."""
    command = [f"{programs}/fms-sql", "mart", "lineage", "--models", str(MODELS)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.findall(r"^(\w+):", said, re.MULTILINE)


def by_duckdb(lake, out, threads, *names):
    """Builds all models in a process of its own."""
    database = duckdb.connect()
    database.sql(f"set timezone = 'UTC'; set threads = {threads}")
    for name in names:
        front, query = model(name)
        for source, reads in front["sources"].items():
            if source in names:
                continue
            definition = json.loads(pathlib.Path(lake, "tables", f"{source}.json").read_text())
            there = {column["name"] for column in definition["columns"]}
            parts = (part.strip() for part in re.split(r",(?![^<]*>)|\n", reads["columns"]))
            wanted = (part.split(None, 1) for part in parts if part)
            columns = [
                f"{column} as {column}" if column in there else f"cast(null as {TYPES.get(kind, kind)}) as {column}"
                for column, kind in wanted
            ]
            files = f"{lake}/{definition['location']}/*/*/*.parquet"
            table = f"read_parquet('{files}', hive_partitioning = true, hive_types_autocast = false)"
            database.sql(f"create or replace view {source} as select {', '.join(columns)}, ymd, hour from {table}")
        database.sql(f"copy (select * from ({query}) where ymd = '{DAY}') to '{out}/{name}.parquet' (compression zstd)")
        database.sql(f"create view {name} as select * from '{out}/{name}.parquet'")


def rows(table):
    """The rows of a table, as texts in an order that follows from them."""
    def text(value):
        if isinstance(value, dict):
            return {key: text(one) for key, one in value.items()}
        return f"{value:.9g}" if isinstance(value, float) else str(value)
    return sorted(str([text(value) for value in row]) for row in table.fetchall())


def differing(lake, out, names):
    """The models of which both have other rows."""
    duckdb.sql("set timezone = 'UTC'")
    found = []
    for name in names:
        [file] = pathlib.Path(lake, "mart", name).rglob("*.parquet")
        files = f"read_parquet('{file}', hive_partitioning = false)", f"read_parquet('{out}/{name}.parquet')"
        columns = ", ".join(f'"{column}"' for column in duckdb.sql(f"select * from {files[0]}").columns)
        ours, theirs = (rows(duckdb.sql(f"select {columns} from {file}")) for file in files)
        if ours != theirs:
            found.append(name)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="the folder of fms and fms-sql")
    parser.add_argument("--vehicles", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--lake", help="a folder for the lake, which is made there if it does not exist")
    arguments = parser.parse_args()
    cpus = {"preexec_fn": lambda: os.sched_setaffinity(0, range(arguments.threads))}
    with tempfile.TemporaryDirectory() as temporary:
        lake = arguments.lake or f"{temporary}/lake"
        if not pathlib.Path(lake, "tables").exists():
            make(arguments.programs, lake, arguments.vehicles)
        size = sum(path.stat().st_size for path in pathlib.Path(lake).rglob("*.parquet"))
        print(f"{size / 1e6:,.0f} MB of Parquet, {arguments.threads} threads")
        names = order(arguments.programs)
        found = {"fms mart apply": [], "DuckDB": []}
        for run in range(arguments.runs):
            copy, out = f"{temporary}/{run}/lake", f"{temporary}/{run}/duckdb"
            shutil.copytree(lake, copy)
            os.mkdir(out)
            ours = [f"{arguments.programs}/fms-sql", "mart", "apply", "--lake", copy, "--models", str(MODELS)]
            ours += ["--from", DAY, "--to", DAY]
            found["fms mart apply"].append(measure(ours, **cpus)[:3])
            theirs = [sys.executable, __file__, "--as-duckdb", lake, out, str(arguments.threads), *names]
            found["DuckDB"].append(measure(theirs, **cpus)[:3])
            others = differing(copy, out, names)
            assert not others, f"the rows of {', '.join(others)} differ"
            if run + 1 < arguments.runs:
                shutil.rmtree(f"{temporary}/{run}")
        print(f"{'':16}{'wall s':>9}{'CPU s':>9}{'MiB':>8}")
        median = {way: [statistics.median(column) for column in zip(*of)] for way, of in found.items()}
        for way, (wall, cpu, memory) in median.items():
            print(f"{way:16}{wall:9.2f}{cpu:9.2f}{memory:8.0f}")
        wall, cpu, memory = (ours / theirs for ours, theirs in zip(*median.values()))
        print(f"{'ratio':16}{wall:9.2f}{cpu:9.2f}{memory:8.2f}   {len(names)} models, equal rows")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-duckdb"]:
        by_duckdb(*sys.argv[2:])
    else:
        main()
