"""What every test may use."""

from tests.labkit import fresh_lab, lab, lab_session

__all__ = ["fresh_lab", "lab", "lab_session"]
