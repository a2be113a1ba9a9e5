"""Window: the site is closed for an agreed time, everything is upgraded, tried and signed off, and it is opened again.

Nothing serves meanwhile, so the way back is plain: each stage in reverse, the database from its snapshot, the files
from their copies. The head node goes first; no other is touched before it is good.
"""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from changeover.errors import SpecError
from changeover.model.plan import BACK, Direction, Facts, Operation, Plan, Stage, Step
from changeover.model.release import Migrations, Release, SqlMigration
from changeover.model.site import DatabaseConfig, Node, Site
from changeover.model.values import Value
from changeover.strategies import blocks

PEOPLE = "sign-off"

_replaced = msgspec.structs.replace


def window(site: Site, release: Release, facts: Facts) -> Plan:
    """The plan: prepare ahead; then close, stop, back up, migrate, the head, the others, sign-off, go, open; finalize.

    Raises `SpecError` for what cannot be: no window, nothing that closes the site, a capability without a binding, a
    node that does not run the old version.
    """
    _refuse(site, release, facts)
    idle = [node for node in site.application.nodes if not blocks.serves(node, facts)]
    serving = tuple(node for node in site.application.nodes if node not in idle)
    it = _Window(site, release, facts, serving)
    stages = [
        it.check(),
        it.prepare(),
        it.opens(),
        it.close(),
        it.stop(),
        it.backup(),
        it.migrate(),
        it.node(site.head, first=True),
        *(it.node(node) for node in site.application.nodes if node != site.head),
        it.verify(),
        it.enter(),
        *it.people(),
        it.open(),
        *it.finalize(),
    ]
    return Plan(
        site=site,
        release=release,
        stages=tuple(blocks.as_found(stage, idle) for stage in stages if stage.steps),
        facts=facts,
        limits={blocks.ROTATION: 1, blocks.INSTALLS: release.limits.install},
    )


def stage_names(head: str, others: Iterable[str]) -> tuple[str, ...]:
    """The stages that can be taken back, in their order."""
    before = ("prepare", "window", "close", "stop", "backup", "migrate")
    return (*before, *(f"node-{name}" for name in (head, *others)), "enter", "open")


