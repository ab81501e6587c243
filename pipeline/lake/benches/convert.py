"""Measures the conversion of one raw object beside others that do the same, in CPU seconds and memory.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r pipeline/lake/benches/requirements.txt
    cargo build --profile dist --bin fms
    /tmp/bench/bin/python pipeline/lake/benches/convert.py --fms target/dist/fms

The raw object is made from the recorded trip of `fixtures/vehicle-kinematic/canedge-trip-a`: 40 vehicles drive it with
noise on every number, message after message, until the object has the size that was asked for. Each program reads it
from a file and writes Parquet files with zstd, divided by day and hour, on one thread. `fms` also checks every row,
sorts it, and reads gzip where the file is compressed. Mostly the table exists, which `fms` is measured with first; a table
that has to be created costs it another pass, in which it learns the columns from every row. awswrangler writes to moto's S3 and Glue in a process of their
own, which is not counted. MB are of uncompressed JSON; a program's CPU seconds are user and system time; the memory is
the peak of its resident memory. At the end DuckDB counts the rows of each result.
"""

import argparse
import datetime
import gzip
import json
import os
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
TRIP = ROOT / "fixtures/vehicle-kinematic/canedge-trip-a/messages.ndjson"
VEHICLES = 40
NOISY = ("latitude", "longitude", "altitude", "heading", "speed", "accel_x", "accel_y", "accel_z", "yaw_rate")


def trip():
    """The messages of the trip as lists of rows, each row as the worker stores it."""
    for line in TRIP.read_text().splitlines():
        message = json.loads(line)
        rows = message.pop("measurements")
        yield [{**message, **row} for row in rows]


def later(text, seconds):
    time_of_row = datetime.datetime.fromisoformat(text) + datetime.timedelta(seconds=seconds)
    return time_of_row.isoformat(timespec="milliseconds")


def generate(path, size):
    """Writes about `size` bytes of rows. The same size gives the same bytes."""
    chance = random.Random(1)
    messages = list(trip())
    seconds = (datetime.datetime.fromisoformat(messages[-1][-1]["timestamp_iso"])
               - datetime.datetime.fromisoformat(messages[0][0]["timestamp_iso"])).total_seconds()
    written, round_trip = 0, 0
    with open(path, "w", encoding="utf-8") as raw:
        while True:
            for message in messages:
                for vehicle in range(VEHICLES):
                    for row in message:
                        row = dict(row, id=10000 + vehicle, device_id=f"SFT-{10000 + vehicle:07}")
                        for name in ("timestamp_iso", "messaged_at"):
                            if name in row:
                                row[name] = later(row[name], round_trip * (seconds + 60) + vehicle)
                        for name in NOISY:
                            if isinstance(row.get(name), (int, float)):
                                row[name] = round(row[name] + chance.gauss(0, 0.01), 6)
                        written += raw.write(json.dumps(row, separators=(",", ":")) + "\n")
                if written >= size:
                    return
            round_trip += 1


def fms(arguments, raw, out):
    tables = pathlib.Path(out) / "tables"
    shutil.copytree(arguments.tables, tables)
    return fms_new(arguments, raw, out)


def fms_new(arguments, raw, out):
    return [arguments.fms, "lake", "convert", raw, "--to", out], {}


def duckdb(arguments, raw, out):
    return [sys.executable, __file__, "--as", "duckdb", raw, out], {}


def awswrangler(arguments, raw, out):
    return [sys.executable, __file__, "--as", "awswrangler", raw, out], arguments.moto


def be_duckdb(raw, out):
    import duckdb

    duckdb.sql("set threads = 1")
    duckdb.sql(f"""
        copy (
            select *, strftime(timestamp_iso::timestamptz at time zone 'UTC', '%Y-%m-%d') as ymd,
                strftime(timestamp_iso::timestamptz at time zone 'UTC', '%H') as hour
            from read_json('{raw}', format = 'newline_delimited')
        ) to '{out}' (format parquet, compression zstd, compression_level 3, partition_by (ymd, hour))""")


def be_awswrangler(raw, out):
    import awswrangler
    import boto3
    import pandas

    boto3.client("s3").create_bucket(Bucket="lake")
    awswrangler.catalog.create_database("lake", exist_ok=True)
    rows = pandas.read_json(raw, lines=True, convert_dates=False)
    times = pandas.to_datetime(rows["timestamp_iso"], utc=True, format="ISO8601")
    rows["ymd"], rows["hour"] = times.dt.strftime("%Y-%m-%d"), times.dt.strftime("%H")
    written = awswrangler.s3.to_parquet(
        rows, path="s3://lake/rows/", dataset=True, partition_cols=["ymd", "hour"], database="lake", table="rows",
        compression="zstd")
    # What it has written is fetched by another process, so that it can be counted.
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    (pathlib.Path(out) / "keys.json").write_text(json.dumps(written["paths"]))


