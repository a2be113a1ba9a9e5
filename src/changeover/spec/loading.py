"""The operator's file, from its path to the site and the release that it describes."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from changeover.model.release import Release
from changeover.model.site import Site
from changeover.model.values import Json, Value
from changeover.spec.build.notices import build_notices
from changeover.spec.build.release import build_release
from changeover.spec.build.site import build_site
from changeover.spec.files import read_files
from changeover.spec.journal import journal_url
from changeover.spec.located import plain
from changeover.spec.migrations import SqlFiles
from changeover.spec.paths import Paths
from changeover.spec.problems import Problems
from changeover.spec.sections.document import read_document
from changeover.spec.vocabulary import NEEDED

JOURNAL = ".changeover/journal.db"


class Spec(Value, frozen=True):
    """What the operator wrote.

    `journal` is a database URL or an absolute path, `probe` the section of that name as it is, `path` the
    file. `places` says where in it the keys are that only a plan can tell the meaning of. `digest` names the meaning: files that describe the same site and release have the same one.
    """

    site: Site
    release: Release
    journal: str
    path: str
    digest: str
    probe: Json = None
    places: Mapping[str, str] = {}


def load(
    path: str | Path,
    *,
    needed: Mapping[str, Sequence[str]] = NEEDED,
    environ: Mapping[str, str] | None = None,
) -> Spec:
    """Read the file at `path`.

    `needed` are the capabilities that each strategy asks for, `environ` (of this process by default) is where
    `${NAME}` in paths is looked up. Raises `InvalidSpecError` with everything that is wrong.
    """
    problems = Problems()
    spec = _load(Path(path), Paths(os.environ if environ is None else environ, problems), needed, problems)
    problems.raise_any()
    assert spec is not None  # without problems there is one
    return spec


def _load(path: Path, paths: Paths, needed: Mapping[str, Sequence[str]], problems: Problems) -> Spec | None:
    root = read_files(path, paths, problems)
    if root is None:
        return None
    document = read_document(root, problems)
    site = build_site(document, needed, paths, problems)
    upgrade = document.upgrade
    release = build_release(upgrade, site, needed, SqlFiles(paths, problems), problems) if upgrade else None
    if release and document.notify:
        release = msgspec.structs.replace(release, notices=build_notices(document.notify, paths))
    journal = journal_url(document.journal, paths, problems) if document.journal else ""
    if site is None or release is None or upgrade is None:
        return None
    return Spec(
        site=site,
        release=release,
        journal=journal or str(path.absolute().parent / JOURNAL),
        path=str(path),
        digest=hashlib.sha256(msgspec.json.encode((site, release), order="deterministic")).hexdigest(),
        probe=plain(document.probe) if document.probe is not None else None,
        places={
            f"upgrade.schedule.{name}": f"{name.place.file}:{name.place.line}:{name.place.column}"
            for name in upgrade.schedule
        },
    )
