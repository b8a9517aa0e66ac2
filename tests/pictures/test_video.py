"""Videos in, videos out."""

import cv2
import numpy as np
import pytest
import torch
from scenes import write_video

from detector.detections import Detections
from detector.errors import InputError
from detector.pictures.video import detect_in_video
from detector.predictor import Predictor


class Finds(Predictor):
    """A box around each frame's one bright pixel patch, found by its brightness."""

    def __init__(self):
        self.batches = []

    def predict(self, images, threshold):
        self.batches.append(len(images))
        found = []
        for image in images:
            rows, columns = np.nonzero(image[..., 0] > 180)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            boxes, zero = torch.tensor([box], dtype=torch.float32), torch.tensor([0])
            found.append(Detections(boxes, torch.tensor([0.9]), zero, zero, ["spot"]))
        return found


def frames_of(file) -> list[np.ndarray]:
    source, frames = cv2.VideoCapture(str(file)), []
    while True:
        more, frame = source.read()
        if not more:
            return frames
        frames.append(frame)


def test_every_frame_is_detected_in_and_written(tmp_path, caplog):
    write_video(tmp_path / "film.avi")
    predictor = Finds()
    found = list(detect_in_video(
        tmp_path / "film.avi", tmp_path / "drawn.mp4", predictor, threshold=None, batch_size=4, longer_side=192
    ))
    assert predictor.batches == [4, 4, 2] and len(found) == 10 and not caplog.records
    for number, one in enumerate(found):
        assert one.boxes[0].tolist() == pytest.approx([4 * number + 5, 20, 4 * number + 25, 40], abs=2)
    drawn = frames_of(tmp_path / "drawn.mp4")
    assert len(drawn) == 10 and drawn[0].shape == (128, 192, 3)
    assert cv2.VideoCapture(str(tmp_path / "drawn.mp4")).get(cv2.CAP_PROP_FPS) == 5.0


def test_a_truncated_video_is_done_up_to_its_end(tmp_path, caplog):
    write_video(tmp_path / "whole.avi", count=20)
    whole = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    found = list(detect_in_video(
        tmp_path / "cut.avi", tmp_path / "drawn.mp4", Finds(), threshold=None, batch_size=4
    ))
    assert 0 < len(found) < 20 and len(frames_of(tmp_path / "drawn.mp4")) == len(found)
    assert f"{tmp_path / 'cut.avi'} ends after {len(found)} of 20 frames; those are done" in caplog.text


def test_an_interrupted_video_can_be_played(tmp_path):
    write_video(tmp_path / "film.avi")
    frames = detect_in_video(tmp_path / "film.avi", tmp_path / "drawn.mp4", Finds(), threshold=None, batch_size=4)
    next(frames), next(frames)
    with pytest.raises(KeyboardInterrupt):
        frames.throw(KeyboardInterrupt())
    assert len(frames_of(tmp_path / "drawn.mp4")) == 2


def test_no_video(tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="no.mp4 is no video that can be read"):
        next(detect_in_video(tmp_path / "no.mp4", tmp_path / "drawn.mp4", Finds(), threshold=None, batch_size=4))
    assert not (tmp_path / "drawn.mp4").exists()
