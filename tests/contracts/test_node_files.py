"""What is kept, edited and read of a node, on real files: this machine is the node's host."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from changeover.actions import ACTIONS, Context, logs
from changeover.drivers.local import LocalHost
from changeover.drivers.secrets import Secrets
from changeover.errors import StepError
from changeover.model.plan import Facts, Operation
from changeover.model.site import HostConfig
from changeover.model.values import Presence
from changeover.ports import World
from changeover.simulation import SimulatedClock
from changeover.strategies import STRATEGIES
from tests.enginekit import a_world
from tests.sites import a_release, a_site


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The first node's host is here; marks are in the test's own directory."""
    monkeypatch.setattr(logs, "MARKS", str(tmp_path / "marks"))
    host = LocalHost(HostConfig(name="app1", address="", driver="local"), secrets=Secrets())
    world = World({"app1": host}, {}, {}, a_world().application, SimulatedClock())
    plan = STRATEGIES["rolling"](a_site(2), a_release(keep_serving=1), Facts())
    return Context(world, plan, "run", "app1/start-log", 1, 0.0, 60.0)


async def _do(context: Context, kind: str, **params: Any) -> object:
    return await ACTIONS[kind].perform(Operation(kind, "app1", params), context)


async def _see(context: Context, kind: str, **params: Any) -> Presence:
    return (await ACTIONS[kind].observe(Operation(kind, "app1", params), context)).presence


async def test_a_configuration_comes_back_whole(context: Context, tmp_path: Path) -> None:
    """Bytes, modes, links, and what is there at all; nothing of the copies is left in the end."""
    conf, current = tmp_path / "release-1" / "conf", tmp_path / "current"
    conf.mkdir(parents=True)
    current.symlink_to("release-1")
    (conf / "app.properties").write_bytes(b"a=\xff\r\n")
    (conf / "key").write_bytes(b"k")
    (conf / "key").chmod(0o400)
    (conf / "link").symlink_to("key")
    kept = {"paths": [str(current / "conf")], "to": str(tmp_path / "kept")}
    await _do(context, "files.keep", **kept)
    fresh = tmp_path / "release-2" / "conf"
    fresh.mkdir(parents=True)
    (fresh / "app.properties").write_bytes(b"as it comes")
    current.unlink()
    current.symlink_to("release-2")
    assert await _see(context, "files.put-back", **kept) is Presence.ABSENT
    await _do(context, "files.put-back", **kept)
    assert await _see(context, "files.put-back", **kept) is Presence.DONE
    assert sorted(it.name for it in fresh.iterdir()) == ["app.properties", "key", "link"]
    assert (fresh / "app.properties").read_bytes() == b"a=\xff\r\n"
    assert (fresh / "key").stat().st_mode & 0o777 == 0o400
    assert (fresh / "link").readlink() == Path("key")
    await _do(context, "files.let-go", **kept)
    assert not (tmp_path / "kept" / "app1").exists()


async def test_a_property_is_set_in_its_file_as_it_is(context: Context, tmp_path: Path) -> None:
    """Its mode stays, and every byte that is not the value."""
    path = tmp_path / "app.properties"
    path.write_bytes(b"# \xe9\r\nauto.ddl : false\r\nx=1")
    path.chmod(0o640)
    setting = {"file": str(path), "key": "auto.ddl", "value": "true"}
    assert await _see(context, "node.property", **setting) is Presence.ABSENT
    await _do(context, "node.property", **setting)
    assert await _see(context, "node.property", **setting) is Presence.DONE
    assert path.read_bytes() == b"# \xe9\r\nauto.ddl : true\r\nx=1"
    assert path.stat().st_mode & 0o777 == 0o640


def _renamed(log: Path) -> None:
    log.rename(f"{log}.1")
    log.write_text("INFO new file\n")


def _copied_and_emptied(log: Path) -> None:
    shutil.copy2(log, f"{log}.1")
    os.truncate(log, 0)


@pytest.mark.parametrize("rotate", [_renamed, _copied_and_emptied, lambda _: None])
async def test_a_log_is_read_from_its_mark_across_a_rotation(
    context: Context, tmp_path: Path, rotate: Callable[[Path], None]
) -> None:
    """As logrotate does it, with `create` and with `copytruncate`."""
    log = tmp_path / "catalina.out"
    log.write_text("ERROR from before\n" * 100)
    watch = {"path": str(log), "errors": ["ERROR"]}
    check = {"label": "start", "logs": [watch], "version": "v2"}
    await _do(context, "log.mark", label="start", paths=[str(log)])
    with log.open("a") as out:
        out.write("INFO started\n")
    assert await _see(context, "log.check", **check) is Presence.DONE
    rotate(log)
    assert await _see(context, "log.check", **check) is Presence.DONE
    with log.open("a") as out:
        out.write("ERROR new, password=hunter2\n")
    with pytest.raises(StepError, match="1 error that nobody knows") as error:
        await _do(context, "log.check", **check)
    assert "> ERROR new, password=***" in error.value.message
    assert "before" not in error.value.message
    await _do(context, "log.forget")
    assert await _see(context, "log.check", **check) is Presence.UNKNOWN
