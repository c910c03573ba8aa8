"""Any model of timm as an encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.encoders.torch_encoder import TorchEncoder, digest_weights, repeatable_weights
from curation_assets.errors import PoolSpecError
from curation_assets.pools import TimmEncoderSettings

if TYPE_CHECKING:
    import torch


class TimmEncoder(TorchEncoder):
    """A timm model without its classifier, with the preprocessing its pretrained weights ask for.

    Raises:
        PoolSpecError: if timm has no such model, or its weights cannot be had or do not fit.
    """

    def __init__(self, settings: TimmEncoderSettings) -> None:
        import timm
        from timm.data import create_transform, resolve_model_data_config

        model = _create_model(settings)
        if settings.checkpoint is not None:
            _load_checkpoint(model, settings.checkpoint)
        data_config = resolve_model_data_config(model)
        super().__init__(
            model,
            preprocess=create_transform(**data_config, is_training=False),
            identity={
                "kind": settings.kind,
                "model": settings.model,
                "weights_sha256": digest_weights(model.state_dict()),
                "preprocessing": json.dumps(data_config, sort_keys=True),
                "library": f"timm {timm.__version__}",
            },
            batch_size=settings.batch_size,
            device=settings.device,
            precision=settings.precision,
        )


def _create_model(settings: TimmEncoderSettings) -> torch.nn.Module:
    import timm

    is_remote = ":" in settings.model  # such as hf-hub:owner/name, which only the hub can judge
    if not is_remote and not timm.is_model(settings.model.partition(".")[0]):
        raise PoolSpecError(
            f"encoder.model '{settings.model}' is no model of timm {timm.__version__}: choose one of "
            f"timm.list_models()"
        )
    pretrained = settings.pretrained and settings.checkpoint is None
    try:
        with repeatable_weights():
            return timm.create_model(settings.model, pretrained=pretrained, num_classes=0)
    except Exception as error:
        # Broad, because what a failed download raises changes with the version of the hub's client.
        raise PoolSpecError(
            f"encoder.model '{settings.model}': timm could not make it with pretrained={pretrained} "
            f"({error}): check the network, or set encoder.checkpoint to a local weights file"
        ) from error


def _load_checkpoint(model: torch.nn.Module, checkpoint: str) -> None:
    """Load a local file that names its weights as timm does; a classifier in it is left out.

    Stricter than timm's own loading, which keeps random values for what a file lacks.
    """
    from timm.models import load_state_dict

    where = f"encoder.checkpoint '{checkpoint}'"
    if not Path(checkpoint).is_file():
        raise PoolSpecError(f"{where} does not exist: give the path of a .safetensors or .pth file")
    try:
        state = load_state_dict(checkpoint, weights_only=True)
        result = model.load_state_dict(state, strict=False)
    except Exception as error:
        # Broad, because torch, safetensors and the unpickler each raise errors of their own for a bad file.
        raise PoolSpecError(
            f"{where} does not fit the model ({error}): use weights saved from this model"
        ) from error
    classifiers = _classifier_prefixes(model)
    unexpected = [name for name in result.unexpected_keys if not name.startswith(classifiers)]
    if result.missing_keys or unexpected:
        raise PoolSpecError(
            f"{where} does not fit the model: it lacks {result.missing_keys[:3]} and has in excess "
            f"{unexpected[:3]}: use weights saved from this model"
        )


def _classifier_prefixes(model: torch.nn.Module) -> tuple[str, ...]:
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
