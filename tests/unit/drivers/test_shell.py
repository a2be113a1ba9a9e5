"""The lines that hosts are sent, to the exact string."""

import subprocess
from pathlib import Path

import pytest

from changeover.drivers import shell
from changeover.drivers.shell import Sudo
from changeover.errors import HostError
from changeover.ports import Result

PREFIX = "exec timeout -k 5 61 /bin/sh -c "


def test_a_plain_line() -> None:
    """Run by /bin/sh, ended by the host itself a second after its time, with nothing to read."""
    built = shell.invocation("echo it's", timeout=60)
    assert built.line == PREFIX + "'exec </dev/null\necho it'\"'\"'s'"
    assert built.stdin == b""


def test_secrets_travel_by_standard_input() -> None:
    """Exported by the shell that reads them, and not in the line."""
    built = shell.invocation("work", timeout=60, secrets={"A": "it's $x", "B_1": ""})
    assert built.line == PREFIX + "'eval \"$(cat)\"\nexec </dev/null\nwork'"
    assert built.stdin == b"export A='it'\"'\"'s $x'\nexport B_1=''\n"


def test_rights_without_a_password() -> None:
    """The line says first that it has them."""
    built = shell.invocation("id", timeout=0.5, sudo=Sudo("root"))
    assert built.line == (
        "exec sudo -n -u root -- timeout -k 5 2 /bin/sh -c "
        "'echo '\"'\"'changeover: rights gained'\"'\"' >&2\nexec </dev/null\nid'"
    )
    assert built.stdin == b""


def test_rights_with_a_password_and_secrets() -> None:
    """The password comes first, for sudo; what is left of it is skipped up to the mark."""
    built = shell.invocation("id", timeout=60, sudo=Sudo("o'neil", "open sesame"), secrets={"A": "b"})
    assert built.line.startswith("exec sudo -S -p '' -u 'o'\"'\"'neil' -- timeout -k 5 61 /bin/sh -c ")
    assert 'while IFS= read -r line && [ "$line" != ' in built.line
    assert built.stdin == b"open sesame\nchangeover: input follows\nexport A=b\n"


def test_nothing_secret_in_a_repr() -> None:
    """Neither the password nor what goes into standard input."""
    built = shell.invocation("id", timeout=60, sudo=Sudo("root", "open sesame"), secrets={"A": "canary"})
    assert "sesame" not in repr(built)
    assert "canary" not in repr(built)


def test_content_and_secrets_exclude_each_other() -> None:
    """Both would need the same standard input."""
    with pytest.raises(ValueError, match="cannot be combined"):
        shell.invocation("cat", timeout=60, secrets={"A": "b"}, content=b"x")


@pytest.mark.parametrize(
    ("name", "value"), [("A B", "x"), ("1A", "x"), ("", "x"), ("A=1;id;B", "x"), ("A", "a\0b")]
)
def test_what_no_environment_can_hold_is_refused(name: str, value: str) -> None:
    """It would be executed, or cut short."""
    with pytest.raises(HostError):
        shell.exports({name: value})


def test_a_file_is_read() -> None:
    """In the C locale: whether it is there is told from the words of cat."""
    assert shell.read_file("/etc/it's") == "LC_ALL=C exec cat -- '/etc/it'\"'\"'s'"


def test_a_file_is_written_beside_its_place_and_moved_there() -> None:
    """Checked for its length, flushed to disk, with the owner of the one it replaces."""
    assert shell.write_file("/etc/a b", size=3, mode=0o600).splitlines() == (
        [
            "set -e; umask 077",
            "path=$(readlink -vf -- '/etc/a b')",
            'new=$(mktemp -- "$path.XXXXXX")',
            "trap 'rm -f -- \"$new\"' EXIT; trap 'exit 1' HUP INT TERM",
            'cat > "$new"',
            '[ "$(wc -c < "$new")" -eq 3 ] || { echo "the input was cut short" >&2; exit 1; }',
            '[ ! -e "$path" ] || chown --reference="$path" -- "$new"',
            'chmod 0600 -- "$new"',
            'sync -- "$new"',
            'mv -fT -- "$new" "$path"',
            'sync -- "${path%/*}/"',
        ]
    )


def test_content_that_was_cut_short_replaces_nothing(tmp_path: Path) -> None:
    """As when the connection is lost half-way: standard input ends, and looks complete."""
    path = tmp_path / "file"
    path.write_text("old")
    line = shell.write_file(str(path), size=10, mode=0o644)
    ended = subprocess.run(["/bin/sh", "-c", line], input=b"only", capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"the input was cut short\n")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file", "old")]


