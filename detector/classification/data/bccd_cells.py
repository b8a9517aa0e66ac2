"""The annotated objects of a data set in Pascal VOC's format, such as BCCD's blood cells, each as an image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from detector.classification.data.dataset import ClassificationDataset, Example
from detector.classification.data.preprocessing import Preprocessing
from detector.data.transform import Transform
from detector.data.voc import VOC
from detector.errors import InputError


class BCCDCells(ClassificationDataset):
    """Every object that is not ignored, cut out of its picture; a picture is opened once, its crops stay in memory.

    A crop is the box with its margin, rounded outwards to whole pixels and clipped to the picture: at least one pixel.
    Images are numbered through, picture by picture.

    Args:
        margin: share of the box's width and height that is added on each side.
        square: extend the crop to a square of its longer side around its centre, moved into the picture where it leaves
            it, and clipped where the picture is smaller.
        root, splits, split, class_names, one_based, unknown_classes, how_to_get: see `VOC`.
        transform, on_bad_sample, seed: see `ClassificationDataset`.
    """

    def __init__(
        self, *, root: str, splits: dict, split: str, transform: Preprocessing,
        class_names: Sequence[str] | None = None, margin: float = 0.1, square: bool = False, one_based: bool = False,
        unknown_classes: str = "raise", on_bad_sample: str = "skip", seed: int = 0,
        how_to_get: str = "set data.dataset.root (tools/eval.py: root)",
    ):
        if not 0 <= margin < math.inf:
            raise InputError(f"data.dataset.margin is {margin}; it must be a share of the box's sides, at least 0")
        self.pictures = VOC(
            root=root, splits=splits, split=split, class_names=class_names, one_based=one_based,
            transform=Transform(canvas=(32, 32)),  # never used: the pictures stay as they are
            unknown_classes=unknown_classes, on_bad_sample=on_bad_sample, how_to_get=how_to_get,
        )
        self.places: list[tuple[int, int]] = []
        """Of each image its picture, and which crop of that it is."""
        self.edges: list[list[tuple[int, int, int, int]]] = []
        self.crops: dict[int, list[UInt8[np.ndarray, "_ _ 3"]]] = {}
        examples: list[Example] = []
        for picture, record in enumerate(self.pictures.records):
            use = ~record.ignored
            self.edges.append([crop_of(box, record.size, margin=margin, square=square) for box in record.boxes[use]])
            for number, label in enumerate(record.labels[use]):
                name = f"{record.path.name} #{number + 1}"
                examples.append(Example(len(examples), int(label), name, record.path))
                self.places.append((picture, number))
        super().__init__(
            class_names=self.pictures.class_names, records=examples, transform=transform,
            on_bad_sample=on_bad_sample, seed=seed,
        )

    def read(self, record: Example) -> UInt8[np.ndarray, "_ _ 3"]:
        """The crop.

        Raises:
            InputError: its picture does not open, or is not as large as its annotation says.
        """
        picture, number = self.places[record.image_id]
        if picture not in self.crops:
            pixels = self.pictures.read(self.pictures.records[picture])
            self.crops[picture] = [  # copies, as views would keep the whole picture
                pixels[top:bottom, left:right].copy() for left, top, right, bottom in self.edges[picture]
            ]
        return self.crops[picture][number]


def crop_of(
    box: Float[np.ndarray, "4"], size: tuple[int, int], *, margin: float, square: bool
) -> tuple[int, int, int, int]:
    """The pixels to cut out, (left, top, right, bottom), of a picture of `size` (height, width); see `BCCDCells`."""
    edges = []
    for low, high, length in zip(box[:2].tolist(), box[2:].tolist(), reversed(size)):
        wide = margin * (high - low)
        edges.append((max(math.floor(low - wide), 0), min(math.ceil(high + wide), length)))
    if square:
        side = max(stop - start for start, stop in edges)
        for axis, length in enumerate(reversed(size)):
            start, stop = edges[axis]
            start = max(min(start - (side - (stop - start)) // 2, length - side), 0)
            edges[axis] = (start, min(start + side, length))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom
