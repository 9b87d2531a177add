"""The templates of this room, which share their frame and parts."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, page: Any) -> str:
    """A page as one HTML file; every text from outside is escaped by the template engine.

    Args:
        template: a file of this folder.
        page: what the template shows, under this name.
    """
    environment = Environment(
        loader=PackageLoader("stages.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(page=page)
