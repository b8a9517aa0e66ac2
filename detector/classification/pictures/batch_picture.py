"""A picture of the first training batch, as the classifier sees it."""

from __future__ import annotations

from pathlib import Path

import lightning
from lightning.pytorch.utilities import rank_zero_only

from detector.classification.labelled_images import LabelledImages
from detector.classification.pictures.as_picture import as_picture
from detector.classification.pictures.captioned import captioned
from detector.pictures.drawing import sheet


class BatchPicture(lightning.Callback):
    """Writes `first_batch.png`: augmented and prepared images with their classes.

    Args:
        folder: where to.
        images: at most so many.
    """

    def __init__(self, *, folder: str, images: int = 16):
        self.folder, self.images = Path(folder), images

    @rank_zero_only
    def on_train_batch_start(
        self, trainer: lightning.Trainer, task: lightning.LightningModule, loaded: tuple[LabelledImages, list[str]],
        index: int,
    ) -> None:
        batch, _ = loaded
        if trainer.global_step or index or not len(batch):
            return
        names = trainer.datamodule.class_names  # type: ignore[attr-defined]  # Lightning sets it
        pictures = [
            captioned(as_picture(image), names[label])
            for image, label in zip(batch.images[: self.images].cpu(), batch.labels.tolist())
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        sheet(pictures, columns=8).save(self.folder / "first_batch.png")
