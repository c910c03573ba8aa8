"""Images that are built from the wheel, and the files of a project of Dagster+."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

REPOSITORY = Path(__file__).parents[2]
IMAGES, PLUS = REPOSITORY / "deploy" / "images", REPOSITORY / "deploy" / "dagster_plus"
SECRET = re.compile(r"(PASSWORD|TOKEN|SECRET|KEY)[A-Z_]*=")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Resources(Strict):
    requests: dict[str, str]
    limits: dict[str, str | int]


class Container(Strict):
    resources: Resources


class Pods(Strict):
    container_config: Container
    pod_spec_config: dict[str, Any] = {}


class Kubernetes(Strict):
    """What dagster-k8s 0.29 takes for a code location, as far as the example uses it."""

    env_vars: list[str]
    env_secrets: list[str]
    server_k8s_config: Pods
    run_k8s_config: Pods


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_an_image_holds_the_wheel_and_nothing_else(kind: str) -> None:
    recipe = (IMAGES / f"{kind}.Dockerfile").read_text()
    ignore = (IMAGES / f"{kind}.Dockerfile.dockerignore").read_text().splitlines()
    assert re.findall(r"^COPY (\S+)", recipe, re.M) == ["dist/curation_assets-*.whl"]
    assert [line for line in ignore if line.startswith("!")] == ["!dist", "!dist/curation_assets-*.whl"]
    assert {"*", "dist/*"} <= set(ignore)
    # Kubernetes knows by the number that a container does not run as root.
    assert re.findall(r"^USER (\S+)", recipe, re.M) == ["1000"]
    extras = re.search(r"^ARG EXTRAS=(\S+)", recipe, re.M)
    assert extras is not None
    project = (REPOSITORY / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", project, re.M) for extra in extras[1].split(","))
    version = re.search(r'^version = "(.+)"', project, re.M)
    assert version is not None
    assert f"curation-assets:{version[1]}-{kind} ." in recipe
    assert ("--torch-backend=cpu" in recipe) == (kind == "cpu")


def test_a_project_of_dagster_plus_is_complete_and_holds_no_secret() -> None:
    assert {path.name for path in PLUS.iterdir()} == {"Dockerfile", "build.yaml", "container_context.yaml"}
    assert yaml.safe_load((PLUS / "build.yaml").read_text()).keys() == {"directory", "registry"}
    [(platform, settings)] = yaml.safe_load((PLUS / "container_context.yaml").read_text()).items()
    assert platform == "k8s"
    context = Kubernetes.model_validate(settings)
    assert any(name.startswith("CURATION_STORAGE=s3://") for name in context.env_vars), "runs share no disk"
    assert not [name for name in context.env_vars if SECRET.search(name)]
    assert context.run_k8s_config.container_config.resources.limits["nvidia.com/gpu"] == 1
    recipe = (PLUS / "Dockerfile").read_text()
    assert re.findall(r"^USER (\S+)", recipe, re.M)[-1] == "1000"
