"""A picture of the first training batch, as the detector sees it."""

from __future__ import annotations

from pathlib import Path

import lightning
from lightning.pytorch.utilities import rank_zero_only

from detector.pictures.drawing import class_colours, draw_boxes, sheet
from detector.types import Batch, SeenBatch


class BatchPicture(lightning.Callback):
    """Writes `first_batch.png`: augmented canvases with their boxes.

    Args:
        folder: where to.
        images: at most so many.
    """

    def __init__(self, *, folder: str, images: int = 8):
        self.folder, self.images = Path(folder), images

    @rank_zero_only
    def on_train_batch_start(
        self, trainer: lightning.Trainer, task: lightning.LightningModule, loaded: tuple[Batch | SeenBatch, list[str]],
        index: int,
    ) -> None:
        batch, _ = loaded
        if trainer.global_step or index or not len(batch) or isinstance(batch, SeenBatch):
            return
        height, width = batch.images.shape[-2:]
        names = trainer.datamodule.class_names  # type: ignore[attr-defined]  # Lightning sets it
        pictures = []
        for image, target in zip(batch.images[: self.images].cpu(), batch.targets):
            boxes = (target.boxes.cpu() * target.boxes.new_tensor([width, height, width, height]).cpu()).tolist()
            labels = target.labels.tolist()
            texts = [names[label] for label in labels]
            canvas = image.permute(1, 2, 0).numpy()
            pictures.append(draw_boxes(canvas, boxes, class_colours(labels), texts, longer_side=480))
        self.folder.mkdir(parents=True, exist_ok=True)
        sheet(pictures, columns=4).save(self.folder / "first_batch.png")
