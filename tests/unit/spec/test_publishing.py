"""The reference, the starter, and what is generated from them."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from changeover.model.site import Http
from changeover.spec import load, publishing, reference, schema, starter
from tests.unit.spec.conftest import SITE, Written

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text().partition("```yaml\n")[2].partition("```")[0]


@pytest.mark.parametrize("text", [reference(), starter()], ids=["reference", "starter"])
def test_shipped_file_loads(files: Written, text: str) -> None:
    """What `changeover init` writes is right as it stands."""
    files.write("site.yaml", text)
    assert load(files.path, environ={}).site.application.nodes


@pytest.mark.parametrize("text", [README, starter()], ids=["README", "starter"])
def test_examples_can_be_planned(files: Written, text: str) -> None:
    """A site that begins with one of them is asked at its addresses: a host's name is only ours."""
    files.write("site.yaml", text)
    site = load(files.path, environ={}).site
    assert [database.address for database in site.databases] == ["10.0.0.12"]
    asked = [site.application.capabilities[name] for name in ("health", "version")]
    assert [binding.url for binding in asked if isinstance(binding, Http)] == [
        "http://{address}:{port}/health",
        "http://{address}:{port}/version",
    ]


@pytest.mark.parametrize("text", [reference(), starter(), SITE], ids=["reference", "starter", "site"])
def test_schema_accepts(text: str) -> None:
    """Editors accept what loads."""
    jsonschema.Draft202012Validator(schema()).validate(YAML(typ="safe").load(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("socket:", "sokcet:"),
        ("site: identity\n", ""),
        ("{env: DB_PASSWORD}", "literal"),
        ("[1, 50%]", "{}"),
        ("approve: true", "approve: maybe"),
        ("become: sudo\n", "become: [sudo]\n"),
    ],
)
def test_schema_refuses(old: str, new: str) -> None:
    """Editors refuse what does not load."""
    assert SITE.count(old) == 1
    document = YAML(typ="safe").load(SITE.replace(old, new))
    assert not jsonschema.Draft202012Validator(schema()).is_valid(document)


def test_schema_is_one() -> None:
    """The schema itself is valid."""
    jsonschema.Draft202012Validator.check_schema(schema())


def keys(value: Any) -> set[str]:
    """Every key that the schema knows."""
    match value:
        case dict():
            own = (
                set(value["properties"]) if value.get("type") == "object" and "properties" in value else set()
            )
            return own | {key for inner in value.values() for key in keys(inner)}
        case list():
            return {key for inner in value for key in keys(inner)}
        case _:
            return set()


LONG_FORMS = {"command", "url", "statement", "path", "hosts", "inventory", "method"}


def test_reference_shows_every_key() -> None:
    """No key of the schema is missing in the reference."""
    text = reference()
    missing = {key for key in keys(schema()) if not re.search(rf"(?<![\w-]){key}:", text)}
    assert missing <= LONG_FORMS


@pytest.mark.parametrize("name", ["reference.md", "changeover.schema.json"])
def test_documentation_is_fresh(tmp_path: Path, name: str) -> None:
    """What is generated was generated from this; `python -m changeover.spec docs` does it again."""
    publishing.publish(tmp_path)
    assert (DOCS / name).read_text() == (tmp_path / name).read_text()


def test_page_holds_the_whole_reference() -> None:
    """Every line of YAML in the reference is on the page."""
    page = publishing.page()
    lines = [line for line in reference().splitlines() if line and not line.startswith("#")]
    assert all(line in page for line in lines)
