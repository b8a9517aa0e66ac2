"""What was made of an image."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass
class Named:
    """The class probabilities of an image after each of T steps, the last ones being the answer."""

    beliefs: Float[Tensor, "T C"]
    """If reading stopped at each step."""
    names: list[str]
    """Of the C classes."""

    @property
    def probabilities(self) -> Float[Tensor, "C"]:
        """After the last step."""
        return self.beliefs[-1]

    @property
    def name(self) -> str:
        """Of the most probable class."""
        return self.names[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        """Of that class."""
        return float(self.probabilities.max())

    def by_name(self) -> dict[str, float]:
        """The probability of each class, the most probable first."""
        pairs = zip(self.names, self.probabilities.tolist())
        return dict(sorted(pairs, key=lambda pair: -pair[1]))
