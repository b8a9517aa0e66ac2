"""Scikit-learn's handwritten digits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from detector.classification.data.dataset import ClassificationDataset, Example, part
from detector.classification.data.preprocessing import Preprocessing
from detector.errors import InputError


class Digits(ClassificationDataset):
    """1,797 handwritten digits of 8×8 pixels, white on black; scikit-learn brings them, nothing is fetched.

    Args:
        splits: where in a shuffle each split begins and ends, see `part`.
        split: which one this is.
        class_names: "0" … "9"; given only to check that a checkpoint knows the same.
        transform, on_bad_sample, seed: see `ClassificationDataset`.

    Raises:
        InputError: scikit-learn is missing.
    """

    def __init__(
        self, *, splits: dict, split: str, transform: Preprocessing, class_names: Sequence[str] | None = None,
        on_bad_sample: str = "skip", seed: int = 0,
    ):
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise InputError(
                f"the digits come with scikit-learn, which cannot be imported ({error}); pip install scikit-learn (the "
                "extra `digits`)"
            ) from error
        found = load_digits()
        names = [str(name) for name in found.target_names]
        if class_names is not None and list(class_names) != names:
            raise InputError(f"the digits have the classes {names}, not {list(class_names)}")
        examples = [Example(number, int(label), f"digit #{number}") for number, label in enumerate(found.target)]
        self.pixels = np.round(found.images * (255 / 16)).astype(np.uint8)
        super().__init__(
            class_names=names, records=part(examples, splits, split), transform=transform,
            on_bad_sample=on_bad_sample, seed=seed,
        )

    def read(self, record: Example) -> UInt8[np.ndarray, "8 8 3"]:
        return np.stack([self.pixels[record.image_id]] * 3, axis=-1)
