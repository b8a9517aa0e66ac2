"""Any CNN of timm."""

from __future__ import annotations

import difflib
from typing import Any

import timm

from detector.backbones.backbone import Backbone
from detector.backbones.downloading import downloading
from detector.errors import InputError


class TimmCNN(Backbone):
    """A CNN of `timm` by its name.

    Args:
        name: as in `timm.list_models()`; its last four maps must have strides 4, 8, 16 and 32.
        weights: `imagenet` fetches timm's default weights; None starts from scratch.
        frozen_stages, batch_norm: see `Backbone`.
    """

    def __init__(self, *, name: str, weights: str | None, frozen_stages: int, batch_norm: str):
        if not timm.is_model(name):
            similar = ", ".join(difflib.get_close_matches(name, timm.list_models())) or "none"
            raise InputError(f"timm has no model {name!r}; similar ones: {similar}")
        with downloading(name):
            body: Any = timm.create_model(name, features_only=True, pretrained=weights is not None)
        config = body.pretrained_cfg if isinstance(body.pretrained_cfg, dict) else body.pretrained_cfg.to_dict()
        super().__init__(
            body,
            mean=[255 * value for value in config["mean"]],
            std=[255 * value for value in config["std"]],
            frozen_stages=frozen_stages,
            batch_norm=batch_norm,
        )
