"""Balancers and databases."""

from collections.abc import Mapping

from changeover.model.site import BalancerConfig, DatabaseConfig
from changeover.model.values import Json
from changeover.spec.build.fleet import Fleet
from changeover.spec.build.hosts import secret
from changeover.spec.located import Text
from changeover.spec.paths import Paths
from changeover.spec.problems import Problems
from changeover.spec.sections import services as written

SNAPSHOT_DIR = "/var/lib/changeover/snapshots"


def build_balancers(
    balancers: Mapping[Text, written.Balancer], fleet: Fleet, problems: Problems
) -> tuple[BalancerConfig, ...]:
    """The model's balancers."""
    built = []
    for name, choice in balancers.items():
        if choice.haproxy:
            built.append(_haproxy(str(name), choice.haproxy, fleet, problems))
        built += [
            _other(str(name), str(driver), section, fleet, problems)
            for driver, section in choice.others.items()
        ]
    return tuple(built)


def build_databases(
    databases: Mapping[Text, written.DatabaseChoice], fleet: Fleet, paths: Paths, problems: Problems
) -> tuple[DatabaseConfig, ...]:
    """The model's databases."""
    built = []
    for name, choice in databases.items():
        for driver in choice.names():
            section: written.Postgresql | written.Mariadb | None = getattr(choice, driver)
            if section:
                options = _options(section.options)
                built.append(
                    _database(str(name), driver, section, options, fleet, paths=paths, problems=problems)
                )
        for driver, other in choice.others.items():
            built.append(
                _database(str(name), str(driver), other, other.options, fleet, paths=paths, problems=problems)
            )
    return tuple(built)


def _haproxy(name: str, section: written.Haproxy, fleet: Fleet, problems: Problems) -> BalancerConfig:
    if section.host is not None:
        fleet.host(section.host, problems)
    options: dict[str, Json] = {
        "socket": section.socket and str(section.socket),
        "address": section.address and str(section.address),
        "port": section.port,
        "timeout": section.timeout,
    }
    return BalancerConfig(
        name=name,
        driver="haproxy",
        pool=str(section.backend),
        host=str(section.host or ""),
        options={key: value for key, value in options.items() if value is not None},
    )


def _other(
    name: str, driver: str, section: written.OtherBalancer, fleet: Fleet, problems: Problems
) -> BalancerConfig:
    if section.host is not None:
        fleet.host(section.host, problems)
    return BalancerConfig(name, driver, str(section.pool), str(section.host or ""), section.options)


def _database(
    name: str,
    driver: str,
    section: written.Database,
    options: Mapping[str, Json],
    fleet: Fleet,
    *,
    paths: Paths,
    problems: Problems,
) -> DatabaseConfig:
    return DatabaseConfig(
        name=name,
        driver=driver,
        database=str(section.name),
        user=str(section.user),
        host=fleet.host(section.host, problems),
        address=_address(section, fleet),
        port=section.port or 0,
        password=secret(section.password, paths),
        admin_database=str(section.admin_database or ""),
        snapshot_dir=str(section.snapshot_dir or SNAPSHOT_DIR),
        tunnel=section.tunnel,
        options=options,
    )


def _address(section: written.Database, fleet: Fleet) -> str:
    """Where it listens: as written, else at the host's address, through a tunnel at the host's loopback."""
    host = fleet.hosts.get(section.host)
    if section.address is None and not section.tunnel and host is not None:
        return str(host.address)
    return str(section.address or "")


def _options(section: written.MariadbOptions | None) -> dict[str, Json]:
    if section is None:
        return {}
    said = {name: getattr(section, name) for name in section.names() if section.given(name)}
    if "bin" in said:
        said["bin"] = str(said["bin"])
    if "parameters" in said:
        said["parameters"] = {str(name): str(value) for name, value in said["parameters"].items()}
    return said
