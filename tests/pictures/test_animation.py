"""The sequence, step by step."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from detector.decoders.region_features import points_in_boxes
from detector.pictures.animation import TAIL, frames, save_gif, save_mp4
from detector.types import Locations, Output, Scene, StagePredictions

GREY = np.full((60, 100, 3), 128, dtype=np.uint8)
HALF = torch.tensor([0.5, 0.5])


def output(scores: list[float], **said) -> Output:
    """One slot a score, its box one tenth further right each time."""
    logits = torch.full((1, len(scores), 2), -9.0)
    logits[0, :, 0] = torch.logit(torch.tensor(scores))
    left = torch.arange(len(scores)) / 10
    boxes = torch.stack([left, torch.full_like(left, 0.2), left + 0.2, torch.full_like(left, 0.8)], -1).unsqueeze(0)
    said = {name: make(boxes) for name, make in said.items()}
    last = StagePredictions(logits, boxes, **said)
    locations = Locations(torch.zeros(10, 2), torch.zeros(10, 2), [(2, 4), (1, 2)])
    return Output(Scene([], last, locations, last, (60, 100)), last, [last])


def shown(scores, **said) -> list[Image.Image]:
    return frames(GREY, output(scores, **said), class_names=["cat", "dog"], thresholds=HALF, longer_side=200)


def has(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    return bool((np.asarray(picture)[:110] == colour).all(-1).any())


def test_a_frame_a_step_up_to_a_few_after_the_last_box():
    assert len(shown([0.9, 0.1, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1])) == 1 + 3 + TAIL
    assert len(shown([0.9, 0.8])) == 3
    assert len(shown([0.1] * 8)) == 1 + TAIL


def test_boxes_appear_as_they_are_predicted_and_background_is_grey():
    yellow, blue, grey = (255, 234, 70), (30, 90, 200), (154, 154, 154)
    pictures = shown([0.9, 0.1, 0.8])
    assert [has(one, yellow) for one in pictures] == [False, True, True, True]
    assert [has(one, grey) for one in pictures] == [False, False, True, True]
    assert [has(one, blue) for one in pictures] == [False, False, False, True]
    assert len({one.size for one in pictures}) == 1 and all(side % 2 == 0 for side in pictures[0].size)


def test_where_features_come_from_is_marked():
    dots = shown([0.9, 0.8], sampled_points=lambda boxes: points_in_boxes(boxes, 3))
    white = [(np.asarray(one)[:110] == 255).all(-1) for one in dots]
    assert not white[0].any() and white[1].any() and white[2].any()
    columns = [np.nonzero(one)[1].mean() for one in white[1:]]
    assert columns[1] > columns[0] + 10  # with the box

    def on_one_location(boxes):
        attention = torch.zeros(1, 2, 10)
        attention[0, :, 3] = 1.0  # the upper right of the first level
        return attention

    lit = [np.asarray(one)[:110].mean(-1) for one in shown([0.9, 0.8], attention=on_one_location)]
    assert lit[1][:40, 160:].mean() > 1.5 * lit[1][70:, :100].mean()
    assert lit[0][:40, 160:].mean() == pytest.approx(lit[0][70:, :100].mean(), abs=1)


def test_files_hold_every_frame(tmp_path):
    pictures = shown([0.9, 0.1, 0.8])
    save_gif(pictures, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 4
        for number, picture in enumerate(pictures):
            animation.seek(number)
            apart = np.abs(np.asarray(animation.convert("RGB"), dtype=int) - np.asarray(picture))
            assert np.quantile(apart, 0.99) < 16  # 256 colours for all frames
    save_mp4(pictures, tmp_path / "a.mp4")
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4 and video.get(cv2.CAP_PROP_FPS) == 2
