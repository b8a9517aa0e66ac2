"""A trained classifier to use from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from detector.classification.classifier import Classifier
from detector.classification.data.preprocessing import Preprocessing
from detector.classification.named import Named
from detector.classification.pictures.as_picture import as_picture
from detector.predictor import Picture, array_of


class Namer:
    """Names what pictures show.

    Args:
        classifier: a trained network.
        class_names: names of its labels.
        preprocessing: what its images went through, but for augmentation.
    """

    def __init__(self, classifier: Classifier, *, class_names: list[str], preprocessing: Preprocessing):
        self.classifier, self.class_names, self.preprocessing = classifier.eval(), class_names, preprocessing

    @overload  # a str is a sequence of them, too
    def predict(self, images: Picture) -> Named: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, images: Sequence[Picture]) -> list[Named]: ...
    @torch.inference_mode()
    def predict(self, images: Picture | Sequence[Picture]) -> Named | list[Named]:
        """Name.

        Args:
            images: a file, a PIL image or an RGB array (height × width × 3, bytes; without the last, grey), or
                a list of those.

        Returns:
            One `Named` an image; a list of them for a list.

        Raises:
            InputError: a file does not exist or is not an image.
        """
        if isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
            return self.predict([images])[0]
        if not len(images):
            return []
        prepared = torch.stack([self.preprocessing(array_of(image), seed=0) for image in images])
        device = next(self.classifier.parameters()).device
        beliefs = self.classifier.beliefs(prepared.to(device)).softmax(-1).cpu()
        return [Named(one, self.class_names) for one in beliefs]

    def as_given(self, image: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """An RGB picture as the network is given it: three channels as if they were red, green and blue, one as
        grey."""
        return as_picture(self.preprocessing(image, seed=0))
