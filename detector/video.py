"""Detecting in videos."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
from rich.progress import Progress

from detector.drawing import draw
from detector.errors import InputError
from detector.predictor import Predictor
from detector.types import Detections

ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


def detect_in_video(
    file: Path, drawn: Path, predictor: Predictor, *, threshold: float | None, batch_size: int, longer_side: int = 640
) -> tuple[list[Detections], float, str | None]:
    """Read a video and write it with its detections.

    Args:
        file: the video.
        drawn: MP4 to write.
        predictor: detects.
        threshold: see `Predictor.predict`.
        batch_size: frames detected together.
        longer_side: smaller frames are enlarged to it.

    Returns:
        What was found in each frame; frames a second, reading and writing included; and what was wrong with the video,
        if anything: what came before it is written all the same.

    Raises:
        InputError: not one frame can be read.
    """
    source = cv2.VideoCapture(str(file))
    expected = int(source.get(cv2.CAP_PROP_FRAME_COUNT)) if source.isOpened() else 0
    rate = source.get(cv2.CAP_PROP_FPS) or 25.0
    found: list[Detections] = []
    writer, batch, started = None, [], time.perf_counter()
    with Progress() as progress:
        bar = progress.add_task(file.name, total=expected if expected > 0 else None)
        more = True
        while more:
            more, frame = source.read()
            if more:
                batch.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            if len(batch) < batch_size and more:
                continue
            for image, detections in zip(batch, predictor.predict(batch, threshold)):
                picture = np.asarray(draw(image, detections, by="class", longer_side=longer_side))
                picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
                if writer is None:
                    size = (picture.shape[1], picture.shape[0])
                    writer = cv2.VideoWriter(str(drawn), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                found.append(detections)
            progress.advance(bar, len(batch))
            batch = []
    source.release()
    if writer is None:
        raise InputError(f"{file} is no video that can be read: not one frame could be decoded")
    writer.release()
    broken = f"{file} ends after {len(found)} of {expected} frames; those are done" if len(found) < expected else None
    return found, len(found) / (time.perf_counter() - started), broken
