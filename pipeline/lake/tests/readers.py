"""Reads a lake with DuckDB and pyarrow and compares every value and type with the raw rows and the tables.

usage: readers.py RAW LAKE [--without-repeats]

RAW is a folder of raw objects (JSON lines), LAKE the folder that they were converted into. A raw row has to be in the
files of its table exactly once, or in quarantine exactly once; `--without-repeats` says that of rows which are the same
in every column, one has to be left. Every file has columns of its table only, each of the table's type. Prints what
differs and ends with status 1.
"""

import datetime
import glob
import hashlib
import json
import os
import re
import sys
from collections import Counter
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

# An empty list or object in a field that has no column yet is no value: no type follows from it.
EMPTY = ((), frozenset())
TABLE_FIELDS = ["object", "type", "command"]


def is_column(name):
    plain = all(c == "_" or (c.isalnum() and c.lower() == c) for c in name)
    return bool(name) and plain and len(name.encode()) <= 250 and not name.endswith("__raw")


def columns(names, reserved=()):
    """The names of the columns of an object's fields, by the rule that docs/lake.md states."""
    taken = set(reserved)
    result = {name: name for name in names if is_column(name) and name not in reserved}
    taken.update(result)
    for name in sorted((n for n in names if n not in result), key=str.encode):
        base = "".join(c if c.isalnum() else "_" for c in name.lower()) or "_"
        base += "_" if base.endswith("__raw") else ""
        column, number = base, 2
        while column in taken:
            column, number = f"{base}__{number}", number + 1
        taken.add(column)
        result[name] = column
    return result


def table_name(row):
    """The name of the table of a row, by the rule that docs/lake.md states."""
    values = [getattr(row[field], "text", row[field]) for field in TABLE_FIELDS]
    joined = "_".join(values)
    name = re.sub("[^a-z0-9_]", "_", joined.lower())
    if name == joined and len(name) <= 127 and not any("_" in value for value in values[:-1]):
        return name
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return f"{name[:118]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def read_type(text):
    """A type such as `array<struct<a:bigint>>` as nested tuples."""
    def at(i):
        name = re.compile(r"[a-z]+").match(text, i).group()
        i += len(name)
        if name == "array":
            element, i = at(i + 1)
            return ("array", element), i + 1
        if name == "struct":
            fields, i = {}, i + 1
            while True:
                end = text.index(":", i)
                fields[text[i:end]], end = at(end + 1)
                if text[end] == ">":
                    return ("struct", fields), end + 1
                i = end + 1
        return name, i
    return at(0)[0]


