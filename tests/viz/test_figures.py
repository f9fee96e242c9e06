import base64
import io
import math

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.errors import InputError, WriteError
from course_lib.viz import (
    course_style,
    flow_to_color,
    flow_wheel,
    frame_strip,
    interval_bars,
    plot_memory,
    plot_over_time,
    save_gif,
    show,
    show_picture,
    use_course_style,
)
from course_lib.viz.figure import _render, save_figure
from course_lib.viz.plots import bootstrap_interval


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def displayed(monkeypatch) -> list[dict[str, str]]:
    """What a notebook would have been sent."""
    sent = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: sent.append(data))
    return sent


def decoded(bundle: dict[str, str]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(bundle["text/html"].partition("base64,")[2].partition('"')[0])))


def test_show_sends_alt_text_that_every_reader_finds_and_closes_the_figure(displayed):
    figure, axis = plt.subplots(figsize=(5, 3))
    axis.plot([0, 1])
    show(figure, alt='J < 0.5 & "falling"')
    (bundle,) = displayed
    assert 'alt="J &lt; 0.5 &amp; &quot;falling&quot;"' in bundle["text/html"]
    assert bundle["text/plain"] == 'Figure: J < 0.5 & "falling"'
    assert decoded(bundle).size == (400, 240)
    assert not plt.get_fignums()


def test_wide_figures_are_drawn_at_800_pixels(displayed):
    show(plt.figure(figsize=(20, 4)), alt="wide")
    assert decoded(displayed[0]).size == (800, 160)


def test_photographs_become_small_files_and_drawings_stay_exact(displayed):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    show_picture(cv2.GaussianBlur(noise, (0, 0), 2), alt="blurred noise", scale=2)
    assert "image/webp" in displayed[0]["text/html"] and decoded(displayed[0]).size == (640, 480)
    assert len(displayed[0]["text/html"]) < 40_000
    figure, axis = plt.subplots(figsize=(5, 3))
    axis.plot([0, 1], color="#D55E00")
    expected = _render(figure)
    show(figure, alt="a line")
    np.testing.assert_array_equal(np.asarray(decoded(displayed[1]).convert("RGB")), expected)  # drawings are exact


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_no_figure_without_alt(alt, displayed):
    with pytest.raises(InputError, match="alt is empty"):
        show(plt.figure(), alt=alt)
    assert not displayed


def test_style_ends_with_its_block_and_can_be_kept():
    before = plt.rcParams["axes.grid"]
    with course_style():
        assert plt.rcParams["axes.grid"]
    assert plt.rcParams["axes.grid"] == before
    with plt.rc_context():
        use_course_style()
        assert plt.rcParams["figure.dpi"] == 80


def test_save_figure(tmp_path):
    path = save_figure(plt.figure(figsize=(2, 1)), tmp_path / "f.png")
    assert Image.open(path).size == (160, 80)
    with pytest.raises(WriteError):
        save_figure(plt.figure(), tmp_path / "none" / "f.png")


# Flow


def test_colours_turn_clockwise_from_red():
    directions = {(1, 0): (255, 0, 0), (0, 1): (127.5, 255, 0), (-1, 0): (0, 255, 255), (0, -1): (127.5, 0, 255)}
    for (x, y), colour in directions.items():
        flow = torch.tensor([x, y], dtype=torch.float32).reshape(2, 1, 1)
        np.testing.assert_allclose(flow_to_color(flow)[0, 0], colour, atol=1)


def test_rest_is_white_strength_grows_with_speed_and_unknown_is_black():
    flow = torch.zeros(2, 1, 4)
    flow[0, 0] = torch.tensor([0.0, 1.0, 2.0, float("nan")])
    colours = flow_to_color(flow)
    assert colours[0, 0].tolist() == [255, 255, 255]
    assert colours[0, 1].tolist() == [255, 128, 128]
    assert colours[0, 2].tolist() == [255, 0, 0]
    assert colours[0, 3].tolist() == [0, 0, 0]
    assert flow_to_color(flow, max_flow=4)[0, 2].tolist() == [255, 128, 128]


