"""The contract of the Host port, against real OpenSSH and against this machine."""

import asyncio
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from changeover.checks import machines
from changeover.drivers.local import LocalHost
from changeover.drivers.secrets import Secrets
from changeover.drivers.ssh import SshHost
from changeover.errors import HostError
from changeover.model.site import Become, HostConfig
from changeover.ports import Command, Host, Stream
from changeover.simulation import SimulatedSite
from tests.sites import a_site
from tests.sshdkit import AS_ROOT, SMALL, PrivateSshd, sshd

__all__ = ["sshd"]

CANARY = "canary-5b1d'\"$(id)`id`\n;x"

NO_SHELL = pytest.mark.not_simulated("it has no shell: it answers what checks ask, and nothing else is found")
NO_INODES = pytest.mark.not_simulated("its files have neither links nor owners")
NO_SOCKETS = pytest.mark.not_simulated("it has no sockets: what is behind them are ports of their own")

needs_root = pytest.mark.skipif(not AS_ROOT, reason="needs root")


@dataclass
class Subject:
    """A host, and a directory that it and this test both see; `small` is on a file system of 64 KiB."""

    host: Host
    directory: Path
    small: Path

    def protected(self) -> Path:
        """A directory that only root may look into."""
        path = Path(tempfile.mkdtemp(dir=self.directory))
        path.chmod(0o700)
        return path


