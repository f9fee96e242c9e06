"""The widgets of lessons 06 and 07 as plain files: the page and the library compute the same, by mouse and by keys."""

from itertools import product

import numpy as np
import pytest
import torch

from course_lib.methods.propagation.schedule import BASELINE, QUOTED, TABLE, OperatingPoint
from course_lib.methods.propagation.throughput import THESIS
from course_lib.viz.embed import asset, page
from course_lib.viz.widgets import ScheduleDial, WindowExplorer
from course_lib.viz.widgets.schedule_clock import frame_lives, rate_of

pytestmark = pytest.mark.browser


def opened(window, tmp_path, *fragments):
    path = tmp_path / "page.html"
    path.write_text(page("test", "".join(fragments)), encoding="utf-8")
    window.page.goto(path.as_uri())
    return window.page


def computed(window, script, arguments, body):
    """What `body`, a function of the arguments, returns when it stands below the scripts."""
    code = "".join(asset(f"{name}.js") for name in ("common", "charts", script))
    return window.page.evaluate(f"(given) => {{ {code} return ({body})(...given); }}", arguments)


def test_page_and_library_agree_on_every_schedule(window):
    points = [
        OperatingPoint(S, W, R, D)
        for S, W, R, D in product((1, 2, 3, 5, 17), (True, False), ("off", "last", "all"), (1.0, 0.5))
        if W or R == "off"
    ]
    shown = ScheduleDial(TABLE, BASELINE, THESIS)
    cases = [(point, cores, interval) for point in points for cores in (1, 3) for interval in (0.0, 33.3)]
    states = [
        [{**{n: getattr(p, n) for n in ("key_every", "warp", "refine", "input_scale")}, "cores": cores}, interval]
        for p, cores, interval in cases
    ]
    found = computed(
        window,
        "schedule_dial",
        [states, shown.content["times"], shown.content["curves"]],
        """(states, times, curves) => states.map(([state, interval]) => ({ rate: periodOf(state, times).rate,
            lives: frameLives(state, times, 20, interval), scores: scoresOf(state, curves) }))""",
    )
    for (point, cores, interval), page_has in zip(cases, found):
        lives = frame_lives(point, THESIS, 20, interval, cores)
        assert [life["kind"] for life in page_has["lives"]] == [life.kind for life in lives]
        np.testing.assert_allclose([life["ready"] for life in page_has["lives"]], [life.ready for life in lives])
        for name in ("network", "flow"):
            spans = [getattr(life, name) for life in lives]
            assert [life[name] is None for life in page_has["lives"]] == [span is None for span in spans]
            there = [life[name] for life in page_has["lives"] if life[name] is not None]
            np.testing.assert_allclose(there, [span for span in spans if span is not None])
        assert page_has["rate"] == pytest.approx(rate_of(point, THESIS, cores))
        shown.key_every, shown.warp, shown.refine = point.key_every, point.warp, point.refine
        shown.input_scale = point.input_scale
        assert page_has["scores"][-1] == (None if shown.mIoU is None else pytest.approx(shown.mIoU))


def test_a_schedule_is_turned_by_mouse_and_by_keys(window, tmp_path):
    shown = ScheduleDial(TABLE, BASELINE, THESIS, QUOTED)
    tab = opened(window, tmp_path, shown.fallback_html())
    box = tab.locator(".cv-box")

    def agrees():
        assert float(box.get_attribute("data-rate")) == pytest.approx(shown.rate)
        assert float(box.get_attribute("data-last") or "nan") == pytest.approx(shown.mIoU or np.nan, nan_ok=True)
        assert tab.locator("[data-step]").count() == 20

    agrees()
    assert box.get_attribute("data-row") == "EVS 07" and box.get_attribute("data-kinds") == "SwwwwSwwwwSwwwwSwwww"
    tab.locator("[data-dial=key_every]").focus()
    tab.keyboard.press("ArrowRight")
    shown.key_every = 6
    agrees()
    assert box.get_attribute("data-row") == ""
    tab.locator("[data-set='refine=last']").click()
    shown.refine = "last"
    agrees()
    assert box.get_attribute("data-kinds").startswith("SwwwwRSwwwwR")
    tab.locator("[data-set='warp=false']").click()
    shown.warp = False
    agrees()
    assert tab.locator("[data-set='refine=last']").is_disabled()
    tab.locator("[data-dial=row]").select_option("EVS 14")
    shown.warp, shown.refine, shown.key_every, shown.input_scale = True, "off", 17, 0.5
    agrees()
    assert "holds the network up" in tab.locator("p[role=status]").inner_text()
    tab.locator("[data-row='EVS 02']").click()
    shown.refine, shown.key_every, shown.input_scale = "last", 2, 1.0
    agrees()
    tab.locator("[data-set='camera=true']").click()
    assert "ms" in tab.locator("[data-number=wait]").inner_text()
    assert not window.errors and not window.refused


def test_page_and_library_agree_on_windows(window, tmp_path):
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(4, 3, 20, 32, generator=generator)
    query, memory = torch.randn(6, 5, 8, generator=generator), torch.randn(3, 6, 5, 8, generator=generator)
    origins = torch.zeros(3, 2, 5, 8)
    origins[0, 0] = 12.0  # three cells to the right
    shown = WindowExplorer(frames, query, memory, stride=4, window=3, cell=(2, 3), origins=origins)
    tab = opened(window, tmp_path, shown.fallback_html())
    box, ask = tab.locator(".cv-box"), tab.locator("canvas").first

    def agrees():
        assert [int(x) for x in box.get_attribute("data-cell").split(",")] == list(shown.cell)
        shares = [float(x) for x in box.get_attribute("data-shares").split(",")]
        np.testing.assert_allclose(shares, shown.shares, atol=1e-6)
        assert int(box.get_attribute("data-best")) == int(shown.weights.argmax())
        assert float(box.get_attribute("data-peak")) == pytest.approx(float(shown.weights.max()), abs=1e-6)

    agrees()
    assert box.get_attribute("data-outside") == "0"
    ask.focus()
    for key, cell in (("ArrowUp", [1, 3]), ("ArrowLeft", [1, 2]), ("ArrowLeft", [1, 1])):
        tab.keyboard.press(key)
        shown.cell = cell
        agrees()
    place = ask.bounding_box()
    tab.mouse.click(place["x"] + place["width"] * 7.5 / 8, place["y"] + place["height"] * 4.5 / 5)
    shown.cell = [4, 7]
    agrees()
    tab.locator("[data-dial=window]").focus()
    tab.keyboard.press("End")
    shown.window = 15
    agrees()
    assert box.get_attribute("data-outside") == ""
    tab.locator("[data-dial=memory]").focus()
    tab.keyboard.press("Home")
    shown.memory = 1
    agrees()
    tab.locator("[data-dial=temperature]").focus()
    tab.keyboard.press("Home")
    shown.temperature = 0.1
    agrees()
    assert not window.errors and not window.refused
