"""Pools by hand: what HAProxy is told through its runtime API."""

import shlex
from collections.abc import Mapping

from changeover.byhand.base import ByHand
from changeover.model.instructions import Instruction
from changeover.model.plan import Plan, Step
from changeover.model.site import BalancerConfig


def _told(step: Step, plan: Plan, state: str, expect: str) -> tuple[Instruction, ...]:
    return tuple(
        _tell(plan.site.balancer(balancer), server, state, expect)
        for balancer, server in step.do.params["servers"].items()
    )


def _tell(balancer: BalancerConfig, server: str, state: str, expect: str) -> Instruction:
    if balancer.driver != "haproxy":
        return Instruction(balancer.name, f"set {server} of {balancer.pool} to {state}", expect)
    line = _runtime(balancer, f"set server {balancer.pool}/{server} state {state}")
    return Instruction(_where(balancer), line, expect)


def _where(balancer: BalancerConfig) -> str:
    return f"{balancer.host}, as root" if balancer.host else "the conductor's machine"


def _runtime(balancer: BalancerConfig, said: str) -> str:
    options = balancer.options
    to = options.get("socket") or f"TCP:{options.get('address')}:{options.get('port')}"
    return f"echo {shlex.quote(said)} | socat stdio {shlex.quote(str(to))}"


def _look(balancer: BalancerConfig, expect: str) -> Instruction:
    if balancer.driver != "haproxy":
        return Instruction(balancer.name, f"look at the pool {balancer.pool}", expect)
    return Instruction(_where(balancer), _runtime(balancer, f"show stat {balancer.pool} 4 -1"), expect)


def _drain(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    return _told(step, plan, "drain", "no new session is sent there")


def _remove(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    servers = step.do.params["servers"]
    gone = tuple(
        _look(plan.site.balancer(balancer), f"no session (scur) and nobody queued (qcur) at {server}")
        for balancer, server in servers.items()
    )
    return (*gone, *_told(step, plan, "maint", "it is out"))


def _enter(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    servers = step.do.params["servers"]
    seen = tuple(
        _look(plan.site.balancer(balancer), f"{server} is UP") for balancer, server in servers.items()
    )
    return (*_told(step, plan, "ready", ""), *seen)


def _check(step: Step, plan: Plan) -> tuple[Instruction, ...]:
    servers = ", ".join(step.do.params["servers"])
    return (_look(plan.site.balancer(step.do.target), f"UP: {servers}"),)


BY_HAND: Mapping[str, ByHand] = {
    "traffic.drain": _drain,
    "traffic.remove": _remove,
    "traffic.enter": _enter,
    "traffic.check": _check,
}
