"""Snapshots as files on the database's host: a directory each, in place by one rename or not at all."""

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from changeover.drivers.sql.contents import Contents
from changeover.errors import DatabaseError, HostError
from changeover.model.values import Value
from changeover.ports import Command, Host, Result, Snapshot

FORMAT = 1
"""Of the manifest. One of another format is refused, not guessed at."""

TOOL_TIMEOUT = 6 * 3600.0
"""Seconds that a dump, a restore or a checksum may take."""

LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]*")


class Manifest(Value, frozen=True):
    """What lies beside the dump: the snapshot, and the contents a copy restored from it must have."""

    format: int
    snapshot: Snapshot
    contents: Contents


@dataclass(frozen=True, slots=True)
class Tools:
    """The command line of the host that snapshots live on."""

    host: Host
    become: bool = False

    async def run(self, what: str, line: str, secrets: Mapping[str, str] | None = None) -> Result:
        """Run it; `DatabaseError` with the tool's own words if it fails."""
        command = Command(line, become=self.become, secrets=secrets or {}, timeout=TOOL_TIMEOUT)
        with _host_at_fault(what):
            result = await self.host.run(command)
        if result.status:
            raise DatabaseError(
                f"{what} failed on {self.host.name} with status {result.status}: {last_lines(result.stderr)}",
                hint=_hint(result, what),
            )
        return result

    async def read(self, path: str) -> bytes | None:
        """The content of a file of the host, or None if there is no such file."""
        with _host_at_fault(f"reading {path}"):
            return await self.host.read(path, become=self.become)

    async def write(self, path: str, content: bytes) -> None:
        """Replace a file of the host; only its owner may read it."""
        with _host_at_fault(f"writing {path}"):
            await self.host.write(path, content, mode=0o600, become=self.become)


@contextmanager
def _host_at_fault(what: str) -> Iterator[None]:
    try:
        yield
    except HostError as error:
        raise DatabaseError(f"{what}: {error.message}", hint=error.hint) from None


@dataclass(frozen=True, slots=True)
class Draft:
    """A snapshot being taken, in a directory that nobody counts as one."""

    label: str
    directory: str

    @property
    def dump(self) -> str:
        """Where the dump is written."""
        return f"{self.directory}/dump"


