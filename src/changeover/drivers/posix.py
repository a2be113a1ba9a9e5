"""What every host with a POSIX shell does alike, whatever carries the shell line there."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from changeover.drivers import shell
from changeover.drivers.secrets import Secrets
from changeover.errors import HostError
from changeover.model.site import HostConfig
from changeover.ports import Command, LogFile, Result, Stream

FILE_TIMEOUT = 60.0
"""Seconds within which a file is read or written."""

TREE_TIMEOUT = 3600.0
"""Seconds within which a directory is listed, copied or removed; the step has a limit of its own."""

QUOTED = 200
"""How many characters of a command or of an answer an error repeats."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a shell line came to, as bytes. A line that died of signal n has the status 128 + n."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """The end of standard error, for people."""
        return self.stderr.decode(errors="replace").strip()[-QUOTED:]


class PosixHost(ABC):
    """A host driven through its shell. Subclasses carry invocations and open sockets."""

    def __init__(self, config: HostConfig, *, secrets: Secrets) -> None:
        self.name = config.name
        self._config = config
        self._secrets = secrets

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self._config.address!r})"

    @property
    @abstractmethod
    def user(self) -> str:
        """The user that lines run as without `become`."""

    @abstractmethod
    async def execute(self, invocation: shell.Invocation) -> Output:
        """Run it to its end; when cancelled, end it and wait for nothing more."""

    @abstractmethod
    async def converse(self, invocation: shell.Invocation, what: str) -> Stream:
        """Run it, and return the stream of its standard input and output."""

    async def run(self, command: Command) -> Result:
        """Run it to its end; `HostError` if that does not come within the command's timeout.

        `/bin/sh` runs the line, with an empty standard input. A process that it leaves in the background is
        waited for as long as it holds standard output or error open.
        """
        output = await self._run(
            command.line, become=command.become, secrets=command.secrets, timeout=command.timeout
        )
        return Result(
            output.status, output.stdout.decode(errors="replace"), output.stderr.decode(errors="replace")
        )

    async def read(self, path: str, *, become: bool = False) -> bytes | None:
        """The file's content, or None if there is no such file; `HostError` if it cannot be told."""
        output = await self._run(shell.read_file(path), become=become, timeout=FILE_TIMEOUT)
        if output.status == 0:
            return output.stdout
        if output.complaint.endswith("No such file or directory"):
            return None
        raise HostError(f"{self.name}: cannot read {path}: {output.complaint}", hint=_rights_hint(output))

    async def write(
        self,
        path: str,
        content: bytes,
        *,
        mode: int | None = 0o644,
        become: bool = False,
        parents: bool = False,
    ) -> None:
        """Replace the file in one step; on `HostError` the old content is still there."""
        line = shell.write_file(path, size=len(content), mode=mode, parents=parents)
        output = await self._run(line, become=become, content=content, timeout=FILE_TIMEOUT)
        self._must(output, f"write {path}")

    async def tree(self, path: str, *, become: bool = False) -> Mapping[str, str] | None:
        """What is there, by `find` and `sha256sum`; None if there is nothing."""
        output = await self._run(shell.tree(path), become=become, timeout=TREE_TIMEOUT)
        if not output.stdout and output.complaint.endswith("No such file or directory"):
            return None
        self._must(output, f"read {path}")
        try:
            return shell.parsed_tree(output.stdout)
        except ValueError as error:
            raise HostError(f"{self.name}: cannot read {path}: {error}") from None

    async def copy(self, source: str, target: str, *, become: bool = False) -> None:
        """Copy it by `cp -a` beside the target, and exchange the two."""
        output = await self._run(shell.copy(source, target), become=become, timeout=TREE_TIMEOUT)
        self._must(output, f"copy {source} to {target}")

    async def remove(self, path: str, *, become: bool = False) -> None:
        """Remove it with all that is below."""
        output = await self._run(shell.remove(path), become=become, timeout=TREE_TIMEOUT)
        self._must(output, f"remove {path}")

    async def beside(self, path: str, *, become: bool = False) -> Sequence[LogFile]:
        """The file and those beside it whose names begin with its name; none if there is none."""
        output = await self._run(shell.beside(path), become=become, timeout=FILE_TIMEOUT)
        self._must(output, f"look for {path}")
        return [LogFile(name, inode, size) for inode, size, name in shell.parsed_beside(output.stdout)]

    async def read_part(self, path: str, start: int, size: int, *, become: bool = False) -> bytes:
        """At most so many bytes of it from there on."""
        output = await self._run(shell.read_part(path, start, size), become=become, timeout=FILE_TIMEOUT)
        if output.stderr:  # the status is that of `head`
            output = replace(output, status=1)
        self._must(output, f"read {path}")
        return output.stdout

    def _must(self, output: Output, what: str) -> None:
        if output.status != 0:
            raise HostError(f"{self.name}: cannot {what}: {output.complaint}", hint=_rights_hint(output))

    async def converse_with_socket(self, path: str) -> Stream:
        """A stream to a unix socket that only the rights to be gained may open."""
        sudo = await self.sudo(become=True)
        invocation = shell.invocation(shell.connect_unix(path), timeout=0, sudo=sudo, open_ended=True)
        return await self.converse(invocation, f"{self.name}: {path}")

    async def sudo(self, *, become: bool) -> shell.Sudo | None:
        """How rights are gained, or None where they need not be.

        Raises:
            HostError: the site does not say how.
        """
        if not become:
            return None
        how = self._config.become
        if self.user == (how.user if how else "root"):
            return None
        if how is None:
            raise HostError(
                f"{self.name}: this needs other rights than {self.user}'s, and the site does not say how to gain them",
                hint="set `become: sudo` for the host, or log in as root",
            )
        if how.method != "sudo":
            raise HostError(
                f"{self.name}: cannot become {how.user} by {how.method!r}", hint="set `become: sudo`"
            )
        if how.password is None:
            return shell.Sudo(how.user)
        what = f"the sudo password for {self.name}"
        return shell.Sudo(how.user, await self._secrets.resolve(how.password, what, HostError))

    async def _run(
        self,
        line: str,
        *,
        become: bool,
        timeout: float,
        secrets: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Output:
        try:
            async with asyncio.timeout(timeout):
                sudo = await self.sudo(become=become)
                invocation = shell.invocation(
                    line, timeout=timeout, sudo=sudo, secrets=secrets, content=content
                )
                output = await self.execute(invocation)
        except TimeoutError:
            raise HostError(
                f"{self.name}: no end within {timeout:g} s of: {line[:QUOTED]}",
                hint="see whether the host answers at all; it may or may not have been done",
            ) from None
        return self._without_marks(output) if sudo else output

    def _without_marks(self, output: Output) -> Output:
        before, mark, after = output.stderr.partition(f"{shell.RIGHTS_GAINED}\n".encode())
        if not mark:
            raise self.refused(before.decode(errors="replace"))
        return Output(output.status, output.stdout, after)

    def refused(self, words: str) -> HostError:
        """The error for what sudo said instead of running the line."""
        become = self._config.become
        target = become.user if become else "root"
        said = " ".join(words.split())[-QUOTED:] or "it said nothing"
        if "password is required" in said:
            hint = f"name its password (`become: password`), or let {self.user} run commands as {target} without one (NOPASSWD)"
        elif "incorrect password" in said or "try again" in said:
            hint = f"the password in {become.password if become else 'the site'} is not {self.user}'s"
        elif "not found" in said:
            hint = "install sudo there, or log in as root"
        else:
            hint = f"let {self.user} run commands as {target}: see `sudo -l` there"
        return HostError(f"{self.name}: sudo does not let {self.user} become {target}: {said}", hint=hint)


def _rights_hint(output: Output) -> str:
    if output.complaint.endswith("Permission denied"):
        return "other rights are needed for it: set `become`"
    if output.complaint.endswith("No space left on device"):
        return "make room there; the old content was kept"
    return ""
