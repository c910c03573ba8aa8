"""The part of the Compose specification that deploy/compose uses; any other key is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:?[-?])(?P<rest>[^}]*))?\}")
_DURATION = r"^(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"


class Part(BaseModel):
    """Keys of one mapping."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Variable(Part):
    """One `${NAME...}` of the file."""

    name: str
    kind: str
    """`-` or `:-` with a default, `?` or `:?` with an error; empty for neither."""


Duration = Annotated[str, Field(pattern=_DURATION, min_length=2)]


def _is_host_port(port: str) -> str:
    if not re.fullmatch(r"(\d+\.\d+\.\d+\.\d+:)?(\d+:)?\d+", port):
        raise ValueError(f"{port}: not ip:host:container")
    return port


class Build(Part):
    context: str
    dockerfile: str


class Healthcheck(Part):
    test: Annotated[list[str], Field(min_length=2)]
    interval: Duration
    timeout: Duration
    retries: Annotated[int, Field(ge=1)]
    start_period: Duration | None = None


class Dependency(Part):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Deploy(Part):
    replicas: int | str


class Service(Part):
    image: str
    build: Build | None = None
    command: list[str] | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    ports: list[Annotated[str, AfterValidator(_is_host_port)]] = Field(default_factory=list)
    volumes: list[str] = Field(default_factory=list)
    networks: Annotated[list[str], Field(min_length=1)]
    depends_on: dict[str, Dependency] = Field(default_factory=dict)
    healthcheck: Healthcheck
    restart: Literal["no", "always", "on-failure", "unless-stopped"]
    stop_grace_period: Duration | None = None
    shm_size: Annotated[str, Field(pattern=r"^\d+(b|k|m|g|kb|mb|gb)$")] | None = None
    security_opt: list[str] = Field(default_factory=list)
    cap_drop: list[str] = Field(default_factory=list)
    deploy: Deploy | None = None


class Network(Part):
    internal: bool = False


class Compose(Part):
    """A compose file."""

    name: str
    services: dict[str, Service]
    networks: dict[str, Network]
    volumes: dict[str, dict[str, Any]]


def variables(text: str) -> Iterator[Variable]:
    """Every variable that a compose file takes from its surroundings."""
    for found in _VARIABLE.finditer(text):
        yield Variable(name=found["name"], kind=found["kind"] or "")