def test_a_file_keeps_its_mode_and_has_its_directories_made() -> None:
    """Where no mode is given, a new file has an ordinary one."""
    lines = shell.write_file("/etc/a b/c", size=3, mode=None, parents=True).splitlines()
    assert "mkdir -p -- '/etc/a b'" in lines
    assert (
        'if [ -e "$path" ]; then chmod --reference="$path" -- "$new"; else chmod 0644 -- "$new"; fi' in lines
    )


def test_a_copy_is_made_beside_its_place_and_moved_there() -> None:
    """What is there is moved aside for a directory, and replaced in one step for a file."""
    assert shell.copy("/etc/a b", "/srv/kept/a b").splitlines() == (
        [
            "set -e; umask 077",
            "source=$(readlink -ve -- '/etc/a b')",
            "mkdir -p -- /srv/kept",
            "target=$(readlink -vf -- '/srv/kept/a b')",
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


def test_what_is_said_of_a_tree_is_read() -> None:
    """Names may hold anything but NUL; a listing without its end is none."""
    printed = b"".join(
        it + b"\0"
        for it in [
            *(b"", b"d 755 0:0", b"", b"a\nb", b"f 600 1:2", b"", b"l", b"l 777 0:0", b"a\nb"),
            *(shell.TREE_SUMS.encode(), b"0" * 64 + b"  /srv/x/a\nb", b"/srv/x", shell.TREE_ENTRIES.encode()),
        ]
    )
    assert shell.parsed_tree(printed) == {
        ".": "d 755 0:0",
        "a\nb": f"f 600 1:2 {'0' * 64}",
        "l": "l 777 0:0 -> a\nb",
    }
    with pytest.raises(ValueError, match="cut short"):
        shell.parsed_tree(printed[: -len(shell.TREE_ENTRIES) - 1] + b"x\0")


def test_a_log_is_found_and_read_in_parts() -> None:
    """The lines, to the character."""
    assert shell.remove("/srv/a b") == "rm -rf -- '/srv/a b'"
    assert shell.read_part("/srv/a b", 10, 5) == "tail -c +11 -- '/srv/a b' | head -c 5"
    assert shell.beside("/srv/a b").splitlines() == [
        "for file in '/srv/a b'*; do",
        '[ ! -f "$file" ] || stat --printf="%i %s %n\\0" -L -- "$file"',
        "done",
    ]
    assert shell.parsed_beside(b"12 3 /srv/a b\x0013 0 /srv/a b.1\0") == [
        (12, 3, "/srv/a b"),
        (13, 0, "/srv/a b.1"),
    ]


def test_a_link_is_made_beside_its_place_and_moved_there() -> None:
    """`ln -sf` alone removes the old link first, and follows one to a directory."""
    assert shell.set_link("/opt/current", "releases/2 b") == (
        "ln -sfn -- 'releases/2 b' /opt/current.changeover-new && mv -fT -- /opt/current.changeover-new /opt/current"
    )
    assert shell.read_link("/opt/current") == "readlink -vn -- /opt/current"


def test_a_socket_is_joined() -> None:
    """With socat, whose own special characters are escaped, or else with Python."""
    line = shell.connect_unix("/run/a:b,c/admin.sock")
    assert line.startswith(
        "if command -v socat >/dev/null; then exec socat - 'UNIX-CONNECT:/run/a\\:b\\,c/admin.sock'; else exec python3 -c "
    )
    assert line.endswith(" /run/a:b,c/admin.sock; fi")


def test_a_change_and_a_question_in_one_command_are_told_apart() -> None:
    """Whatever either of them prints, and however they end."""
    for change, question, done, asked in (
        (
            "printf a; echo b >&2",
            "printf c; echo d >&2; exit 3",
            Result(0, "a", "b\n"),
            Result(3, "c", "d\n"),
        ),
        ("exit 2", "true", Result(2, "", ""), Result(0, "", "")),
        ("cd /; x=1", 'echo "$x$PWD"', Result(0, "", ""), Result(0, f"{Path.cwd()}\n", "")),
        ("echo no; exit 1", "echo never", Result(1, "no\n", ""), None),
    ):
        line = shell.then(change, question, expect=(0, 2))
        ended = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)
        assert shell.parted(Result(ended.returncode, ended.stdout, ended.stderr)) == (done, asked)


def test_a_host_without_flock_runs_the_line() -> None:
    """With its own status."""
    line = shell.exclusive("exit 7", "name")
    ended = subprocess.run(["/bin/sh", "-c", line], env={"PATH": "/nowhere"}, check=False)
    assert ended.returncode == 7
