"""The packages that encoders need: extras of this one, since a pool needs those of one kind at most."""

from __future__ import annotations

from importlib.util import find_spec

from curation_assets.errors import PoolSpecError
from curation_assets.pools import EncoderSettings

# Modules, and the names of their packages where those differ, by extra.
_EXTRAS = {
    "images": {"timm": "timm", "open_clip": "open_clip_torch", "torchvision": "torchvision"},
    "text": {
        name: name.replace("_", "-") for name in ("sentence_transformers", "transformers", "tokenizers")
    },
}
_MODULES = {
    "bundled": ("timm", "torchvision"),
    "timm": ("timm", "torchvision"),
    "open_clip": ("open_clip", "torchvision"),
    "sentence_transformers": ("sentence_transformers", "tokenizers"),
}


def require_encoder_packages(settings: EncoderSettings) -> None:
    """Check that what an encoder needs is installed, without importing it.

    Raises:
        PoolSpecError: naming the package, and the command that installs it.
    """
    require_modules(f"encoder.kind is '{settings.kind}', which", _MODULES[settings.kind])


def require_modules(what: str, modules: tuple[str, ...]) -> None:
    """Check that modules are installed.

    Args:
        what: needs them; begins the message.
        modules: of the extras.

    Raises:
        PoolSpecError: naming the package of the first that is missing, and the command that installs it.
    """
    for extra, packages in _EXTRAS.items():
        for module in modules:
            if module in packages and find_spec(module) is None:
                raise PoolSpecError(
                    f"{what} needs the package {packages[module]}, which is not installed: run pip install "
                    f"'curation-assets[{extra}]'"
                )
