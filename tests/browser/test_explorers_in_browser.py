"""The explorers of lesson 13 as plain files: the page and the library compute the same, by mouse and by keyboard."""

import numpy as np
import pytest
import torch

from course_lib.viz.embed import asset, page
from course_lib.viz.widgets import AffinityExplorer, MemoryExplorer, MemoryRun

pytestmark = pytest.mark.browser


def opened(window, tmp_path, *fragments):
    path = tmp_path / "page.html"
    path.write_text(page("test", "".join(fragments)), encoding="utf-8")
    window.page.goto(path.as_uri())
    return window.page


def affinity_explorer(**settings) -> AffinityExplorer:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (3, 3, 30, 37), generator=generator, dtype=torch.uint8)  # padded to 32 x 40
    keys = 2 * torch.randn(3, 16, 4, 5, generator=generator)
    masks = torch.rand(2, 4, 5, generator=generator)
    return AffinityExplorer(frames, keys, masks=masks, stride=8, **settings)


def test_page_and_library_agree_on_the_weights(window):
    shown = affinity_explorer(channels=10)
    cases, expected = [], []
    for metric in ("l2", "dot"):
        for top_k in (1, 2, 7, 40):
            for cell in ((0, 0), (3, 4), (1, 2)):
                shown.metric, shown.top_k, shown.cell = metric, top_k, cell
                cases.append([40 + cell[0] * 5 + cell[1], top_k, metric])
                expected.append(shown.weights.flatten().tolist())
    code = asset("common.js") + asset("affinity.js")
    found = window.page.evaluate(
        f"""([code, scales, root, cases]) => {{ {code}
        const keys = decodeKeys(code, scales), stored = Array.from({{ length: 40 }}, (_, i) => i);
        return cases.map(([query, topK, metric]) =>
            Array.from(affinityWeights(keys, scales.length, root, stored, query, topK, metric).weights)); }}""",
        [shown.content["keys"], shown.content["scales"], shown.content["root"], cases],
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_pointing_keys_slider_and_metric_change_the_weights(window, tmp_path):
    shown = affinity_explorer(cell=(1, 1), query=1)
    tab = opened(window, tmp_path, shown.fallback_html())
    box, canvas = tab.locator(".cv-box"), tab.locator("canvas").first

    def agrees():
        assert box.get_attribute("data-cell") == ",".join(map(str, shown.cell))
        assert float(box.get_attribute("data-best")) == pytest.approx(float(shown.weights.max()), abs=1e-4)
        assert float(box.get_attribute("data-readout")) == pytest.approx(shown.readout, abs=1e-3)
        shares = [float(share) for share in box.get_attribute("data-shares").split(",")]
        np.testing.assert_allclose(shares, shown.weights.sum((1, 2)), atol=1e-4)
        assert f"is object: {shown.readout:.2f}" in tab.locator(".cv-result").inner_text()

    agrees()
    place = canvas.bounding_box()
    pixel = place["width"] / 37
    tab.mouse.click(place["x"] + (3 * 8 - 1 + 4) * pixel, place["y"] + (2 * 8 - 1 + 4) * pixel)
    shown.cell = (2, 3)
    agrees()
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowLeft"):  # the second is at the border
        tab.keyboard.press(key)
    shown.cell = (3, 2)
    agrees()
    tab.locator("[data-dial=top_k]").fill(str(shown.content["stops"].index(3)))
    shown.top_k = 3
    agrees()
    assert tab.locator(".cv-status").inner_text().startswith("3 of 40 stored cells answer;")
    tab.locator("[data-metric=dot]").click()
    shown.metric = "dot"
    agrees()
    assert tab.locator("[data-metric=dot]").get_attribute("aria-pressed") == "true"
    tab.locator("[data-dial=top_k]").focus()
    tab.keyboard.press("End")
    shown.top_k = 40
    agrees()
    assert not window.errors and not window.refused


def memory_explorer(**settings) -> MemoryExplorer:
    generator = np.random.default_rng(0)

    def run(**chosen) -> MemoryRun:
        births = [generator.integers(0, t, size=min(4 * t, 20)) if t else [] for t in range(21)]
        J = generator.uniform(size=21)
        hidden = (np.arange(21) >= 8) & (np.arange(21) < 11)
        J[hidden] = np.nan
        return MemoryRun(chosen, J, [3000 * len(b) for b in births], births, 1.5, hidden)

    runs = [run(policy="adaptive", capacity=c) for c in (1, 2, 4)] + [run(policy="every_k")]
    return MemoryExplorer(runs, ["policy", "capacity"], **settings)


def test_dials_choose_runs_and_the_cursor_reads_them(window, tmp_path):
    shown = memory_explorer(time=4)
    tab = opened(window, tmp_path, shown.fallback_html())
    box = tab.locator(".cv-box")

    def agrees():
        assert shown.runs[int(box.get_attribute("data-run"))] is shown.run
        assert int(box.get_attribute("data-time")) == shown.time
        for row, run in (("run", shown.run), ("compare", shown.comparison)):
            texts = tab.locator(f"[data-row={row}] td").all_inner_texts()[1:]
            J, share = run.J[shown.time], run.first_share(shown.time)
            assert texts[0] == ("hidden" if np.isnan(J) else f"{J:.2f}") or abs(float(texts[0]) - J) < 0.0056
            assert texts[1] == f"{run.bytes[shown.time] / 1024:.1f} KiB"
            assert abs(float(texts[2].split()[0]) - 100 * share) <= 0.5
            assert abs(float(texts[3]) - run.mean_j) < 0.001 and texts[4] == "14.0"

    agrees()
    tab.locator("[data-dial=capacity]").fill("2")
    shown.selection = {"policy": "adaptive", "capacity": 4}
    agrees()
    tab.locator("[data-dial=compare]").select_option("0")
    shown.compare = "adaptive"
    agrees()
    tab.locator("[data-dial=policy]").select_option("1")
    shown.selection = {"policy": "every_k", "capacity": 4}
    agrees()
    assert "no effect" in box.inner_text()
    tab.locator("[data-dial=time]").fill("9")
    shown.time = 9
    agrees()
    place = tab.locator("svg[role=img]").bounding_box()
    inside = place["width"] - 54  # without the margins
    tab.mouse.move(place["x"] + 60, place["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(place["x"] + 44 + inside * 15 / 20, place["y"] + 70, steps=4)
    tab.mouse.up()
    shown.time = 15
    agrees()
    assert not window.errors and not window.refused


def test_the_bands_of_the_memory_are_as_high_as_what_it_holds(window, tmp_path):
    shown = memory_explorer()
    tab = opened(window, tmp_path, shown.fallback_html())
    tops = tab.evaluate("""() => Array.from(document.querySelectorAll("[data-born]"), (band) =>
        [Number(band.dataset.born), band.getBBox().height])""")
    table = shown.run.by_birth(24)
    assert [born for born, _ in tops] == np.flatnonzero(table.sum(0)).tolist()
    assert tops[0][1] == pytest.approx(120 * table[:, 0].max() / table.sum(1).max(), abs=0.2)


def test_narrow_screens_need_no_sideways_scrolling(window, tmp_path):
    window.page.set_viewport_size({"width": 360, "height": 800})
    tab = opened(window, tmp_path, affinity_explorer().fallback_html(), memory_explorer().fallback_html())
    tab.wait_for_timeout(200)
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert tab.locator("svg[role=img]").bounding_box()["width"] < 360
    assert not window.errors


@pytest.mark.parametrize(
    ("make", "dial", "position", "name", "value", "change", "shows"),
    [
        (affinity_explorer, "top_k", "0", "top_k", 1, {"cell": [3, 4]}, ("data-cell", "3,4")),
        (memory_explorer, "time", "7", "time", 7, {"compare": "adaptive", "time": 2}, ("data-time", "2")),
    ],
)
def test_a_live_widget_tells_its_model_and_follows_it(window, make, dial, position, name, value, change, shows):
    shown = make()
    traits = {"affinity": ("cell", "top_k", "metric"), "memory": ("selection", "compare", "time")}
    kind = "affinity" if make is affinity_explorer else "memory"
    state = {trait: getattr(shown, trait) for trait in ("content", *traits[kind])}
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
            module.default.render({ model: window.model, el: document.body });
        }""",
        [shown._esm, state],
    )
    tab.locator(f"[data-dial={dial}]").fill(position)
    assert tab.evaluate(f"window.saved.{name}") == value
    for trait, new in change.items():
        tab.evaluate("([name, value]) => window.model.set(name, value)", [trait, new])
    assert tab.locator(".cv-box").get_attribute(shows[0]) == shows[1]
    assert not window.errors