class _Window(Value, frozen=True):
    """The stages of one plan. `serving` are the nodes that serve before it."""

    site: Site
    release: Release
    facts: Facts
    serving: tuple[Node, ...]

    @property
    def label(self) -> str:
        """The name of the snapshots."""
        return f"before-{self.release.to_version}"

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.site.application.nodes

    def check(self) -> Stage:
        """What the plan relies on."""
        steps = [blocks.check_host(host.name, self.release) for host in self.site.hosts]
        steps += [blocks.check_node(node, self.release.from_version) for node in self.serving]
        for balancer in self.site.balancers:
            servers = [node.servers[balancer.name] for node in self.serving if balancer.name in node.servers]
            steps.append(blocks.check_pool(balancer.name, servers, self.release))
        steps += [blocks.check_database(database.name) for database in self.site.databases]
        steps += [blocks.check_access(gate, "open") for gate in self.site.access]
        steps += blocks.expect(self.site, self.release)
        return self._serving("check", "See that the site is as the plan expects", steps)

    def prepare(self) -> Stage:
        """Ahead of the window, while the old version serves: the head builds, every node has the release put in place."""
        built = (
            (blocks.build(self.site.head, self.release),) if blocks.can(self.site, "build", "built") else ()
        )
        installs = [
            blocks.with_marks_forgotten(
                _replaced(blocks.install(node, self.release), needs=tuple(it.id for it in built)),
                node,
                self.release,
            )
            for node in self.nodes
        ]
        title = f"Make {self.release.to_version} ready ahead of the window, beside what runs"
        return self._serving("prepare", title, [*built, *installs])

    def opens(self) -> Stage:
        """Wait until the window opens."""
        assert self.release.window
        wait = Step(
            id="window/wait",
            do=Operation("time.wait", "window", {"until": self.release.window.opens}),
            summary="wait until the window opens",
            undo_note="the time is gone",
            timeout=30 * 86400.0,
        )
        return self._serving("window", "Wait until the window opens", [wait])

    def close(self) -> Stage:
        """Nobody comes in any more. Taken back, the testers agree before anybody does."""
        gates = [blocks.close_access(gate, self.release) for gate in self.site.access]
        leaves = [blocks.leave(node, self.release) for node in self.nodes if node.servers]
        left = [drain for drain, _ in leaves]
        left += [_replaced(out, needs=(drain.id,)) for drain, out in leaves]
        lets_in = gates or left
        lets_in[-1] = self._after_sign_off(lets_in[-1])
        return self._closed("close", "Close the site", [*gates, *left])

    def stop(self) -> Stage:
        """Every node. Taken back, the old version starts, is seen well, and its log is read."""
        expected = blocks.expect(self.site, self.release, "expect-again")
        steps = list(expected)
        for node in self.nodes:
            first = [blocks.watchdog_stop(node)] if blocks.can(self.site, *blocks.WATCHES) else []
            works = blocks.chain(*first, self._stop(node), blocks.stopped(node, self.release))
            steps += [_replaced(works[0], needs=tuple(it.id for it in expected)), *works[1:]]
        return self._closed("stop", "Stop every node, and see none of them running", steps)

    def backup(self) -> Stage:
        """The databases, restored elsewhere to prove it, and the files that a release could overwrite."""
        steps = [step for database in self.site.databases for step in self._snapshot(database)]
        steps += [step for node in self.nodes for step in blocks.keep(node, self.site, self.release)]
        return self._closed("backup", "Back up the databases and the files, and prove it", steps)

    def migrate(self) -> Stage:
        """Every script in its order. Taken back, each database is restored as a whole, whatever has changed it."""
        changes = {change.database: change for change in self.release.migrations}
        rest = [
            _replaced(blocks.stopped(node, self.release), id=f"{node.name}/at-rest") for node in self.nodes
        ]
        steps: list[Step] = []
        for database in self.site.databases:
            change = changes.get(database.name, Migrations(database.name))
            applied = self.facts.schemas.get(database.name, ())
            begun = _replaced(change, expand=(self._begin(database, applied),))
            (entry,) = blocks.migrations(begun, "expand", self.label, self.release)
            summary = f"write into the ledger of {database.name} that the window has begun: the way back restores it"
            scripts = [
                *blocks.migrations(change, "expand", self.label, self.release),
                *blocks.migrations(change, "contract", self.label, self.release),
            ]
            scripts = [
                _replaced(entry, summary=summary),
                *(blocks.unless_applied(it, applied) for it in scripts),
            ]
            chained = blocks.chain(*(_replaced(it, needs=(), undo=()) for it in scripts))
            steps += [_replaced(chained[0], needs=tuple(it.id for it in rest)), *chained[1:]]
        title = "Run every script of the databases, in its order"
        return self._closed("migrate", title, [*rest, *steps] if steps else ())

    def node(self, node: Node, *, first: bool = False) -> Stage:
        """One node. The head starts twice where properties are to be set for its first start."""
        site, release, new = self.site, self.release, self.release.to_version
        steps = [self._switch(node), *blocks.put_back(node, site, release)]
        if first and release.properties:
            steps += blocks.properties(node, site, release, first=True, prefix="first-")
            steps += self._started(node, new, "first")
            stop = blocks.stop(node, release)
            steps.append(
                _replaced(stop, id=f"{node.name}/first-stop", undo_note="the old version is started later")
            )
        steps += blocks.properties(node, site, release, first=False)
        steps += self._started(node, new, "start")
        steps.insert(-1 if release.logs else len(steps), blocks.version(node, new, release))
        if blocks.can(self.site, "test"):
            steps.append(blocks.trial(node, release))
        if blocks.can(self.site, *blocks.WATCHES):
            steps.append(blocks.watchdog_start(node))
        whose = "the head node " if first else ""
        return self._closed(f"node-{node.name}", f"Upgrade {whose}{node.name}", blocks.chain(*steps))

    def verify(self) -> Stage:
        """Every node once more, now that all of them run."""
        steps = [blocks.verify(_replaced(node, servers={}), self.release.to_version) for node in self.nodes]
        title = f"See every node well and of version {self.release.to_version}"
        return self._closed("verify", title, steps)

    def people(self) -> tuple[Stage, ...]:
        """Those who are named try it; then somebody says that it is opened."""
        go = blocks.approve("go", "a person says go: the site is opened to everybody")
        return (
            self._closed(
                PEOPLE,
                "Those who are named try it, and sign it off",
                self._signed_off(self.release.to_version),
            ),
            self._closed("go", "Go or no-go", [go]),
        )

    def enter(self) -> Stage:
        """Behind closed gates the pools fill before anybody tries it: so that it is tried as everybody will come."""
        steps = self._entering() if self.site.access else []
        return self._closed("enter", "Bring every node into rotation, behind the closed gates", steps)

    def open(self) -> Stage:
        """Everybody comes in again. From here on a restore would lose what they write, so a person is asked for it."""
        entered = tuple(it.id for it in self._entering())
        gates = [
            _replaced(blocks.open_access(gate, self.release), needs=entered) for gate in self.site.access
        ]
        stage = self._closed("open", "Open the site", gates or self._entering())
        return _replaced(stage, back=Direction.ASK)

    def finalize(self) -> tuple[Stage, ...]:
        """What gives up the way back."""
        work: list[Step] = []
        for node in self.nodes:
            if blocks.can(self.site, "remove"):
                work.append(blocks.uninstall(node, self.release.from_version))
            work += [*blocks.let_go(node, self.site, self.release), *blocks.forget_marks(node, self.release)]
        if not work:
            return ()
        old = self.release.from_version
        gate = blocks.approve("finalize", f"a person gives up the way back to {old}")
        steps = (gate, *(_replaced(step, needs=(*step.needs, gate.id)) for step in work))
        title = f"Give up the way back to {old}"
        return (
            Stage(
                "finalize", title, steps, in_rotation=len(self.nodes), finalize=True, back=Direction.FORWARD
            ),
        )

    # What the stages are made of

    def _serving(self, name: str, title: str, steps: Iterable[Step]) -> Stage:
        return Stage(name, title, tuple(steps), in_rotation=len(self.serving))

    def _closed(self, name: str, title: str, steps: Iterable[Step]) -> Stage:
        allowed = any(gate.allow for gate in self.site.access)
        affected = "everybody but the allowlist" if allowed else "everybody"
        return Stage(name, title, tuple(steps), affected=affected, outage=True)

    def _entering(self) -> list[Step]:
        return [blocks.enter(node, self.release) for node in self.nodes if node.servers]

    def _after_sign_off(self, step: Step) -> Step:
        """The step, which is taken back only when those who sign off agree to that; behind a gate they try all of it."""
        filled = tuple(f"{BACK}{it.id}" for it in self._entering()) if self.site.access else ()
        agreed = [
            _replaced(it, needs=filled) for it in blocks.back(*self._signed_off(self.release.from_version))
        ]
        return _replaced(step, undo=(*agreed, *step.undo), undo_note="" if agreed else step.undo_note)

    def _stop(self, node: Node) -> Step:
        started = self._started(node, self.release.from_version, "old")
        seen = blocks.version(node, self.release.from_version, self.release)
        return _replaced(blocks.stop(node, self.release), undo=blocks.back(*blocks.chain(*started, seen)))

    def _switch(self, node: Node) -> Step:
        old, new = self.release.from_version, self.release.to_version
        returned = (
            blocks.switch(node, new, old, self.release),
            *blocks.put_back(node, self.site, self.release),
        )
        return _replaced(
            blocks.switch(node, old, new, self.release), undo=blocks.back(*blocks.chain(*returned))
        )

    def _started(self, node: Node, version: str, label: str) -> list[Step]:
        """Mark its logs, start it, wait until it is well, and read what it has written."""
        site, release = self.site, self.release
        prefix = "first-" if label == "first" else ""
        start, health = blocks.start(node, release), blocks.health(node, release)
        stop = _replaced(blocks.stop(node, release), id=f"{node.name}/{prefix}stop")
        return [
            *blocks.mark_log(node, site, release, label=label),
            _replaced(start, id=f"{node.name}/{prefix}start", undo=blocks.back(stop)),
            _replaced(health, id=f"{node.name}/{prefix}health"),
            *blocks.check_log(node, site, release, version, label=label),
        ]

    def _snapshot(self, database: DatabaseConfig) -> tuple[Step, Step]:
        take, prove = blocks.snapshot(database.name, self.label, self.release)
        summary = f"take the snapshot {self.label} of {database.name}, to which nobody writes"
        return _replaced(take, summary=summary), prove

    def _begin(self, database: DatabaseConfig, applied: Sequence[str]) -> SqlMigration:
        """An entry in the ledger, by which the way back knows that the database is to be restored.

        A version may change it by merely starting, and testers write to it. A window that was left half-way has left its own.
        """
        name, sql = f"window-to-{self.release.to_version}", "SELECT 1;"
        names = (name, *(f"{name}-{number}" for number in range(2, len(applied) + 3)))
        return SqlMigration(
            next(it for it in names if it not in applied),
            sql,
            hashlib.sha256(sql.encode()).hexdigest(),
            transactional=database.transactional,
        )

    def _signed_off(self, version: str) -> tuple[Step, ...]:
        return tuple(
            _replaced(
                blocks.approve(
                    f"{PEOPLE}-{name}", f"{name} has tried {version}, and agrees that it is opened"
                ),
                who=(name,),
                **blocks.estimate(self.release, "sign_off", 0),
            )
            for name in self.release.sign_off
        )


