"""Frozen batch-norms folded into the convolutions before them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def batch_norms(body: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [module for module in body.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@torch.no_grad()
def folded(body: nn.Module, image: Tensor) -> nn.Module:
    """A copy in which frozen batch-norms that read a convolution's output have gone into its weights and bias."""
    body = copy.deepcopy(body)
    wrote: dict[int, tuple[Tensor, nn.Conv2d]] = {}  # the outputs are kept: an id may be given away again
    pairs: dict[nn.Module, nn.Conv2d] = {}

    def note(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            wrote[id(output)] = output, module
        elif id(inputs[0]) in wrote and not module.weight.requires_grad:
            pairs[module] = wrote[id(inputs[0])][1]

    hooks = [module.register_forward_hook(note) for module in body.modules() if isinstance(module, nn.Conv2d)]
    hooks += [norm.register_forward_hook(note) for norm in batch_norms(body)]
    body(image)
    for hook in hooks:
        hook.remove()
    for name, norm in list(body.named_modules()):
        if norm in pairs:
            conv = pairs[norm]
            weight, bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
            conv.weight.copy_(weight)
            conv.bias = nn.Parameter(bias, requires_grad=False)
            body.set_submodule(name, getattr(norm, "act", nn.Identity()))  # timm's batch-norms end in an activation
    return body
