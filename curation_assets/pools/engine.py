"""Where the heavy steps of a pool run: in the process of the run, or on workers of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from curation_assets.errors import PoolSpecError
from curation_assets.pools.base import Auto, Settings

ENGINE_VARIABLE = "CURATION_ENGINE"
ADDRESS_VARIABLE = "CURATION_RAY_ADDRESS"
WORKERS_VARIABLE = "CURATION_RAY_WORKERS"
WORK_FOLDER_VARIABLE = "CURATION_WORK_FOLDER"


class EngineSettings(Settings):
    """Where the heavy steps run. None of these settings changes a result."""

    kind: Literal["local", "ray"] = Field(
        "local",
        description="`local` runs in the process of the run; `ray` on the workers of a Ray cluster (extra `ray`).",
        examples=["ray"],
    )
    address: str = Field(
        "local",
        description="`local` starts Ray on this machine, on loopback only. `auto` or HOST:PORT joins a cluster that "
        "this machine is a node of.",
        examples=["10.0.0.5:6379"],
    )
    workers: PositiveInt | Auto = Field(
        "auto",
        description="Workers that hold rows or run tasks. `auto` starts as many as the cluster has room for.",
        examples=[16],
    )
    cpus_per_worker: PositiveFloat = Field(
        1.0, description="CPUs that Ray reserves for each worker.", examples=[4]
    )
    gpus_per_worker: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="GPUs, or the share of one, that Ray reserves for each worker.", examples=[1]
    )
    least_work: PositiveFloat = Field(
        2e10,
        description="A fit is shared among workers if one pass takes at least this many multiplications (rows x "
        "clusters x dimensions). Smaller fits finish before workers have started.",
        examples=[1.0e11],
    )
    work_folder: str | None = Field(
        None,
        description="Folder for the working files of split levels that all machines of the cluster see. `null` puts "
        "them beside the outputs, which must then be in a shared folder.",
        examples=["/shared/work"],
    )


def resolve_engine(settings: EngineSettings, environment: Mapping[str, str] | None = None) -> EngineSettings:
    """The engine of a pool, with the settings that environment variables override.

    CURATION_ENGINE, CURATION_RAY_ADDRESS, CURATION_RAY_WORKERS and CURATION_WORK_FOLDER override `kind`, `address`,
    `workers` and `work_folder`.

    Args:
        settings: engine settings of the pool.
        environment: variables by name; None reads those of this process.

    Raises:
        PoolSpecError: naming the variable whose value is refused.
    """
    environment = os.environ if environment is None else environment
    names = {
        ENGINE_VARIABLE: "kind",
        ADDRESS_VARIABLE: "address",
        WORKERS_VARIABLE: "workers",
        WORK_FOLDER_VARIABLE: "work_folder",
    }
    given = {variable: environment[variable] for variable in names if environment.get(variable)}
    changed = settings.model_dump() | {names[variable]: value for variable, value in given.items()}
    try:
        return EngineSettings.model_validate(changed)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        variable = next((name for name, of in names.items() if of == field), field)
        raise PoolSpecError(
            f"{variable} is '{environment.get(variable, '')}': {error.errors()[0]['msg']}"
        ) from error
