"""The values that travel between the parts."""

import sys

import pytest
import torch

from detector.detections import Detections
from detector.errors import InputError


def detections() -> Detections:
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 9.0]])
    return Detections(boxes, torch.tensor([0.9, 0.4]), torch.tensor([1, 0]), torch.tensor([3, 8]), ["dog", "cat"])


def test_choosing_detections():
    one = detections()[torch.tensor([False, True])]
    assert one.boxes.tolist() == [[5, 6, 7, 9]] and one.names == ["cat"] and one.steps.tolist() == [8] and len(one) == 1
    assert detections()[torch.tensor([1, 0])].names == ["cat", "dog"]


@pytest.mark.filterwarnings("ignore")  # of that library's own imports
def test_supervision():
    theirs = detections().to_supervision()
    assert theirs.xyxy.tolist() == detections().boxes.tolist() and theirs.class_id.tolist() == [1, 0]
    assert theirs.confidence == pytest.approx([0.9, 0.4]) and theirs.data["class_name"].tolist() == ["dog", "cat"]
    assert theirs[theirs.confidence > 0.5].data["step"].tolist() == [3] and theirs.area.tolist() == [4.0, 6.0]
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), *torch.zeros(2, 0, dtype=torch.int64)).to_supervision()
    assert len(nothing) == 0


def test_supervision_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="supervision is not installed; pip install"):
        detections().to_supervision()