class SnapshotStore:
    """The snapshots of one database, in `directory` on its host."""

    def __init__(self, directory: str, tools: Tools) -> None:
        self._directory = directory
        self._tools = tools

    async def begin(self, label: str) -> Draft:
        """A new draft; `finish` makes it count, `drop` removes it."""
        self._path(label)
        made = await self._tools.run("making the snapshot's directory", begin_line(self._directory, label))
        return Draft(label, made.stdout.strip())

    async def finish(self, draft: Draft, contents: Contents, taken_at: float) -> Snapshot:
        """Bring the draft to disk, and then into place together with its manifest."""
        size, sha256 = await self._measure(draft.dump)
        snapshot = Snapshot(
            label=draft.label,
            path=f"{self._path(draft.label)}/dump",
            size=size,
            sha256=sha256,
            rows={name: table.rows for name, table in contents.tables.items()},
            fingerprint=contents.fingerprint,
            taken_at=taken_at,
        )
        await self._write(f"{draft.directory}/manifest.json", Manifest(FORMAT, snapshot, contents))
        line = finish_line(self._directory, draft.directory, self._path(draft.label))
        await self._tools.run("putting the snapshot into place", line)
        return snapshot

    async def find(self, label: str) -> Manifest | None:
        """The manifest of a finished snapshot; `DatabaseError` if it is damaged or its dump is not as long."""
        path = self._path(label)
        content = await self._tools.read(f"{path}/manifest.json")
        if content is None:
            return None
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _damaged(label, f"its manifest cannot be read: {error}") from None
        if manifest.format != FORMAT or manifest.contents.fingerprint != manifest.snapshot.fingerprint:
            raise _damaged(label, "its manifest is not one that was written here")
        size = await self._tools.run(
            "looking at the snapshot", f"stat -c %s -- {shlex.quote(f'{path}/dump')}"
        )
        if int(size.stdout) != manifest.snapshot.size:
            raise _damaged(
                label, f"its dump has {size.stdout.strip()} bytes instead of {manifest.snapshot.size}"
            )
        return manifest

    async def intact(self, label: str) -> Manifest:
        """The manifest of a finished snapshot whose dump is to the byte the one that was written."""
        manifest = await self.find(label)
        if manifest is None:
            raise DatabaseError(f"there is no finished snapshot {label!r}", hint="take it first")
        _, sha256 = await self._measure(manifest.snapshot.path)
        if sha256 != manifest.snapshot.sha256:
            raise _damaged(label, "its dump is not the one that was written (the SHA-256 differs)")
        return manifest

    async def mark_verified(self, manifest: Manifest) -> Snapshot:
        """Write down that a copy restored from it was the same."""
        snapshot = msgspec.structs.replace(manifest.snapshot, verified=True)
        path = f"{self._path(snapshot.label)}/manifest.json"
        await self._write(path, msgspec.structs.replace(manifest, snapshot=snapshot))
        return snapshot

    async def drop(self, label: str) -> None:
        """Remove it, and the drafts of it."""
        await self._tools.run("removing the snapshot", drop_line(self._path(label)))

    def _path(self, label: str) -> str:
        if not LABEL.fullmatch(label):
            raise DatabaseError(
                f"{label!r} cannot be the label of a snapshot", hint="use letters, digits, and `_ . : + -`"
            )
        return f"{self._directory}/{label}"

    async def _measure(self, path: str) -> tuple[int, str]:
        output = await self._tools.run("reading the snapshot", measure_line(path))
        size, sha256 = output.stdout.split()[:2]
        return int(size), sha256

    async def _write(self, path: str, manifest: Manifest) -> None:
        await self._tools.write(path, msgspec.json.format(msgspec.json.encode(manifest)))


def begin_line(directory: str, label: str) -> str:
    """Make a directory for a draft and print its name."""
    return f"umask 077 && mkdir -p -- {shlex.quote(directory)} && mktemp -d -- {shlex.quote(f'{directory}/{label}.draft,XXXXXXXX')}"


def measure_line(path: str) -> str:
    """Print size and SHA-256 of a file, after it has reached the disk."""
    quoted = shlex.quote(path)
    return f"sync -- {quoted} && stat -c %s -- {quoted} && sha256sum < {quoted}"


def finish_line(directory: str, draft: str, path: str) -> str:
    """Rename a draft into place; both names are on disk afterwards."""
    return f"sync -- {shlex.quote(draft)}/* && mv -T -- {shlex.quote(draft)} {shlex.quote(path)} && sync -- {shlex.quote(directory)}"


def drop_line(path: str) -> str:
    """Remove a snapshot and its drafts."""
    return f"rm -rf -- {shlex.quote(path)} {shlex.quote(path)}.draft,*"


def last_lines(text: str, count: int = 4) -> str:
    """The end of what a tool said, on one line."""
    return " | ".join(line.strip() for line in text.strip().splitlines()[-count:]) or "it said nothing"


def _damaged(label: str, why: str) -> DatabaseError:
    return DatabaseError(
        f"the snapshot {label!r} is damaged: {why}", hint="drop it and take another; never restore from it"
    )


def _hint(result: Result, what: str) -> str:
    words = result.stderr.lower()
    if "no space left" in words or "errno 28" in words:
        return "make room in the snapshot directory, or set `snapshot_dir` to a file system with more"
    if "permission denied" in words and "directory" in what:
        return "give the user on the host a `snapshot_dir` to write to, or set the option `become`"
    if result.status == 127:  # noqa: PLR2004 - what a POSIX shell says when there is no such command
        return "install the database's client tools on that host, or set the option `bin` to their directory"
    return ""
