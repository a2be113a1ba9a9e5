"""What is OpenSSH's own: who is let in and by which key, gaining rights, lost connections, hosts that hang."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from changeover.drivers.secrets import Secrets
from changeover.drivers.ssh import SshHost
from changeover.errors import HostError
from changeover.lab.faults import Fault
from changeover.model.site import Become, HostConfig, Ssh
from changeover.model.values import Secret
from changeover.ports import Command, Host
from tests.labkit import LabUnderTest, lab, lab_session
from tests.sshdkit import AS_ROOT, SUDO_PASSWORD, PrivateSshd, free_port, private_sshd, sshd

__all__ = ["lab", "lab_session", "sshd"]

needs_root = pytest.mark.skipif(not AS_ROOT, reason="needs root")


@asynccontextmanager
async def connected(config: HostConfig, hosts: Mapping[str, Host] | None = None) -> AsyncIterator[SshHost]:
    """The host, let go of at the end."""
    host = SshHost(config, secrets=Secrets(), hosts=hosts or {})
    try:
        yield host
    finally:
        await host.close()


async def failure(config: HostConfig) -> HostError:
    """The error that using the host ends in."""
    async with connected(config) as host:
        with pytest.raises(HostError) as caught:
            await host.run(Command("true", become=config.become is not None, timeout=30))
    return caught.value


def output(*arguments: str) -> str:
    """What a program prints."""
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


def children(pid: int) -> list[int]:
    """The processes that one has started; those that only wait to be reaped aside."""
    listed = output("ps", "-e", "-o", "ppid=,pid=,stat=").split()
    lines = zip(listed[::3], listed[1::3], listed[2::3], strict=True)
    return [int(child) for parent, child, state in lines if int(parent) == pid and state[0] != "Z"]


def descendants(pid: int) -> list[int]:
    """The processes that one has started, and theirs."""
    return [found for child in children(pid) for found in (child, *descendants(child))]


def connections(sshd: PrivateSshd) -> int:
    """How many connections the server holds: it starts a process for each."""
    return len(children(sshd.process.pid))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens outside of this process."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


# Who it is


def make_key(directory: Path, name: str, kind: str, passphrase: str = "") -> Path:
    """Return the path of a new key."""
    path = directory / name
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)
    return path


async def test_an_unknown_host_key_is_refused_with_its_fingerprint(sshd: PrivateSshd, tmp_path: Path) -> None:
    """The error names the file, and how to add the key once it was compared; and that really helps."""
    file = tmp_path / "known_hosts"
    error = await failure(sshd.config(known_hosts=str(file)))
    fingerprint = output("ssh-keygen", "-lf", str(sshd.directory / "host_key.pub")).split()[1]
    assert error.message == (
        f"app1: the host key of [127.0.0.1]:{sshd.port} is not in {file}; it shows ssh-ed25519 {fingerprint}"
    )
    line = error.hint.partition("then: ")[2]
    assert line == f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> {file}"
    output("sh", "-c", line)
    async with connected(sshd.config(known_hosts=str(file))) as host:
        assert (await host.run(Command("echo in"))).stdout == "in\n"


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_a_changed_host_key_is_refused_loudly(sshd: PrivateSshd, tmp_path: Path, kind: str) -> None:
    """Also where the key that is known is of another kind than the one shown; the hint removes the old one."""
    key = make_key(tmp_path, "other", kind)
    file = tmp_path / "known_hosts"
    file.write_text(f"[127.0.0.1]:{sshd.port} {key.with_suffix('.pub').read_text()}")
    error = await failure(sshd.config(known_hosts=str(file)))
    assert "THE HOST KEY HAS CHANGED" in error.message
    assert "it now shows ssh-ed25519 SHA256:" in error.message
    line = error.hint.partition("anew: ")[2].partition(", then")[0]
    output("sh", "-c", line)
    assert "is not in" in (await failure(sshd.config(known_hosts=str(file)))).message


async def test_host_keys_are_not_checked_if_so_declared(sshd: PrivateSshd, tmp_path: Path) -> None:
    """With `check_host_key` off any key will do."""
    config = sshd.config(known_hosts=str(tmp_path / "none"), check_host_key=False)
    async with connected(config) as host:
        assert (await host.run(Command("echo in"))).stdout == "in\n"


async def test_known_hosts_that_cannot_be_read_are_an_error(sshd: PrivateSshd, tmp_path: Path) -> None:
    """Not taken for an empty file."""
    assert (
        "cannot read the known host keys" in (await failure(sshd.config(known_hosts=str(tmp_path)))).message
    )


# Who we are


async def test_a_key_that_is_not_accepted(sshd: PrivateSshd, tmp_path: Path) -> None:
    """The error names the user, the hint what to check."""
    error = await failure(sshd.config(key=str(make_key(tmp_path, "stranger", "ed25519"))))
    assert f"sshd does not let {sshd.user} in" in error.message
    assert "ssh.key" in error.hint


async def test_a_key_that_cannot_be_used(sshd: PrivateSshd, tmp_path: Path) -> None:
    """Not there, no key, or locked."""
    (tmp_path / "text").write_text("not a key")
    locked = make_key(tmp_path, "locked", "ed25519", "open sesame")
    for path, words in (("absent", "No such file"), ("text", "Invalid"), (locked.name, "Passphrase")):
        error = await failure(sshd.config(key=str(tmp_path / path)))
        assert f"cannot use the SSH key {tmp_path / path}" in error.message
        assert words in error.message


async def test_a_key_with_a_passphrase(sshd: PrivateSshd, tmp_path: Path) -> None:
    """The right one opens it, a wrong one is an error that does not show it."""
    key = tmp_path / "locked"
    key.write_bytes((sshd.directory / "user_key").read_bytes())
    key.chmod(0o600)
    output("ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", str(key))
    for text, good in (("open sesame", True), ("wrong words", False)):
        (tmp_path / "passphrase").write_text(f"{text}\n")
        config = sshd.config(key=str(key), passphrase=Secret(file=str(tmp_path / "passphrase")))
        if good:
            async with connected(config) as host:
                assert (await host.run(Command("echo in"))).stdout == "in\n"
        else:
            error = await failure(config)
            assert "cannot use the SSH key" in error.message
            assert text not in f"{error.message}{error.hint}"


@needs_root
async def test_a_password(sshd: PrivateSshd, tmp_path: Path) -> None:
    """From a reference, where the host takes one; a wrong one is an error that does not show it."""
    for text, good in ((SUDO_PASSWORD, True), ("wrong words", False)):
        (tmp_path / "password").write_text(text)
        config = sshd.config(key="", password=Secret(file=str(tmp_path / "password")))
        if good:
            async with connected(config) as host:
                assert (await host.run(Command("id -un"))).stdout == "deploy\n"
        else:
            error = await failure(config)
            assert "does not let deploy in" in error.message
            assert text not in f"{error.message}{error.hint}"


async def test_a_secret_that_is_not_there(sshd: PrivateSshd) -> None:
    """The error says whose, and where it was looked for."""
    error = await failure(sshd.config(password=Secret(env="NO_SUCH_VARIABLE_HERE")))
    assert error.message == "the SSH password of app1: environment variable NO_SUCH_VARIABLE_HERE is not set"


# Gaining rights


@needs_root
async def test_a_wrong_sudo_password(sshd: PrivateSshd, tmp_path: Path) -> None:
    """The reference is named, never the password."""
    file = tmp_path / "password"
    file.write_text("wrong words")
    error = await failure(sshd.guarded(file))
    assert "sudo does not let guarded become root" in error.message
    assert error.hint == f"the password in file:{file} is not guarded's"
    assert "wrong words" not in error.message


@needs_root
async def test_a_sudo_password_that_is_needed_and_not_given(sshd: PrivateSshd) -> None:
    """The hint names both ways out."""
    error = await failure(sshd.config(user="guarded", become=Become()))
    assert error.message == "app1: sudo does not let guarded become root: sudo: a password is required"
    assert "NOPASSWD" in error.hint


@needs_root
async def test_a_user_without_sudo(sshd: PrivateSshd) -> None:
    """What sudo says is passed on."""
    become = Become(password=Secret(file=str(sshd.directory / "sudo_password")))
    error = await failure(sshd.config(user="plain", become=become))
    assert error.message == "app1: sudo does not let plain become root: plain is not in the sudoers file."
    assert "sudo -l" in error.hint


@needs_root
async def test_a_password_that_sudo_does_not_ask_for_is_not_executed(sshd: PrivateSshd) -> None:
    """Where sudo is free of charge, the password is skipped; secrets and contents still arrive."""
    become = Become(password=Secret(file=str(sshd.directory / "sudo_password")))
    async with connected(sshd.config(become=become)) as host:
        result = await host.run(Command('id -un; echo "$A"', become=True, secrets={"A": "b"}))
        assert (result.stdout, result.stderr) == ("root\nb\n", "")
        await host.write("/run/content", b"x\ny", become=True)
        assert await host.read("/run/content", become=True) == b"x\ny"


@needs_root
async def test_rights_may_be_those_of_any_user(sshd: PrivateSshd) -> None:
    """`become.user` is who the line runs as."""
    async with connected(sshd.config(become=Become(user="plain"))) as host:
        assert (await host.run(Command("id -un", become=True))).stdout == "plain\n"


@needs_root
async def test_rights_that_the_site_does_not_say_how_to_gain(sshd: PrivateSshd) -> None:
    """An error, never an attempt without them; root needs none."""
    async with connected(sshd.config()) as host:
        with pytest.raises(HostError, match="the site does not say how to gain them"):
            await host.run(Command("true", become=True))
    async with connected(sshd.config(user="root")) as host:
        assert (await host.run(Command("id -un", become=True))).stdout == "root\n"


# Connections


async def test_nobody_listens() -> None:
    """Refused: the error names host, address and port."""
    port = free_port()
    error = await failure(HostConfig(name="app1", address="127.0.0.1", ssh=Ssh(port=port)))
    assert error.message.startswith(f"app1 (127.0.0.1:{port}): ")
    assert "refused" in error.message or "Connect call failed" in error.message


async def test_somebody_listens_and_says_nothing() -> None:
    """The connect timeout holds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ssh = Ssh(port=server.getsockname()[1], connect_timeout=0.3)
        error = await failure(HostConfig(name="app1", address="127.0.0.1", ssh=ssh))
    assert "no SSH connection within 0.3 s" in error.message


