"""Any CNN of timm."""

from __future__ import annotations

import timm

from detector.backbones.backbone import Backbone


class TimmCNN(Backbone):
    """A CNN of `timm` by its name.

    Args:
        name: as in `timm.list_models()`; it must offer maps at strides 2, 4, 8, 16, 32 (`features_only`).
        weights: `imagenet` fetches timm's default weights; None starts from scratch.
        frozen_stages, batch_norm: see `Backbone`.
    """

    def __init__(self, *, name: str, weights: str | None, frozen_stages: int, batch_norm: str):
        body = timm.create_model(name, features_only=True, out_indices=(0, 1, 2, 3, 4), pretrained=weights is not None)
        config = body.pretrained_cfg if isinstance(body.pretrained_cfg, dict) else body.pretrained_cfg.to_dict()
        super().__init__(
            body,
            mean=[255 * value for value in config["mean"]],
            std=[255 * value for value in config["std"]],
            frozen_stages=frozen_stages,
            batch_norm=batch_norm,
        )
