"""The names of cases."""

import pytest

from changeover.errors import RefusedError
from changeover.rehearsal.cases import Case, Kind, Reply, Strike, parse


@pytest.mark.parametrize(
    "name",
    [
        "app2/start:host-dies",
        "app2/start:host-dies:abort",
        "app1/drain:hangs-after@2:retry:leave",
        "app1/stop:hangs+back/app1/switch:fails-before:abort:retry",
        "main/expand/001_a-b.sql:conductor-dies-effect-goes-on",
        "finalize/approve:refused:abort-unmended",
        "nothing",
    ],
)
def test_a_case_is_found_again_by_its_name(name: str) -> None:
    """What is printed is what `--replay` takes."""
    assert str(parse(name)) == name


def test_what_a_name_says() -> None:
    """Faults, which call they strike, and the answers, in this order."""
    assert parse("a/b:hangs@3+c/d:slow:abort:retry") == Case(
        (Strike("a/b", Kind.HANGS, 2), Strike("c/d", Kind.SLOW)), (Reply.ABORT, Reply.RETRY)
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "app2/start",
        "app2/start:explodes",
        "app2/start:hangs:perhaps",
        "a:hangs+",
        "a:hangs@0",
    ],
)
def test_what_is_no_case_is_refused_with_the_faults_there_are(name: str) -> None:
    """An operator who mistypes one is told the form of it and every fault."""
    with pytest.raises(RefusedError, match="is not the name of a case") as refused:
        parse(name)
    assert "host-dies" in refused.value.hint