def a_simulated_subject() -> Subject:
    """A host in memory with the same two directories."""
    site = SimulatedSite(a_site(1), "v1")
    machine = site.hosts["app1"]
    directory = Path("/srv/test")
    machine.directories |= {str(directory), str(directory / SMALL)}
    machine.free = 64 * 1024
    return Subject(site.world.hosts["app1"], directory, directory / SMALL)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every user may write to."""
    path = Path(tempfile.mkdtemp(prefix="host-", dir="/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def small(directory: Path) -> Iterator[Path]:
    """A file system of 64 KiB on this machine."""
    path = directory / SMALL
    path.mkdir()
    if AS_ROOT:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], check=True)
    yield path
    if AS_ROOT:
        subprocess.run(["umount", str(path)], check=True)


DRIVERS = [
    "local",
    "ssh",
    pytest.param("ssh-with-password", id="ssh-with-password", marks=needs_root),
    "simulated",
]


@pytest.fixture(params=DRIVERS)
async def subject(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Subject]:
    """Every driver of the port in turn, and the simulation."""
    host: Host
    if request.param == "simulated":
        yield a_simulated_subject()
        return
    if request.param == "local":
        host = LocalHost(HostConfig(name="here", address="", driver="local"), secrets=Secrets())
        mounted = request.getfixturevalue("small")
    else:
        server: PrivateSshd = request.getfixturevalue("sshd")
        config = server.config(become=Become()) if request.param == "ssh" else server.guarded()
        host = SshHost(config, secrets=Secrets(), hosts={})
        mounted = server.directory / SMALL
    yield Subject(host, directory, mounted)
    await host.close()


@NO_SHELL
async def test_a_command_runs_to_its_end(subject: Subject) -> None:
    """Status, output and error output come back as they were."""
    result = await subject.host.run(Command("echo out; echo err >&2; exit 7"))
    assert (result.status, result.stdout, result.stderr) == (7, "out\n", "err\n")


@NO_SHELL
async def test_a_command_is_a_shell_line_with_an_empty_input(subject: Subject) -> None:
    """Pipes, quotes and newlines work, and reading standard input ends at once."""
    result = await subject.host.run(Command("cat\nprintf '%s|' \"a  b\" 'c'\"'\"'d' | tr a-z A-Z"))
    assert result.stdout == "A  B|C'D|"


@NO_SHELL
async def test_output_is_decoded_and_what_is_no_text_is_replaced(subject: Subject) -> None:
    """Unicode survives; bytes that are not UTF-8 become replacement characters."""
    result = await subject.host.run(Command("echo 'smörgås 漢字 🙂'; printf '\\377\\000x'"))
    assert result.stdout == "smörgås 漢字 🙂\n\ufffd\0x"


@NO_SHELL
async def test_a_command_that_dies_of_a_signal_has_the_status_a_shell_gives_it(subject: Subject) -> None:
    """128 and the number of the signal."""
    assert (await subject.host.run(Command("kill -9 $$"))).status == 137


@NO_SHELL
async def test_ten_megabytes_of_output_arrive(subject: Subject) -> None:
    """Large output is neither cut nor a deadlock."""
    result = await subject.host.run(Command("head -c 10485760 /dev/zero | tr '\\0' x"))
    assert len(result.stdout) == 10 * 1024 * 1024


@NO_SHELL
async def test_a_hundred_commands_at_once_all_end(subject: Subject) -> None:
    """More commands than one connection has sessions for wait their turn, and none mixes up its output."""
    results = await asyncio.gather(*(subject.host.run(Command(f"echo {n}; sleep 0.01")) for n in range(100)))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(100)]


@NO_SHELL
async def test_a_command_out_of_time_is_an_error_and_leaves_nothing_running(subject: Subject) -> None:
    """`HostError` names the host and the command; its processes are gone, and the host goes on working."""
    mark = subject.directory / "pid"
    with pytest.raises(HostError, match="no end within 1 s of: echo"):
        await subject.host.run(Command(f"echo $$ > {mark}; sleep 987 & sleep 987", timeout=1))
    assert (await subject.host.run(Command("echo well"))).stdout == "well\n"
    await _gone(mark)


@NO_SHELL
@needs_root
async def test_a_command_with_other_rights_out_of_time_leaves_nothing_running(subject: Subject) -> None:
    """What the SSH user may not signal is ended by the host itself."""
    mark = subject.protected() / "pid"
    with pytest.raises(HostError, match="no end within 1 s"):
        await subject.host.run(Command(f"echo $$ > {mark}; sleep 987", timeout=1, become=True))
    await _gone(mark)


@NO_SHELL
async def test_a_command_that_is_cancelled_leaves_nothing_running(subject: Subject) -> None:
    """Cancelling the caller ends the processes too."""
    mark = subject.directory / "pid"
    running = asyncio.create_task(subject.host.run(Command(f"echo $$ > {mark}; sleep 987")))
    await _until(lambda: mark.exists() and mark.read_text().endswith("\n"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await _gone(mark)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)


async def _gone(mark: Path) -> None:
    """Return once neither the shell that wrote `mark`, nor a child or a group member of it, is alive."""
    await _until(lambda: mark.read_text().strip() not in _live_processes())


def _live_processes() -> set[str]:
    """The ids of all processes, their parents and their groups; those that only wait to be reaped aside."""
    found: set[str] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, group = path.read_text().rpartition(")")[2].split()[:3]
            if state != "Z":
                found |= {path.parent.name, parent, group}
    return found


def _argument_lists() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes()


@NO_SHELL
async def test_secrets_are_environment_variables(subject: Subject) -> None:
    """Whatever characters they hold."""
    result = await subject.host.run(
        Command('printf %s "$ONE/$TWO"; cat', secrets={"ONE": CANARY, "TWO": "ünï"})
    )
    assert result.stdout == f"{CANARY}/ünï"


@NO_SHELL
@needs_root
async def test_secrets_and_other_rights_go_together(subject: Subject) -> None:
    """Also where sudo reads its password from the same standard input."""
    result = await subject.host.run(
        Command('id -un; printf %s "$ONE"; echo said >&2', secrets={"ONE": CANARY}, become=True)
    )
    assert (result.stdout, result.stderr) == (f"root\n{CANARY}", "said\n")


@NO_SHELL
@pytest.mark.parametrize("become", [False, pytest.param(True, marks=needs_root)])
async def test_a_secret_is_in_no_argument_while_the_command_runs(subject: Subject, become: bool) -> None:
    """Every process list on the host is searched while the secret is in use."""
    mark, go_on = subject.directory / "started", subject.directory / "go-on"
    line = f'touch {mark}; while [ ! -e {go_on} ]; do sleep 0.01; done; printf %s "$CANARY" | wc -c'
    command = Command(line, secrets={"CANARY": "canary-5b1d-value"}, become=become)
    running = asyncio.create_task(subject.host.run(command))
    await _until(mark.exists)
    lists = list(_argument_lists())
    go_on.touch()
    assert (await running).stdout == "17\n"
    assert any(str(mark).encode() in arguments for arguments in lists)
    assert not any(b"canary-5b1d-value" in arguments for arguments in lists)
    assert "canary-5b1d-value" not in repr(command) + repr(subject.host)


@NO_SHELL
async def test_a_name_that_no_variable_can_have_is_refused(subject: Subject) -> None:
    """It would be executed otherwise."""
    with pytest.raises(HostError, match="cannot be the name"):
        await subject.host.run(Command("true", secrets={"A=1; touch /tmp/x; B": "x"}))


async def test_a_file_is_read_as_it_was_written(subject: Subject) -> None:
    """Any bytes, any name; another content takes its place."""
    path = str(subject.directory / 'it\'s $(a)\n "file"')
    for content in (bytes(range(256)) * 100, b""):
        await subject.host.write(path, content, mode=0o640)
        assert await subject.host.read(path) == content


@NO_INODES
async def test_a_file_has_the_mode_asked_for_and_leaves_nothing_beside_it(subject: Subject) -> None:
    """It is on the disk as it is read, and no draft of it is."""
    path = subject.directory / "file"
    content = bytes(range(256)) * 4096
    await subject.host.write(str(path), content, mode=0o640)
    assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry for entry in subject.directory.iterdir() if entry.is_file()] == [path]


async def test_a_file_that_is_not_there_reads_as_none(subject: Subject) -> None:
    """Neither empty nor an error."""
    assert await subject.host.read(str(subject.directory / "absent")) is None


async def test_what_cannot_be_read_is_an_error(subject: Subject) -> None:
    """A directory is not a file that is absent."""
    with pytest.raises(HostError, match="Is a directory"):
        await subject.host.read(str(subject.directory))


async def test_a_file_in_a_directory_that_is_not_there_cannot_be_written(subject: Subject) -> None:
    """The error names the path and what the host said of it."""
    with pytest.raises(HostError, match=r"cannot write .*/none/file: .*No such file or directory"):
        await subject.host.write(str(subject.directory / "none" / "file"), b"x")


@NO_INODES
async def test_readers_see_the_old_content_or_the_new(subject: Subject) -> None:
    """A file that is open while it is replaced stays whole: the new one is another inode."""
    path = subject.directory / "file"
    await subject.host.write(str(path), b"old")
    with path.open("rb") as reader:
        await subject.host.write(str(path), b"newer")
        assert (reader.read(), path.read_bytes()) == (b"old", b"newer")


@NO_INODES
async def test_a_symbolic_link_is_written_through(subject: Subject) -> None:
    """The link stays, its target is replaced."""
    target, link = subject.directory / "target", subject.directory / "link"
    link.symlink_to(target)
    await subject.host.write(str(link), b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@needs_root
async def test_a_full_disk_keeps_the_old_content(subject: Subject) -> None:
    """The error says so."""
    path = str(subject.small / subject.directory.name)
    await subject.host.write(path, b"old")
    with pytest.raises(HostError, match="No space left on device"):
        await subject.host.write(path, b"x" * 200_000)
    assert await subject.host.read(path) == b"old"


@NO_SHELL
@needs_root
async def test_a_full_disk_leaves_nothing_half_written(subject: Subject) -> None:
    """What was there is all that is there."""
    look = Command(f"ls -A {subject.small}")
    before = await subject.host.run(look)
    with pytest.raises(HostError, match="No space left on device"):
        await subject.host.write(str(subject.small / "another"), b"x" * 200_000)
    assert await subject.host.run(look) == before


@NO_INODES
@needs_root
async def test_files_of_others_need_other_rights(subject: Subject) -> None:
    """With `become` they are read and replaced, and keep their owner."""
    path = subject.protected() / "file"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    await subject.host.write(str(path), b"new", mode=0o600, become=True)
    assert await subject.host.read(str(path), become=True) == b"new"
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


async def test_a_file_keeps_its_mode_where_none_is_given(subject: Subject) -> None:
    """What is written next has the mode that was there, which the tree of the file says."""
    path = str(subject.directory / "file")
    await subject.host.write(path, b"one", mode=0o640)
    await subject.host.write(path, b"two", mode=None)
    tree = await subject.host.tree(path)
    assert tree is not None
    assert tree["."].startswith("f 640 ")
    assert tree["."].endswith(hashlib.sha256(b"two").hexdigest())


async def test_directories_above_a_file_are_made_when_asked_for(subject: Subject) -> None:
    """Several of them at once."""
    path = str(subject.directory / "a" / "b" / "file")
    await subject.host.write(path, b"x", parents=True)
    assert await subject.host.read(path) == b"x"


async def test_a_copy_is_what_it_was_copied_from(subject: Subject) -> None:
    """A directory with what is below it, whatever was at the target before; the directories above it are made."""
    source, target = subject.directory / "conf", subject.directory / "kept" / "deep" / "conf"
    for name, content, mode in (("it's $(a)", bytes(range(256)), 0o600), ("sub/empty", b"", 0o644)):
        await subject.host.write(str(source / name), content, mode=mode, parents=True)
    await subject.host.write(str(target / "stranger"), b"x", parents=True)
    assert await subject.host.tree(str(target)) != await subject.host.tree(str(source))
    await subject.host.copy(str(source), str(target))
    tree = await subject.host.tree(str(target))
    assert tree is not None
    assert tree == await subject.host.tree(str(source))
    assert tree.keys() == {".", "it's $(a)", "sub", "sub/empty"}
    assert await subject.host.read(str(target / "it's $(a)")) == bytes(range(256))


async def test_a_copy_of_a_file_replaces_a_file(subject: Subject) -> None:
    """And nothing but the two is there afterwards."""
    source, target = str(subject.directory / "one"), str(subject.directory / "two")
    await subject.host.write(source, b"new", mode=0o600)
    await subject.host.write(target, b"old")
    await subject.host.copy(source, target)
    assert await subject.host.tree(target) == await subject.host.tree(source)
    tree = await subject.host.tree(str(subject.directory))
    assert tree is not None
    assert set(tree) - {SMALL} == {".", "one", "two"}


async def test_what_is_not_there_has_no_tree_and_cannot_be_copied(subject: Subject) -> None:
    """None, and an error that names it; a file that was at the target stays."""
    path, target = str(subject.directory / "none"), str(subject.directory / "file")
    assert await subject.host.tree(path) is None
    await subject.host.write(target, b"there")
    with pytest.raises(HostError, match=r"cannot copy .*none .*No such file or directory"):
        await subject.host.copy(path, target)
    assert await subject.host.read(target) == b"there"


async def test_what_was_removed_is_gone_and_may_be_gone_before(subject: Subject) -> None:
    """With all that is below it, and nothing beside it."""
    path = subject.directory / "conf"
    await subject.host.write(str(path / "sub" / "file"), b"x", parents=True)
    await subject.host.write(str(subject.directory / "conf-2"), b"x")
    await subject.host.remove(str(path))
    await subject.host.remove(str(path))
    assert await subject.host.tree(str(path)) is None
    assert await subject.host.read(str(subject.directory / "conf-2")) == b"x"


async def test_a_part_of_a_file_is_read(subject: Subject) -> None:
    """From any byte on, no further than its end."""
    path = str(subject.directory / "log")
    await subject.host.write(path, bytes(range(200)))
    assert await subject.host.read_part(path, 50, 10) == bytes(range(50, 60))
    assert await subject.host.read_part(path, 190, 100) == bytes(range(190, 200))
    assert await subject.host.read_part(path, 500, 10) == b""
    with pytest.raises(HostError, match=r"cannot read .*none: .*No such file or directory"):
        await subject.host.read_part(str(subject.directory / "none"), 0, 10)


async def test_what_is_beside_a_log_is_found_by_its_name(subject: Subject) -> None:
    """Name and size of each, every one another inode; a directory and other names are left out."""
    path = subject.directory / "it's.out"
    for name, size in (("it's.out", 7), ("it's.out.1", 3), ("other.out", 1), ("it's.out.d/file", 1)):
        await subject.host.write(str(subject.directory / name), b"x" * size, parents=True)
    found = await subject.host.beside(str(path))
    assert [(it.path, it.size) for it in found] == [(str(path), 7), (f"{path}.1", 3)]
    assert len({it.inode for it in found}) == 2
    assert await subject.host.beside(str(subject.directory / "none")) == []


@NO_INODES
async def test_a_log_that_is_rotated_keeps_its_inode(subject: Subject) -> None:
    """By it the new name is known to be the old log."""
    path = subject.directory / "app.log"
    path.write_bytes(b"one")
    (before,) = await subject.host.beside(str(path))
    path.rename(subject.directory / "app.log.1")
    path.write_bytes(b"two!")
    now = {it.path: it for it in await subject.host.beside(str(path))}
    assert now[f"{path}.1"].inode == before.inode
    assert now[str(path)].inode != before.inode


@NO_INODES
@needs_root
async def test_a_copy_has_modes_owners_and_links(subject: Subject) -> None:
    """Also of what only others may read; a link at the path itself is followed, one below it is copied as a link."""
    directory = subject.protected()
    (directory / "conf").mkdir(mode=0o750)
    secret = directory / "conf" / "key"
    secret.write_bytes(b"secret")
    secret.chmod(0o400)
    os.chown(secret, 12345, 23456)
    (directory / "conf" / "link").symlink_to("key")
    (directory / "current").symlink_to("conf")
    target = directory / "kept"
    await subject.host.copy(str(directory / "current"), str(target), become=True)
    tree = await subject.host.tree(str(target), become=True)
    assert tree == await subject.host.tree(str(directory / "current"), become=True)
    assert tree is not None
    assert tree["."] == "d 750 0:0"
    assert tree["key"] == f"f 400 12345:23456 {hashlib.sha256(b'secret').hexdigest()}"
    assert tree["link"].endswith("-> key")
    assert not target.is_symlink()


@NO_INODES
@needs_root
async def test_a_tree_that_may_not_be_read_is_an_error(subject: Subject) -> None:
    """It is neither absent nor empty."""
    directory = subject.protected()
    if subject.host.name == "here" and AS_ROOT:
        pytest.skip("root may read anything")
    with pytest.raises(HostError, match="Permission denied"):
        await subject.host.tree(str(directory / "conf"))


@pytest.mark.not_simulated("the disk of a simulated host is one")
@needs_root
async def test_a_copy_that_does_not_fit_leaves_the_target_as_it_was(subject: Subject) -> None:
    """The error says why."""
    source, target = str(subject.directory / "big"), str(subject.small / subject.directory.name)
    await subject.host.write(target, b"old")
    await subject.host.write(source, b"x" * 200_000)
    with pytest.raises(HostError, match="No space left on device"):
        await subject.host.copy(source, target)
    assert await subject.host.read(target) == b"old"


@NO_SOCKETS
async def test_a_stream_reads_up_to_a_mark(subject: Subject) -> None:
    """Both ways over a unix socket; closing twice is fine."""
    path = subject.directory / "socket"
    async with echoing(unix=path):
        path.chmod(0o777)
        stream = await subject.host.connect_unix(str(path))
        await _assert_echoes(stream)


@NO_SOCKETS
@needs_root
async def test_a_stream_to_a_socket_of_others(subject: Subject) -> None:
    """With `become` it is reached although the user may not open it."""
    path = subject.protected() / "socket"
    async with echoing(unix=path):
        stream = await subject.host.connect_unix(str(path), become=True)
        await _assert_echoes(stream)


@NO_SOCKETS
async def test_a_stream_to_a_port(subject: Subject) -> None:
    """Both ways over TCP, as the host reaches it."""
    async with echoing() as port:
        stream = await subject.host.connect_tcp("127.0.0.1", port)
        await _assert_echoes(stream)


async def test_nobody_listens(subject: Subject) -> None:
    """`HostError` for a socket that is not there and for a port that is closed."""
    with pytest.raises(HostError, match="cannot connect to /nowhere"):
        await subject.host.connect_unix("/nowhere")
    with pytest.raises(HostError, match=r"cannot connect to 127.0.0.1:1: .*refused"):
        await subject.host.connect_tcp("127.0.0.1", 1)


@NO_SOCKETS
async def test_a_forward_leads_there(subject: Subject) -> None:
    """What connects to the address given reaches the port on the host."""
    async with echoing() as port, subject.host.forward("127.0.0.1", port) as here:
        reader, writer = await asyncio.open_connection(*here)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()


async def test_a_host_is_used_again_after_it_was_closed(subject: Subject) -> None:
    """Closing lets go of connections; the next use opens one."""
    path = str(subject.directory / "file")
    await subject.host.write(path, b"before")
    await subject.host.close()
    assert await subject.host.read(path) == b"before"


async def test_what_checks_ask_is_answered(subject: Subject) -> None:
    """The room on the disk, for a path that is not there yet too, and the time: in the form that is understood."""
    room = await machines.disk(subject.host, str(subject.directory / "not" / "there"), needed=1)
    assert room.good, room
    time = await subject.host.run(Command("date +%s.%N"))
    assert (time.status, float(time.stdout) > 0) == (0, True)
    assert not (await machines.disk(subject.host, str(subject.directory), needed=1 << 62)).good


@asynccontextmanager
async def echoing(unix: Path | None = None) -> AsyncIterator[int]:
    """A server that sends lines back until it is sent `end`; the port is 0 for a unix socket."""
    served: list[asyncio.Task[None]] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(line)
            if line == b"end\n":
                break
        writer.close()
        await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.create_task(echo(reader, writer)))

    if unix is not None:
        server = await asyncio.start_unix_server(accept, str(unix))
    else:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield 0 if unix is not None else server.sockets[0].getsockname()[1]
        await asyncio.gather(*served)


async def _assert_echoes(echo: Stream) -> None:
    await echo.write(b"a\nbc\n")
    assert await echo.read_until(b"\n") == b"a\n"
    await echo.write(b"end\n")
    assert await echo.read_until(b"end\n") == b"bc\nend\n"
    with pytest.raises(HostError, match="the stream has ended"):
        await echo.read_until(b"\n")
    await echo.close()
    await echo.close()
