"""Drivers: the ports over real technology, one file per technology.

A driver is found by name through the entry point group `changeover.drivers`; the entry is its factory:

    host.NAME         (config: HostConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> Host
    balancer.NAME     (config: BalancerConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> Balancer
    database.NAME     (config: DatabaseConfig, *, secrets: Secrets, hosts: Mapping[str, Host]) -> Database
    access.NAME       (config: AccessConfig, *, site: Site, secrets: Secrets, hosts: Mapping[str, Host]) -> Access
    notifier.NAME     (notice: Notice, *, secrets: Secrets) -> Notifier
    application.NAME  (site: Site, release: Release, *, secrets: Secrets, hosts: Mapping[str, Host],
                       databases: Mapping[str, Database]) -> Application

`hosts` holds every host of the site by name. It is looked into when a host is first needed, so it may be
filled after the factory was called. A factory opens nothing; the first use does.
`SpecError` for options that the driver cannot understand.
"""
