"""The same few validation images, drawn as training goes on."""

from __future__ import annotations

from pathlib import Path

import lightning
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from detector.errors import InputError
from detector.pictures.drawing import side_by_side
from detector.predictor import Predictor


class SamplePictures(lightning.Callback):
    """Writes `val_IMAGE_epoch_NUMBER.png`, ground truth beside prediction, and shows the same in TensorBoard.

    Args:
        folder: where to.
        images: how many, evenly from the validation split.
        every: at every so manieth validation.
        threshold: lowest score drawn.
    """

    def __init__(self, *, folder: str, images: int = 4, every: int = 1, threshold: float = 0.4):
        self.folder, self.images, self.every, self.threshold = Path(folder), images, every, threshold
        self.validations = 0

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        self.validations += 1
        if trainer.sanity_checking or (self.validations - 1) % self.every:
            return
        dataset = trainer.datamodule.val  # type: ignore[attr-defined]  # Lightning sets it
        predictor = Predictor(
            task.detector,  # type: ignore[arg-type]  # nn.Module says Tensor | Module
            class_names=dataset.class_names, canvas=dataset.transform.canvas,
            thresholds=[self.threshold] * len(dataset.class_names),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        for index in np.linspace(0, len(dataset) - 1, min(self.images, len(dataset))).round().astype(int).tolist():
            record = dataset.records[index]
            try:
                image = dataset.read(record)
            except InputError:
                continue  # named when it is validated
            picture = side_by_side(
                image, record.boxes.tolist(), record.labels.tolist(), dataset.class_names, predictor.predict(image)
            )
            picture.save(self.folder / f"val_{record.image_id}_epoch_{trainer.current_epoch + 1}.png")
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_image(
                        f"val/{record.image_id}", np.asarray(picture), trainer.global_step, dataformats="HWC"
                    )
