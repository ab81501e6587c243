"""The pipeline with one defect: the name of an object is not a function of its order.

It stores every order at least once. After a crash between the write and the commit, the order is in the archive twice.
"""

import pathlib

source = pathlib.Path("pipeline.py").read_text()
right = "{message.partition()}-{message.offset():010}.json"
assert right in source
exec(compile(source.replace(right, "{__import__('uuid').uuid4()}.json"), "names_objects_at_random.py", "exec"))