async def test_commands_share_one_connection(sshd: PrivateSshd) -> None:
    """Also those that are first, all at once."""
    before = connections(sshd)
    async with connected(sshd.config()) as host:
        await asyncio.gather(*(host.run(Command("true")) for _ in range(20)))
        assert connections(sshd) == before + 1


async def test_a_lost_connection_fails_what_is_under_way_and_is_opened_again(tmp_path: Path) -> None:
    """The one says that it may or may not have been done; the next command works."""
    with private_sshd() as server:
        async with connected(server.config()) as host:
            assert (await host.run(Command("true"))).status == 0
            mark = server.directory / "started"
            running = asyncio.create_task(host.run(Command(f"touch {mark}; sleep 30")))
            await until(mark.exists)
            for pid in descendants(server.process.pid):
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(HostError, match="the SSH connection was lost") as caught:
                await running
            assert "may or may not have been done" in caught.value.hint
            assert (await host.run(Command("echo again"))).stdout == "again\n"


async def test_a_command_out_of_time_does_not_disturb_the_others(sshd: PrivateSshd, tmp_path: Path) -> None:
    """They go on over the connection that was given up, which closes with the last of them."""
    go_on = sshd.directory / f"{tmp_path.name}-go-on"
    before = connections(sshd)
    async with connected(sshd.config()) as host:
        line = f"while [ ! -e {go_on} ]; do sleep 0.01; done; echo undisturbed"
        other = asyncio.create_task(host.run(Command(line)))
        with pytest.raises(HostError, match="no end within"):
            await host.run(Command("sleep 30", timeout=0.5))
        assert (await host.run(Command("echo new"))).stdout == "new\n"
        assert connections(sshd) == before + 2
        go_on.touch()
        assert (await other).stdout == "undisturbed\n"
        await until(lambda: connections(sshd) == before + 1)


