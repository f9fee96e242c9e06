"""The widgets of lessons 04 and 05 as plain files: the page and the library compute the same, by mouse and by keys."""

import numpy as np
import pytest
import torch

from course_lib.methods.recurrent.distance import distance_classes
from course_lib.viz.embed import asset, encode_labels, page
from course_lib.viz.widgets import CurveDials, DistanceClassPainter, SamplingDial
from course_lib.viz.widgets.sampling_dial import expected_longest_run

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


def test_page_and_library_agree_on_distance_classes(window):
    rng = np.random.default_rng(0)
    masks = [rng.random((13, 17)) < share for share in (0, 0.01, 0.1, 0.5, 0.95, 1)]
    masks += [np.pad(np.ones((20, 22), dtype=bool), 12)]
    cases = [(mask, radius, width) for mask in masks for radius, width in ((20, 1), (20, 3), (12, 12), (7, 2), (1, 1))]
    found = computed(
        window,
        "distance",
        [[[encode_labels(m.astype(np.uint8)), m.shape[1], m.shape[0], radius, width] for m, radius, width in cases]],
        """(cases) => cases.map(([code, width, height, radius, step]) => {
            const mask = decodeLabels(code, width * height);
            if (encodeLabels(mask) !== code) throw new Error("the code changed");
            return Array.from(distanceClasses(mask, width, height, radius, step).classes); })""",
    )
    for classes, (mask, radius, width) in zip(found, cases):
        expected = distance_classes(torch.from_numpy(mask)[None], radius, width)[0]
        np.testing.assert_array_equal(np.reshape(classes, mask.shape), expected)


def test_page_and_library_agree_on_schedules_and_runs(window):
    dials = [
        SamplingDial(),
        SamplingDial(2000, 600, 0.001, 0.25),
        SamplingDial(90, 0, 0.0),
        SamplingDial(90, 5, 0.1, 0),
    ]
    places = [0, 2, 7, 60, 90]
    runs = [[n, q] for n in (0, 1, 8, 28) for q in (0.0, 0.25, 0.6, 1.0)]
    states = [{"start": d.start, "slope": d.slope, "floor": d.floor} for d in dials]
    shares, found = computed(
        window,
        "sampling",
        [states, places, runs],
        """(states, places, runs) => [states.map((state) => places.map((epoch) => truthShare(state, epoch))),
            runs.map(([n, q]) => longestRun(n, q))]""",
    )
    np.testing.assert_allclose(shares, [d.schedule[places] for d in dials], atol=1e-9)
    np.testing.assert_allclose(found, [expected_longest_run(n, q) for n, q in runs], atol=1e-9)


def test_a_mask_is_painted_by_mouse_and_by_keys(window, tmp_path):
    shown = DistanceClassPainter("bar", 20, 1)
    tab = opened(window, tmp_path, shown.fallback_html())
    box, pad = tab.locator(".cv-box"), tab.locator("canvas").first

    def agrees():
        shown.mask_code = box.get_attribute("data-mask")
        counts = [int(count) for count in box.get_attribute("data-counts").split(",")]
        assert counts == np.bincount(shown.classes.ravel(), minlength=shown.n_classes).tolist()
        empty = box.get_attribute("data-empty")
        assert [int(index) for index in empty.split(",") if index] == shown.empty_classes
        assert tab.locator(".cv-result").inner_text() == f"K = {shown.n_classes} classes"
        assert tab.locator("[data-class]").count() == shown.n_classes

    agrees()
    assert "16 of 42 classes are empty: 26–41" in tab.locator("[role=status]").inner_text()
    tab.locator("[data-shape=clear]").click()
    agrees()
    assert not shown.mask.any() and "every pixel is class 0" in tab.locator("[role=status]").inner_text()
    frame = pad.bounding_box()

    def place(x, y):
        return frame["x"] + (x + 0.5) * frame["width"] / 80, frame["y"] + (y + 0.5) * frame["height"] / 60

    tab.mouse.move(*place(20, 30))
    tab.mouse.down()
    tab.mouse.move(*place(50, 30), steps=2)  # a fast stroke leaves no gaps
    tab.mouse.up()
    agrees()
    assert shown.mask[30, 17:54].all() and shown.mask[27:34, 20:51].all() and shown.mask.sum() == 7 * 31 + 2 * 11
    tab.locator("[data-tool=erase]").click()
    tab.locator("[data-brush='1']").click()
    pad.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowLeft", " "):
        tab.keyboard.press(key)
    agrees()
    assert not shown.mask[27, 49] and not shown.mask[28, 49] and shown.mask[29, 49]
    assert "At the cross: outside, 1.4 pixels" in tab.locator("[aria-live]").inner_text()
    tab.keyboard.press("e")
    tab.keyboard.press(" ")
    agrees()
    assert shown.mask[27, 49]
    assert not window.errors and not window.refused


def test_dials_of_the_painter_keep_bins_within_the_band(window, tmp_path):
    shown = DistanceClassPainter("disk", 12, 3)
    tab = opened(window, tmp_path, shown.fallback_html())
    assert tab.locator(".cv-result").inner_text() == "K = 10 classes"
    tab.locator("[data-dial=radius]").fill("2")
    assert tab.locator("[data-dial=width]").input_value() == "2"
    assert tab.locator(".cv-result").inner_text() == "K = 4 classes"
    tab.locator("[data-dial=width]").fill("9")
    assert tab.locator("[data-dial=radius]").input_value() == "9"
    tab.locator("[data-dial=radius]").fill("20")
    assert "beyond 18 px counts as far" in tab.locator(".cv-panel").nth(1).inner_text()
    assert not window.errors


