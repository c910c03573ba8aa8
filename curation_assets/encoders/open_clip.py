"""Any model of open_clip as an encoder."""

from __future__ import annotations

import json

from curation_assets.encoders.torch_encoder import TorchEncoder, digest_weights, repeatable_weights
from curation_assets.errors import PoolSpecError
from curation_assets.pools import OpenClipEncoderSettings


class OpenClipEncoder(TorchEncoder):
    """The image tower of an open_clip model, up to and with its projection.

    Raises:
        PoolSpecError: if open_clip has no such model, or its weights cannot be had or do not fit.
    """

    def __init__(self, settings: OpenClipEncoderSettings) -> None:
        import open_clip

        is_remote = ":" in settings.model  # such as hf-hub:owner/name, which only the hub can judge
        if not is_remote and settings.model not in open_clip.list_models():
            raise PoolSpecError(
                f"encoder.model '{settings.model}' is no model of open_clip {open_clip.__version__}: choose "
                f"one of open_clip.list_models()"
            )
        try:
            with repeatable_weights():
                model, _, preprocess = open_clip.create_model_and_transforms(
                    settings.model, pretrained=settings.pretrained, device="cpu", precision="fp32"
                )
        except Exception as error:
            # Broad, because what a failed download raises changes with the version of the hub's client.
            raise PoolSpecError(
                f"encoder.model '{settings.model}': open_clip could not make it with pretrained="
                f"'{settings.pretrained}' ({error}): check the network, take a tag from "
                f"open_clip.list_pretrained(), or set encoder.pretrained to a local weights file"
            ) from error
        super().__init__(
            model,
            forward=model.encode_image,
            preprocess=preprocess,
            identity={
                "kind": settings.kind,
                "model": settings.model,
                "weights_sha256": digest_weights(model.visual.state_dict()),
                "preprocessing": json.dumps(open_clip.get_model_preprocess_cfg(model), sort_keys=True),
                "library": f"open_clip {open_clip.__version__}",
            },
            batch_size=settings.batch_size,
            device=settings.device,
            precision=settings.precision,
        )
