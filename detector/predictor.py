"""A trained detector to use from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from detector.data.dataset import read_image
from detector.data.transform import Transform
from detector.detections import Detections
from detector.errors import InputError
from detector.model import Detector
from detector.postprocess import detections_of
from detector.types import Output

Picture = str | Path | Image.Image | np.ndarray


class Predictor:
    """Finds objects in pictures.

    Args:
        detector: a trained network.
        class_names: names of its labels.
        canvas: (width, height) it was trained on.
        thresholds: of each class, the lowest score of a detection where none is asked for.
    """

    def __init__(
        self, detector: Detector, *, class_names: list[str], canvas: tuple[int, int], thresholds: Sequence[float]
    ):
        self.detector, self.class_names = detector.eval(), class_names
        self.thresholds = torch.tensor(thresholds, dtype=torch.float32)
        self.resize = Transform(canvas=canvas)

    @overload  # a str is a sequence of them, too
    def predict(self, images: Picture, threshold: float | None = ...) -> Detections: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, images: Sequence[Picture], threshold: float | None = ...) -> list[Detections]: ...
    @torch.inference_mode()
    def predict(
        self, images: Picture | Sequence[Picture], threshold: float | None = None
    ) -> Detections | list[Detections]:
        """Detect.

        Args:
            images: a file, a PIL image or an RGB array (height × width × 3, bytes; without the last, grey), or
                a list of those.
            threshold: lowest score of a detection; None: for each class the one with the best F1 on the validation
                images of the training run.

        Returns:
            One `Detections` an image, in original pixels, its boxes in the order of the sequence; a list of
            them for a list.

        Raises:
            InputError: a file does not exist or is not an image.
        """
        if isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
            return self.predict([images], threshold)[0]
        pictures = [array_of(image) for image in images]
        if not pictures:
            return []
        return self.detections(self.output(pictures), [picture.shape[:2] for picture in pictures], threshold)

    @torch.inference_mode()
    def output(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Output:
        """All that the detector computes for RGB pictures of any size."""
        no_objects = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
        canvases = torch.stack([self.resize(picture, *no_objects, seed=0)[0] for picture in pictures])
        return self.detector(canvases.to(next(self.detector.parameters()).device))

    def detections(
        self, output: Output, sizes: Sequence[tuple[int, int]], threshold: float | None = None
    ) -> list[Detections]:
        """What `predict` returns, from what `output` returned; `sizes` are the pictures' (height, width)."""
        found = []
        for detections in detections_of(output.stages[-1], list(sizes)):
            detections = detections.cpu()
            lowest = self.thresholds[detections.labels] if threshold is None else threshold
            detections.names = [self.class_names[label] for label in detections.labels.tolist()]
            found.append(detections[detections.scores >= lowest])
        return found


def array_of(image: Picture) -> UInt8[np.ndarray, "H W 3"]:
    """A picture as RGB bytes, of a file upright.

    Raises:
        InputError: a file does not exist or is not an image, or an array is no picture.
    """
    if isinstance(image, (str, Path)):
        return read_image(Path(image))
    if not isinstance(image, Image.Image):
        pixels = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim > 1
        if not pixels or image.shape[2:] not in ((), (3,), (4,)):
            found = f"{image.dtype}, {'×'.join(map(str, image.shape))}" if hasattr(image, "shape") else "nothing of it"
            raise InputError(
                f"{type(image).__name__} ({found}) is no picture; give a file, a PIL image, or a NumPy array of bytes "
                "(uint8), rows × columns or rows × columns × 3 (RGB)"
            )
        image = Image.fromarray(image)
    return np.asarray(image.convert("RGB"))
