"""The site: every section put together, and held against the others."""

from collections.abc import Mapping, Sequence

from changeover.model.site import Application, Site
from changeover.spec.build.access import build_access
from changeover.spec.build.capabilities import Bindings, check_placeholders
from changeover.spec.build.fleet import Fleet, read_fleet
from changeover.spec.build.hosts import build_hosts
from changeover.spec.build.nodes import build_nodes
from changeover.spec.build.services import build_balancers, build_databases
from changeover.spec.packs import read_pack
from changeover.spec.paths import Paths
from changeover.spec.problems import Problems
from changeover.spec.sections.document import Document
from changeover.spec.vocabulary import EXAMPLES


def build_site(
    document: Document, needed: Mapping[str, Sequence[str]], paths: Paths, problems: Problems
) -> Site | None:
    """The model's site, or None where a mistake leaves nothing to hold the rest against."""
    before = len(problems)
    if not document.sound("hosts", "groups", "ssh", "become"):
        return None
    fleet = read_fleet(document, paths, problems)
    if len(problems) > before:
        return None
    hosts = build_hosts(document, fleet, paths, problems)
    balancers = build_balancers(document.balancers or {}, fleet, problems)
    databases = build_databases(document.databases or {}, fleet, paths, problems)
    access = build_access(document.access or {}, fleet, hosts, problems)
    application = _application(document, needed, fleet, paths, problems)
    if (
        application is None
        or not document.sound("site", "balancers", "databases", "access")
        or len(problems) > before
    ):
        return None
    return Site(
        name=str(document.site),
        hosts=hosts,
        application=application,
        balancers=balancers,
        databases=databases,
        access=access,
    )


def _application(
    document: Document, needed: Mapping[str, Sequence[str]], fleet: Fleet, paths: Paths, problems: Problems
) -> Application | None:
    section = document.application
    if section is None or not document.sound("balancers", "databases"):
        return None
    nodes = build_nodes(section, document.balancers or {}, fleet, problems)
    names = [node.name for node in nodes]
    if section.head is not None and section.head not in names:
        problems.unknown(section.head.place, f"there is no node {section.head}", section.head, names)
    pack = read_pack(section.pack, paths, problems) if section.pack else {}
    if pack is None:
        return None
    written = pack | section.capabilities
    bindings = Bindings(fleet, [str(name) for name in document.databases or {}], paths, problems)
    capabilities = {str(name): bindings.build(binding) for name, binding in written.items()}
    if document.upgrade:
        strategy = document.upgrade.strategy
        for name in needed.get(strategy, ()):
            if name not in capabilities:
                what = f"the strategy {strategy} needs this capability: bind it, as in `{name}: {EXAMPLES.get(name, '{shell: …}')}`, or name a pack that does"
                problems.add(section.place.under(name), what)
        check_placeholders(written, section, nodes, document.upgrade.variables, problems)
    return Application(
        name=str(section.name or document.site),
        nodes=nodes,
        capabilities=capabilities,
        pack=str(section.pack or ""),
        head=str(section.head or ""),
        variables={str(name): str(value) for name, value in section.variables.items()},
    )
