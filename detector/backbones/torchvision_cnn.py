"""Any CNN of torchvision."""

from __future__ import annotations

import warnings

import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from detector.backbones.backbone import Backbone
from detector.backbones.downloading import downloading

IMAGENET_MEAN = [123.675, 116.28, 103.53]
IMAGENET_STD = [58.395, 57.12, 57.375]


class TorchvisionCNN(Backbone):
    """A CNN of `torchvision.models` by its name.

    Args:
        name: as in `torchvision.models.list_models()`.
        nodes: the five layers whose outputs have strides 2, 4, 8, 16, 32, named as in
            `torchvision.models.feature_extraction.get_graph_node_names`.
        weights: `imagenet` downloads torchvision's default weights; None starts from scratch.
        frozen_stages, batch_norm: see `Backbone`.
    """

    def __init__(self, *, name: str, nodes: list[str], weights: str | None, frozen_stages: int, batch_norm: str):
        with downloading(name):
            model = torchvision.models.get_model(name, weights=None if weights is None else "DEFAULT")
        with warnings.catch_warnings():  # the extractor compares nodes of training and evaluation, alike in a CNN
            warnings.simplefilter("ignore", UserWarning)
            extractor = create_feature_extractor(model, return_nodes=list(nodes))
        super().__init__(
            _Values(extractor), mean=IMAGENET_MEAN, std=IMAGENET_STD, frozen_stages=frozen_stages, batch_norm=batch_norm
        )


class _Values(nn.Module):
    """The extractor's maps as a list, shallow to deep."""

    def __init__(self, extractor: nn.Module):
        super().__init__()
        self.extractor = extractor

    def forward(self, images):
        return list(self.extractor(images).values())
