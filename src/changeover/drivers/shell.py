"""Pure builders of what is sent to a host's shell, and of what goes into its standard input."""

import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from changeover.errors import HostError
from changeover.ports import Result

INPUT_FOLLOWS = "changeover: input follows"
"""Ends the part of standard input that may hold a sudo password; sudo reads it only if it wants one."""

RIGHTS_GAINED = "changeover: rights gained"
"""Written to standard error by the first line that runs with the new rights; what is before it is sudo's."""

KILL_AFTER = 5
"""Seconds between SIGTERM and SIGKILL when a command has outlived its time."""

ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Sudo:
    """Run as `user`. Without a password sudo must not ask for one."""

    user: str
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Invocation:
    """A line for the login shell, and its standard input; with `open_ended` more input follows later."""

    line: str
    stdin: bytes = field(default=b"", repr=False)
    sudo: Sudo | None = None
    open_ended: bool = False


def invocation(
    line: str,
    *,
    timeout: float,
    sudo: Sudo | None = None,
    secrets: Mapping[str, str] | None = None,
    content: bytes | None = None,
    open_ended: bool = False,
) -> Invocation:
    """Build how a shell line is run by `/bin/sh`.

    `secrets` become environment variables and `content` the line's standard input; both travel by standard
    input, so one excludes the other. The host itself ends the line a second after `timeout` (coreutils'
    `timeout`), so that nothing outlives a conductor that has given up or gone.

    Raises:
        HostError: the name of a secret cannot be that of an environment variable.
    """
    if secrets and (content is not None or open_ended):
        raise ValueError("secrets and input of the line's own cannot be combined")
    script = []
    if sudo:
        script.append(f"echo '{RIGHTS_GAINED}' >&2")
    if sudo and sudo.password is not None:
        script.append(f"while IFS= read -r line && [ \"$line\" != '{INPUT_FOLLOWS}' ]; do :; done")
    if secrets:
        script.append('eval "$(cat)"')
    if content is None and not open_ended:
        script.append("exec </dev/null")
    shell = f"/bin/sh -c {shlex.quote(chr(10).join([*script, line]))}"
    if not open_ended:
        shell = f"timeout -k {KILL_AFTER} {math.ceil(timeout) + 1} {shell}"
    return Invocation(
        f"exec {_prefix(sudo)}{shell}", _stdin(sudo, exports(secrets or {}), content), sudo, open_ended
    )


def _prefix(sudo: Sudo | None) -> str:
    if sudo is None:
        return ""
    how = "-n" if sudo.password is None else "-S -p ''"
    return f"sudo {how} -u {shlex.quote(sudo.user)} -- "


def _stdin(sudo: Sudo | None, exported: bytes, content: bytes | None) -> bytes:
    password = b""
    if sudo and sudo.password is not None:
        password = f"{sudo.password}\n{INPUT_FOLLOWS}\n".encode()
    return password + exported + (content or b"")


def exports(variables: Mapping[str, str]) -> bytes:
    """Shell text that exports the variables.

    Raises:
        HostError: a name or a value cannot be that of an environment variable.
    """
    for name, value in variables.items():
        if not ENVIRONMENT_NAME.fullmatch(name):
            raise HostError(f"{name!r} cannot be the name of an environment variable")
        if "\0" in value:
            raise HostError(f"the value of the environment variable {name} holds a NUL character")
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()).encode()


STILL_AT_WORK = "changeover: what was begun before is still at work"
BUSY = 75
"""Said, and the exit status, by a line that found its lock held: nothing of it was begun (EX_TEMPFAIL, sysexits.h)."""


def exclusive(line: str, name: str) -> str:
    """Run the line unless another of that name runs on the host, whoever began it, and whatever became of them.

    The lock is the kernel's, and held by the shell that waits for the line: what the line leaves in the
    background does not hold it. A host without flock(1) runs the line without.
    """
    return "\n".join(
        [
            "if command -v flock >/dev/null; then",
            _open_lock(name),
            f"flock -n 9 || {{ echo '{STILL_AT_WORK}' >&2; exit {BUSY}; }}",
            "fi",
            f"(\n{line}\n) 9>&-",
        ]
    )


