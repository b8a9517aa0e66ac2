"""Answers: what they score, how often images count, and that none is lost or counted twice."""

import numpy as np
import pytest
import torch

from detector.classification.evaluation.answers import AnswerCollector, Answers
from detector.errors import InputError


def random_answers(seed: int, *, images: int = 12, steps: int = 3, classes: int = 4) -> Answers:
    random = np.random.default_rng(seed)
    beliefs = random.dirichlet(np.ones(classes), size=(images, steps))
    return Answers(np.arange(images), random.integers(0, classes, images), beliefs)


def answers_of(labels: list[int], predicted: list[int], classes: int) -> Answers:
    return Answers(np.arange(len(labels)), np.array(labels), np.eye(classes)[predicted][:, None])


def test_accuracy_by_hand():
    answers = answers_of([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0], classes=3)
    assert answers.accuracy() == pytest.approx([4 / 6])
    assert answers.macro_accuracy() == pytest.approx([(2 / 3 + 1 + 0) / 3])


def test_a_class_without_an_image_is_left_out():
    answers = answers_of([0, 0, 2], [0, 1, 2], classes=4)
    assert answers.accuracy() == pytest.approx([2 / 3])
    assert answers.macro_accuracy() == pytest.approx([(1 / 2 + 1) / 2])


def test_the_last_step_is_the_answer():
    answers = Answers(np.arange(1), np.array([1]), np.array([[[0.75, 0.25], [0.25, 0.75]]]))
    assert answers.probabilities.tolist() == [[0.25, 0.75]] and answers.predicted.tolist() == [1]
    assert answers.accuracy() == 1


@pytest.mark.parametrize("seed", range(3))
def test_resamples_equal_images_taken_as_often(seed):
    answers = random_answers(seed)
    count = len(answers.labels)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=20)
    for number, row in enumerate(weights):
        taken = np.repeat(np.arange(count), row)
        resample = Answers(answers.image_ids[taken], answers.labels[taken], answers.beliefs[taken])
        right = {label: [] for label in resample.labels.tolist()}
        for label, belief in zip(resample.labels.tolist(), resample.beliefs[:, -1].tolist()):
            right[label].append(belief.index(max(belief)) == label)
        assert answers.accuracy(weights)[number] == pytest.approx(np.mean(sum(right.values(), [])))
        assert answers.macro_accuracy(weights)[number] == pytest.approx(np.mean([np.mean(r) for r in right.values()]))
        assert resample.accuracy() == pytest.approx(answers.accuracy(weights)[number])
        assert resample.macro_accuracy() == pytest.approx(answers.macro_accuracy(weights)[number])


def test_each_image_once_is_no_resample():
    answers = random_answers(0)
    once = np.ones((1, len(answers.labels)), dtype=np.int64)
    assert answers.accuracy() == answers.accuracy(once)
    assert answers.macro_accuracy() == answers.macro_accuracy(once)


def test_what_is_saved_is_loaded(tmp_path):
    answers = random_answers(0)
    answers.save(tmp_path / "answers.npz")
    loaded = Answers.load(tmp_path / "answers.npz")
    for name in ("image_ids", "labels", "beliefs"):
        assert np.array_equal(getattr(loaded, name), getattr(answers, name))


def test_what_cannot_be_loaded_says_so(tmp_path):
    file = tmp_path / "answers.npz"
    with pytest.raises(InputError, match=r"answers\.npz cannot be read \(.*\); test the run again"):
        Answers.load(file)
    file.write_text("no archive")
    with pytest.raises(InputError, match=r"answers\.npz cannot be read"):
        Answers.load(file)
    np.savez(file, labels=np.arange(3))
    with pytest.raises(InputError, match=r"answers\.npz cannot be read \(.*image_ids"):
        Answers.load(file)


def test_an_image_seen_again_counts_once():
    """Where images do not divide by processes, a sampler repeats some."""
    logits = torch.tensor([[[0.0, 0.0]], [[0.0, 2.0]], [[5.0, 0.0]]])
    collector = AnswerCollector()
    collector.update([7, 3], torch.tensor([1, 0]), logits[:2])
    collector.update([9, 7], torch.tensor([1, 1]), logits[[2, 0]])
    collector.gather()  # one process alone
    answers = collector.answers()
    assert answers.image_ids.tolist() == [3, 7, 9] and answers.labels.tolist() == [0, 1, 1]
    assert answers.beliefs == pytest.approx(logits[[1, 0, 2]].double().softmax(-1).numpy())


def test_batches_do_not_matter():
    logits, labels = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    one, other = AnswerCollector(), AnswerCollector()
    one.update([0, 1, 2, 3, 4], labels, logits)
    for some in ([3, 4], [0, 1, 2]):
        other.update(some, labels[some], logits[some])
    assert np.array_equal(one.answers().beliefs, other.answers().beliefs)
    assert np.array_equal(one.answers().labels, other.answers().labels)


def test_no_image_is_an_error():
    with pytest.raises(InputError, match="not one image could be read"):
        AnswerCollector().answers()
