"""Who has lost the lease changes nothing any more, wherever in an action it was."""

import inspect
from typing import Any, ClassVar

import pytest

from changeover import ports
from changeover.actions.base import Context, Params
from changeover.engine.fenced import EFFECTS, fenced
from changeover.engine.records import Records
from changeover.engine.runner import Runner
from changeover.errors import FencedError
from changeover.model.plan import Operation
from changeover.model.states import StepState
from changeover.model.values import Observation, absent
from changeover.ports import AdminState, World
from tests.enginekit import Scripted, a_plan, a_step, begin
from tests.sites import a_simulated_site

LOOKS = {
    "Host": {"read", "read_part", "tree", "beside", "forward", "close"},
    "Balancer": {"servers", "version", "close"},
    "Database": {"facts", "find_snapshot", "ledger", "query", "close"},
    "Application": {"can", "ask", "recent", "close"},
    "Access": {"state", "seen_from", "version", "close"},
}


@pytest.mark.parametrize("port", EFFECTS)
def test_every_method_of_a_port_either_looks_or_is_fenced(port: str) -> None:
    """One that is added to a port must be put on one side."""
    methods = {
        name
        for name, _ in inspect.getmembers(getattr(ports, port), inspect.isfunction)
        if not name.startswith("_")
    }
    assert methods == EFFECTS[port] | LOOKS[port]
    assert not EFFECTS[port] & LOOKS[port]


class Nothing:
    """A port of which every call is written down."""

    def __init__(self) -> None:
        self.name = "nothing"
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*args: object, **kwargs: object) -> str:
            self.called.append(name)
            return name

        return call


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in EFFECTS.items() for name in sorted(names)]
)
async def test_no_effect_without_the_lease(kind: str, name: str) -> None:
    """As long as it lasts each call goes through, with its answer."""
    port: Any = Nothing()
    lost: list[FencedError] = []

    def check() -> None:
        if lost:
            raise lost[0]

    world = fenced(World({"a": port}, {"a": port}, {"a": port}, port, port, {"a": port}), check)
    fenced_ports: dict[str, Any] = {
        "Host": world.hosts["a"],
        "Balancer": world.balancers["a"],
        "Database": world.databases["a"],
        "Application": world.application,
        "Access": world.access["a"],
    }
    assert await getattr(fenced_ports[kind], name)() == name
    lost.append(FencedError("lost"))
    with pytest.raises(FencedError):
        await getattr(fenced_ports[kind], name)()
    assert port.called == [name]
    assert fenced_ports[kind].name == "nothing"
    for look in LOOKS[kind]:
        assert await getattr(fenced_ports[kind], look)() == look


class DrainsTwo:
    """Drains two servers; in between, the machine is frozen for longer than any lease."""

    kind: ClassVar[str] = Scripted.kind
    params: ClassVar[type[Params]] = Params

    def __init__(self, freeze: Any) -> None:
        self.freeze = freeze

    async def observe(self, operation: Operation, context: Context) -> Observation:
        return absent("never looked at")

    async def perform(self, operation: Operation, context: Context) -> str:
        pool = context.world.balancers["public"]
        await pool.set_state("app1", AdminState.DRAIN)
        self.freeze()
        await pool.set_state("app2", AdminState.DRAIN)
        return "both"


async def test_a_conductor_that_wakes_after_its_lease_has_no_further_effect(
    journal: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as fenced, the first effect is there and the second is not, and nothing more is recorded."""
    now, frozen = getattr(journal, "_clock"), 0.0  # noqa: B009 - each kind has its own

    def freeze() -> None:
        nonlocal frozen
        frozen = 3600.0

    monkeypatch.setattr(journal, "_clock", lambda: now() + frozen)
    site = a_simulated_site()
    run = await begin(journal, a_plan([a_step("x")]))
    with pytest.raises(FencedError, match="no longer owns"):
        await Runner(journal, run, site.world, {Scripted.kind: DrainsTwo(freeze)}).run()
    servers = await site.balancers["public"].servers()
    assert [servers[name].admin for name in ("app1", "app2")] == [AdminState.DRAIN, AdminState.READY]
    assert (await journal.status(run)).steps["x"].state is StepState.RUNNING
