"""Players and the microscope as plain files: slider, keyboard, several on one page, and the numbers of J and F."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.metrics import contour_accuracy, region_similarity
from course_lib.viz import player
from course_lib.viz.embed import asset, encode_labels, page
from course_lib.viz.widgets import MetricMicroscope
from course_lib.viz.widgets.microscope import altered_mask, thickest_place

pytestmark = pytest.mark.browser


def moving_square(length: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    frames = torch.full((length, 3, 24, 32), 90, dtype=torch.uint8)
    labels = torch.zeros(length, 24, 32, dtype=torch.uint8)
    for t in range(length):
        frames[t, :, 6:14, 2 * t : 2 * t + 8] = 220
        labels[t, 6:14, 2 * t : 2 * t + 8] = 1
    return frames, labels


def opened(window, tmp_path, *fragments):
    path = tmp_path / "page.html"
    path.write_text(page("test", "".join(fragments)), encoding="utf-8")
    window.page.goto(path.as_uri())
    return window.page


def pixels(locator) -> str:
    return locator.evaluate("canvas => canvas.toDataURL()")


def shown_player(**settings):
    frames, labels = moving_square()
    captions = [f"J = {1 - t / 10:.1f}" for t in range(len(frames))]
    tracks = {"truth": (frames, labels), "late": (frames, labels.roll(1, 0))}
    return player(tracks, captions=captions, alt="A square moves right", scale=4, **settings)


def test_keyboard_and_slider_move_all_tracks(window, tmp_path):
    tab = opened(window, tmp_path, shown_player()._repr_html_())
    box, slider = tab.locator(".cv-box"), tab.locator(".cv-slider")
    tab.wait_for_function("document.querySelector('.cv-track canvas').toDataURL().length > 1000")
    first = [pixels(tab.locator("canvas").nth(i)) for i in range(2)]
    box.focus()
    tab.keyboard.press("ArrowRight")
    assert box.get_attribute("data-frame") == "1"
    assert "J = 0.9" in tab.locator(".cv-caption").inner_text()
    assert all(pixels(tab.locator("canvas").nth(i)) != first[i] for i in range(2))
    tab.keyboard.press("End")
    assert box.get_attribute("data-frame") == "7"
    tab.keyboard.press("ArrowRight")
    assert box.get_attribute("data-frame") == "7"  # stepping stops at the end
    tab.keyboard.press("Home")
    assert [pixels(tab.locator("canvas").nth(i)) for i in range(2)] == first
    slider.fill("4")
    assert box.get_attribute("data-frame") == "4"
    assert slider.get_attribute("aria-valuetext") == "frame 4 of 7. J = 0.6"
    assert not window.errors and not window.refused


def test_space_plays_pauses_and_loops(window, tmp_path):
    tab = opened(window, tmp_path, shown_player(fps=40)._repr_html_())
    box = tab.locator(".cv-box")
    box.focus()
    tab.keyboard.press("Space")
    assert tab.locator(".cv-play").get_attribute("aria-label") == "Pause"
    tab.wait_for_function("document.querySelector('.cv-box').dataset.frame === '6'")
    tab.wait_for_function("document.querySelector('.cv-box').dataset.frame === '1'")
    tab.keyboard.press("Space")
    assert tab.locator(".cv-play").get_attribute("aria-label") == "Play"
    stopped = box.get_attribute("data-frame")
    tab.wait_for_timeout(200)
    assert box.get_attribute("data-frame") == stopped


def test_masks_can_be_hidden(window, tmp_path):
    tab = opened(window, tmp_path, shown_player()._repr_html_())
    canvas = tab.locator("canvas").first
    tab.wait_for_function("document.querySelector('.cv-track canvas').toDataURL().length > 1000")
    seen = [pixels(canvas)]
    tab.locator(".cv-box").focus()
    for name in ("outline", "hidden", "tint"):
        tab.keyboard.press("m")
        assert tab.locator(".cv-masks").inner_text() == f"masks: {name}"
        seen.append(pixels(canvas))
    assert len(set(seen)) == 3 and seen[0] == seen[3]


def test_drawn_masks_lie_where_the_labels_are(window, tmp_path):
    tab = opened(window, tmp_path, shown_player()._repr_html_())
    tab.wait_for_function("document.querySelector('.cv-track canvas').toDataURL().length > 1000")
    tab.locator(".cv-box").focus()
    tab.keyboard.press("End")
    shot = Image.open(io.BytesIO(tab.locator("canvas").first.screenshot())).convert("RGB")
    picture = np.asarray(shot.resize((128, 96))).astype(int)
    _, labels = moving_square()
    inside = np.kron(labels[7].numpy(), np.ones((4, 4), int)) == 1
    tinted = picture[..., 0] - picture[..., 2] > 40  # orange over grey
    core = inside & np.roll(inside, 4, 0) & np.roll(inside, -4, 0) & np.roll(inside, 4, 1) & np.roll(inside, -4, 1)
    assert tinted[core].mean() > 0.99
    assert tinted[~inside].mean() < 0.02


def test_players_on_one_page_do_not_disturb_each_other(window, tmp_path):
    html = shown_player()._repr_html_()
    tab = opened(window, tmp_path, html, html, MetricMicroscope(moving_square()[1][0]).fallback_html())
    boxes = tab.locator("[data-course-viz=player] .cv-box")
    assert boxes.count() == 2 and tab.locator("[data-course-viz=microscope] .cv-box").count() == 1
    boxes.nth(1).focus()
    tab.keyboard.press("End")
    assert [boxes.nth(i).get_attribute("data-frame") for i in range(2)] == ["0", "7"]
    assert not window.errors


def test_without_scripts_a_still_is_shown(chromium, tmp_path):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(shown_player().save(tmp_path / "a.html").as_uri())
    still = tab.locator("img.cv-poster")
    assert still.is_visible() and still.get_attribute("alt") == "A square moves right"
    context.close()


def test_narrow_screens_need_no_sideways_scrolling(window, tmp_path):
    window.page.set_viewport_size({"width": 360, "height": 800})
    tab = opened(
        window, tmp_path, shown_player()._repr_html_(), MetricMicroscope(moving_square()[1][0]).fallback_html()
    )
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


# The microscope's arithmetic


def test_page_and_library_agree_on_j_and_f(window):
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:40, :56]
    cases, expected = [], []
    for i in range(60):
        cx, cy, rx, ry = generator.uniform((10, 10, 3, 3), (46, 30, 22, 16))
        truth = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
        truth |= generator.random(truth.shape) < (0.02 if i % 3 == 0 else 0)
        state = {"dx": int(generator.integers(-20, 21)), "dy": int(generator.integers(-20, 21))}
        state |= {"grow": int(generator.integers(-5, 6)), "hole": int(generator.integers(0, 9))}
        tolerance = int(generator.integers(0, 7))
        mask = altered_mask(truth, **state)
        expected.append(
            (region_similarity(mask, truth), contour_accuracy(mask, truth, tolerance=tolerance), int(mask.sum()))
        )
        cases.append([encode_labels(truth.astype(np.uint8)), state, list(thickest_place(truth)), tolerance])
    code = asset("common.js") + asset("microscope.js")
    found = window.page.evaluate(
        f"""cases => {{ {code}
        return cases.map(([code, state, centre, tolerance]) => {{
            const truth = decodeLabels(code, 40 * 56);
            const mask = alterMask(truth, state, centre, 56, 40);
            const result = measure(mask, truth, tolerance, 56, 40);
            return [result.J, result.F, indices(mask).length];
        }}); }}""",
        cases,
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert len({round(f, 3) for _, f, _ in expected}) > 30  # the cases say something


def test_dragging_the_mask_changes_the_scores(window, tmp_path):
    truth = moving_square()[1][3] == 1
    scope = MetricMicroscope(truth)
    tab = opened(window, tmp_path, scope.fallback_html())
    box, canvas = tab.locator(".cv-box"), tab.locator(".cv-stage canvas")
    assert float(box.get_attribute("data-j")) == 1.0
    place = canvas.bounding_box()
    pixel = place["width"] / 32
    tab.mouse.move(place["x"] + 100, place["y"] + 100)
    tab.mouse.down()
    tab.mouse.move(place["x"] + 100 + 3 * pixel, place["y"] + 100 + 2 * pixel, steps=3)
    tab.mouse.up()
    scope.dx, scope.dy = 3, 2
    assert float(box.get_attribute("data-j")) == pytest.approx(scope.j)
    assert float(box.get_attribute("data-f")) == pytest.approx(scope.f)
    canvas.focus()
    tab.keyboard.press("ArrowLeft")
    tab.locator("[data-dial=grow]").fill("1")
    scope.dx, scope.grow = 2, 1
    assert float(box.get_attribute("data-j")) == pytest.approx(scope.j)
    assert tab.locator(".cv-score span").first.inner_text() == f"{scope.j:.3f}"
    assert not window.errors
