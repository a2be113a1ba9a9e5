"""The operator's YAML as a typed site and release; mistakes with file, line, key and the likeliest right name."""

from changeover.spec.loading import Spec, load
from changeover.spec.problems import InvalidSpecError, Place, Problem
from changeover.spec.publishing import reference, schema, starter
from changeover.spec.vocabulary import CAPABILITIES, NEEDED

__all__ = [
    "CAPABILITIES",
    "NEEDED",
    "InvalidSpecError",
    "Place",
    "Problem",
    "Spec",
    "load",
    "reference",
    "schema",
    "starter",
]
