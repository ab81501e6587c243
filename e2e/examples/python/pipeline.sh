#!/bin/sh
# A wrapper as many projects have one. It does not `exec` the pipeline; a signal reaches it all the same.
"${E2E_PYTHON:-python3}" pipeline.py
