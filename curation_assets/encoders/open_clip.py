"""Any model of open_clip as an encoder."""

from __future__ import annotations

import json

from curation_assets.encoders.base import library_errors, require_known_model
from curation_assets.encoders.torch_encoder import TorchEncoder, digest_weights, repeatable_weights
from curation_assets.pools import OpenClipEncoderSettings


class OpenClipEncoder(TorchEncoder):
    """The image tower of an open_clip model, including its projection.

    Raises:
        PoolSpecError: if open_clip has no such model, or its weights are not available or do not fit.
    """

    def __init__(self, settings: OpenClipEncoderSettings) -> None:
        import open_clip

        require_known_model(
            settings.model,
            known=settings.model in open_clip.list_models(),
            library=f"open_clip {open_clip.__version__}",
            listing="open_clip.list_models()",
            names=open_clip.list_models,
        )
        what = f"encoder.model '{settings.model}': open_clip cannot load pretrained='{settings.pretrained}'"
        remedy = (
            "check the network, take a tag from open_clip.list_pretrained(), or set encoder.pretrained to a local "
            "weights file"
        )
        with library_errors(what, remedy), repeatable_weights():
            model, _, preprocess = open_clip.create_model_and_transforms(
                settings.model, pretrained=settings.pretrained, device="cpu", precision="fp32"
            )
        super().__init__(
            model,
            forward=model.encode_image,
            preprocess=preprocess,
            identity={
                "weights_sha256": digest_weights(model.visual.state_dict()),
                "preprocessing": json.dumps(open_clip.get_model_preprocess_cfg(model), sort_keys=True),
                "library": f"open_clip {open_clip.__version__}",
            },
            settings=settings,
        )


ENCODER = OpenClipEncoder
