"""What a frozen detector makes of the training images, kept on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from detector.errors import InputError
from detector.types import Batch, Locations, Predictions, Seen, SeenBatch, Target


class SceneCache(Dataset):
    """What a frozen detector makes of some epochs of augmented images, read from disk.

    An item is asked for by `(epoch, index)`, as of `DetectionDataset`; after the last epoch that there is comes the
    first. `scenes.bin` holds a record an image, read when it is asked for (mapped, it would count as memory in use);
    `index.pt` holds the rest and is written last: where there is one, the cache is complete.

    Args:
        folder: that `fill` has filled.
    """

    def __init__(self, folder: Path):
        index = torch.load(folder / "index.pt", weights_only=True)
        self.file, self.kind = folder / "scenes.bin", np.dtype(index["fields"], align=True)
        self.locations = Locations(index["centres"], index["strides"], index["shapes"])
        self.canvas = index["canvas"]
        self.targets = [
            Target(*values) for values in zip(
                index["boxes"].split(index["objects"]), index["labels"].split(index["objects"]), index["image_ids"],
                index["sizes"],
            )
        ]
        self.counts = index["counts"]
        """Images of each epoch; those that could not be read are in none."""

    @staticmethod
    def complete(folder: Path) -> bool:
        """Whether `fill` has come to its end there."""
        return (folder / "index.pt").exists()

    @staticmethod
    def fill(
        folder: Path, loader: DataLoader, look: Callable[[Tensor], Seen], *, epochs: int, gigabytes: float,
        note: Callable[[list[str]], None],
    ) -> None:
        """Make the files.

        Args:
            folder: where to, new.
            loader: of the images in order.
            look: the first half of a detector, with images on the CPU.
            epochs: how many to keep.
            gigabytes: the most to write.
            note: is told why images could not be used.

        Raises:
            InputError: there is no room, or no image can be read.
        """
        folder.mkdir(parents=True)
        targets, counts = list[Target](), [0] * epochs
        steps = track(_epochs(loader, epochs), "what the detector sees", epochs * len(loader))
        with (folder / "scenes.bin").open("wb") as file:
            for epoch, (batch, reasons) in steps:
                note(reasons)
                if not len(batch):
                    continue
                seen = look(batch.images)
                records = _records(seen)
                if not targets:
                    needed = records.itemsize * epochs * len(loader.dataset)  # type: ignore[arg-type]  # it has a length
                    _require_room(folder, needed, gigabytes)
                records.tofile(file)
                targets += batch.targets
                counts[epoch] += len(batch)
        if not all(counts):
            raise InputError("no image of the training split can be read; correct data.dataset.root or the images")
        kind = records.dtype
        torch.save({
            "fields": [(name, kind[name].base.str, kind[name].shape) for name in kind.names or ()],
            "centres": seen.locations.centres.cpu(), "strides": seen.locations.strides.cpu(),
            "shapes": seen.locations.shapes, "canvas": seen.canvas, "counts": counts,
            "boxes": torch.cat([target.boxes for target in targets]),
            "labels": torch.cat([target.labels for target in targets]),
            "objects": [len(target.labels) for target in targets],
            "image_ids": [target.image_id for target in targets], "sizes": [target.size for target in targets],
        }, folder / "index.new")
        (folder / "index.new").rename(folder / "index.pt")

    def __len__(self) -> int:
        return min(self.counts)

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.void, Target]:
        epoch, index = key
        row = sum(self.counts[: epoch % len(self.counts)]) + index
        return np.fromfile(self.file, self.kind, count=1, offset=row * self.kind.itemsize)[0], self.targets[row]

    def collate(self, scenes: list[tuple[np.void, Target]]) -> tuple[SeenBatch, list[str]]:
        """A batch in float32, and why samples could not be used: that was said when the cache was filled."""
        boxes, logits, *pyramid = (
            torch.from_numpy(np.stack([record[name] for record, _ in scenes])).float()
            for name in self.kind.names or ()
        )
        seen = Seen(pyramid, Predictions(logits, boxes), self.locations, self.canvas)
        return SeenBatch(seen, [target for _, target in scenes]), []


def _epochs(loader: DataLoader, epochs: int) -> Iterator[tuple[int, tuple[Batch, list[str]]]]:
    for epoch in range(epochs):
        loader.sampler.epoch = epoch  # type: ignore[attr-defined]  # an `EpochSampler`
        for loaded in loader:
            yield epoch, loaded


def _records(seen: Seen) -> np.ndarray:
    """A batch as an array of records.

    Half floats round by up to a two-thousandth. Mixed precision in bfloat16 takes more from maps and logits; of an edge
    near the right border it would be up to a tenth of a pixel of 320, and boxes are a small part of it all: they stay
    in float32.
    """
    values = {"boxes": seen.dense.boxes.float(), "logits": seen.dense.logits.half()}
    values |= {f"level_{number}": level.half() for number, level in enumerate(seen.pyramid)}
    arrays = {name: value.cpu().numpy() for name, value in values.items()}
    fields = [(name, array.dtype.str, array.shape[1:]) for name, array in arrays.items()]
    records = np.empty(len(seen.dense.boxes), np.dtype(fields, align=True))
    for name, array in arrays.items():
        records[name] = array
    return records


def _require_room(folder: Path, needed: int, gigabytes: float) -> None:
    free = shutil.disk_usage(folder).free
    if needed > min(free, 1e9 * gigabytes):
        limit = f"the {free / 1e9:.2g} GB free in {folder}" if needed > free else f"cache.gigabytes={gigabytes}"
        raise InputError(
            f"what the detector sees of the training images takes {needed / 1e9:.2g} GB, more than {limit}: lower "
            "cache.epochs, raise cache.gigabytes, give cache.folder on a larger disk, or fewer images to train"
        )
