"""A document as one HTML file that needs nothing else."""

import jinja2

from changeover.report.document import Code, Document, Table

_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("changeover.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.tests["table"] = lambda part: isinstance(part, Table)
_environment.tests["code"] = lambda part: isinstance(part, Code)


def render(document: Document) -> str:
    """The whole page, with its style; it loads nothing and runs no script."""
    return _environment.get_template("report.html.j2").render(document=document)
