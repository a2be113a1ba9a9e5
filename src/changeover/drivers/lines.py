"""Bindings that are one line for a host's shell, and how what it came to is read."""

from collections.abc import Callable
from dataclasses import dataclass

from changeover.drivers import answers, systemd
from changeover.errors import ApplicationError, HostError
from changeover.model.site import File, Shell
from changeover.ports import Answer, Command, Host, Result

NO = (1, 3)
"""Exit statuses that say no: 1 by custom, 3 by the Linux Standard Base for a service that does not run."""


@dataclass(frozen=True, slots=True)
class Line:
    """A binding that is a line for a host's shell, and how its result is read.

    `expect` are the exit statuses that are no failure. `lock` names what must not run twice at once on the host. `by_anyone`: more
    rights than it needs make no difference to it.
    """

    host: Host
    command: Command
    read: Callable[[Result], Answer]
    expect: tuple[int, ...] = (0,)
    lock: str = ""
    by_anyone: bool = False

    def joins(self, question: "Line") -> bool:
        """Whether the question can be asked along with it: on the same host, with no other rights than its own."""
        same = question.by_anyone or self.command.become == question.command.become
        return same and self.host is question.host and not question.command.secrets


def status_answer(binding: Shell, result: Result) -> Answer:
    """Whether the exit status is one that was expected."""
    return Answer(result.status in binding.expect, "", answers.said(result))


def link_answer(made: str, result: Result) -> Answer:
    """Whether the link was made."""
    good = result.status == 0
    return Answer(good, "", made if good else answers.said(result))


def target_answer(binding: File, path: str, result: Result) -> Answer:
    """Where the link leads."""
    if result.status != 0:
        return Answer(False, "", f"{path} is no link: {answers.said(result)}")
    return file_answer(binding, path, result.stdout)


def file_answer(binding: File, path: str, text: str) -> Answer:
    """What was looked for in the file."""
    value = answers.matched(binding.match, text)
    if value is None:
        return Answer(False, "", f"{path} has nothing like {binding.match}: {text}")
    return Answer(True, value, f"{path}: {value}")


def job_answer(unit: str, result: Result) -> Answer:
    """What came of a job of systemd."""
    if result.status != 0:
        return Answer(False, "", f"{unit}: {answers.said(result)}")
    return Answer(True, "", f"{unit}: {systemd.UnitState.parse(result.stdout)}")


def unit_answer(unit: str, result: Result) -> Answer:
    """How the unit is; an error if that cannot be told."""
    state = systemd.UnitState.parse(result.stdout)
    if result.status != 0:
        raise HostError(f"systemd does not answer: {answers.said(result)}", hint="does systemd run there?")
    if not state.loaded:
        what = state.properties.get("LoadState", "unknown")
        raise ApplicationError(f"{unit}: systemd says it is {what}", hint="see the unit's name, and its file")
    return Answer(state.running, state.active, f"{unit}: {state}")


def shell_answer(binding: Shell, result: Result) -> Answer:
    """With `answers`, a status listed there is the answer, and any other is none.

    Without, a status in `expect` says yes and 1 says no, as test(1) and grep(1) do; any other, a command that is
    not found or was killed among them, has said neither.
    """
    if binding.answers:
        value = binding.answers.get(str(result.status))
        if value is None:
            raise ApplicationError(f"no answer: {answers.said(result)}")
        return Answer(value != "no", value, f"{value}, by {answers.said(result)}")
    if result.status not in (*binding.expect, *NO):
        raise ApplicationError(
            f"no answer: {answers.said(result)}", hint="1 says no; list others under `answers`"
        )
    value = answers.matched(binding.match, result.stdout)
    if value is None:
        return Answer(False, "", f"{answers.said(result)}, nothing like {binding.match}")
    return Answer(result.status in binding.expect, value, answers.said(result))
