"""The affinity explorer: its weights are those of the library, also after the keys were rounded for the page."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from course_lib.errors import InputError
from course_lib.nn.attention_read import read_memory
from course_lib.viz.widgets import AffinityExplorer
from course_lib.viz.widgets.affinity import quantise_keys


def material(count=3, channels=16, rows=4, columns=5, stride=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (count, 3, rows * stride, columns * stride), generator=generator, dtype=torch.uint8)
    return frames, 3 * torch.randn(count, channels, rows, columns, generator=generator)


def explorer(**settings):
    frames, keys = material()
    return AffinityExplorer(frames, keys, stride=8, **settings)


def slow_weights(keys, query, cell, top_k, metric):
    """Softmax over the best cells, from the definition, in plain loops."""
    asked = keys[query, :, cell[0], cell[1]].tolist()
    scores = []
    for t in range(len(keys)):
        if t == query:
            continue
        for row in range(keys.shape[2]):
            for column in range(keys.shape[3]):
                pairs = list(zip(keys[t, :, row, column].tolist(), asked))
                raw = -sum((k - q) ** 2 for k, q in pairs) if metric == "l2" else sum(k * q for k, q in pairs)
                scores.append(raw / len(asked) ** 0.5)
    best = sorted(scores)[-top_k]
    powers = np.array([np.exp(s - max(scores)) if s >= best else 0.0 for s in scores])
    return powers / powers.sum()


@pytest.mark.parametrize("metric", ["l2", "dot"])
@pytest.mark.parametrize("top_k", [1, 5, 40])
@pytest.mark.parametrize("query", [-1, 1])
def test_weights_are_the_softmax_over_the_best_cells(metric, top_k, query):
    shown = explorer(query=query, metric=metric, top_k=top_k, cell=(2, 3))
    expected = slow_weights(shown.shown_keys.double(), shown.query, (2, 3), top_k, metric)
    np.testing.assert_allclose(shown.weights.flatten(), expected, atol=1e-5)
    assert int((shown.weights > 0).sum()) <= top_k


def test_weights_are_those_of_the_memory_read():
    shown = explorer(top_k=6, cell=(0, 4))
    stored = shown.shown_keys[:2].transpose(0, 1).flatten(1)[None]  # [1, Ck, N]
    read = read_memory(stored, torch.eye(40)[None, None], shown.shown_keys[2, :, 0, 4][None, :, None], top_k=6)
    torch.testing.assert_close(read.readout.flatten(), shown.weights.flatten(), atol=1e-6, rtol=0)


def test_all_directions_in_eight_bits_are_nearly_the_keys():
    frames, keys = material()
    shown = AffinityExplorer(frames, keys, stride=8)
    assert float((shown.shown_keys - keys).abs().max()) < 0.02 * float(keys.abs().max())
    assert shown.fidelity > 0.97


def test_codes_turn_back_into_keys_and_fewer_directions_lose_the_weakest():
    keys = material()[1] * torch.linspace(1, 0.01, 16)[:, None, None]
    errors = []
    for channels in (4, 8, 16):
        codes, scales, basis = quantise_keys(keys, channels)
        assert codes.shape == (60, channels) and np.abs(codes).max() == 127
        np.testing.assert_allclose(basis.T @ basis, np.eye(channels), atol=1e-12)
        errors.append(np.abs((codes * scales) @ basis.T - keys.permute(0, 2, 3, 1).flatten(0, 2).numpy()).max())
    assert errors[0] > errors[1] > errors[2]


def test_keys_too_many_for_the_page_travel_in_fewer_directions():
    frames, keys = material(count=4, channels=64, rows=12, columns=16)
    frames = frames[:, :, :1, :].expand_as(frames)  # stripes: pictures of pure noise do not fit in any budget
    shown = AffinityExplorer(frames, keys, stride=8)
    assert len(shown.content["scales"]) == 18_000 // (4 * 12 * 16)
    assert len(base64.b64decode(shown.content["keys"])) <= 18_000
    assert shown.fidelity < 0.9  # and it is said
    assert shown.kilobytes < 60


def test_the_read_out_is_the_mean_of_the_masks_under_the_weights():
    masks = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(1))
    shown = explorer(masks=masks, top_k=7)
    assert shown.readout == pytest.approx(float((shown.weights * masks).sum()), abs=0.003)
    readouts = []
    for row in range(4):
        for column in range(5):
            shown_there = explorer(masks=masks, top_k=7, cell=(row, column))
            readouts.append(shown_there.readout)
    assert shown.readout == pytest.approx(max(readouts))  # it starts at the cell that is most surely object
    assert explorer().readout is None


def test_a_cell_that_is_stored_unchanged_answers_itself():
    frames, keys = material()
    keys[2] = keys[0]
    shown = AffinityExplorer(frames, keys * 3, stride=8, top_k=1, cell=(3, 1))
    assert shown.weights[0, 3, 1] == 1


def test_padding_is_centred_like_that_of_the_networks():
    frames = torch.zeros(2, 3, 30, 37)
    shown = AffinityExplorer(frames, material(count=2)[1], stride=8)
    assert (shown.content["top"], shown.content["left"]) == (1, 1)  # 32 - 30 = 1 + 1, 40 - 37 = 1 + 2


def test_settings_follow_and_bad_ones_are_refused():
    shown = explorer(cell=(1, 1))
    before = shown.weights
    shown.cell = (2, 2)
    assert not torch.equal(shown.weights, before)
    for name, value, message in (
        ("cell", (4, 0), "grid of 4 x 5"),
        ("top_k", 41, "1 … 40"),
        ("top_k", 0, "1 … 40"),
        ("metric", "cosine", "'l2' or 'dot'"),
    ):
        with pytest.raises(InputError, match=message):
            setattr(shown, name, value)
    assert shown.cell == [2, 2] and shown.top_k == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stride": 16}, "2 x 3 cells at a stride of 16, got keys of 4 x 5"),
        ({"query": 3}, "index of one of 3 frames"),
        ({"masks": torch.zeros(3, 4, 5)}, r"masks must be \[2, 4, 5\]"),
        ({"masks": torch.full((2, 4, 5), 1.5)}, "probabilities"),
        ({"names": ["a"]}, "all 3 frames, got 1"),
        ({"channels": 17}, "1 … 16"),
        ({"keys": torch.full((3, 16, 4, 5), torch.nan)}, "finite"),
        ({"keys": torch.zeros(2, 16, 4, 5)}, "expected frames"),
        ({"cell": (0, 5)}, "grid of 4 x 5"),
    ],
)
def test_bad_input_is_explained(changes, message):
    frames, keys = material()
    with pytest.raises(InputError, match=message):
        AffinityExplorer(**{"frames": frames, "keys": keys, "stride": 8, **changes})


def test_output_carries_the_instrument_without_a_kernel():
    shown = explorer(names=["a", "b", "c"], cell=(1, 2))
    data, _ = shown._repr_mimebundle_()
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"] == {"cell": [1, 2], "top_k": 8, "metric": "l2"} and len(embedded["pictures"]) == 3
    assert not re.search(r"https?:", html)
    assert "application/vnd.jupyter.widget-view+json" in data and "Run this cell" in data["text/plain"]
