"""The schema held against what was read; pydantic's errors in the operator's words, at their places."""

from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from changeover.spec.located import Located, Map, Seq, Text
from changeover.spec.problems import Problems, nearest

_FORMS = {
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "dict_type": "expected a mapping",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "too_short": "expected at least one entry",
    "greater_than_equal": "expected at least {ge}",
    "greater_than": "expected more than {gt}",
    "less_than_equal": "expected at most {le}",
    "union_tag_invalid": "another form of value is expected here",
}


def validate(adapter: TypeAdapter[Any], value: Located, problems: Problems) -> Any:
    """The typed value, or None and the problems that it has."""
    try:
        return adapter.validate_python(value, context=problems)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _report(details, value, problems)
        return None


def _report(details: ErrorDetails, root: Located, problems: Problems) -> None:
    given, kind = details["input"], details["type"]
    place = given.place if isinstance(given, Text | Map | Seq) else root.place
    context = details.get("ctx", {})
    if isinstance(given, Text) and given.null:
        problems.add(place, "has no value: give it one, or remove the key")
    elif kind == "missing":
        key = str(details["loc"][-1])
        problems.add(place.under(key), "this key is required, and missing")
    elif place.path and problems.within(place):
        return
    elif kind == "literal_error":
        expected = tuple(
            word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")
        )
        problems.add(place, "unknown value", expected=expected, nearest=nearest(str(given), expected))
    else:
        problems.add(place, _FORMS[kind].format_map(context) if kind in _FORMS else details["msg"])
