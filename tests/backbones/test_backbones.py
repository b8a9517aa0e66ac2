from urllib.error import URLError

import pytest
import timm
import torch
from matplotlib import cbook
from PIL import Image

from detector.backbones.backbone import Backbone
from detector.backbones.efficientnet_lite0 import EfficientNetLite0, imagenet_weights
from detector.backbones.timm_cnn import TimmCNN
from detector.backbones.torchvision_cnn import TorchvisionCNN
from detector.errors import InputError

MILITARY_UNIFORM = 652


def bytes_of(image: Image.Image, size: int = 224) -> torch.Tensor:
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = torch.frombuffer(bytearray(image.crop((left, top, left + size, top + size)).tobytes()), dtype=torch.uint8)
    return pixels.view(1, size, size, 3).permute(0, 3, 1, 2)


def test_mapped_weights_know_a_picture():
    """Admiral Hopper wears a uniform; a wrong mapping or normalisation would not see it."""
    image = bytes_of(Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB"))
    classifier = timm.create_model("tf_efficientnet_lite0").eval()
    classifier.load_state_dict(imagenet_weights(classifier))
    backbone = EfficientNetLite0(weights="imagenet", frozen_stages=0, batch_norm="frozen")
    with torch.no_grad():
        normalised = (image.float() - backbone.mean) / backbone.std
        scores = classifier(normalised).softmax(1)[0]
        maps = backbone(image)
        deep = classifier.forward_intermediates(normalised, indices=[1, 2, 3, 4], intermediates_only=True)
    assert scores.argmax() == MILITARY_UNIFORM and scores.max() > 0.3
    for ours, theirs in zip(maps, deep):
        torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.max()), rtol=1e-4)


def test_weights_of_another_model_are_refused():
    with pytest.raises(ValueError, match="other shapes"):
        imagenet_weights(timm.create_model("tf_efficientnet_lite1"))


@pytest.mark.parametrize("stages, first_free", [(0, "conv_stem"), (3, "blocks.3"), (4, "blocks.5"), (5, None)])
def test_freezing_follows_the_maps(stages, first_free):
    backbone = EfficientNetLite0(weights=None, frozen_stages=stages, batch_norm="train")
    free = [name for name, p in backbone.body.named_parameters() if p.requires_grad]
    assert (free[0].startswith(first_free) if first_free else not free)
    everything = [name for name, _ in backbone.body.named_parameters()]
    assert free == everything[len(everything) - len(free) :]


def test_frozen_batch_norm_stays_as_it_is():
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    frozen = EfficientNetLite0(weights=None, frozen_stages=3, batch_norm="frozen")
    assert all(torch.equal(a, b) for a, b in zip(frozen.train()(image), frozen.eval()(image)))
    trained = EfficientNetLite0(weights=None, frozen_stages=3, batch_norm="train").train()
    before = {k: v.clone() for k, v in trained.named_buffers() if "running_mean" in k}
    trained(image)
    changed = [k for k, v in trained.named_buffers() if k in before and not torch.equal(v, before[k])]
    assert changed and all(k.split(".")[2] in "3456" for k in changed)  # body.blocks.3 …


@pytest.mark.parametrize("size", [(64, 64), (240, 320), (96, 33)])
def test_maps_have_the_declared_strides(size):
    backbone = EfficientNetLite0(weights=None, frozen_stages=0, batch_norm="frozen")
    for m, channels, stride in zip(
        backbone(torch.zeros(1, 3, *size, dtype=torch.uint8)), backbone.channels, backbone.strides
    ):
        assert m.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))


def test_wrong_options_are_named():
    with pytest.raises(InputError, match="frozen, train"):
        EfficientNetLite0(weights=None, frozen_stages=0, batch_norm="off")
    with pytest.raises(InputError, match="0 .* to 5"):
        EfficientNetLite0(weights=None, frozen_stages=6, batch_norm="frozen")
    nodes = ["relu", "layer1", "layer2", "layer3.0", "layer3.1"]
    with pytest.raises(InputError, match=r"strides \[2, 4, 8, 16, 16\]; the last four must be 4"):
        TorchvisionCNN(name="resnet18", nodes=nodes, weights=None, frozen_stages=0, batch_norm="frozen")


@pytest.mark.parametrize("name", ["regnety_002", "convnextv2_atto"])
def test_another_timm_model_needs_only_its_name(name):
    backbone = TimmCNN(name=name, weights=None, frozen_stages=2, batch_norm="frozen")
    assert backbone.strides == [4, 8, 16, 32] and len(backbone.channels) == 4
    with pytest.raises(InputError, match="no model 'resnet19'; similar ones: .*resnet18"):
        TimmCNN(name="resnet19", weights=None, frozen_stages=2, batch_norm="frozen")


def test_weights_that_cannot_be_fetched(monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(InputError, match="weights of resnet18 cannot be downloaded .*no network.*efficientnet_lite0"):
        TorchvisionCNN(
            name="resnet18", nodes=["relu", "layer1", "layer2", "layer3", "layer4"], weights="imagenet",
            frozen_stages=0, batch_norm="frozen",
        )


@pytest.mark.parametrize(
    "name, left", [("tf_efficientnet_lite0", 0), ("resnet18", 0), ("densenet121", 62), ("xception41p", 40)]
)
@pytest.mark.parametrize("mode", ["frozen", "train"])
def test_folded_batch_norms_change_no_map(name, left, mode):
    """DenseNet normalises what it joins, Xception keeps the convolution's output for later: those stay."""
    torch.manual_seed(0)
    body = timm.create_model(name, features_only=True).eval()
    for norm in (m for m in body.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.3), norm.running_var.uniform_(0.5, 2)
        norm.weight.data.uniform_(0.5, 1.5), norm.bias.data.normal_(0, 0.3)
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    expected = [m.detach() for m in body((image - 127.0) / 128.0)[-4:]]
    backbone = Backbone(body, mean=[127.0] * 3, std=[128.0] * 3, frozen_stages=2, batch_norm=mode).eval()
    for ours, theirs in zip(backbone(image), expected):
        torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.max()), rtol=1e-4)
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    trained = sum(m.weight.requires_grad for m in norms)
    assert (trained == 0 and len(norms) == left) if mode == "frozen" else trained > 10
