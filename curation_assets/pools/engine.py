"""Where a pool's heavy steps run: in their own process, or on the workers of a Ray cluster."""

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
    """The engine of a pool; none of this changes a result."""

    kind: Literal["local", "ray"] = Field(
        "local", description="'local' needs nothing; 'ray' needs the extra `ray`."
    )
    address: str = Field(
        "local",
        description="'local' starts Ray on this machine, reachable from it alone; 'auto' or host:port joins a cluster "
        "that runs on this machine too.",
    )
    workers: PositiveInt | Auto = Field(
        "auto",
        description="Workers that hold rows or take tasks; auto is as many as the cluster has room for.",
    )
    cpus_per_worker: PositiveFloat = Field(1.0, description="CPUs that Ray sets aside for a worker.")
    gpus_per_worker: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="GPUs, or a share of one, that Ray sets aside for a worker."
    )
    least_work: PositiveFloat = Field(
        2e10,
        description="Multiplications of one pass, n x k x d, from which on a fit is shared out; a smaller one is over "
        "before its workers have started.",
    )
    work_folder: str | None = Field(
        None,
        description="Folder that all machines of the cluster see, for the working files of split levels; null lays "
        "them beside the outputs, which must then be in such a folder.",
    )


def resolve_engine(settings: EngineSettings, environment: Mapping[str, str] | None = None) -> EngineSettings:
    """A pool's engine, where the environment has a say: it names the machines, the pool only the work.

    Args:
        settings: of the pool.
        environment: CURATION_ENGINE, CURATION_RAY_ADDRESS, CURATION_RAY_WORKERS and CURATION_WORK_FOLDER override
            kind, address, workers and work_folder; None takes the process's.

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
