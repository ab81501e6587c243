"""Runs the checks of `quality.py` by another tool, in a process of its own: `FILES CHECKS WAY [COLUMNS]`.

The way is `soda` or `gx`, or `scan` or `read` for what these are compared with. Neither tool has a word for a condition
in SQL on single rows that shares a scan: Soda Core runs a query for each, and Great Expectations gets a range instead.
"""

import json
import sys


def soda(files, checks):
    import duckdb
    from soda.scan import Scan

    lines = ["checks for rows:"]
    for check in checks:
        where = [f"      filter: {check['where']}"] if "where" in check else []
        name = [f"      name: {check['name']}"]
        kind = next(key for key in check if key not in ("name", "where"))
        body = check[kind]
        column = body.get("column") if isinstance(body, dict) else None
        if kind == "not_null":
            lines += [f"  - missing_count({body['columns'][0]}) = 0:", *name]
        elif kind in ("range", "length"):
            word = "length " if kind == "length" else ""
            there = (limit for limit in ("min", "max") if limit in body)
            limits = [f"      valid {limit} {word}".rstrip() + f": {body[limit]}" for limit in there]
            lines += [f"  - invalid_count({column}) = 0:", *name, *limits, *where]
        elif kind == "accepted":
            lines += [f"  - invalid_count({column}) = 0:", *name, f"      valid values: {json.dumps(body['values'])}"]
        elif kind == "holds":
            lines += ["  - failed rows:", *name, "      samples limit: 0", f"      fail condition: not ({body})"]
        elif kind == "row_count":
            lines += [f"  - row_count >= {body['min']}:", *name]
        elif kind == "freshness":
            lines += ["  - freshness(timestamp_iso) < 3650d:", *name]
    database = duckdb.connect()
    database.sql("set timezone = 'UTC'")
    database.sql(f"create view rows as select * from read_parquet('{files}', hive_partitioning = true)")
    scan = Scan()
    scan.disable_telemetry()
    scan.set_data_source_name("duckdb")
    scan.add_duckdb_connection(database)
    scan.add_sodacl_yaml_str("\n".join(lines))
    scan.execute()
    assert not scan.has_error_logs(), scan.get_error_logs_text()
    outcomes = [check["outcome"] for check in scan.get_scan_results()["checks"]]
    return len(outcomes), outcomes.count("pass")


def gx(files, checks):
    import great_expectations
    from great_expectations import expectations as expect

    frame = read(files)
    found = []
    for check in checks:
        kind = next(key for key in check if key not in ("name", "where"))
        body = check[kind]
        only = {"row_condition": check["where"], "condition_parser": "pandas"} if "where" in check else {}
        column = body.get("column") if isinstance(body, dict) else None
        if kind == "not_null":
            found.append(expect.ExpectColumnValuesToNotBeNull(column=body["columns"][0]))
        elif kind == "range":
            bounds = {"min_value": body["min"], "max_value": body.get("max")}
            found.append(expect.ExpectColumnValuesToBeBetween(column=column, **bounds, **only))
        elif kind == "length":
            bounds = {"min_value": body.get("min"), "max_value": body["max"]}
            found.append(expect.ExpectColumnValueLengthsToBeBetween(column=column, **bounds))
        elif kind == "accepted":
            found.append(expect.ExpectColumnValuesToBeInSet(column=column, value_set=body["values"]))
        elif kind == "holds":
            name, low = {"gravity": ("accel_z", 1), "level": ("accel_x", -78)}.get(
                check["name"], (check["name"].split()[0], -(10**12))
            )
            # The upper bounds differ, for two expectations of a suite must not be the same.
            high = 10**12 + len(found)
            found.append(expect.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high))
        elif kind == "row_count":
            found.append(expect.ExpectTableRowCountToBeBetween(min_value=body["min"]))
        elif kind == "freshness":
            found.append(expect.ExpectColumnMaxToBeBetween(column="timestamp_iso", min_value="2022-01-01T00:00:00Z"))
    context = great_expectations.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("lake").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    result = batch.validate(great_expectations.ExpectationSuite(name="checks", expectations=found))
    failed = [one.expectation_config.to_json_dict() for one in result.results if not one.success]
    assert not failed, failed
    return len(result.results), sum(one.success for one in result.results)


def read(files):
    import glob

    import pyarrow.parquet as parquet

    # The files are named one by one, so that the folders of partitions are no columns.
    return parquet.ParquetDataset(sorted(glob.glob(files)), partitioning=None).read().to_pandas()


def main():
    files, checks, way, *columns = sys.argv[1:]
    checks = json.load(open(checks))["checks"]
    if way == "scan":
        import duckdb

        print(duckdb.sql(f"select count(*), {columns[0]} from read_parquet('{files}')").fetchall())
    elif way == "read":
        print(f"{len(read(files))} rows")
    else:
        number, passed = {"soda": soda, "gx": gx}[way](files, checks)
        print(f"{number} checks: {passed} passed")


if __name__ == "__main__":
    main()
