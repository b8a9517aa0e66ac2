"""Boxes on pictures."""

import numpy as np
import torch

from detector.detections import Detections
from detector.pictures.drawing import draw, draw_boxes, side_by_side, step_colours, text_place

GREY = np.full((120, 200, 3), 128, dtype=np.uint8)


def detections() -> Detections:
    boxes = torch.tensor([[10.0, 10.0, 60.0, 60.0], [100.0, 20.0, 190.0, 110.0]])
    return Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([1, 0]), torch.tensor([7, 2]), ["dog", "cat"])


def colours_of(picture) -> set[str]:
    return {"#{:02X}{:02X}{:02X}".format(*pixel) for pixel in np.unique(np.asarray(picture).reshape(-1, 3), axis=0)}


def test_colours_tell_the_order():
    assert step_colours([4, 9, 5]) == ["#FFEA46", "#1E5AC8", "#19A587"] and step_colours([3]) == ["#FFEA46"]
    many = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in step_colours(list(range(30)))]
    assert min(max(one) - min(one) for one in many) > 60  # none is as grey as what a step of "nothing" leaves
    light = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in many]
    assert light == sorted(light, reverse=True)
    seen = colours_of(draw(GREY, detections()))
    assert {"#FFEA46", "#1E5AC8"} <= seen and {"#56B4E9", "#E69F00"} <= colours_of(draw(GREY, detections(), by="class"))


def test_boxes_lie_where_they_are_said_to():
    picture = np.asarray(draw_boxes(GREY, [[50, 30, 150, 90]], ["#FF0000"], [""], longer_side=200))
    rows, columns = np.nonzero((picture == [255, 0, 0]).all(-1))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (50, 30, 150, 90)
    assert draw_boxes(GREY, [], [], [], longer_side=400).size == (400, 240)


def test_texts_keep_clear_of_each_other_and_inside_the_picture():
    """Five boxes in one place have room for five texts."""
    written = []
    for _ in range(5):
        written.append(text_place([50, 50, 150, 150], (40, 12), (200, 200), written))
    for i, a in enumerate(written):
        assert 0 <= a[0] and 0 <= a[1] and a[2] <= 200 and a[3] <= 200
        assert all(a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1] for b in written[:i])
    x1, y1, x2, y2 = text_place([190, 195, 200, 200], (40, 12), (200, 200), [])
    assert (x1, y1, x2, y2) == (160, 188, 200, 200)


def test_truth_beside_predictions():
    both = side_by_side(GREY, [[10, 10, 60, 60]], [1], ["cat", "dog"], detections())
    assert both.width == 2 * 480 and {"#56B4E9"} <= colours_of(both.crop((0, 0, 480, both.height)))
