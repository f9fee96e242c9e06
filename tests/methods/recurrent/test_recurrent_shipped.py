"""The trained networks of lessons 04 and 05: they load by name, carry a card, and follow what they were trained on."""

import numpy as np
import pytest
import torch

from course_lib import evaluate
from course_lib.data.small_world import SmallWorld
from course_lib.errors import MissingDataError
from course_lib.methods.recurrent import load
from course_lib.methods.recurrent.ablation_rows import SHIPPED_ROWS
from course_lib.methods.recurrent.experiment import load_row
from course_lib.methods.recurrent.scoring import follow_small
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.training.cards import load_card
from course_lib.vos.models import load_model

SHIPPED = sorted(name for name in SHIPPED_ROWS if (load.SHIPPED / f"{name}.safetensors").is_file())
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


def test_weights_that_are_not_there_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "SHIPPED", tmp_path)
    with pytest.raises(MissingDataError, match=r"'hs2s-small' are not here.*course train hs2s-small"):
        load_model("hs2s-small", device="cpu")
    with pytest.raises(MissingDataError, match="bi-hs2s-small"):
        load.load_bi_hs2s(None, torch.device("cpu"))
