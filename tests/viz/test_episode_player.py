"""The episode player: what it shows is what the environment did, and bad records are explained."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.data.digits import ClutterConfig, ClutteredDigits
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.environment import EnvironmentConfig, SpatialTransformerEnv
from course_lib.methods.spatial_transformer.geometry import view
from course_lib.viz.widgets import EpisodePlayer, EpisodeRecord, PageClassifier


def record(batch=3, steps=12, size=(40, 40), channels=1, moves=None, **given) -> EpisodeRecord:
    generator = torch.Generator().manual_seed(0)
    moves = ActionSet.search(size) if moves is None else moves
    images = torch.randint(0, 256, (batch, channels, *size), generator=generator, dtype=torch.uint8)
    actions = torch.randint(0, len(moves), (batch, steps), generator=generator)
    fields = {"images": images, "actions": actions, "names": moves.names, "moves": moves.matrices}
    return EpisodeRecord(**{**fields, **given})


def probabilities(batch=3, steps=12, count=10) -> torch.Tensor:
    return torch.randn(batch, steps, count, generator=torch.Generator().manual_seed(1)).softmax(2)


def judge(inputs=400, hidden=16, pool=2) -> PageClassifier:
    torch.manual_seed(0)
    first, second = nn.Linear(inputs, hidden), nn.Linear(hidden, 10)
    return PageClassifier([(first.weight, first.bias), (second.weight, second.bias)], pool=pool)


@pytest.mark.parametrize(("size", "channels"), [((40, 40), 1), ((24, 36), 3)])
def test_views_are_those_of_the_environment(size, channels):
    shown = record(size=size, channels=channels)
    env = SpatialTransformerEnv(EnvironmentConfig(ActionSet.search(size), 12, "share_growth"), classifier=None)
    boxes = torch.tensor([[4.0, 5.0, 14.0, 17.0]]).repeat(3, 1)
    env.reset(torch.from_numpy(shown.images).float() / 255, boxes=boxes)
    for t in range(13):
        np.testing.assert_allclose(shown.matrices[:, t], env.matrices, atol=1e-5)
        for b in range(3):
            np.testing.assert_allclose(shown.views(b)[t], env.views[b], atol=2e-4)
        if t < 12:
            env.step(torch.from_numpy(shown.actions[:, t]))


def test_the_moves_of_the_reader_compose_like_those_of_the_agent():
    player = EpisodePlayer(record(), step=5, episode=1)
    np.testing.assert_allclose(player.matrix, player.record.matrices[1, 5])
    player.own = player.record.actions[1].tolist()
    player.mode = "play"
    np.testing.assert_allclose(player.matrix, player.record.matrices[1, 5])
    player.own = [6, 0]  # zoom, then right: half a move of the original's pixels is 0.8 of one
    player.step = 2
    np.testing.assert_allclose(player.matrix, [[0.8, 0, 0.08], [0, 0.8, 0], [0, 0, 1]], atol=1e-6)
    expected = view(torch.from_numpy(player.record.images[1:2]) / 255, torch.from_numpy(player.matrix[None]).float())[0]
    np.testing.assert_allclose(player.view, expected, atol=1e-5)


def test_a_step_beyond_the_readers_moves_shows_the_last_of_them():
    player = EpisodePlayer(record())
    player.mode, player.own, player.step = "play", [6], 9
    np.testing.assert_allclose(player.matrix, player.record.moves[6])


def test_the_page_classifier_is_the_network_in_half_precision():
    torch.manual_seed(0)
    network = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(3 * 6 * 9, 12), nn.ReLU(), nn.Linear(12, 5))
    layers = [(layer.weight, layer.bias) for layer in network if isinstance(layer, nn.Linear)]
    small = PageClassifier(layers, pool=2, classes="abcde")
    images = torch.rand(7, 3, 12, 18)
    found = small.log_probabilities(images)
    np.testing.assert_allclose(found, network(images).log_softmax(1).detach(), atol=2e-3)
    np.testing.assert_allclose(found.exp().sum(1), 1)
    code = small.packed()["layers"][0]["weights"]
    decoded = np.frombuffer(base64.b64decode(code), "<f2").reshape(12, -1)
    np.testing.assert_array_equal(decoded, layers[0][0].detach().half())


@pytest.mark.parametrize(
    ("layers", "settings", "message"),
    [
        ([], {}, "at least one layer"),
        ([(np.zeros((4, 9)), np.zeros(3))], {}, r"got \(4, 9\), \(3,\)"),
        ([(np.zeros((4, 9)), np.zeros(4)), (np.zeros((2, 3)), np.zeros(2))], {}, "one after the other"),
        ([(np.full((4, 9), 1e6), np.zeros(4))], {}, "65504"),
        ([(np.zeros((64, 1600)), np.zeros(64))], {}, "takes 205 kB, a page has room for 45; pool more"),
        ([(np.zeros((4, 9)), np.zeros(4))], {"classes": ["a"]}, "4 outputs need 4 names"),
    ],
)
def test_a_page_classifier_that_does_not_fit_is_refused(layers, settings, message):
    with np.errstate(over="ignore"), pytest.raises(InputError, match=message):
        PageClassifier(layers, **settings)


def test_a_classifier_must_fit_the_images_and_the_labels():
    with pytest.raises(InputError, match="takes 400 values after pooling over 2 x 2 pixels"):
        EpisodePlayer(record(size=(20, 20), labels=[0, 1, 2]), judge())
    with pytest.raises(InputError, match=r"class numbers 0 … 9 in record.labels, got None"):
        EpisodePlayer(record(), judge())
    with pytest.raises(InputError, match="got 'cat'"):
        EpisodePlayer(record(labels=["cat", 1, 2]), judge())


def test_the_page_gets_what_was_recorded():
    losses, rewards = torch.rand(3, 13), torch.randn(3, 12)
    boxes = torch.tensor([[4.0, 5, 14, 17], [0, 0, 40, 40], [1.25, 2, 3, 4]])
    source = record(probabilities=probabilities(), losses=losses, rewards=rewards, boxes=boxes, labels=[3, 1, 4])
    content = EpisodePlayer(source).content
    assert [episode["title"] for episode in content["episodes"]] == ["image 1 (3)", "image 2 (1)", "image 3 (4)"]
    for b, episode in enumerate(content["episodes"]):
        np.testing.assert_allclose(episode["losses"], losses[b], rtol=1e-3)
        np.testing.assert_allclose(episode["rewards"], rewards[b], rtol=1e-3)
        np.testing.assert_allclose(episode["scores"], source.probabilities[b], rtol=1e-2)
        assert episode["actions"] == source.actions[b].tolist() and episode["box"] == boxes[b].tolist()
        sent = np.frombuffer(base64.b64decode(content["pictures"][b]), np.uint8)
        np.testing.assert_array_equal(sent, source.images[b].reshape(-1))
    np.testing.assert_allclose(content["moves"], source.moves.reshape(-1, 9), atol=1e-9)
    assert content["scores"]["high"] == 1


def test_bars_of_values_have_room_for_all_of_them_and_for_zero():
    values = torch.linspace(-3, -1, 360).view(3, 12, 10)
    scores = EpisodePlayer(record(q_values=values)).content["scores"]
    assert scores["symbol"] == "Q" and scores["low"] == pytest.approx(-3) and scores["high"] == 0


def test_large_pictures_are_averaged_down_with_their_boxes():
    boxes = torch.tensor([[10.0, 20, 60, 70]]).repeat(3, 1)
    images = torch.rand(3, 3, 96, 120)
    moves = ActionSet.salient(96)
    player = EpisodePlayer(record(images=images, moves=moves, boxes=boxes, size=(96, 120)), max_kilobytes=40)
    content = player.content
    assert (content["height"], content["width"], content["channels"]) == (48, 60, 3)
    assert content["episodes"][0]["box"] == [5, 10, 30, 35]
    sent = np.frombuffer(base64.b64decode(content["pictures"][0]), np.uint8).reshape(3, 48, 60)
    expected = (images[0] * 255).round().view(3, 48, 2, 60, 2).mean((2, 4))
    np.testing.assert_allclose(sent, expected, atol=0.51)
    assert sum(map(len, content["pictures"])) <= 40_000
    with pytest.raises(InputError, match="3 pictures do not fit"):
        EpisodePlayer(record(), max_kilobytes=0.01)


def test_grey_pictures_in_three_channels_are_sent_once():
    grey = torch.randint(0, 256, (3, 1, 40, 40), dtype=torch.uint8).repeat(1, 3, 1, 1)
    assert EpisodePlayer(record(images=grey)).content["channels"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(3, 2, 8, 8)}, "one or three channels"),
        ({"images": torch.full((3, 1, 8, 8), 2.0)}, r"floating point in \[0, 1\]"),
        ({"images": torch.zeros(2, 1, 8, 8)}, "3 episodes of actions need 3 images, got 2"),
        ({"actions": torch.zeros(3, 12)}, "whole numbers"),
        ({"actions": torch.full((3, 12), 10)}, "numbered 0 … 9, got 10 … 10"),
        ({"moves": torch.zeros(9, 3, 3)}, r"moves must be \[10, 3, 3\]"),
        ({"losses": torch.zeros(3, 12)}, r"losses must be \[3, 13\], got \[3, 12\]"),
        ({"rewards": torch.full((3, 12), torch.nan)}, "rewards must be finite"),
        ({"probabilities": torch.randn(3, 12, 10)}, "take their softmax"),
        ({"probabilities": probabilities(), "q_values": torch.zeros(3, 12, 10)}, "not both"),
        ({"boxes": torch.tensor([[3.0, 3, 2, 4]]).repeat(3, 1)}, "x0 < x1"),
        ({"labels": [1]}, "3 labels, got 1"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(changes, message):
    given = dict(changes)
    moves = given.pop("moves", None)
    with pytest.raises(InputError, match=message):
        record(**given) if moves is None else EpisodeRecord(
            np.zeros((3, 1, 8, 8), np.uint8), np.zeros((3, 12), int), ActionSet.search().names, moves
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": "iou"}, "true_iou, clipped_share; got 'iou'"),
        ({"titles": ["a"]}, "3 titles, got 1"),
        ({"episode": 3}, "0 … 2, got 3"),
        ({"step": 13}, "0 … 12, got 13"),
        ({"fps": 0}, "fps"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        EpisodePlayer(record(), **settings)


def test_bad_turns_are_refused():
    player = EpisodePlayer(record())
    for name, value in (("mode", "race"), ("own", [10]), ("own", [0] * 13), ("step", -1)):
        with pytest.raises(InputError, match=name):
            setattr(player, name, value)


def test_output_carries_the_instrument_without_a_kernel_and_stays_small():
    images = next(ClutteredDigits(ClutterConfig()).stream(3)).images
    given = {"probabilities": probabilities(), "losses": torch.rand(3, 13), "rewards": torch.rand(3, 12)}
    player = EpisodePlayer(record(images=images, **given))
    data, _ = player._repr_mimebundle_()
    html = data["text/html"]
    embedded = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1])
    assert embedded["state"] == {"episode": 0, "step": 0, "mode": "watch", "own": []}
    first = ", ".join(player.record.names[a] for a in player.record.actions[0])
    assert f"the moves are {first}" in re.search(r'alt="([^"]*)"', html)[1]
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", html)
    assert "application/vnd.jupyter.widget-view+json" in data and "Run this cell" in data["text/plain"]
    assert player.kilobytes < 60
