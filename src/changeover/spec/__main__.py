"""`python -m changeover.spec DIRECTORY` writes the generated part of the documentation into it."""

import sys
from pathlib import Path

from changeover.spec.publishing import publish

publish(Path(sys.argv[1]))
