"""The widgets of lessons 01-03 as plain files: the page and the library compute the same, by mouse and by keyboard."""

import numpy as np
import pytest
import torch

from course_lib.methods.spatial_transformer import geometry
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.bandit import Bandit
from course_lib.viz.embed import asset, page
from course_lib.viz.widgets import BanditExplorer, EpisodePlayer, EpisodeRecord, PageClassifier, ScheduleEditor

pytestmark = pytest.mark.browser


def opened(window, tmp_path, *fragments):
    path = tmp_path / "page.html"
    path.write_text(page("test", "".join(fragments)), encoding="utf-8")
    window.page.goto(path.as_uri())
    return window.page


def code(*names) -> str:
    return "".join(asset(f"{name}.js") for name in ("common", "charts", *names))


def computed(window, scripts, arguments, body):
    """What `body`, a function of the arguments, returns when it stands below the scripts."""
    return window.page.evaluate(f"(given) => {{ {code(*scripts)} return ({body})(...given); }}", arguments)


def episode_player(judged=False, channels=1, size=(16, 20), **settings) -> EpisodePlayer:
    generator = torch.Generator().manual_seed(0)
    moves = ActionSet.search(size)
    layers = [
        (torch.randn(8, channels * 80, generator=generator), torch.randn(8, generator=generator)),
        (torch.randn(4, 8, generator=generator), torch.randn(4, generator=generator)),
    ]
    record = EpisodeRecord(
        torch.randint(0, 256, (2, channels, *size), generator=generator, dtype=torch.uint8),
        torch.randint(0, 10, (2, 6), generator=generator),
        moves.names,
        moves.matrices,
        probabilities=torch.rand(2, 6, 10, generator=generator).softmax(2),
        losses=torch.rand(2, 7, generator=generator),
        rewards=torch.rand(2, 6, generator=generator),
        boxes=torch.tensor([[2.0, 3, 9, 11], [8, 1, 18, 9]]),
        labels=[3, 1],
    )
    return EpisodePlayer(record, PageClassifier(layers, pool=2) if judged else None, **settings)


