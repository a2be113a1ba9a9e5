"""The annotated reference, its page in the documentation, and the JSON Schema for editors."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from changeover.spec.sections.document import REQUIRED, Document

_TITLE = re.compile(r"# == (.+)")

_INTRODUCTION = """\
# The spec

Made from the annotated reference file, `src/changeover/spec/reference.yaml`, which loads as it stands.
Editors complete and check it with [changeover.schema.json](changeover.schema.json), which `changeover schema` prints.
"""


def reference() -> str:
    """Every key there is, explained; the text of a file that loads."""
    return _packaged("reference.yaml")


def starter() -> str:
    """What most sites begin with; the text of a file that loads."""
    return _packaged("starter.yaml")


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file."""
    found = Document.model_json_schema(schema_generator=_Generator)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "changeover.yaml",
        **_without_titles(found),
        "required": list(REQUIRED),
    }


def page() -> str:
    """The reference as a page of the documentation: prose where a comment stands alone, YAML elsewhere."""
    parts, lines = [_INTRODUCTION], reference().splitlines()
    block: list[str] = []

    def close() -> None:
        text = "\n".join(block).strip("\n")
        block.clear()
        if text:
            parts.append(f"```yaml\n{text}\n```\n")

    for paragraph in "\n".join(lines[1:]).split("\n\n"):
        rows = paragraph.strip("\n").splitlines()
        if rows and (title := _TITLE.fullmatch(rows[0])):
            close()
            parts.append(f"## {title[1]}\n")
            rows = rows[1:]
            if rows:
                parts.append("\n".join(row.removeprefix("#").strip() for row in rows) + "\n")
        else:
            block += [*rows, ""]
    close()
    return "\n".join(parts)


def publish(directory: Path) -> None:
    """Write what is generated into the documentation."""
    (directory / "reference.md").write_text(page())
    (directory / "changeover.schema.json").write_text(
        json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    )


class _Generator(GenerateJsonSchema):
    """In the file an absent key is just absent: nothing is ever null, and defaults are told in words."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _without_titles(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: _without_titles(item)
                for key, item in value.items()
                if not (key == "title" and isinstance(item, str))
            }
        case list():
            return [_without_titles(item) for item in value]
        case _:
            return value


def _packaged(name: str) -> str:
    return (resources.files("changeover.spec") / name).read_text(encoding="utf-8")
