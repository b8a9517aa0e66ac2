"""Shapes: pictures made from a seed, with as much overlap as one asks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8

from detector.data.annotations import Record, require_split
from detector.data.dataset import DetectionDataset
from detector.data.transform import Transform
from detector.errors import InputError

CLASS_NAMES = ["circle", "square", "triangle", "star", "cross", "ring"]
FINE = 4
"""Sub-pixels a side: edges are anti-aliased by counting FINE² of them."""
ANGLES = 64
UNIT = 4096
# Everything below is integer arithmetic on this table: equal seeds draw equal bytes on every platform.
SINE = np.round(np.sin(2 * np.pi * np.arange(ANGLES) / ANGLES) * UNIT).astype(np.int32)
COSINE = np.roll(SINE, -ANGLES // 4)
MIN_VISIBLE = 1 / 3
ATTEMPTS = 40


class Shapes(DetectionDataset):
    """Anti-aliased shapes of six classes on textured backgrounds, generated on the fly; nothing is on disk.

    Later shapes cover earlier ones, but every object keeps at least a third of its own area visible. Boxes are tight
    around the whole shape, its hidden part included.

    Args:
        splits: number of images of each split.
        split: which one this is; splits never share an image.
        size: (width, height) of the pictures in pixels.
        objects: fewest and most objects a picture; a picture too full for more stays with fewer.
        side: smallest and largest side of an object in pixels.
        crowding: 0 … 1. At 0 no two boxes touch; above, up to three quarters of the objects are set next to an earlier
            one of the same class and about the same size, the more of them and the closer the higher the value.
        new_each_epoch: splits whose pictures are new in every epoch and with every seed; the others keep theirs, so
            that runs of several seeds are tested on the same pictures.
        seed: of pictures that are new, and of the augmentation.
        transform, on_bad_sample: see `DetectionDataset`.
        class_names: those of the shapes, in their order; given only to check that a checkpoint knows the same.
    """

    def __init__(
        self, *, splits: dict[str, int], split: str, size: Sequence[int], objects: Sequence[int],
        side: Sequence[int], crowding: float, seed: int, transform: Transform, new_each_epoch: Sequence[str] = (),
        class_names: Sequence[str] | None = None, on_bad_sample: str = "skip",
    ):
        for name in (split, *new_each_epoch):
            require_split(splits, name)
        if not 0 <= crowding <= 1:
            raise InputError(f"data.dataset.crowding is {crowding}; it must lie between 0 (none) and 1 (heavy)")
        if class_names is not None and list(class_names) != CLASS_NAMES:
            raise InputError(f"shapes have the classes {CLASS_NAMES}, not {list(class_names)}")
        self.size, self.objects, self.side, self.crowding = tuple(size), tuple(objects), tuple(side), crowding
        self.first = list(splits).index(split) * 10_000_000
        self.new_each_epoch = split in new_each_epoch
        self.pictures_seed = seed if self.new_each_epoch else 0
        self.last: tuple[np.ndarray, Record] | None = None  # a sample asks for its record, then for its picture
        super().__init__(
            class_names=CLASS_NAMES, records=_Drawn(self, splits[split]), transform=transform,
            on_bad_sample=on_bad_sample, seed=seed,
        )

    def warn_of_unseen(self) -> None:
        """All classes are drawn, and only when asked for."""

    def record(self, epoch: int, index: int) -> Record:
        return self.draw(epoch * len(self) + index if self.new_each_epoch else index)[1]

    def read(self, record: Record) -> UInt8[np.ndarray, "H W 3"]:
        return self.draw(record.image_id)[0]

    def draw(self, number: int) -> tuple[UInt8[np.ndarray, "H W 3"], Record]:
        """Picture `number` and its ground truth."""
        if self.last is None or self.last[1].image_id != number:
            self.last = self._draw(number)
        return self.last

    def _draw(self, number: int) -> tuple[UInt8[np.ndarray, "H W 3"], Record]:
        random = np.random.default_rng([self.pictures_seed, self.first + number])
        width, height = self.size
        picture = _background(random, height, width)
        placed: list[_Shape] = []
        visible: list[Bool[np.ndarray, "h w"]] = []
        for _ in range(random.integers(self.objects[0], self.objects[1] + 1)):
            for _ in range(ATTEMPTS):
                shape = self._propose(random, placed)
                if shape is not None and self._fits(shape, placed, visible):
                    break
            else:
                break  # the picture is full
            for other, seen in zip(placed, visible):
                other.hide(seen, shape)
            placed.append(shape)
            visible.append(shape.mask > 0)
            shape.paint(picture, random)
        boxes = np.array([shape.box for shape in placed], dtype=np.float64).reshape(-1, 4)
        none = np.zeros(len(placed), dtype=bool)
        return np.ascontiguousarray(picture.transpose(1, 2, 0), dtype=np.uint8), Record(
            image_id=number, path=Path(f"shapes-{number}"), size=(height, width), boxes=boxes,
            labels=np.array([shape.label for shape in placed], dtype=np.int64), ignored=none, crowd=none,
            areas=(boxes[:, 2:] - boxes[:, :2]).prod(1),
        )

    def _propose(self, random: np.random.Generator, placed: list[_Shape]) -> _Shape | None:
        """A shape for the picture; None where its place is clearly taken or partly outside."""
        width, height = self.size
        if placed and random.integers(1000) < 750 * self.crowding:
            near = placed[random.integers(len(placed))]
            side = int(np.clip(near.side * random.integers(85, 116) // 100, self.side[0], self.side[1]))
            # from three quarters of a side at little crowding to a third of it at full crowding
            reach = max(2, near.side * (750 - round(400 * self.crowding)) // 1000)
            angle = int(random.integers(ANGLES))
            distance = random.integers(reach // 2, reach + 1)
            x = near.centre[0] + int(distance * COSINE[angle] // UNIT)
            y = near.centre[1] + int(distance * SINE[angle] // UNIT)
            label = near.label
        else:
            side = int(random.integers(self.side[0], self.side[1] + 1))
            x, y = int(random.integers(width)), int(random.integers(height))
            label = int(random.integers(len(CLASS_NAMES)))
        angle = int(random.integers(ANGLES))
        core = side // 4  # every shape covers at least this much around its centre: a cheap test before it is drawn
        if not (core <= x <= width - core and core <= y <= height - core):
            return None
        if self.crowding == 0 and any(
            b[0] - core < x < b[2] + core and b[1] - core < y < b[3] + core for b in (other.box for other in placed)
        ):
            return None
        return _Shape(label, side, (x, y), angle)

    def _fits(self, shape: _Shape, placed: list[_Shape], visible: list) -> bool:
        x1, y1, x2, y2 = shape.box
        if x1 < 0 or y1 < 0 or x2 > self.size[0] or y2 > self.size[1]:
            return False
        if self.crowding == 0:
            return all(x2 < b[0] or b[2] < x1 or y2 < b[1] or b[3] < y1 for b in (other.box for other in placed))
        for other, seen in zip(placed, visible):
            left = seen.copy()
            other.hide(left, shape)
            if left.sum() < MIN_VISIBLE * (other.mask > 0).sum():
                return False
        return True


class _Drawn(Sequence):
    """Records of pictures, each made when asked for."""

    def __init__(self, shapes: Shapes, length: int):
        self.shapes, self.length = shapes, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Record:  # type: ignore[override]  # without slices
        if not 0 <= number < self.length:
            raise IndexError(number)
        return self.shapes.draw(number)[1]


class _Shape:
    """One shape: its mask (0 … FINE²) over a box of whole pixels."""

    def __init__(self, label: int, side: int, centre: tuple[int, int], angle: int):
        self.label, self.side, self.centre = label, side, centre
        half = side * 3 // 5 + 1  # a square's corner reaches 0.57 sides from its centre
        axis = np.arange(-half * FINE, half * FINE, dtype=np.int32) * 2 + 1  # sub-pixel centres, in half sub-pixels
        y, x = axis[:, None], axis[None, :]
        u = (x * COSINE[angle] + y * SINE[angle]) // UNIT
        v = (y * COSINE[angle] - x * SINE[angle]) // UNIT
        inside = _inside(CLASS_NAMES[label], u, v, side * FINE)  # `side * FINE` half sub-pixels are half a side
        inside = reduce(np.add, (inside[row::FINE].astype(np.int32) for row in range(FINE)))
        fine = reduce(np.add, (inside[:, column::FINE] for column in range(FINE)))
        rows, columns = np.flatnonzero(fine.any(1)), np.flatnonzero(fine.any(0))
        self.mask: Int[np.ndarray, "h w"] = fine[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        x1, y1 = centre[0] - half + int(columns[0]), centre[1] - half + int(rows[0])
        self.box = (x1, y1, x1 + self.mask.shape[1], y1 + self.mask.shape[0])

    def hide(self, seen: Bool[np.ndarray, "h w"], cover: _Shape) -> None:
        """Take out of `seen` (over this shape's box) what `cover` hides."""
        x1, y1 = max(self.box[0], cover.box[0]), max(self.box[1], cover.box[1])
        x2, y2 = min(self.box[2], cover.box[2]), min(self.box[3], cover.box[3])
        if x1 < x2 and y1 < y2:
            mine = seen[y1 - self.box[1] : y2 - self.box[1], x1 - self.box[0] : x2 - self.box[0]]
            mine &= cover.mask[y1 - cover.box[1] : y2 - cover.box[1], x1 - cover.box[0] : x2 - cover.box[0]] == 0

    def paint(self, picture: Int[np.ndarray, "3 H W"], random: np.random.Generator) -> None:
        x1, y1, x2, y2 = self.box
        patch = picture[:, y1:y2, x1:x2]
        colour = random.integers(0, 256, 3)
        behind = patch.mean((1, 2)).astype(np.int64)
        if abs(colour - behind).sum() < 150:  # too like what lies behind it to be seen
            colour = (colour + 128) % 256
        grain = random.integers(-12, 13, self.mask.shape)
        painted = np.clip(colour[:, None, None] + grain, 0, 255).astype(np.int32)
        patch[:] = ((FINE**2 - self.mask) * patch + self.mask * painted) // FINE**2


def _inside(name: str, u: Int[np.ndarray, "_ _"], v: Int[np.ndarray, "_ _"], r: int) -> Bool[np.ndarray, "_ _"]:
    """Which points belong to an upright shape that fits a square of half side `r` around the origin."""
    if name == "circle":
        return u * u + v * v <= r * r
    if name == "ring":
        return (u * u + v * v <= r * r) & (u * u + v * v >= r * r * 3 // 10)
    if name == "square":
        return (abs(u) <= r * 4 // 5) & (abs(v) <= r * 4 // 5)
    if name == "cross":
        return ((abs(u) <= r // 3) & (abs(v) <= r)) | ((abs(v) <= r // 3) & (abs(u) <= r))
    if name == "triangle":
        return (v <= r // 2) & (abs(u) * 1000 <= (v + r) * 577)
    # a star: two opposite triangles
    upward = (v <= r // 2) & (abs(u) * 1000 <= (v + r) * 577)
    downward = (v >= -(r // 2)) & (abs(u) * 1000 <= (r - v) * 577)
    return upward | downward


def _background(random: np.random.Generator, height: int, width: int) -> Int[np.ndarray, "3 H W"]:
    """Coarse colour patches, blended, under fine noise."""
    cell = 24
    rows, columns = height // cell + 2, width // cell + 2
    coarse = random.integers(40, 216, (1, 1, 3)) + random.integers(-40, 41, (rows, columns, 3))
    coarse = np.ascontiguousarray(coarse.transpose(2, 0, 1), dtype=np.int32)
    y, x = np.arange(height, dtype=np.int32), np.arange(width, dtype=np.int32)
    fx = x % cell
    across = coarse[:, :, x // cell] * (cell - fx) + coarse[:, :, x // cell + 1] * fx  # every coarse row at full width
    fy = (y % cell)[:, None]
    smooth = (across[:, y // cell] * (cell - fy) + across[:, y // cell + 1] * fy) // cell**2
    return np.clip(smooth + random.integers(-14, 15, (height, width), dtype=np.int32), 0, 255)
