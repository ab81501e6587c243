"""Reads events of OpenLineage as its own library has them: every field is one that there is, and has its type.

    python read_events.py EVENTS
"""

import json
import sys
import types
import typing

import attr
from openlineage.client.generated import (
    base,
    column_lineage_dataset,
    error_message_run,
    output_statistics_output_dataset,
    schema_dataset,
)

FACETS = {
    "schema": schema_dataset.SchemaDatasetFacet,
    "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet,
    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    "errorMessage": error_message_run.ErrorMessageRunFacet,
}


def made(hint, value):
    """A value of a field of this type. A field that its class does not have, and one that is missing, is an error."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    for option in typing.get_args(hint) if is_union else (hint,):
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if origin is list and isinstance(value, list):
            return [made(arguments[0], one) for one in value]
        if origin is dict and isinstance(value, dict):
            return {name: made(arguments[1], one) for name, one in value.items()}
        if origin is None and attr.has(option) and isinstance(value, dict):
            hints = typing.get_type_hints(option)
            return option(**{name: made(hints[name], one) for name, one in value.items()})
        if origin is None and isinstance(value, option):
            return value
    raise TypeError(f"{value!r} is no {hint}")


def facets(bodies):
    """Facets, each of which names the schema that its class has."""
    found = {}
    for name, body in bodies.items():
        kind = FACETS[name]
        body = dict(body)
        assert body.pop("_producer") and body.pop("_schemaURL") == kind._get_schema(), name
        hints = typing.get_type_hints(kind)
        found[name] = kind(**{key: made(hints[key], value) for key, value in body.items()})
    return found


def event(line):
    body = json.loads(line)
    assert body.pop("schemaURL") == base.RunEvent._get_schema()
    run = base.Run(runId=body["run"]["runId"], facets=facets(body["run"]["facets"]))
    job = base.Job(**body["job"])
    inputs = [base.InputDataset(**one) for one in body["inputs"]]
    outputs = [
        base.OutputDataset(
            **{**one, "facets": facets(one["facets"]), "outputFacets": facets(one.get("outputFacets", {}))}
        )
        for one in body["outputs"]
    ]
    kind = base.EventType(body["eventType"])
    return base.RunEvent(
        eventTime=body["eventTime"], producer=body["producer"], run=run, job=job, eventType=kind, inputs=inputs,
        outputs=outputs,
    )


with open(sys.argv[1]) as file:
    read = [event(line) for line in file]
assert read, "there is no event"
print(f"{len(read)} events are as OpenLineage has them")
