"""Proposals without names: the assignment against trying every one, and bad input."""

from itertools import permutations

import numpy as np
import pytest

from course_lib.errors import InputError
from course_lib.metrics import evaluate_labels, evaluate_proposals


def scene(number: int, frames: int, ids: int, size: tuple[int, int] = (30, 80)) -> np.ndarray:
    rng = np.random.default_rng(number)
    labels = np.zeros((frames, *size), dtype=np.uint8)
    for label in range(1, ids + 1):
        y, x = rng.integers(0, size[0] - 10), rng.integers(0, size[1] - 15)
        for t in range(frames):
            labels[t, y : y + 10, x + t : x + t + 14] = label
    return labels


@pytest.mark.parametrize(("objects", "proposals"), [(3, 3), (2, 4), (3, 1)])
def test_best_of_all_assignments(objects, proposals):
    truth, prediction = scene(3, 4, objects), scene(4, 4, proposals)
    truth[1, :5] = 255
    found = evaluate_proposals(prediction, truth)
    ids = found.score.ids.tolist()

    def total(choice: tuple[int, ...]) -> tuple[float, np.ndarray, np.ndarray]:
        renamed = np.zeros_like(prediction)
        for label, proposal in zip(ids, choice, strict=True):
            if proposal:
                renamed[prediction == proposal] = label
        score = evaluate_labels(renamed, truth, ids=ids)
        return float((score.J + score.F).sum()), score.J, score.F

    labels = [*range(1, proposals + 1)] + [0] * max(0, objects - proposals)
    best = max(total(choice)[0] for choice in permutations(labels, objects))
    reached, J, F = total(tuple(found.proposals))
    assert reached == pytest.approx(best, abs=1e-12)
    np.testing.assert_allclose(found.score.J, J, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.score.F, F, rtol=0, atol=1e-12)


def test_names_of_proposals_do_not_matter():
    truth = scene(5, 5, 3)
    names = np.array([0, 9, 30, 2], dtype=np.uint8)
    found = evaluate_proposals(names[truth], truth)
    assert found.proposals.tolist() == [9, 30, 2]
    assert (found.score.J == 1).all()
    assert (found.score.F == 1).all()


def test_bad_input_is_refused():
    truth = scene(5, 2, 3)
    with pytest.raises(InputError, match="allows 20 proposals, the prediction has 21"):
        evaluate_proposals(np.arange(2 * 30 * 80).reshape(truth.shape).astype(np.uint8) % 22, truth)
    with pytest.raises(InputError, match="no object"):
        evaluate_proposals(truth, np.zeros_like(truth))
    with pytest.raises(InputError, match="label 255"):
        evaluate_proposals(np.where(truth == 1, 255, truth).astype(np.uint8), truth)
