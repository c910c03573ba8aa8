"""Any model of timm as an encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.encoders.base import library_errors, require_known_model
from curation_assets.encoders.torch_encoder import TorchEncoder, digest_weights, repeatable_weights
from curation_assets.errors import PoolSpecError
from curation_assets.pools import TimmEncoderSettings

if TYPE_CHECKING:
    import torch


class TimmEncoder(TorchEncoder):
    """A timm model without its classifier, with the preprocessing of its pretrained weights.

    Raises:
        PoolSpecError: if timm has no such model, or its weights are not available or do not fit.
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
                "weights_sha256": digest_weights(model.state_dict()),
                "preprocessing": json.dumps(data_config, sort_keys=True),
                "library": f"timm {timm.__version__}",
            },
            settings=settings,
        )


ENCODER = TimmEncoder


def _create_model(settings: TimmEncoderSettings) -> torch.nn.Module:
    import timm

    require_known_model(
        settings.model,
        known=timm.is_model(settings.model.partition(".")[0]),
        library=f"timm {timm.__version__}",
        listing="timm.list_models()",
        names=timm.list_models,
    )
    pretrained = settings.pretrained and settings.checkpoint is None
    what = f"encoder.model '{settings.model}': timm cannot load it with pretrained={pretrained}"
    remedy = "check the network, or set encoder.checkpoint to a local weights file"
    with library_errors(what, remedy), repeatable_weights():
        return timm.create_model(settings.model, pretrained=pretrained, num_classes=0)


def _load_checkpoint(model: torch.nn.Module, checkpoint: str) -> None:
    """Load a local file of weights with timm's names; a classifier in it is ignored.

    Stricter than timm's own loading, which keeps random values for missing weights.
    """
    from timm.models import load_state_dict

    where = f"encoder.checkpoint '{checkpoint}'"
    if not Path(checkpoint).is_file():
        raise PoolSpecError(f"{where} does not exist: give the path of a .safetensors or .pth file")
    remedy = "use weights saved from this model"
    with library_errors(f"{where} does not fit the model", remedy):
        state = load_state_dict(checkpoint, weights_only=True)
        result = model.load_state_dict(state, strict=False)
    classifiers = _classifier_prefixes(model)
    unexpected = [name for name in result.unexpected_keys if not name.startswith(classifiers)]
    if result.missing_keys or unexpected:
        raise PoolSpecError(
            f"{where} does not fit the model (missing: {result.missing_keys[:3]}, unexpected: {unexpected[:3]}): "
            f"{remedy}"
        )


def _classifier_prefixes(model: torch.nn.Module) -> tuple[str, ...]:
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
