"""Which version of the application can work on which schema."""

from collections.abc import Iterable, Mapping

from changeover.model.release import Ability, Release

Abilities = Mapping[tuple[str, str], Ability]
"""(version, schema) → what the version can do there; *start* for what is not in it.

A schema is called by the migration applied last, the empty text before the first.
"""


def abilities_of(release: Release) -> dict[tuple[str, str], Ability]:
    """What the release promises; that its old version cannot live on a contracted schema goes without saying."""
    said: dict[tuple[str, str], Ability] = {}
    old, new = release.from_version, release.to_version
    for change in release.migrations:
        expand = ["", *(migration.name for migration in change.expand)]
        said.update(((new, schema), release.coexistence.new_on_old) for schema in expand[:-1])
        said.update(((old, schema), release.coexistence.old_on_new) for schema in expand[1:])
        said.update(((old, migration.name), Ability.NO) for migration in change.contract)
    return said


def ability(abilities: Abilities, version: str, schemas: Iterable[str]) -> Ability:
    """What a version can do where it needs all of these schemas."""
    found = {abilities.get((version, schema), Ability.START) for schema in schemas}
    return next((least for least in (Ability.NO, Ability.RUN) if least in found), Ability.START)
