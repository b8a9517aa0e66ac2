"""Processes that train together: their gradients, averaged, are those of one process that sees the whole batch."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import torch
import torch.distributed as distributed
from test_losses import set_loss
from torch import Tensor, nn

from detector.losses.dense_loss import DenseLoss
from detector.losses.fcos_loss import FCOSLoss
from detector.losses.set_loss import keep_in_step, normalisers
from detector.losses.varifocal import Varifocal
from detector.matchers.task_aligned import TaskAligned
from detector.model import Detector
from detector.training.task import Task
from detector.types import Batch, FCOSPredictions, Locations, Output, Scene, StagePredictions, Target

OBJECTS = (4, 0, 1)
"""In each image."""
SHARES = (slice(0, 1), slice(1, 3))
"""The images of each process."""
DENSE_LOSSES = (
    DenseLoss(assigner=TaskAligned(top=3, beta=2.0), class_loss=Varifocal(), class_weight=1, giou_weight=2), FCOSLoss()
)


def test_of_one_process():
    assert [one.item() for one in normalisers(torch.tensor(0.4), torch.tensor(3))] == [1, 3]
    keep_in_step(2, torch.device("cpu"))  # waits for nobody


class ByHeart(Detector):
    """Predicts for each image what it has learnt for it: an intermediate stage, a last one with a loss of its own, and
    the dense head or FCOS."""

    def __init__(self):
        nn.Module.__init__(self)
        generator = torch.Generator().manual_seed(0)
        grid = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="xy"), -1).flatten(0, 1)
        grid = grid / 4 + 0.125
        self.locations = Locations(grid, torch.full((16, 2), 0.25), [(4, 4)])
        self.logits = nn.Parameter(torch.randn(3, len(OBJECTS), 16, 2, generator=generator))
        self.boxes = nn.Parameter(torch.cat([grid - 0.15, grid + 0.15], -1).repeat(3, len(OBJECTS), 1, 1))
        self.decoder = nn.Module()

    def forward(self, images: Tensor, targets: list[Target]) -> Output:
        ids = [target.image_id for target in targets]
        first, last, dense = (
            StagePredictions(logits[ids], boxes[ids]) for logits, boxes in zip(self.logits, self.boxes)
        )
        first.one_to_many, last.stop, last.losses["pointer"] = True, last.logits[..., 0], last.logits.exp().sum()
        edges, centreness = dense.boxes.exp(), dense.logits[..., :1]
        outputs = {"cls_logits": dense.logits, "bbox_regression": edges, "bbox_ctrness": centreness}
        fcos = FCOSPredictions(dense.logits, dense.boxes, outputs, (96, 96))
        return Output(Scene([], dense, self.locations, dense, (96, 128)), fcos, [first, last])


def gradients(images: slice, dense_loss: Callable) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    low = [torch.rand(count, 2, generator=generator) * 0.6 for count in OBJECTS]
    targets = [
        Target(torch.cat([one, one + 0.3], 1), torch.arange(len(one)) % 2, number, (96, 128))
        for number, one in enumerate(low)
    ][images]
    one_to_one = set_loss()
    one_to_one.positive_iou = 0.3
    task = Task(
        ByHeart(), metric_backend="pycocotools", max_detections=100, nms_threshold=0.6, seed=0, run={},
        set_loss=one_to_one, dense_loss=dense_loss,
    )
    batch = Batch(torch.zeros(len(targets), 3, 96, 128, dtype=torch.uint8), targets)
    loss = sum(task.losses(batch).values()) if targets else task.training_step((batch, ["does not open"]), 0)
    loss.backward()
    return [parameter.grad for parameter in task.parameters()]


def process(rank: int, folder) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    by_hand = [one.item() for one in normalisers(torch.tensor((0.4, 0.0)[rank]), torch.tensor((1, 6)[rank]))]
    with torch.no_grad():  # as in validation, where the first process can have a batch more
        alone = normalisers(torch.tensor(3.0))[0].item() if rank == 0 else 3
    shared = [gradients(SHARES[rank], loss) for loss in DENSE_LOSSES]
    one_is_empty = [gradients((SHARES[0], slice(0, 0))[rank], loss) for loss in DENSE_LOSSES]
    torch.save((by_hand, alone, shared, one_is_empty), folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_of_two_processes(tmp_path):
    torch.multiprocessing.spawn(process, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first[0] == second[0] == [0.5, 3.5]  # there is less than 1 of the former in all: half of 1 for each
    assert first[1] == second[1] == 3
    for number, images in ((2, slice(None)), (3, SHARES[0])):
        for mine, others, loss in zip(first[number], second[number], DENSE_LOSSES, strict=True):
            for one, other, whole in zip(mine, others, gradients(images, loss), strict=True):
                assert whole.abs().sum() > 0
                torch.testing.assert_close((one + other) / 2, whole, rtol=1e-4, atol=1e-7)
