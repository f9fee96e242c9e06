"""J, F and their statistics against the numbers of the official DAVIS evaluation."""

import json
import math

import numpy as np
import pytest

from course_lib.metrics import (
    contour_accuracy,
    davis_summary,
    evaluate_labels,
    evaluate_proposals,
    reference,
    region_similarity,
    statistics,
)
from course_lib.metrics.contour import tolerance_pixels
from course_lib.metrics.statistics import quarter_borders

EXACT = {"rtol": 0, "atol": 1e-12}
CASES = [
    "basic",
    "drift",
    "disappear",
    "tiny",
    "thin",
    "border",
    "empty_pred",
    "missing_id",
    "swap",
    "perfect",
    "long_a",
    "long_b",
    "short3",
    "short4",
    "short5",
    "short6",
    "short7",
    "many",
    "late",
    "gap_id",
    "noise",
    "full_frame",
    "micro",
    "one_row",
    "pair480",
    "mid",
    "void",
]


@pytest.fixture(scope="module")
def arrays(golden):
    with np.load(golden / "davis_metrics.npz") as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="module")
def numbers(golden):
    return json.loads((golden / "davis_metrics.json").read_text())


def table(entries) -> np.ndarray:
    return np.array([[entry.mean, entry.recall, entry.decay] for entry in entries])


def test_every_case_is_tested(numbers):
    assert list(numbers["cases"]) == CASES


@pytest.mark.parametrize("case", CASES)
def test_values_of_every_frame(case, arrays, numbers):
    prediction, truth = arrays[f"{case}__pred"], arrays[f"{case}__gt"]
    ids = range(1, numbers["cases"][case]["objects"] + 1)
    score = evaluate_labels(prediction, truth, ids=ids)
    np.testing.assert_allclose(score.J, arrays[f"{case}__J"], **EXACT)
    np.testing.assert_allclose(score.F, arrays[f"{case}__F"], **EXACT)
    assert tolerance_pixels(0.008, *truth.shape[1:]) == numbers["cases"][case]["bound_pix"]
    expected = numbers["cases"][case]["stats_all_frames"]
    for found, wanted in ((score.J_statistics, expected["J"]), (score.F_statistics, expected["F"])):
        np.testing.assert_allclose(table(found(wrap_uint8_borders=True)), np.array(wanted, dtype=float), **EXACT)


@pytest.mark.parametrize("case", ["basic", "border", "thin", "mid"])
@pytest.mark.parametrize("tolerance", ["0.002", "0.02", "3"])
def test_other_tolerances(case, tolerance, arrays):
    ids = range(1, len(arrays[f"{case}__J"]) + 1)
    score = evaluate_labels(arrays[f"{case}__pred"], arrays[f"{case}__gt"], ids=ids, tolerance=float(tolerance))
    np.testing.assert_allclose(score.F, arrays[f"{case}__F_bound_{tolerance}"], **EXACT)


def test_void_pixels_are_left_out(arrays):
    void = arrays["void__void"] > 0
    truth = np.where(void, 255, arrays["void__gt"]).astype(np.uint8)
    score = evaluate_labels(arrays["void__pred"], truth, ids=[1, 2])
    np.testing.assert_allclose(score.J, arrays["void__J_void"], **EXACT)
    np.testing.assert_allclose(score.F, arrays["void__F_void"], **EXACT)
    for t in range(len(void)):  # and mask by mask
        masks = arrays["void__pred"][t] == 1, arrays["void__gt"][t] == 1
        assert region_similarity(*masks, void[t]) == pytest.approx(arrays["void__J_void"][0, t], abs=1e-12)
        assert contour_accuracy(*masks, ignore=void[t]) == pytest.approx(arrays["void__F_void"][0, t], abs=1e-12)


@pytest.mark.parametrize("case", ["basic", "border", "full_frame", "micro", "one_row", "pair480"])
def test_the_obvious_version_gives_the_same_numbers(case, arrays):
    for k, (J, F) in enumerate(zip(arrays[f"{case}__J"], arrays[f"{case}__F"], strict=True)):
        for t, (found, wanted) in enumerate(zip(arrays[f"{case}__pred"], arrays[f"{case}__gt"], strict=True)):
            masks = found == k + 1, wanted == k + 1
            assert reference.region_similarity(*masks) == pytest.approx(J[t], abs=1e-12)
            assert reference.contour_accuracy(*masks) == pytest.approx(F[t], abs=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if case != "pair480"])
