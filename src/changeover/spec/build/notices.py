"""Who is told of what, as the model has it."""

from changeover.model.release import Moment, Notice
from changeover.spec.build.hosts import secret
from changeover.spec.paths import Paths
from changeover.spec.sections.notices import Notices


def build_notices(section: Notices, paths: Paths) -> tuple[Notice, ...]:
    """In the order of the file."""
    found = []
    for name, notice in section.items():
        to = secret(notice.to, paths)
        assert to is not None  # it is required
        found.append(Notice(str(name), to, frozenset(map(Moment, notice.on))))
    return tuple(found)
