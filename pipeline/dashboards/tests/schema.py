"""Reads dashboards by Grafana's own types, and fails if one does not fit them, or has something that they do not know.

    python schema.py FILE…
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(written, read, path=""):
    """What of a dashboard is not there any more, or is another, when the types have read it."""
    if isinstance(written, dict):
        for name, value in written.items():
            if not isinstance(read, dict) or name not in read:
                yield f"{path}.{name}"
            else:
                yield from lost(value, read[name], f"{path}.{name}")
    elif isinstance(written, list):
        if not isinstance(read, list) or len(read) != len(written):
            yield path
        else:
            for index, (one, other) in enumerate(zip(written, read)):
                yield from lost(one, other, f"{path}[{index}]")
    elif written != read:
        yield path


register_default_plugins()
wrong = []
for name in sys.argv[1:]:
    with open(name) as file:
        written = json.load(file)
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    wrong += [f"{name}: {path[1:]}" for path in lost(written, read)]
if wrong or len(sys.argv) == 1:
    sys.exit("Grafana does not know:\n" + "\n".join(wrong))