def test_the_sampling_dial_is_turned_clicked_and_drawn_again(window, tmp_path):
    shown = SamplingDial(frames=24)
    tab = opened(window, tmp_path, shown.fallback_html())
    box = tab.locator(".cv-box")

    def agrees():
        assert float(box.get_attribute("data-share")) == pytest.approx(shown.epsilon)
        assert float(box.get_attribute("data-run")) == pytest.approx(shown.longest_run)
        fed = tab.locator("[data-fed]").evaluate_all("(all) => all.map((one) => one.dataset.fed === 'truth')")
        rows = np.reshape(fed, (6, shown.frames - 1))
        np.testing.assert_array_equal(rows[:5], shown.fed)
        assert rows[5].tolist() == [True] + [False] * (shown.frames - 2)
        assert tab.locator("[data-number=test]").inner_text() == str(shown.frames - 2)

    agrees()
    for name, value in (("epoch", 600), ("floor", 0.2), ("slope", 0.003), ("start", 200), ("frames", 8)):
        tab.locator(f"[data-dial={name}]").fill(str(value))
        setattr(shown, name, value)
        agrees()
    tab.get_by_role("button", name="other clips").click()
    shown.draw = 1
    agrees()
    tab.locator("[data-preset='only its own']").click()
    assert "Only its own masks" in tab.locator("[role=status]").inner_text()
    tab.locator("[data-preset='only true masks']").click()
    assert "never learns what its own mistakes" in tab.locator("[role=status]").inner_text()
    tab.locator("[data-preset='as given']").click()
    curve = tab.locator("svg").bounding_box()
    tab.mouse.click(curve["x"] + 46, curve["y"] + 80)
    assert box.get_attribute("data-epoch") == "0"
    assert not window.errors and not window.refused


def curve_dials() -> CurveDials:
    one = np.arange(24.0).reshape(4, 2, 3)  # [shift, clips, frame]
    one[0, 0, 1] = np.nan
    return CurveDials(
        (1, 2, 4),
        {"first": one, "second": 30 - one},
        {"moved by": ("0 px", "4 px", "8 px", "erased"), "clips": ("plain", "look-alikes")},
        x_label="frame",
        y_label="points lost",
        mark=(2, "the blow"),
        alt="Two curves",
    )


def test_curves_follow_their_dials_and_the_pointer(window, tmp_path):
    shown = curve_dials()
    tab = opened(window, tmp_path, shown.fallback_html())
    box, picture = tab.locator(".cv-box"), tab.locator("svg[role=img]")

    def agrees(place):
        assert [int(index) for index in box.get_attribute("data-at").split()] == shown.at
        numbers = [tab.locator(f"[data-value='{i}']").inner_text() for i in range(2)]
        expected = [values[place] for values in shown.shown.values()]
        for number, value in zip(numbers, expected):
            assert number == "–" if np.isnan(value) else float(number) == pytest.approx(value)

    agrees(2)
    assert picture.locator("[data-curve='0']").count() == 2, "a missing value parts the curve"
    tab.locator("input[data-dial='0']").fill("3")
    tab.locator("[data-dial='1'][data-setting='1']").click()
    shown.at = [3, 1]
    agrees(2)
    assert tab.locator("output").inner_text() == "erased" and picture.locator("[data-curve='0']").count() == 1
    frame = picture.bounding_box()
    tab.mouse.move(frame["x"] + 50, frame["y"] + 100)
    agrees(0)
    assert "Numbers are read at 1, the dashed line" in tab.locator("[role=status]").inner_text()
    assert not window.errors and not window.refused


def test_narrow_screens_need_no_sideways_scrolling(window, tmp_path):
    window.page.set_viewport_size({"width": 360, "height": 800})
    widgets = (DistanceClassPainter("bar"), SamplingDial(frames=30), curve_dials())
    tab = opened(window, tmp_path, *(widget.fallback_html() for widget in widgets))
    tab.wait_for_timeout(200)
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert not window.errors


@pytest.mark.parametrize(
    ("make", "dial", "value", "change", "shows"),
    [
        (DistanceClassPainter, "radius", 6, {"width": 2}, ("classes", "8")),
        (SamplingDial, "frames", 20, {"epoch": 0}, ("share", "1")),
        (curve_dials, "0", 2, {"at": [1, 1]}, ("at", "1 1")),
    ],
)
def test_a_live_widget_tells_its_model_and_follows_it(window, make, dial, value, change, shows):
    shown = make()
    tab = window.page
    tab.evaluate(
        """async ([code, state]) => {
            const listeners = {};
            window.model = {
                get: (name) => state[name],
                set: (name, value) => { state[name] = value; (listeners[`change:${name}`] || (() => {}))(); },
                on: (event, listener) => { listeners[event] = listener; },
                save_changes: () => { window.saved = { ...state }; },
            };
            const module = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
            window.away = module.default.render({ model: window.model, el: document.body });
        }""",
        [shown._esm, {trait: getattr(shown, trait) for trait in ("content", *shown.STATE)}],
    )
    tab.locator(f"input[data-dial='{dial}']").fill(str(value))
    saved = tab.evaluate("window.saved")
    assert saved["at"][int(dial)] == value if "at" in saved else saved[dial] == value
    for trait, new in change.items():
        tab.evaluate("([name, value]) => window.model.set(name, value)", [trait, new])
    assert tab.locator(".cv-box").get_attribute(f"data-{shows[0]}") == shows[1]
    tab.evaluate("window.away()")
    assert not window.errors
