"""What is kept of a node: whose it is, whether it is whole, and what is never overwritten or lost."""

from collections.abc import Mapping
from typing import Any

import pytest

from changeover.actions import ACTIONS, Context
from changeover.actions.files import differences
from changeover.errors import HostError, StepError
from changeover.model.plan import Facts, Operation
from changeover.model.values import Presence
from changeover.simulation import SimulatedSite
from changeover.strategies import STRATEGIES
from tests.sites import a_release, a_simulated_site, a_site

CONF, KEY = "/etc/app/app.conf", "/etc/app/key"
KEPT = {"paths": ["/etc/app"], "to": "/srv/kept"}
COPY = "/srv/kept/app1/etc/app/app.conf"
LIST = "/srv/kept/app1/changeover.json"


@pytest.fixture
def site() -> SimulatedSite:
    """A site with two files on the first node."""
    site = a_simulated_site(2)
    machine = site.hosts["app1"]
    machine.directories |= {"/etc/app"}
    machine.files |= {CONF: b"threads=4\n", KEY: b"secret"}
    machine.owned |= {KEY: "400 0:33"}
    return site


def _context(site: SimulatedSite, run: str = "run") -> Context:
    plan = STRATEGIES["rolling"](a_site(2), a_release(keep_serving=1), Facts())
    return Context(site.world, plan, run, "step", 1, site.clock.now(), 60.0)


async def _do(kind: str, site: SimulatedSite, run: str = "run", **more: Any) -> object:
    return await ACTIONS[kind].perform(Operation(kind, "app1", {**KEPT, **more}), _context(site, run))


async def _see(kind: str, site: SimulatedSite, run: str = "run") -> Presence:
    return (await ACTIONS[kind].observe(Operation(kind, "app1", KEPT), _context(site, run))).presence


def _files(site: SimulatedSite) -> Mapping[str, bytes]:
    return site.hosts["app1"].files


async def test_a_directory_comes_back_byte_for_byte(site: SimulatedSite) -> None:
    """With its modes and owners; what was not there when it was kept is gone."""
    before = site.state()["hosts"]["app1"]
    await _do("files.keep", site)
    machine = site.hosts["app1"]
    machine.files |= {CONF: b"threads=8\n", "/etc/app/new": b"x"}
    del machine.files[KEY]
    machine.owned[CONF] = "666 5:5"
    assert await _see("files.put-back", site) is Presence.ABSENT
    await _do("files.put-back", site)
    assert await _see("files.put-back", site) is Presence.DONE
    await _do("files.let-go", site, returned=True)
    assert site.state()["hosts"]["app1"] == before


async def test_what_is_kept_stays_kept_when_the_original_changes(site: SimulatedSite) -> None:
    """A conductor that looks again must not think that it has to be kept anew."""
    await _do("files.keep", site)
    site.hosts["app1"].files[CONF] = b"of the new version"
    assert await _see("files.keep", site) is Presence.DONE
    await _do("files.keep", site)
    assert _files(site)[COPY] == b"threads=4\n"


async def test_what_somebody_else_keeps_there_is_not_overwritten(site: SimulatedSite) -> None:
    """Another run's copies, or a directory that no run has made; neither is removed."""
    await _do("files.keep", site, "first")
    with pytest.raises(StepError, match="/srv/kept/app1 holds what run first kept"):
        await _do("files.keep", site, "second")
    await _do("files.let-go", site, "second")
    assert await _see("files.let-go", site, "second") is Presence.DONE
    assert COPY in _files(site)
    await _do("files.let-go", site, "first")
    assert COPY not in _files(site)
    site.hosts["app1"].files["/srv/kept/app1/mine"] = b"x"
    with pytest.raises(StepError, match="is there already, and no run has kept anything in it"):
        await _do("files.keep", site)
    assert _files(site)["/srv/kept/app1/mine"] == b"x"


async def test_what_a_full_disk_has_left_is_no_obstacle(site: SimulatedSite) -> None:
    """Directories with nothing in them belong to nobody."""
    site.fill("app1")
    with pytest.raises(HostError, match="No space left on device"):
        await _do("files.keep", site)
    site.fill("app1", full=False)
    await _do("files.keep", site)
    assert await _see("files.keep", site) is Presence.DONE


async def test_a_copy_that_was_changed_is_put_nowhere(site: SimulatedSite) -> None:
    """It is told which, and the file in its place stays as it is."""
    await _do("files.keep", site)
    machine = site.hosts["app1"]
    machine.files |= {COPY: b"tampered", CONF: b"of the new version"}
    assert await _see("files.keep", site) is Presence.UNKNOWN
    with pytest.raises(StepError, match="what was kept has been changed since: /srv/kept/app1/etc/app/"):
        await _do("files.put-back", site)
    assert machine.files[CONF] == b"of the new version"


async def test_the_only_copy_is_not_let_go_of_before_everything_is_back(site: SimulatedSite) -> None:
    """On a way back; a person who finalizes gives it up knowingly."""
    await _do("files.keep", site)
    site.hosts["app1"].files[CONF] = b"of the new version"
    with pytest.raises(StepError, match="not everything is back, and this is the only copy"):
        await _do("files.let-go", site, returned=True)
    assert COPY in _files(site)
    await _do("files.let-go", site)
    assert not [name for name in _files(site) if name.startswith("/srv/kept")]


async def test_nothing_is_put_back_where_nothing_was_kept(site: SimulatedSite) -> None:
    """It cannot be told whether the files are as they were."""
    assert await _see("files.put-back", site) is Presence.UNKNOWN
    with pytest.raises(StepError, match="nothing was kept in /srv/kept/app1"):
        await _do("files.put-back", site)


async def test_a_path_that_is_not_there_is_named(site: SimulatedSite) -> None:
    """And nothing is listed as kept."""
    with pytest.raises(StepError, match="there is no /etc/none on app1"):
        await _do("files.keep", site, paths=["/etc/app", "/etc/none"])
    assert await _see("files.keep", site) is Presence.ABSENT


async def test_a_list_that_is_none_is_named(site: SimulatedSite) -> None:
    """Whoever wrote it."""
    site.hosts["app1"].files[LIST] = b"{"
    with pytest.raises(StepError, match="is not a list of kept files"):
        await _do("files.keep", site)


def test_differences_are_told_entry_by_entry() -> None:
    """What is missing, what is more, and what is another."""
    was = {".": "d 755 0:0", "a": "f 644 0:0 11", "b": "f 644 0:0 22"}
    now = {".": "d 755 0:0", "a": "f 600 0:0 11", "c": "f 644 0:0 33"}
    assert differences("/etc/x", was, now) == [
        "/etc/x/a: f 644 0:0 11, now f 600 0:0 11",
        "/etc/x/b: f 644 0:0 22, now nothing",
        "/etc/x/c: nothing, now f 644 0:0 33",
    ]
    assert differences("/etc/y", {".": "f 644 0:0 1"}, None) == ["/etc/y: f 644 0:0 1, now nothing"]