def test_davis_protocol(case, arrays, numbers):
    expected = numbers["cases"][case]
    score = evaluate_labels(arrays[f"{case}__pred"], arrays[f"{case}__gt"], protocol="davis")
    assert score.ids.tolist() == list(range(1, expected["objects"] + 1))
    for found, wanted in ((score.J_statistics, "J"), (score.F_statistics, "F")):
        official = np.array(expected["stats"][wanted], dtype=float)  # null is NaN
        np.testing.assert_allclose(table(found(wrap_uint8_borders=True)), official, **EXACT)
        if "decay_without_wrap" in expected:
            np.testing.assert_allclose(table(found())[:, 2], expected["decay_without_wrap"][wanted], **EXACT)
    assert quarter_borders(len(arrays[f"{case}__gt"]) - 2) == expected["quarter_index"]


@pytest.mark.parametrize("which", ["global", "global_finite_decay"])
def test_global_figures(which, arrays, numbers):
    expected = numbers[which]
    scores = [
        evaluate_labels(arrays[f"{case}__pred"], arrays[f"{case}__gt"], protocol="davis")
        for case in expected["sequences"]
    ]
    summary = davis_summary(scores, wrap_uint8_borders=True)
    for found, letter in ((summary.J, "J"), (summary.F, "F")):
        for figure in ("mean", "recall", "decay"):
            wanted = expected[f"{letter}_{figure}"]
            wanted = math.nan if wanted is None else wanted
            assert getattr(found, figure) == pytest.approx(wanted, abs=1e-12, nan_ok=True)
    assert summary.JF_mean == pytest.approx(expected["JF_mean"], abs=1e-12)
    assert summary.objects == expected.get("objects", summary.objects)
    assert not math.isnan(davis_summary(scores).J.decay)  # whole integers never lose a quarter


def test_statistics_of_vectors(arrays, numbers):
    for name, wanted in numbers["statistics_of_vectors"].items():
        found = statistics(arrays[f"vec__{name}"], wrap_uint8_borders=True)
        np.testing.assert_allclose(table([found])[0], np.array(wanted, dtype=float), **EXACT, err_msg=name)


@pytest.mark.parametrize("case", ["unsup0", "unsup1", "unsup2"])
def test_unsupervised_matching(case, arrays, numbers):
    truth = np.where(arrays[f"{case}__void"] > 0, 255, arrays[f"{case}__gt"]).astype(np.uint8)
    found = evaluate_proposals(arrays[f"{case}__pred"], truth)
    official_order = np.argsort(np.where(found.proposals == 0, 99, found.proposals), kind="stable")
    np.testing.assert_allclose(found.score.J[official_order], arrays[f"{case}__J"], **EXACT)
    np.testing.assert_allclose(found.score.F[official_order], arrays[f"{case}__F"], **EXACT)
    assert len(found.score.ids) == numbers["unsupervised"][case]["objects"]
    assert np.sum(found.proposals > 0) == min(*numbers["unsupervised"][case].values())


@pytest.mark.parametrize("sequence", ["soccerball", "kite_walk"])
def test_real_masks(sequence, course_data):
    """Real annotations may not be copied, so they are read where they lie, beside the data sets."""
    path = course_data.parent / "golden" / "davis_real.npz"
    if not path.is_file():
        pytest.skip("no davis_real.npz beside the data sets of COURSE_DATA")
    expected = json.loads(path.with_suffix(".json").read_text())["sequences"][sequence]["stats"]
    with np.load(path) as stored:
        prediction, truth, J, F = (stored[f"{sequence}__{name}"] for name in ("pred", "gt", "J", "F"))
    score = evaluate_labels(prediction, truth, protocol="davis")
    np.testing.assert_allclose(score.J[0], J, **EXACT)
    np.testing.assert_allclose(score.F[0], F, **EXACT)
    np.testing.assert_allclose(table(score.J_statistics())[0], expected["J"], **EXACT)
    np.testing.assert_allclose(table(score.F_statistics())[0], expected["F"], **EXACT)
