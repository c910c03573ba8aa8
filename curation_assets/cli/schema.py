"""`curation-assets schema`: what a pool file may contain, for editors and for people."""

from __future__ import annotations

import json

import click

from curation_assets.pools.reference import json_schema, markdown_reference


def show_schema(*, markdown: bool) -> None:
    """Print the JSON schema of pool files, or the Markdown reference of their keys."""
    click.echo(markdown_reference().rstrip() if markdown else json.dumps(json_schema(), indent=1))
