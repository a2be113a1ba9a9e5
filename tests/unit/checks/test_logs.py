"""Reading a log from its mark: across rotations, against known issues, in parts."""

from collections.abc import Callable, Sequence

import msgspec
import pytest

from changeover.checks import logs
from changeover.model.release import KnownIssue, LogWatch
from changeover.model.values import Outcome, Verdict
from changeover.ports import LogFile

PATH = "/var/log/app.log"
WATCH = LogWatch(PATH, ("ERROR", "SEVERE"), context=1)
NOW = 1_800_000_000.0
DAY = 86400.0


class Disk:
    """Files by name, each with its inode; what is asked of it is written down."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int, bytes]] = {}
        self.asked: list[int] = []
        self.inodes = 0
        self.meanwhile: list[Callable[[], object]] = []

    def write(self, text: str, path: str = PATH) -> None:
        """Append to a file; a new one has an inode of its own."""
        if path not in self.files:
            self.inodes += 1
            self.files[path] = (self.inodes, b"")
        inode, before = self.files[path]
        self.files[path] = (inode, before + text.encode())

    def rename(self, path: str, to: str) -> None:
        self.files[to] = self.files.pop(path)

    def empty(self, path: str = PATH) -> None:
        self.files[path] = (self.files[path][0], b"")

    async def beside(self, path: str) -> Sequence[LogFile]:
        return [
            LogFile(name, inode, len(text))
            for name, (inode, text) in sorted(self.files.items())
            if name.startswith(path)
        ]

    async def read_part(self, path: str, start: int, size: int) -> bytes:
        self.asked.append(size)
        part = self.files[path][1][start : start + size]
        if self.meanwhile:
            self.meanwhile.pop()()
        return part


@pytest.fixture
def disk() -> Disk:
    """A log that holds something already."""
    disk = Disk()
    disk.write("INFO old\nERROR from before\n")
    return disk


async def _look(
    disk: Disk, mark: logs.Mark, known: Sequence[KnownIssue] = (), watch: LogWatch = WATCH
) -> tuple[logs.Found, Verdict]:
    found = await logs.look(disk, watch, mark, known)
    return found, logs.verdict(watch, found, known, NOW)


async def test_only_what_was_written_since_the_mark_counts(disk: Disk) -> None:
    """What stood there before is not read again."""
    mark = await logs.mark(disk, PATH)
    disk.write("INFO new\nINFO more\n")
    found, verdict = await _look(disk, mark)
    assert (found.lines, found.read, verdict.outcome) == (2, 19, Outcome.GOOD)
    disk.write("ERROR new\n")
    found, verdict = await _look(disk, mark)
    assert verdict.outcome is Outcome.BAD
    assert verdict.evidence == "1 error that nobody knows:\n  INFO more\n  > ERROR new"


async def test_a_log_that_was_not_there_is_read_from_its_beginning() -> None:
    """The start has made it."""
    disk = Disk()
    mark = await logs.mark(disk, PATH)
    disk.write("ERROR first\n")
    assert (await _look(disk, mark))[0].errors == 1


async def test_a_log_that_is_nowhere_is_not_taken_for_one_without_errors() -> None:
    """Its name is misspelt, or the application writes elsewhere: nobody has read anything."""
    disk = Disk()
    _, verdict = await _look(disk, await logs.mark(disk, PATH))
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.evidence == f"there is no {PATH}"


async def test_a_log_that_was_renamed_is_read_on(disk: Disk) -> None:
    """The rest of the old one, then all of the new one; twice is no harder."""
    mark = await logs.mark(disk, PATH)
    disk.write("ERROR one\n")
    disk.rename(PATH, f"{PATH}.1")
    disk.write("ERROR two\n")
    disk.rename(f"{PATH}.1", f"{PATH}.2")
    disk.rename(PATH, f"{PATH}.1")
    disk.write("ERROR three\n")
    found, _ = await _look(disk, mark)
    assert [it.rpartition(" ")[2] for it in found.shown] == ["one", "two", "three"]
    assert found.errors == 3


async def test_a_log_that_was_copied_and_emptied_is_read_on(disk: Disk) -> None:
    """The copy is known by its first bytes: what stood there before the mark does not count."""
    mark = await logs.mark(disk, PATH)
    disk.write("ERROR one\n")
    disk.write(disk.files[PATH][1].decode(), f"{PATH}.1")
    disk.empty()
    disk.write("ERROR two\n")
    found, _ = await _look(disk, mark)
    assert (found.errors, found.lines, found.lost) == (2, 2, "")


async def test_a_log_that_every_start_empties_is_read_from_its_beginning(disk: Disk) -> None:
    """Also when it has grown past the mark since."""
    mark = await logs.mark(disk, PATH)
    disk.empty()
    disk.write("ERROR short\n")
    assert (await _look(disk, mark))[0].errors == 1
    disk.write("INFO long enough to be past the mark\n")
    found, _ = await _look(disk, mark)
    assert (found.errors, found.lines) == (1, 2)


async def test_another_file_with_the_inode_of_the_log_is_read_whole(disk: Disk) -> None:
    """The log is gone: what it held since the mark cannot be told; its first bytes are others."""
    mark = await logs.mark(disk, PATH)
    disk.files[PATH] = (disk.files[PATH][0], b"ERROR in another log, longer than before\n")
    assert (await _look(disk, mark))[0].errors == 1


async def test_what_was_packed_or_removed_since_is_not_taken_for_good(disk: Disk) -> None:
    """Nobody can tell what was written there; a file packed before the mark does not matter."""
    disk.write("x", f"{PATH}.9.gz")
    mark = await logs.mark(disk, PATH)
    assert (await _look(disk, mark))[1].good
    disk.files[f"{PATH}.1.gz"] = (99, b"packed")
    del disk.files[PATH]
    disk.write("INFO new\n")
    _, verdict = await _look(disk, mark)
    assert verdict.outcome is Outcome.UNKNOWN
    assert "packed into /var/log/app.log.1.gz" in verdict.evidence
    del disk.files[f"{PATH}.1.gz"]
    _, verdict = await _look(disk, mark)
    assert verdict.outcome is Outcome.UNKNOWN
    assert f"what {PATH} held when it was marked is gone" in verdict.evidence


async def test_an_older_log_that_is_packed_meanwhile_does_not_matter(disk: Disk) -> None:
    """As long as the marked one is there."""
    disk.write("INFO older\n", f"{PATH}.1")
    mark = await logs.mark(disk, PATH)
    disk.files[f"{PATH}.2.gz"] = (99, b"packed")
    disk.rename(PATH, f"{PATH}.1")
    disk.write("ERROR new\n")
    found, _ = await _look(disk, mark)
    assert (found.errors, found.lost) == (1, "")


async def test_a_log_that_is_rotated_while_it_is_read_is_read_anew(disk: Disk) -> None:
    """So that no part is read under another file's name."""
    mark = await logs.mark(disk, PATH)
    disk.write("ERROR one\n")

    def rotate() -> None:
        disk.rename(PATH, f"{PATH}.1")
        disk.write("ERROR two\n")

    disk.meanwhile.append(rotate)
    found, _ = await _look(disk, mark)
    assert found.errors == 2