def millis(text):
    time = datetime.datetime.fromisoformat(text.replace("Z", "+00:00").replace(":60", ":59"))
    return (time - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(milliseconds=1)


def expected(value, kind):
    """What a column of this type holds for a JSON value."""
    if value is None:
        return None
    if kind == "string":
        return value if isinstance(value, str) else json.dumps(value) if isinstance(value, bool) else value.text
    if kind == "boolean":
        return told_apart(value if isinstance(value, bool) else {"true": True, "false": False}[value])
    if kind == "timestamp":
        return millis(value)
    if kind == "bigint":
        return int(Decimal(getattr(value, "text", value)))
    if kind == "double":
        return told_apart(float(getattr(value, "text", value)))
    if kind[0] == "array":
        return tuple(expected(element, kind[1]) for element in value)
    return record(value, kind[1])


def record(value, fields, reserved=()):
    """The values of an object that are neither null nor empty, by column."""
    names = columns(list(value), reserved)
    result = {}
    for name, field in value.items():
        column = names[name]
        if column in fields and field is not None:
            result[column] = expected(field, fields[column])
            original = fields[column] == "timestamp" and original_text(field)
            if original:
                result[f"{column}__raw"] = original
        elif column not in fields and not is_empty(field):
            sys.exit(f"the table has no column `{column}` for {name} = {json.dumps(field, default=str)}")
    return frozenset((column, value) for column, value in result.items() if value not in EMPTY)


def is_empty(value):
    """Whether no type follows from a value, so that no column is made for it."""
    if isinstance(value, list):
        return all(is_empty(element) for element in value)
    return value is None or isinstance(value, dict) and all(is_empty(field) for field in value.values())


def original_text(text):
    """The text of a time if it says more than its instant, the fleet's zone being nine hours ahead of UTC."""
    finer = re.search(r"\.\d{3}\d*[1-9]", text) or text[17:19] == "60"
    return text if finer or not re.search(r"([zZ]|[+-]00:00|\+09:00)$", text) else None


class Number:
    """A JSON number as it is written."""

    def __init__(self, text):
        self.text = text


def told_apart(value):
    """A value that differs from those of other types, for to Python, 1, 1.0 and True are the same, and 0.0 and -0.0."""
    return (type(value).__name__, repr(value)) if isinstance(value, (bool, float)) else value


def found(value):
    """A value that a reader gave, in the form of `expected`."""
    if isinstance(value, dict):
        values = ((name, found(field)) for name, field in value.items() if field is not None)
        return frozenset((name, field) for name, field in values if field not in EMPTY)
    if isinstance(value, (list, tuple)):
        return tuple(found(element) for element in value)
    if isinstance(value, datetime.datetime):
        return millis(value.isoformat())
    return told_apart(value)


TYPES = {
    "string": pa.string(), "boolean": pa.bool_(), "int": pa.int32(), "bigint": pa.int64(), "float": pa.float32(),
    "double": pa.float64(), "date": pa.date32(), "timestamp": pa.timestamp("ms", "UTC"),
}


def differs(kind, found, at):
    """Where the type of a file's column is not that of the table's. An older struct lacks the newest fields."""
    if isinstance(kind, str):
        return [] if found == TYPES[kind] else [f"`{at}` is {found}, and {kind} in the table"]
    if kind[0] == "array":
        if not pa.types.is_list(found):
            return [f"`{at}` is {found}, and an array in the table"]
        return differs(kind[1], found.value_type, f"{at}[]")
    if not pa.types.is_struct(found):
        return [f"`{at}` is {found}, and a struct in the table"]
    return differ_in(kind[1], list(found), f"{at}.")


def differ_in(fields, columns, within=""):
    """The same for all columns of a file, none of which may be missing in the table or be there twice."""
    problems = [f"`{within}{column.name}` is not in the table" for column in columns if column.name not in fields]
    names = [column.name for column in columns]
    problems += [f"`{within}{name}` is there twice" for name in set(names) if names.count(name) > 1]
    for column in columns:
        if column.name in fields:
            problems += differs(fields[column.name], column.type, within + column.name)
    return problems


def rows(table, fields):
    kept = [name for name in table.column_names if name in fields]
    return Counter(found(row) for row in table.select(kept).to_pylist())


def duckdb_rows(files, fields):
    """The rows of files as DuckDB reads them: all at once, or those of each schema at once.

    DuckDB 2.0.1 ends with an internal error if some of the files lack a struct within a struct that others have.
    """
    try:
        return duckdb_rows_at_once(files, fields)
    except duckdb.InternalException as error:
        print(f"DuckDB cannot read files of several schemas at once: {str(error).splitlines()[0]}")
    by_schema = {}
    for path in files:
        by_schema.setdefault(str(pq.read_schema(path)), []).append(path)
    return sum((duckdb_rows_at_once(some, fields) for some in by_schema.values()), Counter())


def duckdb_rows_at_once(files, fields):
    # An internal error makes a connection useless.
    with duckdb.connect() as connection:
        connection.sql("set timezone = 'UTC'")
        sql = "select * from read_parquet(?, union_by_name = true, hive_partitioning = false)"
        return rows(connection.execute(sql, [files]).to_arrow_table(), fields)


def main(raw, lake, option=None):
    once = option == "--without-repeats"
    quarantined, texts = Counter(), {}
    for path in glob.glob(f"{lake}/quarantine/**/*.jsonl", recursive=True):
        for line in open(path, encoding="utf-8"):
            entry = json.loads(line)
            place = entry["origin"]["key"], entry["origin"]["line"]
            quarantined[place] += 1
            texts[place] = entry["row"]
    tables, locations = {}, {}
    for path in glob.glob(f"{lake}/tables/*.json"):
        table, name = json.load(open(path, encoding="utf-8")), os.path.basename(path)[:-5]
        tables[name] = {column["name"]: read_type(column["type"]) for column in table["columns"]}
        locations[name] = table["location"]
    wanted, count, problems = {name: Counter() for name in tables}, 0, []
    for path in sorted(glob.glob(f"{raw}/**/*.json", recursive=True)):
        key = os.path.relpath(path, raw)
        for number, line in enumerate(open(path, encoding="utf-8"), 1):
            count += 1
            if (key, number) in quarantined:
                if quarantined[key, number] > 1:
                    problems.append(f"{key}:{number} is in quarantine {quarantined[key, number]} times")
                if texts[key, number] != line.rstrip("\n"):
                    problems.append(f"{key}:{number} is in quarantine with another text")
                continue
            row = json.loads(line, parse_int=Number, parse_float=Number)
            name = table_name(row)
            wanted[name][record(row, tables[name], ("ymd", "hour"))] += 1
    stored = 0
    for name, fields in tables.items():
        folder = f"{lake}/{locations[name]}"
        files = sorted(glob.glob(f"{folder}/**/*.parquet", recursive=True))
        for path in files:
            problems += [f"{path}: {problem}" for problem in differ_in(fields, list(pq.read_schema(path)))]
        by_arrow = sum((rows(pq.ParquetFile(path).read(), fields) for path in files), Counter())
        by_duckdb = duckdb_rows(files, fields)
        stored += sum(wanted[name].values())
        for reader, got in (("pyarrow", by_arrow), ("DuckDB", by_duckdb)):
            want = Counter(set(wanted[name])) if once else wanted[name]
            for what, rest in (("misses", want - got), ("has too many of", got - want)):
                problems += [f"{name}: {reader} {what} {sorted(row, key=str)}" for row in list(rest)[:3]]
    if stored < 10 * len(texts):
        problems.append(f"{stored} rows are stored and {len(texts)} in quarantine: that proves too little")
    if problems:
        sys.exit("\n".join(problems))
    print(f"{count} raw rows: {stored} in {len(tables)} tables, {sum(quarantined.values())} in quarantine; "
          f"pyarrow {pa.__version__} and DuckDB {duckdb.__version__} read every value as it was sent")


if __name__ == "__main__":
    main(*sys.argv[1:])
