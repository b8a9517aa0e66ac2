"""What a classifier answered, image by image: all figures follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, Int64

from detector.errors import InputError


@dataclass
class Answers:
    """Class probabilities of N images after each of T steps, and what they show."""

    image_ids: Int64[np.ndarray, "N"]
    labels: Int64[np.ndarray, "N"]
    beliefs: Float[np.ndarray, "N T C"]
    """Probabilities if reading stopped at each step; after the last, the answer."""

    @property
    def probabilities(self) -> Float[np.ndarray, "N C"]:
        """After the last step."""
        return self.beliefs[:, -1]

    @property
    def predicted(self) -> Int64[np.ndarray, "N"]:
        """The most probable class."""
        return self.probabilities.argmax(-1)

    def accuracy(self, weights: Int64[np.ndarray, "R N"] | None = None) -> Float[np.ndarray, "R"]:
        """The share of images named rightly.

        Args:
            weights: how often each image counts in each of R resamples; None: each once, R = 1.
        """
        right = (self.predicted == self.labels).astype(np.float64)
        weights = np.ones((1, len(right)), dtype=np.int64) if weights is None else weights
        return weights @ right / np.maximum(weights.sum(1), 1)

    def macro_accuracy(self, weights: Int64[np.ndarray, "R N"] | None = None) -> Float[np.ndarray, "R"]:
        """The mean over classes of the share of their images that are named rightly; classes of which a resample holds
        no image are left out of it."""
        right = self.predicted == self.labels
        weights = np.ones((1, len(right)), dtype=np.int64) if weights is None else weights
        of_class = np.eye(self.beliefs.shape[-1])[self.labels]
        counted, named = weights @ of_class, weights @ (of_class * right[:, None])
        shares = np.divide(named, counted, out=np.full(counted.shape, np.nan), where=counted > 0)
        return np.nanmean(shares, axis=1)

    def save(self, file: Path) -> None:
        np.savez_compressed(file, image_ids=self.image_ids, labels=self.labels, beliefs=self.beliefs)

    @classmethod
    def load(cls, file: Path) -> Answers:
        """What `save` wrote.

        Raises:
            InputError: there is no such file, or it is something else.
        """
        try:
            with np.load(file) as arrays:
                return cls(arrays["image_ids"], arrays["labels"], arrays["beliefs"])
        except (OSError, EOFError, BadZipFile, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file} cannot be read ({error}); test the run again") from error


class AnswerCollector:
    """Gathers answers over batches and processes, each image once."""

    def __init__(self):
        self.rows: dict[int, tuple[int, Float[np.ndarray, "T C"]]] = {}

    def update(
        self, image_ids: list[int], labels: Int64[torch.Tensor, "B"], logits: Float[torch.Tensor, "B T C"]
    ) -> None:
        """Add the answers to some images.

        Args:
            logits: after each step.
        """
        probabilities = logits.detach().double().softmax(-1).cpu().numpy()
        for image_id, label, belief in zip(image_ids, labels.tolist(), probabilities):
            self.rows[int(image_id)] = (label, belief)

    def gather(self) -> None:
        """Share what every process has seen with all of them."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shares: list[dict] = [{} for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(shares, self.rows)
            self.rows = {image_id: row for share in shares for image_id, row in share.items()}

    def answers(self) -> Answers:
        """In order of their numbers.

        Raises:
            InputError: no image could be read.
        """
        if not self.rows:
            raise InputError("not one image could be read; the reasons are above")
        ids = sorted(self.rows)
        return Answers(
            np.array(ids, dtype=np.int64), np.array([self.rows[one][0] for one in ids], dtype=np.int64),
            np.stack([self.rows[one][1] for one in ids]),
        )
