"""The loss that torchvision's FCOS is trained with."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.models.detection._utils import BoxLinearCoder
from torchvision.models.detection.fcos import FCOS, FCOSHead

from detector.errors import InputError
from detector.losses.set_loss import normalisers
from detector.types import FCOSPredictions, Locations, Target


class FCOSLoss:
    """Focal loss of every location, GIoU and centre-ness loss of the positive ones, with torchvision's assignment
    (Tian et al. 2019, section 3; GIoU and centre sampling: Tian et al. 2020).

    A location is positive for the smallest of the objects that hold it, whose centre is near, and whose farthest edge
    is 4 to 8 cells away; of the finest level those that are nearer too, of the coarsest those that are farther. An
    object that holds no centre of a cell teaches nothing: for tiny ones take a finer `proposals.finest_stride`. All
    terms are divided by the number of positive locations in the batch (`normalisers`).

    Args:
        centre_radius: how near the centre of its object a positive location lies, in cells along either side.

    Raises:
        InputError: the radius is not positive.
    """

    def __init__(self, *, centre_radius: float = 1.5):
        if centre_radius <= 0:
            raise InputError(f"loss.proposals.centre_radius is {centre_radius}; it must be above 0")
        # what torchvision's FCOS and its head have: their methods are called with this object in the place of both
        self.center_sampling_radius, self.head, self.box_coder = centre_radius, self, BoxLinearCoder()

    def __call__(
        self, dense: FCOSPredictions, locations: Locations, targets: list[Target]
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms `dense_class`, `dense_giou` and `dense_centreness`."""
        height, width = dense.canvas
        pixels = dense.boxes.new_tensor([width, height, width, height])  # cells are square in these
        objects = [{"boxes": target.boxes * pixels, "labels": target.labels} for target in targets]
        cells, counts = locations.cells() * pixels, [rows * columns for rows, columns in locations.shapes]
        terms = FCOS.compute_loss(self, objects, dense.outputs, [cells] * len(targets), counts)
        names = {"classification": "class", "bbox_regression": "giou", "bbox_ctrness": "centreness"}
        return {f"dense_{name}": terms[theirs] for theirs, name in names.items()}

    def compute_loss(
        self, targets: list[dict[str, Tensor]], outputs: dict[str, Tensor], cells: list[Float[Tensor, "L 4"]],
        objects: list[Int64[Tensor, "L"]],
    ) -> dict[str, Float[Tensor, ""]]:
        """What torchvision calls with its assignment, the object of each location, −1 for none; its terms, which it
        divides by the positive locations of this process, divided by the mean of all processes."""
        positive = (torch.stack(objects) >= 0).sum()
        together, _ = normalisers(positive, positive)  # by twos, as `keep_in_step` has it
        terms = FCOSHead.compute_loss(self, targets, outputs, cells, objects)
        return {name: term * positive.clamp(min=1) / together for name, term in terms.items()}
