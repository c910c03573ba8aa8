"""Values of a component's YAML that hold a template, such as `{{ env.BUCKET }}`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from curation_assets.errors import PoolSpecError

_MARKS = ("{{", "{%")


def has_template(value: Any) -> bool:
    """Whether a value is a template, or holds one."""
    if isinstance(value, dict):
        return any(map(has_template, value.values()))
    if isinstance(value, list | tuple):
        return any(map(has_template, value))
    return isinstance(value, str) and any(mark in value for mark in _MARKS)


def with_templates(value: Any, render: Callable[[str], Any]) -> Any:
    """A value in which `render` has replaced every template.

    Other texts stay as they are: rendered, the text '1' would become a number.
    """
    if isinstance(value, dict):
        return {key: with_templates(entry, render) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [with_templates(entry, render) for entry in value]
    return render(value) if has_template(value) else value


def render_environment(template: str) -> Any:
    """What Dagster makes of a template that reads nothing but the environment.

    Raises:
        PoolSpecError: if it reads anything else, or a variable that is not set and has no default.
    """
    from jinja2 import StrictUndefined, TemplateError, UndefinedError
    from jinja2.nativetypes import NativeEnvironment

    environment = NativeEnvironment(undefined=StrictUndefined)
    environment.globals.clear()
    try:
        value = environment.from_string(template).render(env=_Variables())
        if isinstance(value, StrictUndefined):
            raise UndefinedError(f"{template} names something else")
        return value
    except TemplateError as error:
        raise PoolSpecError(
            f"the command line reads `env` in a template and nothing else ({error})"
        ) from None


class _Variables:
    """`env` of a template: `env.NAME`, `env('NAME')` and `env('NAME', 'default')`, as in Dagster."""

    def __call__(self, name: str, *default: Any) -> Any:
        value = os.environ.get(name, *default)
        if value is None and not default:
            raise PoolSpecError(f"the environment variable {name} is not set, and has no default")
        return value

    def __getattr__(self, name: str) -> str | None:
        if name.startswith("jinja"):
            raise AttributeError(name)
        return os.environ.get(name)