def until_free(name: str) -> str:
    """Wait until no line of that name runs on the host."""
    return f"{_open_lock(name)}\nuntil flock -n 9; do sleep 0.1; done"


def _open_lock(name: str) -> str:
    # In /run where one may: nobody else can put anything in its way there, and it is gone with the next boot.
    return "\n".join(
        [
            "locks=/run/changeover",
            "[ -w /run ] || locks=/tmp/changeover-$(id -u)",
            'mkdir -p -m 700 "$locks" && [ -O "$locks" ] || { echo "$locks is not ours" >&2; exit 1; }',
            f'exec 9>"$locks"/{shlex.quote(quote(name, safe=""))}',
        ]
    )


_THEN = "changeover: then"


def then(line: str, question: str, *, expect: Iterable[int] = (0,)) -> str:
    """Run the line, and after one of the statuses that are expected the question; `parted` tells them apart."""
    return "\n".join(
        [
            f"(\n{line}\n)",
            f"status=$?; case $status in {'|'.join(map(str, expect))}) ;; *) exit $status ;; esac",
            f"printf '\\n%s %s\\n' \"{_THEN}\" $status; printf '\\n%s\\n' \"{_THEN}\" >&2",
            f"(\n{question}\n)",
        ]
    )


def parted(result: Result) -> tuple[Result, Result | None]:
    """What the line came to, and what the question did; None if it was not asked."""
    done, mark, asked = result.stdout.rpartition(f"\n{_THEN} ")
    complained, _, complaint = result.stderr.rpartition(f"\n{_THEN}\n")
    if not mark:
        return result, None
    status, _, answer = asked.partition("\n")
    return Result(int(status), done, complained), Result(result.status, answer, complaint)


def read_file(path: str) -> str:
    """Print a file."""
    return f"LC_ALL=C exec cat -- {shlex.quote(path)}"


def write_file(path: str, *, size: int, mode: int | None, parents: bool = False) -> str:
    """Replace a file by standard input, in one step, keeping its owner; symbolic links are followed.

    Input that is not `size` bytes long, as when the connection is lost half-way, replaces nothing. Without a `mode`
    the file keeps its own.
    """
    moded = f'chmod {0o644 if mode is None else mode:04o} -- "$new"'
    if mode is None:
        moded = f'if [ -e "$path" ]; then chmod --reference="$path" -- "$new"; else {moded}; fi'
    return "\n".join(
        [
            "set -e; umask 077",
            *([f"mkdir -p -- {shlex.quote(_above(path))}"] if parents else []),
            f"path=$(readlink -vf -- {shlex.quote(path)})",
            'new=$(mktemp -- "$path.XXXXXX")',
            "trap 'rm -f -- \"$new\"' EXIT; trap 'exit 1' HUP INT TERM",
            'cat > "$new"',
            f'[ "$(wc -c < "$new")" -eq {size} ] || {{ echo "the input was cut short" >&2; exit 1; }}',
            '[ ! -e "$path" ] || chown --reference="$path" -- "$new"',
            moded,
            'sync -- "$new"',
            'mv -fT -- "$new" "$path"',
            'sync -- "${path%/*}/"',
        ]
    )


def _above(path: str) -> str:
    return path.rstrip("/").rpartition("/")[0] or "/"


TREE_ENTRIES, TREE_SUMS = "changeover: entries", "changeover: sums"


def tree(path: str) -> str:
    """Print what is there, each entry with its kind, mode, owner and target, then the checksum of each file.

    Everything ends with a NUL. Of what is not there nothing is printed, but the complaint of `readlink`.
    """
    return "\n".join(
        [
            "set -e; export LC_ALL=C",
            f"path=$(readlink -ve -- {shlex.quote(path)})",
            r"""find "$path" -printf '%P\0%y %m %U:%G\0%l\0'""",
            f"printf '%s\\0' '{TREE_SUMS}'",
            'find "$path" -type f -exec sha256sum -z -- {} +',
            f"printf '%s\\0' \"$path\" '{TREE_ENTRIES}'",
        ]
    )