def fetch(out, moto):
    """Brings the files that awswrangler has written into the folder in which they are counted."""
    import boto3

    store = boto3.client("s3", endpoint_url=moto["AWS_ENDPOINT_URL"], region_name=moto["AWS_DEFAULT_REGION"],
                         aws_access_key_id=moto["AWS_ACCESS_KEY_ID"], aws_secret_access_key=moto["AWS_SECRET_ACCESS_KEY"])
    for at, path in enumerate(json.loads((pathlib.Path(out) / "keys.json").read_text())):
        bucket, key = path.removeprefix("s3://").split("/", 1)
        store.download_file(bucket, key, str(pathlib.Path(out) / f"{at}.parquet"))


def run(command, environment):
    """CPU seconds and peak memory in MiB of a command, which has to succeed."""
    # A child's peak is never less than what its parent had when it was started, so a small process starts it.
    code = ("import os,resource,subprocess,sys;status=subprocess.call(sys.argv[1:],stdout=subprocess.DEVNULL);"
            "u=resource.getrusage(resource.RUSAGE_CHILDREN);print(u.ru_utime+u.ru_stime,u.ru_maxrss/1024);sys.exit(status)")
    done = subprocess.run([sys.executable, "-S", "-c", code, *command], env={**os.environ, **environment},
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}")
    cpu, memory = done.stdout.split()[-2:]
    return float(cpu), float(memory)


def count(out):
    code = ("import duckdb,sys;print(duckdb.sql(\"select count(*) from read_parquet('\"+sys.argv[1]+\"/**/*.parquet', "
            "union_by_name = true)\").fetchall()[0][0])")
    return int(subprocess.run([sys.executable, "-c", code, out], check=True, stdout=subprocess.PIPE, text=True).stdout)


def start_moto():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(url + "/moto-api/")
            break
        except OSError:
            time.sleep(0.1)
    environment = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
                   "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    return server, environment


def measure(arguments, folder):
    plain, compressed = str(folder / "raw.json"), str(folder / "raw.json.gz")
    generate(plain, arguments.megabytes * 1_000_000)
    with open(plain, "rb") as raw, gzip.open(compressed, "wb", 6) as out:
        shutil.copyfileobj(raw, out)
    megabytes = os.path.getsize(plain) / 1e6
    with open(plain, "rb") as raw:
        rows = sum(1 for _ in raw)
    print(f"{rows:,} rows, {megabytes:.0f} MB as JSON, {os.path.getsize(compressed) / 1e6:.0f} MB compressed")
    command, _ = fms_new(arguments, plain, str(folder / "first"))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    arguments.tables = folder / "first" / "tables"
    shutil.rmtree(folder / "first" / "formatted")
    runs = [("fms lake convert", fms, plain), ("fms lake convert, gzip", fms, compressed),
            ("fms lake convert, a new table", fms_new, plain), ("DuckDB COPY", duckdb, plain)]
    if arguments.awswrangler:
        runs.append(("awswrangler", awswrangler, plain))
    # One round after the other, so that a busy minute of the machine falls on all of them.
    measured = {name: [] for name, _, _ in runs}
    for _ in range(arguments.rounds):
        for name, command, raw in runs:
            out = str(folder / name)
            shutil.rmtree(out, ignore_errors=True)
            measured[name].append(run(*command(arguments, raw, out)))
            if command is awswrangler:
                fetch(out, arguments.moto)
    print("| program | MB per CPU-s | CPU-s | peak MiB | rows |\n| --- | --- | --- | --- | --- |")
    for name, figures in measured.items():
        out = str(folder / name)
        cpu, memory = statistics.median(cpu for cpu, _ in figures), max(memory for _, memory in figures)
        found = count(out)
        print(f"| {name} | {megabytes / cpu:.0f} | {cpu:.2f} | {memory:.0f} | {found:,}{'' if found == rows else ' WRONG'} |")
        if found != rows:
            sys.exit(f"{name} has written {found} rows of {rows}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fms", default="target/dist/fms", help="the program to measure")
    parser.add_argument("--megabytes", type=int, default=200, help="the size of the raw object")
    parser.add_argument("--rounds", type=int, default=3, help="how often each program runs; the median counts")
    parser.add_argument("--awswrangler", action="store_true", help="measure awswrangler, too")
    arguments = parser.parse_args()
    arguments.moto, server = {}, None
    if arguments.awswrangler:
        server, arguments.moto = start_moto()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(arguments, pathlib.Path(folder))
    finally:
        if server:
            server.terminate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        {"duckdb": be_duckdb, "awswrangler": be_awswrangler}[sys.argv[2]](*sys.argv[3:])
    else:
        main()