def _refuse_ways_in(site: Site) -> None:
    """Behind the closed gates the pools fill before the site is opened: so they must stand before the balancers."""
    gated = {host for gate in site.access for host in gate.hosts}
    pools = {balancer for node in site.application.nodes for balancer in node.servers}
    for balancer in site.balancers:
        if site.access and balancer.name in pools and balancer.host not in gated:
            raise SpecError(
                f"everybody comes in through the balancer {balancer.name}, where no access gate stands",
                hint=f"put {balancer.host or 'its host'} among the hosts of a gate, or leave the closing to the balancer",
            )


def _refuse(site: Site, release: Release, facts: Facts) -> None:
    if release.window is None:
        raise SpecError("the strategy window needs `upgrade.window`", hint="say when it opens and closes")
    asked = (it.ask for it in release.expectations)
    blocks.refuse_unbound("window", site, blocks.WATCHES, also=asked)
    if not site.access and not any(node.servers for node in site.application.nodes):
        raise SpecError(
            "nothing closes the site: it has neither access gates nor balancers",
            hint="name the entrances under `access`, or the balancer under `balancers`",
        )
    _refuse_ways_in(site)
    blocks.refuse_names(site)
    for node in site.application.nodes:
        version = facts.versions.get(node.name, release.from_version)
        if version not in ("", release.from_version):
            raise SpecError(
                f"{node.name} runs {version}; a window begins with every node on {release.from_version}",
                hint="bring the node there first, or correct `upgrade.from`",
            )
    names = stage_names(site.head.name, (it.name for it in site.application.nodes if it != site.head))
    wrong = [name for name in release.fallback.stages if name not in names]
    if wrong:
        raise SpecError(
            f"no stage of a window that can be taken back is called {', '.join(wrong)}",
            hint=f"there are {', '.join(names)}",
        )
    kept = [
        name for name, way in release.fallback.stages.items() if way == Direction.KEEP and name != "prepare"
    ]
    if kept:
        raise SpecError(
            f"{', '.join(kept)} cannot be kept on the way back: the old version would not be as it was",
            hint="only prepare can be kept",
        )