async def test_a_jump_host_of_the_site(sshd: PrivateSshd) -> None:
    """The way leads through the connection to that host."""
    async with (
        connected(sshd.config("bastion")) as bastion,
        connected(sshd.config(jump="bastion"), {"bastion": bastion}) as host,
    ):
        result = await host.run(Command('echo "$SSH_CONNECTION"'))
        assert result.stdout.startswith("127.0.0.1 ")
        await host.close()
        assert (await host.run(Command("echo again"))).stdout == "again\n"


async def test_a_jump_host_by_its_address(sshd: PrivateSshd) -> None:
    """With the same key, and checked like any other."""
    async with connected(sshd.config(jump=f"{sshd.user}@127.0.0.1:{sshd.port}")) as host:
        assert (await host.run(Command("echo through"))).stdout == "through\n"
    error = await failure(sshd.config(jump=f"127.0.0.1:{free_port()}"))
    assert error.message.startswith("127.0.0.1:")


# Hosts that fail


def of_lab(lab: LabUnderTest, name: str, user: str = "deploy") -> HostConfig:
    """A host of the lab as the operator would write it."""
    ssh = Ssh(user=user, key=str(lab.key), known_hosts=str(lab.known_hosts), connect_timeout=2)
    return HostConfig(name=name, address=lab.addresses[name], ssh=ssh, become=Become())


@pytest.mark.lab
@pytest.mark.parametrize("fault", ["freeze", "link"])
async def test_a_host_that_hangs_is_an_error_in_time_and_works_again_when_mended(
    lab: LabUnderTest, fault: str
) -> None:
    """What is under way and what comes next end within their times; after that a new connection serves."""
    node = lab.nodes[0]
    async with connected(of_lab(lab, node)) as host:
        assert (await host.run(Command("hostname"))).stdout == f"{node}\n"
        await asyncio.to_thread(lab.cluster.befall, node, Fault(fault))
        try:
            with pytest.raises(HostError, match="no end within 1 s"):
                await host.run(Command("hostname", timeout=1))
            with pytest.raises(HostError):
                await host.run(Command("hostname", timeout=5))
        finally:
            await asyncio.to_thread(lab.cluster.mend, node)
        assert (await host.run(Command("hostname"))).stdout == f"{node}\n"


@pytest.mark.lab
async def test_a_host_that_was_switched_off_works_again_when_it_is_back(lab: LabUnderTest) -> None:
    """The connection from before is not trusted for ever."""
    node = lab.nodes[0]
    async with connected(of_lab(lab, node)) as host:
        before = (await host.run(Command("cat /proc/1/stat"))).stdout
        await asyncio.to_thread(lab.cluster.befall, node, Fault.POWER)
        with pytest.raises(HostError):
            await host.run(Command("hostname", timeout=3))
        await asyncio.to_thread(lab.cluster.mend, node)
        assert (await host.run(Command("cat /proc/1/stat"))).stdout != before
