"""The window explorer: its weights are the library's local attention, at any dial, on the keys that the page holds."""

import json
import re
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_lib.errors import InputError
from course_lib.methods.local_memory import local_affinity
from course_lib.viz.widgets import WindowExplorer

S, D, ROWS, COLUMNS, STRIDE = 3, 6, 5, 8, 4


def material(louder: float = 1.0):
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(S + 1, 3, ROWS * STRIDE, COLUMNS * STRIDE, generator=generator)
    query, memory = (
        torch.randn(D, ROWS, COLUMNS, generator=generator),
        torch.randn(S, D, ROWS, COLUMNS, generator=generator),
    )
    return frames, query / louder, memory * louder


def explorer(**settings) -> WindowExplorer:
    return WindowExplorer(*material(), stride=STRIDE, **{"window": 3, **settings})


def test_weights_are_the_library_s():
    shown = explorer()
    query, keys = shown.shown_keys[-1], shown.shown_keys[:-1]
    for window, memory, cell, temperature in product((1, 3, 5, 15), (1, 3), ([2, 3], [0, 0], [4, 7]), (1.0, 0.3)):
        shown.window, shown.memory, shown.cell, shown.temperature = window, memory, cell, temperature
        affinity = local_affinity(query[None] / temperature, keys[None, S - memory :], window)[0]  # [S', r, h, w]
        expected = torch.zeros(S, ROWS, COLUMNS)
        for r in range(window**2):
            y, x = cell[0] + r // window - window // 2, cell[1] + r % window - window // 2
            if 0 <= y < ROWS and 0 <= x < COLUMNS:
                expected[S - memory :, y, x] = affinity[:, r, cell[0], cell[1]]
        torch.testing.assert_close(shown.weights, expected, rtol=1e-4, atol=1e-6)
        assert shown.shares.sum() == pytest.approx(1) and shown.fidelity > 0.95


def test_loud_keys_and_quiet_queries_keep_their_products():
    quiet = WindowExplorer(*material(), stride=STRIDE, window=15)
    loud = WindowExplorer(*material(louder=300.0), stride=STRIDE, window=15)
    torch.testing.assert_close(loud.weights, quiet.weights, rtol=0.1, atol=5e-3)
    assert loud.fidelity > 0.95


def test_a_shifted_memory_is_found_and_the_sentence_says_where():
    keys = 10 * torch.eye(ROWS * COLUMNS).view(-1, ROWS, COLUMNS)
    frames = torch.zeros(2, 3, ROWS * STRIDE, COLUMNS * STRIDE)
    shown = WindowExplorer(frames, keys.roll((-1, 2), (1, 2)), keys[None], stride=STRIDE, window=5, cell=(2, 4))
    assert shown.offset == (0, 1, -2)  # what is at (2, 4) now was at (3, 2)
    assert "-2 columns and +1 rows away" in shown.summary() and "into 1 frame," in shown.summary()
    shown.window = 3
    assert shown.offset != (0, 1, -2)


def test_a_cold_window_picks_one_cell_and_a_hot_one_takes_all():
    shown = explorer(window=5, temperature=0.1)
    cold = shown.weights.max()
    shown.temperature = 10.0
    assert cold > 0.9 > 0.1 > shown.weights.max()


def test_origins_travel_in_tenths_of_a_cell_and_nan_means_unseen():
    origins = torch.zeros(S, 2, ROWS, COLUMNS)
    origins[0, 0] = 9.0  # pixels: 2.25 cells
    origins[1] = torch.nan
    shown = explorer(origins=origins)
    np.testing.assert_allclose(shown.origins[0, 0], 2.2)
    assert np.isnan(shown.origins[1]).all() and len(shown.content["origins"]) == 4 * -(-S * ROWS * COLUMNS * 4 // 3)


def test_the_still_has_the_query_and_the_kept_frames():
    figure = explorer(memory=2).figure()
    titles = [axis.get_title("left").partition(":")[0] for axis in figure.axes]
    assert titles[:3] == ["t asks", "t - 1", "t - 2"]
    plt.close(figure)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 4}, "window must be odd and lie in 1 … 15, got 4"),
        ({"window": 17}, "window must be odd"),
        ({"memory": 4}, "memory must lie in 1 … 3"),
        ({"temperature": 0.0}, "temperature must lie in 0.1 … 10, got 0"),
        ({"cell": (5, 0)}, "cell must be"),
        ({"names": ["now"]}, "names must name all 4 frames, got 1"),
        ({"stride": 8}, "3 x 4 cells at a stride of 8, got keys of 5 x 8"),
        ({"origins": torch.zeros(2, 2, 5, 8)}, "origins must be"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        WindowExplorer(*material(), **{"stride": STRIDE, "window": 3, **settings})


def test_bad_material_is_refused():
    frames, query, memory = material()
    with pytest.raises(InputError, match="all but the last"):
        WindowExplorer(frames[1:], query, memory, stride=STRIDE)
    with pytest.raises(InputError, match="finite"):
        WindowExplorer(frames, query * torch.nan, memory, stride=STRIDE)


def test_a_bad_turn_leaves_the_dial_where_it_was():
    shown = explorer()
    for name, value in (("window", 2), ("cell", [9, 9]), ("temperature", 20.0), ("memory", 0)):
        before = getattr(shown, name)
        with pytest.raises(InputError, match=name):
            setattr(shown, name, value)
        assert getattr(shown, name) == before


def test_output_carries_the_instrument_without_a_kernel_and_stays_small():
    shown = explorer(cell=(1, 2))
    data, _ = shown._repr_mimebundle_()
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"] == {"cell": [1, 2], "window": 3, "memory": 3, "temperature": 1.0}
    assert len(embedded["pictures"]) == S + 1 and embedded["names"] == ["t - 3", "t - 2", "t - 1", "t"]
    assert "Cell (1, 2) looks through a window of 3 x 3" in re.search(r'alt="([^"]*)"', html)[1]
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", html)
    assert "application/vnd.jupyter.widget-view+json" in data and shown.kilobytes < 60
