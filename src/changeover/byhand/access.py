"""Access gates by hand: the very rules, and what loads them at boot."""

from collections.abc import Mapping

from changeover.byhand.base import ByHand
from changeover.drivers.nftables import gate_of, script
from changeover.drivers.nftables.ruleset import ruleset
from changeover.model.instructions import Instruction
from changeover.model.plan import Plan, Step

SEEN = "nobody but the allowlist gets to the application"


def _outside(step: Step, plan: Plan, expect: str) -> tuple[Instruction, ...]:
    gate = plan.site.gate(step.do.target)
    return tuple(
        Instruction(
            outside,
            "\n".join(
                f"curl --insecure --include http://{plan.site.host(host).address}:{port}/"
                for host in gate.hosts
                for port in gate.ports
            ),
            expect,
        )
        for outside in gate.outside
    )


def _close(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    gate = plan.site.gate(step.do.target)
    if gate.driver != "nftables":
        return (Instruction(gate.name, step.summary, SEEN),)
    rules = gate_of(gate, plan.site.name)
    typed = f"mkdir -p /etc/changeover\ncat >{rules.rules} <<'RULES'\n{ruleset(rules)}RULES\n{script.close(rules)}"
    shut = tuple(Instruction(f"{host}, as root", typed, "exit status 0") for host in gate.hosts)
    return (*shut, *_outside(step, plan, "the maintenance page, or a refused connection"))


def _open(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    gate = plan.site.gate(step.do.target)
    if gate.driver != "nftables":
        return (Instruction(gate.name, step.summary, "everybody gets to the application"),)
    typed = script.open_again(gate_of(gate, plan.site.name))
    opened = tuple(Instruction(f"{host}, as root", typed, "exit status 0") for host in gate.hosts)
    return (*opened, *_outside(step, plan, "the application's own answer"))


def _check(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    closed = step.do.params["state"] == "closed"
    seen = _outside(step, plan, SEEN if closed else "the application's own answer")
    return seen or (Instruction(step.do.target, step.summary, SEEN if closed else "everybody gets there"),)


BY_HAND: Mapping[str, ByHand] = {
    "access.close": _close,
    "access.open": _open,
    "access.check": _check,
}