def parsed_tree(output: bytes) -> dict[str, str]:
    """What `tree` has printed; `ValueError` if that is not all of it."""
    *fields, root, end, _ = output.decode(errors="surrogateescape").split("\0")
    if end != TREE_ENTRIES:
        raise ValueError("the listing was cut short")
    middle = fields.index(TREE_SUMS)
    sums = {path[66:]: path[:64] for path in fields[middle + 1 :]}
    found: dict[str, str] = {}
    for name, said, target in zip(fields[:middle:3], fields[1:middle:3], fields[2:middle:3], strict=True):
        checksum = sums.get(f"{root}/{name}" if name else root, "")
        found[name or "."] = " ".join(filter(None, (said, checksum, f"-> {target}" if target else "")))
    return found


def copy(source: str, target: str) -> str:
    """Make the target what the source is, with modes, owners and times; what was there stays until all of it is copied.

    A file is replaced in one step. Of a directory the old one is moved aside first.
    """
    return "\n".join(
        [
            "set -e; umask 077",
            f"source=$(readlink -ve -- {shlex.quote(source)})",
            f"mkdir -p -- {shlex.quote(_above(target))}",
            f"target=$(readlink -vf -- {shlex.quote(target)})",
            'new="$target.changeover-new"; old="$target.changeover-old"',
            'rm -rf -- "$new" "$old"',
            "trap 'rm -rf -- \"$new\"' EXIT; trap 'exit 1' HUP INT TERM",
            'cp -a -- "$source" "$new"',
            'sync -f -- "$new"',
            'if [ -d "$new" ] || [ -d "$target" ]; then [ ! -e "$target" ] || mv -fT -- "$target" "$old"; fi',
            'mv -fT -- "$new" "$target"',
            'rm -rf -- "$old"',
            'sync -- "${target%/*}/"',
        ]
    )


def remove(path: str) -> str:
    """Remove it with all that is below."""
    return f"rm -rf -- {shlex.quote(path)}"


def beside(path: str) -> str:
    """Print inode, size and name of the file and of those beside it whose names begin with its name."""
    return "\n".join(
        [
            f"for file in {shlex.quote(path)}*; do",
            '[ ! -f "$file" ] || stat --printf="%i %s %n\\0" -L -- "$file"',
            "done",
        ]
    )


def parsed_beside(output: bytes) -> list[tuple[int, int, str]]:
    """What `beside` has printed: inode, size and name of each."""
    found = (line.split(" ", 2) for line in output.decode(errors="surrogateescape").split("\0") if line)
    return [(int(inode), int(size), name) for inode, size, name in found]


def read_part(path: str, start: int, size: int) -> str:
    """Print at most so many bytes of a file from there on (counted from 0)."""
    return f"tail -c +{start + 1} -- {shlex.quote(path)} | head -c {size}"


def set_link(path: str, target: str) -> str:
    """Make a path a symbolic link to the target, replacing a link that is there in one step."""
    new = shlex.quote(f"{path}.changeover-new")
    return f"ln -sfn -- {shlex.quote(target)} {new} && mv -fT -- {new} {shlex.quote(path)}"


def read_link(path: str) -> str:
    """Print where a symbolic link leads."""
    return f"readlink -vn -- {shlex.quote(path)}"


def connect_unix(path: str) -> str:
    """Join standard input and output to a unix socket, with socat or else with Python."""
    python = (
        "import os, socket, sys, threading\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\n"
        "def send():\n"
        "    while data := os.read(0, 65536):\n"
        "        s.sendall(data)\n"
        "    s.shutdown(socket.SHUT_WR)\n"
        "threading.Thread(target=send, daemon=True).start()\n"
        "while data := s.recv(65536):\n"
        "    os.write(1, data)\n"
    )
    socat = f"exec socat - {shlex.quote('UNIX-CONNECT:' + _socat_quoted(path))}"
    return (
        f"if command -v socat >/dev/null; then {socat}; "
        f"else exec python3 -c {shlex.quote(python)} {shlex.quote(path)}; fi"
    )


def _socat_quoted(path: str) -> str:
    """Socat takes `:`, `,`, `!`, quotes and brackets in an address as its own unless a backslash precedes them."""
    return re.sub(r"([:,!\"'\\()\[\]{}])", r"\\\1", path)
