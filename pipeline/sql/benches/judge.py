"""Tells what the checks find of the faults of a week of 200 vehicles, in parts that a small machine can hold.

    cargo build --release --bin fms --bin fms-sql
    python3 pipeline/sql/benches/judge.py --programs target/release

Each part is some of the vehicles (`fms simulate --shard`). No check compares two vehicles, so what `fms quality judge`
counts in the parts adds up to what it counts in the whole fleet. Sent are the protocols whose tables have checks that
are there for a fault, and one more that new firmware changes. `--first` judges the first parts only, which are as
many vehicles of the same fleet.
"""

import argparse
import collections
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile

PROTOCOLS = "vehicle/kinematic,vehicle/status,vehicle/control,blackbox/upload"
CHECKS = pathlib.Path(__file__).parents[3] / "deploy/quality"
COUNTS = ("injected", "found", "other", "wrong")


def judged(programs, vehicles, part, parts):
    """What the checks find of a part, a line for each kind of fault."""
    with tempfile.TemporaryDirectory() as temporary:
        expect = f"{temporary}/expect.json"
        simulate = [f"{programs}/fms", "simulate", "--to", "file", "--out", "/dev/null", "--speed", "max"]
        simulate += ["--vehicles", str(vehicles), "--shard", f"{part}/{parts}", "--protocols", PROTOCOLS]
        simulate += ["--from", "2026-11-02T00:00:00+09:00", "--duration", "7d", "--expect", expect]
        subprocess.run(simulate, check=True, stderr=subprocess.DEVNULL)
        judge = [f"{programs}/fms-sql", "quality", "judge", str(CHECKS), "--expect", expect, "--json"]
        said = subprocess.run(judge, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="the folder of fms and fms-sql")
    parser.add_argument("--vehicles", type=int, default=200)
    parser.add_argument("--parts", type=int, default=40)
    parser.add_argument("--first", type=int, help="how many of the parts are judged; all if it is not given")
    parser.add_argument("--at-once", type=int, default=2)
    arguments = parser.parse_args()
    sums, units = collections.defaultdict(lambda: dict.fromkeys(COUNTS, 0)), collections.defaultdict(set)
    with concurrent.futures.ThreadPoolExecutor(arguments.at_once) as pool:
        parts = range(1, (arguments.first or arguments.parts) + 1)
        of_part = lambda part: judged(arguments.programs, arguments.vehicles, part, arguments.parts)
        for lines in pool.map(of_part, parts):
            for line in lines:
                if line["checks"]:
                    units[line["fault"]].update(line["units"])
                    for count in COUNTS:
                        sums[line["fault"]][count] += line[count]
    heads = f"{'INJECTED':>9} {'FOUND':>9} {'RECALL':>7} {'OTHER':>9} {'WRONG':>9} {'PRECISION':>9}"
    print(f"{'FAULT':17} {'UNIT':8} {heads}")
    is_poor = False
    for fault, of in sums.items():
        injected, found, other, wrong = (of[count] for count in COUNTS)
        reported = found + wrong
        recall, precision = found / injected if injected else None, found / reported if reported else None
        is_poor |= (recall is not None and recall < 0.99) or (precision is not None and precision < 0.95)
        shown = [f"{share:.4f}" if share is not None else "-" for share in (recall, precision)]
        counts = f"{injected:>9} {found:>9} {shown[0]:>7} {other:>9} {wrong:>9} {shown[1]:>9}"
        print(f"{fault:17} {'+'.join(sorted(units[fault])):8} {counts}")
    sys.exit(1 if is_poor else 0)


if __name__ == "__main__":
    main()