def test_no_motion_at_all_is_white():
    assert (flow_to_color(np.zeros((2, 3, 3))) == 255).all()


def test_wheel_agrees_with_the_colours_it_explains():
    wheel = flow_wheel(101)
    assert wheel[50, 50].tolist() == [255, 255, 255] and wheel[0, 0].tolist() == [255, 255, 255]
    assert wheel[50, 98, 0] == 255 and wheel[50, 98, 1] < 15  # right is red


@pytest.mark.parametrize(
    ("flow", "limit"), [(np.zeros((3, 4, 4)), None), (np.zeros((2, 4)), None), (np.zeros((2, 4, 4)), 0)]
)
def test_bad_flow_is_explained(flow, limit):
    with pytest.raises(InputError, match=r"flow must be|max_flow must be"):
        flow_to_color(flow, max_flow=limit)


# Plots


def test_hidden_spans_are_shaded_where_they_are():
    hidden = torch.tensor([0, 0, 1, 1, 0, 1], dtype=torch.bool)
    axis = plot_over_time({"flow": torch.rand(6)}, hidden=hidden).axes[0]
    spans = sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in axis.patches)
    assert spans == [(1.5, 3.5), (4.5, 5.5)]
    assert [t.get_text() for t in axis.get_legend().get_texts()].count("fully hidden") == 1


def test_series_can_be_told_apart_without_colour():
    lines = plot_over_time({name: [0.1, 0.2] for name in "abcd"}).axes[0].lines
    assert len({line.get_linestyle() for line in lines}) == 4


def test_memory_is_in_mebibytes_from_zero():
    axis = plot_memory({"m": [2**20, 3 * 2**20]}).axes[0]
    assert axis.lines[0].get_ydata().tolist() == [1, 3]
    assert axis.get_ylim()[0] == 0 and "MiB" in axis.get_ylabel()


def test_bars_show_means_and_intervals():
    figure = interval_bars(["a", "b"], {"m": [[0.2, 0.4], [0.5, 0.5]], "n": [[0.1], [0.9]]})
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    np.testing.assert_allclose(heights, [0.3, 0.5, 0.1, 0.9])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["a", "b"]


def test_bootstrap_agrees_with_the_normal_theory():
    values = np.random.default_rng(1).normal(0.5, 0.1, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.002) and high == pytest.approx(
        values.mean() + half, abs=0.002
    )


def test_bootstrap_of_one_value_and_of_none():
    assert bootstrap_interval([0.3]) == (pytest.approx(0.3), pytest.approx(0.3))
    assert all(math.isnan(end) for end in bootstrap_interval([float("nan")]))


def test_frame_strip_lays_out_rows_and_hides_empty_places():
    frames = torch.zeros(5, 3, 20, 30, dtype=torch.uint8)
    figure = frame_strip(
        frames, torch.ones(5, 20, 30, dtype=torch.uint8), [str(i) for i in range(5)], columns=3, scale=2
    )
    assert len(figure.axes) == 6
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 1, 1, 0]
    assert figure.axes[0].images[0].get_array().shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: frame_strip(torch.zeros(2, 3, 4, 4), titles=["one"]), "2 frames need 2 titles, got 1"),
        (lambda: frame_strip([]), "at least one frame"),
        (lambda: plot_over_time({"a": [1, 2], "b": [1]}), "one length"),
        (lambda: plot_over_time({}), "one length"),
        (lambda: plot_memory({}), "at least one series"),
        (lambda: interval_bars(["a", "b"], {"m": [[1.0]]}), "scores for 1 groups, expected 2"),
        (lambda: interval_bars([], {}), "at least one group"),
        (lambda: save_gif([], "x.gif"), "at least one picture"),
        (lambda: save_gif([np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)], "x.gif"), "one size"),
    ],
)
def test_bad_input_is_explained(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_gif_keeps_frames_and_speed(tmp_path):
    pictures = [np.full((8, 9, 3), value, dtype=np.uint8) for value in (0, 120, 250)]
    image = Image.open(save_gif(pictures, tmp_path / "a.gif", fps=5))
    assert image.n_frames == 3 and image.size == (9, 8) and image.info["duration"] == 200
