"""This process's connection to Ray: a running cluster, or one started on this machine for this process."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from curation_assets.errors import CurationError, PoolSpecError

TOKEN_VARIABLE = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of a variable, not a token
# Ray appends about 60 characters to this folder for its sockets, whose paths may have 107.
_LONGEST_FOLDER = 40
# Makes Ray bind to 127.0.0.1; by default it listens on every interface.
LOCAL_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_LOOPBACK = ("127.", "localhost:", "[::1]")


def require_ray() -> None:
    """Check that Ray is installed, without importing it.

    Raises:
        PoolSpecError: if it is not.
    """
    if find_spec("ray") is None:
        raise PoolSpecError(
            "engine.kind is 'ray', but Ray is not installed: run pip install 'curation-assets[ray]', or set "
            "engine.kind (or CURATION_ENGINE) to local"
        )


def connect(address: str) -> ModuleType:
    """The Ray module, connected; the connection lasts as long as the process.

    Args:
        address: 'local' starts Ray on localhost with its own token and without a dashboard; 'auto' or host:port
            joins a cluster, with the token in RAY_AUTH_TOKEN or in the file RAY_AUTH_TOKEN_PATH.

    Raises:
        PoolSpecError: if there is no token for the cluster to join.
        CurationError: if the cluster does not answer, or refuses the token.
    """
    # Ray reads these variables when it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    # By default Ray hides all GPUs from tasks that request none, with a warning for each.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address == "local" or address.startswith(_LOOPBACK):
        # Otherwise Ray replaces a loopback address by the network address, where the cluster does not listen.
        for name, value in LOCAL_ONLY.items():
            os.environ.setdefault(name, value)
    if address == "local":
        os.environ.setdefault("RAY_TMPDIR", private_folder())
        if not _has_token():
            # Otherwise Ray writes a token file to the user's home folder.
            os.environ[TOKEN_VARIABLE] = secrets.token_hex(32)
    elif os.environ["RAY_AUTH_MODE"] == "token" and not _has_token():
        raise PoolSpecError(
            f"engine.address is '{address}', but there is no token for this cluster: set RAY_AUTH_TOKEN to the token, "
            f"or RAY_AUTH_TOKEN_PATH to a file that contains it"
        )
    import ray

    module: ModuleType = ray
    if ray.is_initialized():
        return module
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
        )
    except Exception as error:
        remedy = (
            "set RAY_TMPDIR to a short path on a disk with free space, and look at the logs there"
            if address == "local"
            else "check that CURATION_RAY_ADDRESS is host:port of the head node, that the token is right, and that "
            "this machine is a node of the cluster"
        )
        what = "start" if address == "local" else "join"
        raise CurationError(f"cannot {what} a Ray cluster at '{address}' ({error}): {remedy}") from error
    atexit.register(ray.shutdown)
    return module


def _has_token() -> bool:
    in_home = Path.home() / ".ray" / "auth_token"
    return bool(os.environ.get(TOKEN_VARIABLE) or os.environ.get("RAY_AUTH_TOKEN_PATH") or in_home.exists())


def private_folder() -> str:
    """A folder for Ray's sockets and logs that only this user can access.

    Raises:
        CurationError: if it belongs to another user.
    """
    folder = Path(tempfile.gettempdir()) / f"ray-{os.getuid()}"
    if len(str(folder)) > _LONGEST_FOLDER:
        folder = Path("/tmp") / f"ray-{os.getuid()}"  # noqa: S108 - mode 0700 below; no other path is short enough
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise CurationError(f"{folder} belongs to another user: set RAY_TMPDIR to a folder of your own")
    return str(folder)
