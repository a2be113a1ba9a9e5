"""Whether the files that an upgrade keeps, edits and reads are there, before anybody relies on them."""

from changeover.errors import HostError
from changeover.model.release import Release
from changeover.model.site import Node, Site
from changeover.model.templates import filled, values_of
from changeover.model.values import Outcome, Verdict
from changeover.ports import Host


def wanted(node: Node, site: Site, release: Release) -> dict[str, str]:
    """Each path of the node, and the key of the site's file that names it; logs are another matter."""
    values = values_of(node, site, release)
    named = [(path, "upgrade.kept") for it in release.kept for path in it.paths]
    named += [(it.file, "upgrade.properties") for it in release.properties]
    return {filled(path, values): key for path, key in named}


async def there(host: Host, node: str, path: str, key: str, *, become: bool) -> Verdict:
    """Whether anything is there; unknown where it cannot be seen."""
    subject = f"{node} {path}"
    try:
        found = await host.tree(path, become=become)
    except HostError as error:
        return Verdict(subject, Outcome.UNKNOWN, error.message, error.hint)
    if found is None:
        return Verdict(subject, Outcome.BAD, "it is not there", f"correct `{key}`, or bring it there")
    return Verdict(subject, Outcome.GOOD, "it is there")
