"""How many hosts fit on a machine."""

import pytest

from changeover.lab import LabError
from changeover.lab.inotify import require


def test_hosts_that_fit_are_let_in() -> None:
    """Up to the limit there is room."""
    require(6, in_use=98, limit=128)


def test_hosts_that_do_not_fit_are_refused() -> None:
    """One host too many is refused with the numbers and the way out."""
    with pytest.raises(LabError, match="need 30 inotify instances; 99 of 128 are in use") as error:
        require(6, in_use=99, limit=128)
    assert "fs.inotify.max_user_instances" in error.value.hint
