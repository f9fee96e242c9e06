"""The folder of a run, and the cards and files in which weights leave it."""

import dataclasses
import getpass
import json
import platform

import pytest
import torch
from torch import nn

from course_lib.errors import InputError, MissingDataError
from course_lib.training.cards import Card, TrainedOn, load_card, save_card
from course_lib.training.config import FitConfig
from course_lib.training.export import export_weights, load_weights
from course_lib.training.run_directory import RunDirectory, environment, keep_settings, plain, read_metrics


def test_a_cut_last_row_is_left_out_and_another_bad_one_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(InputError, match="line 2 is not JSON"):
        read_metrics(path)


def test_rewinding_keeps_the_rows_up_to_a_step(tmp_path):
    run = RunDirectory(tmp_path, show=False)
    for step in (5, 10, 15):
        run.add_row({"phase": "train", "step": step})
    again = RunDirectory(tmp_path, show=False)
    again.rewind(10)
    assert [row["step"] for row in again.rows] == [row["step"] for row in read_metrics(again.metrics)] == [5, 10]


def test_other_processes_and_runs_without_a_folder_write_nothing(tmp_path, capsys):
    for run in (RunDirectory(tmp_path / "no", main=False), RunDirectory(None)):
        run.add_row({"phase": "train", "step": 1})
        run.write_config({})
        run.note_session(torch.device("cpu"), 2)
        run.clear()
        assert run.rows == [{"phase": "train", "step": 1}]
    assert not (tmp_path / "no").exists() and capsys.readouterr().err == ""
    with pytest.raises(InputError, match="has no directory"):
        _ = RunDirectory(None).metrics


def test_the_environment_names_machine_and_versions_but_nobody():
    note = environment(torch.device("cpu"))
    assert note["packages"]["torch"] == torch.__version__.split("+")[0] or "+" in note["packages"]["torch"]
    assert note["python"] == platform.python_version() and "GB" in note["machine"]
    text = json.dumps({name: value for name, value in note.items() if name != "command"})
    assert platform.node() not in text or len(platform.node()) < 3
    assert f"/{getpass.getuser()}" not in text


def test_settings_as_json_gives_them_back(tmp_path):
    settings = plain({"fit": FitConfig(), "path": tmp_path, "pair": (1, 2)})
    assert settings["fit"]["betas"] == [0.9, 0.999] and settings["fit"]["schedule"]["shape"] == "constant"
    assert settings["pair"] == [1, 2] and settings["path"] == tmp_path.as_posix()
    assert settings == json.loads(json.dumps(settings))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1))


def test_weights_ship_in_half_precision_and_come_back(tmp_path):
    model = network()
    model[1].running_var.fill_(1.2345678)
    path = export_weights(model, tmp_path / "small.safetensors")
    other = load_weights(network().apply(lambda m: [p.data.zero_() for p in m.parameters()]), path)
    for (name, a), b in zip(model.state_dict().items(), other.state_dict().values()):
        assert a.dtype == b.dtype, name
        if a.ndim >= 2:
            torch.testing.assert_close(a, b, rtol=2**-11, atol=1e-7)
            assert torch.equal(a.half().float(), b)
        else:
            assert torch.equal(a, b), f"{name} has few numbers and keeps them all"
    full = export_weights(model, tmp_path / "full.safetensors", half=False)
    assert torch.equal(load_weights(network(), full)[0].weight, model[0].weight)
    assert path.stat().st_size < full.stat().st_size


def test_weights_that_cannot_ship(tmp_path):
    path = tmp_path / "big.safetensors"
    with pytest.raises(InputError, match=r"Linear needs 8.0 MB, big.safetensors may have 8.0; use a smaller network"):
        export_weights(nn.Linear(2001, 2000), path)
    export_weights(nn.Linear(2001, 2000), path, limit=None)
    model = network()
    before = path.read_bytes()
    model[0].weight.data[0, 0, 0, 0] = 1e5
    with pytest.raises(InputError, match=r"'0.weight' reaches 1e\+05, too much for float16; use half=False"):
        export_weights(model, path)
    model[2].bias.data[0] = float("nan")
    with pytest.raises(InputError, match=r"'2.bias' is not finite"):
        export_weights(model, path, half=False)
    with pytest.raises(InputError, match=r"written as .safetensors, got x.pth"):
        export_weights(model, tmp_path / "x.pth")
    assert path.read_bytes() == before
    with pytest.raises(InputError, match=r"'0.weight'"):
        load_weights(network(), path)


CARD = Card(
    name="stcn-small", description="small network", command="course train stcn-small --preset gpu", seed=3,
    data=(TrainedOn("synthetic world", "MIT"), TrainedOn("DAVIS 2016", "CC BY-NC 4.0", "F. Perazzi et al., 2016")),
    licence="CC BY-NC 4.0", budget="8 h of 2 cores", minutes=431.5, machine="2 cores", metrics={"J&F, world": 0.81},
    date="2026-01-31",
)  # fmt: skip


def test_a_printed_card_says_what_it_is_scores_and_permits():
    assert str(CARD).splitlines() == [
        "stcn-small: small network",
        "  0.81  J&F, world",
        "431.5 minutes on 2 cores; licence of the weights: CC BY-NC 4.0",
    ]


def test_a_card_comes_back_and_belongs_to_its_weights(tmp_path):
    weights = export_weights(network(), tmp_path / "stcn-small.safetensors")
    path = save_card(CARD, weights)
    assert path == tmp_path / "stcn-small.json"
    loaded = load_card(weights)
    assert dataclasses.replace(loaded, weights_sha256="") == CARD and len(loaded.weights_sha256) == 64
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(InputError, match="describes other weights"):
        load_card(weights)


def test_incomplete_cards(tmp_path):
    with pytest.raises(InputError, match="empty: data, budget"):
        dataclasses.replace(CARD, data=(), budget="")
    with pytest.raises(InputError, match="minutes is 0"):
        dataclasses.replace(CARD, minutes=0)
    weights = export_weights(network(), tmp_path / "a.safetensors")
    with pytest.raises(MissingDataError, match="have no card"):
        load_card(weights)
    with pytest.raises(MissingDataError, match="there are no weights"):
        save_card(CARD, tmp_path / "b.safetensors")
    path = save_card(CARD, weights)
    entries = json.loads(path.read_text())
    del entries["budget"]
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=r"a.json is not a card: .*budget"):
        load_card(weights)


def test_rows_of_a_table_keep_their_settings(tmp_path):
    path = tmp_path / "table" / "settings.json"
    keep_settings(path, {"steps": 5, "world": {"size": 64}})
    before = path.read_bytes()
    keep_settings(path, {"steps": 5, "world": {"size": 64}})
    with pytest.raises(InputError, match=r"world.size was 64, is 32\. Rows must train alike, so use another folder"):
        keep_settings(path, {"steps": 5, "world": {"size": 32}})
    assert path.read_bytes() == before
