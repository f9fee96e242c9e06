"""The trained networks of lessons 04 and 05: they load by name, carry a card, and follow what they were trained on."""

import numpy as np
import pytest
import torch

from course_lib import evaluate
from course_lib.data.small_world import SmallWorld
from course_lib.data.synthetic import World
from course_lib.errors import MissingDataError
from course_lib.methods.recurrent import load
from course_lib.methods.recurrent.ablation_rows import SHIPPED_ROWS
from course_lib.methods.recurrent.experiment import LITE_NAME, load_row
from course_lib.methods.recurrent.scoring import follow_small
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.methods.recurrent.train_data import davis
from course_lib.training.cards import load_card
from course_lib.training.course_clips import kept_out
from course_lib.vos.models import load_model

SHIPPED = sorted(
    name for name in SHIPPED_ROWS if name != LITE_NAME and (load.SHIPPED / f"{name}.safetensors").is_file()
)  # trained on the small world
PLAIN = SmallWorld(RecurrentTraining.preset("cpu").test_worlds()["plain"]).clips(8, seed=3)


def test_some_are_there():
    assert {"s2s-small", "s2s-plus-plus-small", "hs2s-small"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_card_and_weights_belong_together_and_follow_easy_clips(name):
    weights = load.SHIPPED / f"{name}.safetensors"
    card = load_card(weights)
    assert card.name == name and card.command == f"course train {name} --preset cpu --seed 0" and card.licence == "MIT"
    network = load_row(SHIPPED_ROWS[name], "cpu", weights)
    found = np.mean([track.J[track.scored].mean() for track in follow_small(network, PLAIN)])
    assert found > 0.6, "far below what the card says of clips like these"


@pytest.mark.parametrize("name", ["s2s-small", "s2s-plus-plus-small", "hs2s-small"])
def test_by_name_they_give_what_the_row_gives(name):
    model = load_model(name, device="cpu")
    report = evaluate(model, PLAIN)
    tracks = follow_small(load_row(SHIPPED_ROWS[name], "cpu", load.SHIPPED / f"{name}.safetensors"), PLAIN)
    assert report.J == pytest.approx(np.mean([track.J[track.scored].mean() for track in tracks]), abs=2e-3)


def test_the_network_for_real_videos_names_its_licence_and_follows_objects():
    card = load_card(load.SHIPPED / f"{LITE_NAME}.safetensors")
    assert card.licence == "CC BY-NC 4.0" and card.budget.startswith("3,000 steps")
    assert {data.name for data in card.data} >= {"DAVIS", "the course's synthetic world"}
    model = load_model(LITE_NAME, device="cpu")
    assert evaluate(model, World.scenario("easy").dataset(3, seed=0)).J > 0.7
    assert not any(parameter.dtype != torch.float32 for parameter in model.net.parameters()), "made whole again"


def test_the_network_for_real_videos_beats_a_mask_that_stays_where_it_was(course_data):
    clips = kept_out(davis(course_data), 6)
    followed, stayed = (evaluate(load_model(name, device="cpu"), clips).J for name in (LITE_NAME, "copy"))
    assert followed > stayed + 0.1


def test_weights_that_are_not_there_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "SHIPPED", tmp_path)
    with pytest.raises(MissingDataError, match=r"'hs2s-small' are not here.*course train hs2s-small"):
        load_model("hs2s-small", device="cpu")
    with pytest.raises(MissingDataError, match="bi-hs2s-small"):
        load.load_bi_hs2s(None, torch.device("cpu"))
