"""The shipped packs: complete, and asking for exactly the variables that they say they ask for."""

import re
from pathlib import Path

import pytest

from changeover import packs
from changeover.spec import NEEDED, InvalidSpecError, load
from changeover.spec.packs import shipped
from tests.unit.spec.conftest import Written

SPEC = """\
site: packed
hosts: {{"app[1-2]": "10.0.0.[1-2]"}}
application:
  pack: {pack}
  nodes: app*
  variables: {{{variables}}}
databases: {{main: {{postgresql: {{host: app1, name: x, user: x}}}}}}
upgrade: {{from: v1, to: v2}}
"""


def variables(pack: str) -> set[str]:
    """Those that the pack's head names."""
    text = (Path(packs.__path__[0]) / f"{pack}.yaml").read_text()
    named = re.search(r"^# Variables: ([\w, ]+)\.", text, re.MULTILINE)
    assert named
    return set(named[1].split(", "))


@pytest.mark.parametrize("pack", shipped())
def test_pack_binds_what_rolling_needs(files: Written, pack: str) -> None:
    """With its variables, a rolling upgrade can be planned."""
    given = ", ".join(f"{name}: x" for name in variables(pack))
    files.write("site.yaml", SPEC.format(pack=pack, variables=given))
    application = load(files.path).site.application
    assert set(NEEDED["rolling"]) <= set(application.capabilities)
    assert application.pack == pack


@pytest.mark.parametrize("pack", shipped())
def test_pack_asks_for_its_variables(files: Written, pack: str) -> None:
    """Each variable that is not given is told, and so is the capability that asks for it."""
    files.write("site.yaml", SPEC.format(pack=pack, variables=""))
    with pytest.raises(InvalidSpecError) as caught:
        load(files.path)
    asked = {problem.key.removeprefix("application.variables.") for problem in caught.value.problems}
    assert asked == variables(pack)