def schedule_editor(**settings) -> ScheduleEditor:
    player = episode_player()
    steps = {"linear": [max(0, 6 - e // 5) for e in range(41)], "all": [6] * 41}
    processed = {"dynamic": [max(0, 64 - 2 * e) for e in range(41)]}
    accuracy = {"linear": np.linspace(0.3, 0.9, 5), "baseline": np.linspace(0.3, 0.8, 5)}
    return ScheduleEditor(
        player.record.images, player.record.matrices, steps, processed, accuracy=accuracy, points=5, **settings
    )


def test_page_and_library_agree_on_the_bandit(window):
    cases, expected = [], []
    for probability in (0.05, 0.5, 0.8):
        for baseline, noise in ((0.0, 0.0), (7.0, 0.0), (-3.0, 2.0)):
            logits = torch.tensor([probability, 1 - probability], dtype=torch.float64).log()
            bandit = Bandit(torch.tensor([10.0, 11.0], dtype=torch.float64), noise)
            mean, variance = bandit.gradient_moments(logits, baseline)
            best, expectation = bandit.best_baseline(logits), bandit.expected_reward(logits)
            cases.append([10, 11, probability, baseline, noise])
            expected.append([float(value) for value in (mean[0], variance[0], best, expectation)])
    found = computed(
        window,
        ["bandit"],
        [cases],
        """(cases) => cases.map(([reward_0, reward_1, probability, baseline, noise]) => {
            const found = banditMoments({ reward_0, reward_1, probability, baseline, noise });
            return [found.mean, found.variance, found.best, found.expected]; })""",
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("size", "channels"), [((9, 9), 1), ((12, 17), 3)])
def test_page_and_library_agree_on_views_frames_boxes_and_shares(window, size, channels):
    generator = torch.Generator().manual_seed(1)
    height, width = size
    images = torch.randint(0, 256, (6, channels, *size), generator=generator)
    moves = ActionSet.search(size).matrices
    actions = torch.randint(0, 10, (6, 9), generator=generator)
    matrices = geometry.compose_sequence(moves[actions])  # [6, 3, 3]
    low = torch.rand(6, 2, generator=generator) * torch.tensor([width, height]) / 2
    boxes = torch.cat([low, low + 1 + torch.rand(6, 2, generator=generator) * 6], dim=1)
    found = computed(
        window,
        ["warp"],
        [
            [m.flatten().tolist() for m in moves.double()], actions.tolist(), images.flatten(1).tolist(),
            boxes.double().tolist(), channels, height, width,
        ],
        """(moves, actions, images, boxes, channels, height, width) => actions.map((row, i) => {
            const m = matricesOf(moves, row).at(-1), box = transportBox(boxes[i], m, height, width);
            const view = Array.from(sampleView(images[i], channels, height, width, m));
            const shares = ["clipped_share", "true_iou"].map((kind) => shareOf(box, height, width, kind));
            return [m, view, frameCorners(m, height, width).flat(), box, shares]; })""",
    )  # fmt: skip
    shown = geometry.transport_boxes(boxes, matrices, size)
    shares = torch.stack([geometry.clipped_share(shown, size), geometry.true_iou(shown, size)], dim=1)
    expected = (
        matrices.flatten(1), geometry.view(images.float(), matrices).flatten(1),
        geometry.frame_corners(matrices, size).flatten(1), shown, shares,
    )  # fmt: skip
    for answer, wanted, atol in zip(zip(*found), expected, (1e-5, 0.02, 1e-4, 1e-3, 1e-5)):
        np.testing.assert_allclose(np.array(answer), wanted, rtol=1e-4, atol=atol)


def test_page_and_library_agree_on_the_small_classifier(window):
    player = episode_player(judged=True, channels=3)
    views = player.record.views(1)
    expected = player.classifier.log_probabilities(views)
    found = computed(
        window,
        ["judge"],
        [player.classifier.packed(), (views * 255).flatten(1).tolist()],
        "(judge, views) => views.map((view) => Array.from(judgeView(decodeJudge(judge), view, 3, 16, 20)))",
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)
    values = np.array([0, 1, -2.5, 65504, 6e-8, -3e-5, 0.1], dtype=np.float16)  # the fifth and sixth are subnormal
    small = PageClassifier([(values[:, None], values)])
    decoded = computed(window, ["judge"], [small.packed()["layers"][0]["weights"]], "(c) => Array.from(decodeHalf(c))")
    np.testing.assert_array_equal(decoded, values.astype(np.float64))


def test_page_and_library_agree_on_a_schedule_drawn_by_hand(window):
    shown = schedule_editor()
    for points in ([6, 3, 0, 1, 0], [0, 0.5, 5.25, 2, 6], [1, 1, 1, 1, 0]):
        shown.points = points
        found = computed(
            window,
            ["schedules"],
            [shown.content["places"], points, 41],
            "(places, points, epochs) => scheduleOf(places, points, epochs)",
        )
        assert found == shown.schedule.tolist()


def test_dials_buttons_and_clicks_turn_the_bandit(window, tmp_path):
    shown = BanditExplorer((4, 12), 0.2)
    tab = opened(window, tmp_path, shown.fallback_html())
    box = tab.locator(".cv-box")

    def agrees():
        assert float(box.get_attribute("data-mean")) == pytest.approx(shown.mean)
        assert float(box.get_attribute("data-variance")) == pytest.approx(shown.variance, abs=1e-9)

    agrees()
    tab.get_by_role("button", name="b = expected reward").click()
    shown.baseline = shown.expected_reward
    agrees()
    assert "as good as" in tab.locator(".cv-status").inner_text() or "harms" in tab.locator(".cv-status").inner_text()
    tab.get_by_role("button", name="b = best").click()
    shown.baseline = shown.best_baseline
    agrees()
    assert tab.locator(".cv-status").inner_text() == "Every episode gives the exact gradient."
    band = tab.locator("[data-band]")
    assert float(band.get_attribute("width")) < 0.01
    tab.locator("[data-dial=noise]").fill("1")
    shown.noise = 1.0
    agrees()
    tab.locator("[data-dial=baseline]").focus()
    tab.keyboard.press("End")
    shown.baseline = 16.0
    agrees()
    assert "harms" in tab.locator(".cv-status").inner_text()
    place = tab.locator("svg[role=img]").bounding_box()
    tab.mouse.click(place["x"] + 46 + (place["width"] - 60) * 0.5, place["y"] + 300)
    assert float(box.get_attribute("data-baseline")) == pytest.approx(6, abs=0.1)
    before = tab.locator("[data-average]").get_attribute("data-average")
    tab.get_by_role("button", name="other episodes").click()
    assert tab.locator("[data-average]").get_attribute("data-average") != before
    assert not window.errors and not window.refused


@pytest.mark.parametrize("judged", [False, True])
def test_the_agent_is_watched_and_the_reader_plays(window, tmp_path, judged):
    player = episode_player(judged)
    tab = opened(window, tmp_path, player.fallback_html())
    box = tab.locator(".cv-box")

    def agrees():
        found = [float(value) for value in box.get_attribute("data-matrix").split(",")]
        np.testing.assert_allclose(found, player.matrix.flatten(), atol=1e-6)
        shown = geometry.transport_boxes(
            torch.from_numpy(player.record.boxes[player.episode][None]), torch.from_numpy(player.matrix[None]), (16, 20)
        )
        assert float(box.get_attribute("data-share")) == pytest.approx(
            float(geometry.true_iou(shown, (16, 20))), abs=1e-5
        )
        if judged:
            answer = player.classifier.log_probabilities(player.view[None])[0]
            loss = -float(answer[player.record.labels[player.episode]])
            assert float(box.get_attribute("data-loss")) == pytest.approx(loss, abs=1e-3)
            assert f"small classifier: {int(answer.argmax())} (" in box.inner_text()

    agrees()
    tab.locator("[data-dial=step]").fill("4")
    player.step = 4
    agrees()
    taken = player.record.names[player.record.actions[0, 4]]
    assert tab.locator("[data-taken]").get_attribute("data-move") == taken
    assert tab.locator(".cv-status").inner_text().startswith(f"Next: {taken} (π = ")
    tab.locator("[data-episode='1']").click()
    player.episode, player.step = 1, 0
    agrees()
    box.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End"):
        tab.keyboard.press(key)
    player.step = 6
    agrees()
    assert "over" in tab.locator(".cv-status").inner_text()

    tab.locator("[data-mode=play]").click()
    player.mode, player.step = "play", 0
    agrees()
    box.focus()
    for key in ("7", "1", "9"):  # zoom, right, turn left
        tab.keyboard.press(key)
    player.own, player.step = [6, 0, 8], 3
    agrees()
    tab.keyboard.press("Backspace")
    tab.locator("[data-choose='2']").click()
    player.own = [6, 0, 2]
    agrees()
    tab.locator("[data-dial=step]").fill("1")
    tab.locator("[data-choose='3']").click()  # a moment tried again
    player.own, player.step = [6, 3], 2
    agrees()
    assert "After zoom, up." in tab.locator(".cv-status").inner_text()
    assert "you " in tab.locator(".cv-status").inner_text()
    for _ in range(4):
        tab.locator("[data-choose='9']").click()
    assert tab.locator("[data-choose='9']").is_disabled()
    tab.get_by_role("button", name="start again").click()
    player.own, player.step = [], 0
    agrees()
    assert not window.errors and not window.refused


def test_an_episode_plays_to_its_end(window, tmp_path):
    tab = opened(window, tmp_path, episode_player(fps=50).fallback_html())
    tab.locator(".cv-play").click()
    tab.wait_for_function("document.querySelector('.cv-box').dataset.step === '6'")
    tab.wait_for_function("document.querySelector('.cv-play').textContent === '▶'")
    assert not window.errors


def test_the_view_on_the_page_has_the_pixels_of_the_library(window, tmp_path):
    player = episode_player(channels=3, step=3)
    tab = opened(window, tmp_path, player.fallback_html())
    found = tab.evaluate("""() => {
        const canvas = document.querySelectorAll("canvas")[1], zoom = canvas.width / 20;
        const all = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return Array.from({ length: 16 * 20 }, (_, i) => {
            const x = Math.floor((i % 20 + 0.5) * zoom), y = Math.floor((Math.floor(i / 20) + 0.5) * zoom);
            return Array.from(all.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3)); }); }""")
    expected = (player.view * 255).permute(1, 2, 0).reshape(-1, 3).numpy()
    close = np.abs(np.array(found) - expected).max(axis=1) <= 1
    assert close.mean() > 0.85  # the rest lies under the box of the object


def test_points_of_a_schedule_are_dragged_and_stepped(window, tmp_path):
    shown = schedule_editor()
    tab = opened(window, tmp_path, shown.fallback_html())
    box = tab.locator(".cv-box")

    def agrees():
        assert [int(v) for v in box.get_attribute("data-schedule").split(",")] == shown.schedule.tolist()
        steps = tab.locator("image").evaluate_all("(all) => all.map((one) => [+one.dataset.epoch, +one.dataset.step])")
        if shown.kind == "steps":
            assert all(step == shown.schedule[epoch] for epoch, step in steps)

    agrees()
    assert tab.locator("[data-curve]").count() == 2
    assert "only original images from epoch 30 on" in tab.locator(".cv-status").inner_text()
    point = tab.locator("[data-point='2']").bounding_box()
    x, y = point["x"] + point["width"] / 2, point["y"] + point["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x, y - 48, steps=3)  # two of 6 steps, which are 144 pixels high
    tab.mouse.up()
    heights = [6, 4, 2, 0, 0]
    shown.points = [*heights[:2], 4, *heights[3:]]
    agrees()
    assert "Your own, from linear" in tab.locator(".cv-status").inner_text()
    tab.locator("[data-point='4']").focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowUp"):
        tab.keyboard.press(key)
    shown.points = [*shown.points[:3], 1, 1]
    agrees()
    assert "the last epoch still shows images after 1 steps" in tab.locator(".cv-status").inner_text()
    tab.get_by_role("button", name="undo my changes").click()
    shown.points = []
    agrees()
    tab.locator("[data-preset=dynamic]").click()
    shown.preset = "dynamic"
    agrees()
    shares = tab.locator("image").evaluate_all("(all) => all.map((one) => [+one.dataset.epoch, +one.dataset.step])")
    assert {step for _, step in shares} == {0, 6}
    for epoch in shown.content["places"]:  # rows of 4: two pictures, twice
        done = sum(step == 6 for at, step in shares if at == epoch)
        assert done == int(shown.schedule[epoch] / 64 * 4 + 0.5)
    assert not window.errors and not window.refused


def test_narrow_screens_need_no_sideways_scrolling(window, tmp_path):
    window.page.set_viewport_size({"width": 360, "height": 800})
    widgets = (BanditExplorer(), episode_player(), schedule_editor(preset="dynamic"))
    tab = opened(window, tmp_path, *(widget.fallback_html() for widget in widgets))
    tab.wait_for_timeout(200)
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert not window.errors


@pytest.mark.parametrize(
    ("make", "dial", "name", "value", "change", "shows"),
    [
        (BanditExplorer, "probability", "probability", 0.25, {"baseline": 3.5}, ("baseline", "3.5")),
        (episode_player, "step", "step", 5, {"mode": "play", "own": [1, 2], "step": 2}, ("step", "2")),
        (schedule_editor, None, "preset", "all", {"points": [1] * 5}, ("schedule", ",".join("1" * 41))),
    ],
)
def test_a_live_widget_tells_its_model_and_follows_it(window, make, dial, name, value, change, shows):
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
    if dial is None:
        tab.locator(f"[data-preset={value}]").click()
    else:
        tab.locator(f"[data-dial={dial}]").fill(str(value))
    assert tab.evaluate(f"window.saved.{name}") == value
    for trait, new in change.items():
        tab.evaluate("([name, value]) => window.model.set(name, value)", [trait, new])
    assert tab.locator(".cv-box").get_attribute(f"data-{shows[0]}") == shows[1]
    tab.evaluate("window.away()")
    assert not window.errors
