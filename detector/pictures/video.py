"""Detecting in videos."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from rich.progress import Progress

from detector.detections import Detections
from detector.errors import InputError
from detector.pictures.drawing import draw
from detector.predictor import Predictor

log = logging.getLogger(__name__)
ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


def detect_in_video(
    file: Path, drawn: Path, predictor: Predictor, *, threshold: float | None, batch_size: int, longer_side: int = 640
) -> Iterator[Detections]:
    """Read a video and write it with its detections.

    A video that ends too early is done up to its end, with a warning; where this is interrupted, what was drawn until
    then can be played.

    Args:
        file: the video.
        drawn: MP4 to write.
        predictor: detects.
        threshold: see `Predictor.predict`.
        batch_size: frames detected together.
        longer_side: smaller frames are enlarged to it.

    Yields:
        What was found in each frame.

    Raises:
        InputError: not one frame can be read.
    """
    source = cv2.VideoCapture(str(file))
    expected = int(source.get(cv2.CAP_PROP_FRAME_COUNT)) if source.isOpened() else 0
    rate = source.get(cv2.CAP_PROP_FPS) or 25.0
    writer, count = None, 0
    try:
        with Progress() as progress:
            bar = progress.add_task(file.name, total=expected if expected > 0 else None)
            while batch := _frames(source, batch_size):
                for image, detections in zip(batch, predictor.predict(batch, threshold)):
                    picture = np.asarray(draw(image, detections, by="class", longer_side=longer_side))
                    picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
                    if writer is None:
                        size = (picture.shape[1], picture.shape[0])
                        writer = cv2.VideoWriter(str(drawn), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                    writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                    yield detections
                count += len(batch)
                progress.advance(bar, len(batch))
    finally:
        source.release()
        if writer is not None:
            writer.release()
    if not count:
        raise InputError(f"{file} is no video that can be read: not one frame could be decoded")
    if count < expected:
        log.warning("%s ends after %d of %d frames; those are done", file, count, expected)


def _frames(source: cv2.VideoCapture, count: int) -> list[np.ndarray]:
    """The next so many frames, or as many as there are."""
    frames: list[np.ndarray] = []
    while len(frames) < count:
        more, frame = source.read()
        if not more:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return frames
