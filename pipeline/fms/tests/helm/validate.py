"""Validates the objects on standard input, documents of YAML, by the schemas of Kubernetes, KEDA and the operator of
Prometheus. Prints a line for each, in their order: `valid: NAME` or `NOT VALID: NAME: WHAT IS WRONG`."""

import sys

import kubernetes_validate
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule

# The oldest and the newest version of Kubernetes that the chart is for.
VERSIONS = ["1.29", "1.37"]
MODELS = {"ScaledObject": ScaledObject, "PodMonitor": PodMonitor, "PrometheusRule": PrometheusRule}


def missing(given, kept, path):
    """The first thing of `given` that a model did not keep, for it leaves out what it does not know."""
    if isinstance(given, dict):
        for key, value in given.items():
            if key not in kept:
                return f"{path}.{key}"
            if found := missing(value, kept[key], f"{path}.{key}"):
                return found
    if isinstance(given, list):
        for at, value in enumerate(given):
            if found := missing(value, kept[at], f"{path}[{at}]"):
                return found
    return None


def problem(document):
    """What is wrong with an object; nothing if it is valid."""
    if model := MODELS.get(document["kind"]):
        try:
            kept = model.model_validate(document).model_dump(mode="json", by_alias=True, exclude_unset=True)
        except ValueError as error:
            return " ".join(str(error).split())
        found = missing(document["spec"], kept["spec"], "spec")
        return found and f"{found} is not known"
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            return f"Kubernetes {version}: {path}: {error.message}"
    return None


for document in filter(None, yaml.safe_load_all(sys.stdin)):
    name = f"{document['kind']} {document['metadata']['name']}"
    found = problem(document)
    print(f"NOT VALID: {name}: {found}" if found else f"valid: {name}")