async def test_the_beginning_of_a_name_stands_for_all_files_that_begin_so() -> None:
    """As where each day has a log of its own."""
    disk = Disk()
    disk.write("ERROR before\n", "/var/log/app.2026-11-20.log")
    watch = msgspec.structs.replace(WATCH, path="/var/log/app.")
    mark = await logs.mark(disk, watch.path)
    disk.write("ERROR same day\n", "/var/log/app.2026-11-20.log")
    disk.write("ERROR next day\n", "/var/log/app.2026-11-21.log")
    found, _ = await _look(disk, mark, watch=watch)
    assert found.errors == 2


async def test_a_huge_log_is_read_in_parts(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a part at once; a line across two of them is one, and one without an end is cut."""
    monkeypatch.setattr(logs, "PART", 10)
    monkeypatch.setattr(logs, "LONGEST", 40)
    mark = await logs.mark(disk, PATH)
    disk.asked.clear()
    disk.write("INFO a line that is longer than a part\nERROR two\n" + "x" * 500 + " ERROR late\nERROR last")
    found, _ = await _look(disk, mark)
    assert max(disk.asked) <= max(10, logs.HEAD)
    assert disk.asked.count(10) > 50
    assert [it.splitlines()[-1] for it in found.shown][1] == "  > ERROR last"
    assert found.errors == 2


async def test_a_stack_trace_belongs_to_the_line_before_it(disk: Disk) -> None:
    """One entry, one error, one known issue, however many of its lines match."""
    mark = await logs.mark(disk, PATH)
    disk.write(
        "WARN table exists\njava.sql.SQLException: ERROR 1050\n\tat a.B\nCaused by: SEVERE\n... 12 more\nINFO on\n"
    )
    found, verdict = await _look(disk, mark)
    assert (found.errors, found.lines) == (1, 6)
    assert verdict.evidence.splitlines()[1:] == [
        "  > WARN table exists",
        "  > java.sql.SQLException: ERROR 1050",
        "  INFO on",
    ]
    found, verdict = await _look(disk, mark, [KnownIssue("table exists$")])
    assert (found.errors, found.counted) == (0, {0: 1})
    assert verdict.good
    assert "known: 'table exists$' 1 time, at most 1" in verdict.evidence


async def test_an_error_far_down_in_what_goes_on_is_found(disk: Disk) -> None:
    """Where every line is indented none begins an entry; a known issue at the top does not excuse all of it."""
    mark = await logs.mark(disk, PATH)
    disk.write("WARN table exists: ERROR\n" + "  INFO on\n" * logs.ENTRY_LINES * 2 + "  ERROR at last\n")
    found, verdict = await _look(disk, mark, [KnownIssue("table exists")])
    assert (found.errors, found.counted) == (1, {0: 1})
    assert "  >   ERROR at last" in verdict.evidence.splitlines()


async def test_the_line_that_is_an_error_is_shown_however_late_in_its_entry(disk: Disk) -> None:
    """Below the beginning of the entry, which tells what it is about."""
    mark = await logs.mark(disk, PATH)
    disk.write("WARN rolled back\n\tat a.B\n\tat c.D\n\tat e.F\nCaused by: SEVERE\n\tat g.H\n")
    _, verdict = await _look(disk, mark)
    assert verdict.evidence.splitlines()[1:] == [
        "  > WARN rolled back",
        "  > \tat a.B",
        "  > Caused by: SEVERE",
    ]


async def test_a_known_issue_counts_up_to_its_limit(disk: Disk) -> None:
    """Once more is as bad as an error that nobody knows."""
    mark = await logs.mark(disk, PATH)
    known = [KnownIssue("hibernate", most=2, owner="Thomas", expires=NOW + 100 * DAY)]
    for count, outcome in ((1, Outcome.GOOD), (2, Outcome.GOOD), (3, Outcome.BAD)):
        disk.write("ERROR hibernate\n")
        found, verdict = await _look(disk, mark, known)
        assert (found.counted, verdict.outcome) == ({0: count}, outcome)
        assert (
            f"{count} time{'s' if count > 1 else ''}, at most 2 (of Thomas, until 2027-" in verdict.evidence
        )


async def test_a_known_issue_that_expires_soon_is_warned_of(disk: Disk) -> None:
    """While it still counts."""
    mark = await logs.mark(disk, PATH)
    disk.write("ERROR hibernate\n")
    _, verdict = await _look(disk, mark, [KnownIssue("hibernate", expires=NOW + 3 * DAY)])
    assert verdict.good
    assert "EXPIRES SOON, on 2027-01-18" in verdict.evidence


def test_a_known_issue_is_known_of_its_version_and_step_until_it_expires() -> None:
    """The step in full, or without its node."""
    every = KnownIssue("a")
    assert logs.applying([every], "v2", "app1/first-log", NOW) == (every,)
    for known, counts in (
        (KnownIssue("a", version="v2"), True),
        (KnownIssue("a", version="v1"), False),
        (KnownIssue("a", step="first-log"), True),
        (KnownIssue("a", step="app1/first-log"), True),
        (KnownIssue("a", step="app2/first-log"), False),
        (KnownIssue("a", step="start-log"), False),
        (KnownIssue("a", expires=NOW + 1), True),
        (KnownIssue("a", expires=NOW), False),
    ):
        assert bool(logs.applying([known], "v2", "app1/first-log", NOW)) is counts, known


async def test_no_more_is_shown_than_can_be_read(disk: Disk) -> None:
    """All are counted; a long line is cut."""
    mark = await logs.mark(disk, PATH)
    disk.write(f"ERROR {'x' * 1000}\n" * 50)
    found, verdict = await _look(disk, mark)
    assert (found.errors, len(found.shown)) == (50, logs.FINDINGS)
    assert max(map(len, verdict.evidence.splitlines())) == logs.SHOWN + 2


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("ERROR password=hunter2, next", "ERROR password=***, next"),
        ('ERROR "db_password": "hun ter2"', 'ERROR "db_password": ***'),
        ("ERROR Authorization: Bearer abc.def", "ERROR Authorization: ***"),
        ("ERROR jdbc:mysql://app:hunter2@db1/x", "ERROR jdbc:mysql://app:***@db1/x"),
        ("ERROR api-key = 12345;", "ERROR api-key = ***;"),
        ("ERROR no password given", "ERROR no password given"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(line: str, shown: str) -> None:
    """Whoever wrote it to the log."""
    assert logs.masked(line) == shown
