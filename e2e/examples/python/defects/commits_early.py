"""The pipeline with one defect: the client commits offsets by itself, also those of orders that are not stored yet.

This is what `enable.auto.commit` does by default. A crash between the commit and the write loses the order.
"""

import pathlib

source = pathlib.Path("pipeline.py").read_text()
right = '"enable.auto.commit": False,'
assert right in source
exec(compile(source.replace(right, '"enable.auto.commit": True, "auto.commit.interval.ms": 1,'), "commits_early.py", "exec"))
