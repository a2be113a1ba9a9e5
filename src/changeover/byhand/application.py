"""The application's capabilities by hand: each binding as what a person types."""

import shlex
from collections.abc import Mapping
from functools import partial

from changeover.byhand.base import ByHand
from changeover.drivers.systemd import VERBS
from changeover.drivers.template import fill, fill_shell, fill_sql
from changeover.errors import ApplicationError
from changeover.model.instructions import Instruction
from changeover.model.plan import Plan, Step
from changeover.model.site import Binding, File, Http, Shell, Sql, Unit
from changeover.model.values import Secret


def bound(
    capability: str, node: str, plan: Plan, *, expect: str = "", **values: str
) -> tuple[Instruction, ...]:
    """What the binding of that capability comes to on the node; nothing if it is not bound."""
    site = plan.site
    binding = site.application.capabilities.get(capability)
    if binding is None:
        return ()
    on = site.node(node)
    known = {
        **site.application.variables,
        **plan.release.variables,
        **on.variables,
        "node": on.name,
        "host": on.host,
        "address": site.host(on.host).address,
        **values,
    }
    where, text, success = _typed(binding, capability, on.host, known)
    return (Instruction(where, text, expect or success),)


def _typed(binding: Binding, capability: str, host: str, values: Mapping[str, str]) -> tuple[str, str, str]:
    """Where, what is typed there, and what says that it went well."""
    match binding:
        case Shell():
            text = _filled(fill_shell, binding.command, values).strip()
            shown = [f"{name}={_shown(value)}" for name, value in binding.env.items()]
            status = " or ".join(map(str, binding.expect))
            return (
                _as_root(binding.on or host, binding.become),
                "\n".join([*shown, text]),
                f"exit status {status}",
            )
        case Http():
            headers = "".join(
                f" --header {shlex.quote(f'{name}: {_shown(value)}')}"
                for name, value in binding.headers.items()
            )
            body = f" --data {shlex.quote(_filled(fill, binding.body, values))}" if binding.body else ""
            method = "" if binding.method == "GET" else f" --request {binding.method}"
            url = shlex.quote(_filled(fill, binding.url, values))
            where = host if binding.via == "host" else "anywhere that reaches it"
            expect = f"HTTP status {' or '.join(map(str, binding.expect))}"
            return where, f"curl --silent --show-error --include{method}{headers}{body} {url}", expect
        case Sql():
            return f"database {binding.database}", f"{_filled(fill_sql, binding.statement, values)};", ""
        case File():
            return _as_root(host, binding.become), _written(binding, values), ""
        case Unit():
            unit = shlex.quote(_filled(fill, binding.unit, values))
            verb = capability if capability in VERBS else "is-active"
            return _as_root(host, binding.become), f"systemctl {verb} {unit}", ""


def _written(binding: File, values: Mapping[str, str]) -> str:
    path = shlex.quote(_filled(fill, binding.path, values))
    if binding.link is not None:
        link = shlex.quote(_filled(fill, binding.link, values))
        return f"ln --symbolic --force --no-dereference {link} {path}"
    if binding.content is None:
        return f"cat {path}"
    content = shlex.quote(_filled(fill, binding.content, values))
    return f"printf %s {content} > {path} && chmod {binding.mode:o} {path}"


def _filled(how: object, text: str, values: Mapping[str, str]) -> str:
    """The text with its values; as it is where one of them is only known while it runs."""
    try:
        return how(text, values)  # type: ignore[operator, no-any-return]
    except ApplicationError:
        return text


def _shown(value: str | Secret) -> str:
    return value if isinstance(value, str) else f"<the secret from {value}>"


def _as_root(host: str, become: bool) -> str:
    return f"{host}, as root" if become else host


def _do(
    step: Step, plan: Plan, *, do: str = "", ask: str = "", expect: str = "", param: str = ""
) -> tuple[Instruction, ...]:
    """Perform the one, then see by the other."""
    node = step.do.target
    values = {param: str(step.do.params[param])} if param in step.do.params else {}
    done = bound(do, node, plan, **values) if do else ()
    seen = bound(ask, node, plan, expect=expect.format(**step.do.params), **values) if ask else ()
    return (*done, *seen)


def _hold(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    return bound(
        "health", step.do.target, plan, expect=f"well each time, for {step.do.params['seconds']:g} s"
    )


def _well(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    node = step.do.target
    return (
        *bound("health", node, plan, expect="well"),
        *bound("version", node, plan, expect=str(step.do.params["version"])),
    )


def _through(
    step: Step, plan: Plan, *, do: str = "", ask: str = "", expect: str = ""
) -> tuple[Instruction, ...]:
    """The same of a deployment, through the node that speaks for it."""
    node, deployment = str(step.do.params["node"]), step.do.target
    done = bound(do, node, plan, deployment=deployment) if do else ()
    seen = bound(ask, node, plan, expect=expect, deployment=deployment) if ask else ()
    return (*done, *seen)


def _flushed(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    minutes = step.do.params["stall"] / 60
    stuck = f"only when nothing was worked off for {minutes:g} min: the rows that hold it up"
    return (
        *_through(step, plan, ask="outstanding", expect="0; ask again until it is"),
        *_through(step, plan, ask="stalled", expect=stuck),
    )


def _expect(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    node = str(step.do.params["node"])
    return tuple(
        instruction
        for ask, answer in step.do.params["answers"].items()
        for instruction in bound(ask, node, plan, expect=answer)
    )


def _stopped(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    node = step.do.target
    return (
        *bound("running", node, plan, expect="it does not run"),
        *bound("watchdog_running", node, plan, expect="no: nothing starts it again"),
    )


BY_HAND: Mapping[str, ByHand] = {
    "node.install": partial(_do, do="install", ask="installed", expect="it is there", param="release"),
    "node.uninstall": partial(_do, do="remove", ask="installed", expect="it is not there", param="release"),
    "node.stop": partial(_do, do="stop", ask="running", expect="it does not run"),
    "node.start": partial(_do, do="start", ask="running", expect="it runs"),
    "node.switch": partial(_do, do="switch", ask="release", expect="{release}", param="release"),
    "node.health": partial(_do, ask="health", expect="well; ask again until it is"),
    "node.version": partial(_do, ask="version", expect="{version}"),
    "node.hold": _hold,
    "node.check": _well,
    "node.verify": _well,
    "node.build": partial(_do, do="build", ask="built", expect="it is there", param="release"),
    "node.test": partial(_do, do="test", param="release"),
    "node.stopped": _stopped,
    "node.watchdog-stop": partial(_do, do="watchdog_stop", ask="watchdog_running", expect="no"),
    "node.watchdog-start": partial(_do, do="watchdog_start", ask="watchdog_running", expect="yes"),
    "application.flush": partial(_through, do="flush_on", ask="flushing", expect="on"),
    "application.unflush": partial(_through, do="flush_off", ask="flushing", expect="off"),
    "application.flushed": _flushed,
    "application.expect": _expect,
    "application.clean": partial(_do, do="clean", ask="clean_done", expect="yes"),
}
