"""Methods by name, and devices."""

import pytest
import torch
from torch import nn

from course_lib import evaluate
from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.space_time_memory import SMALL, SMALL_MEMORY, STCN, SpaceTimeSegmenter, load
from course_lib.nn.device import device_of, resolve_device
from course_lib.training.cards import load_card
from course_lib.training.export import export_weights
from course_lib.vos.models import MODELS, load_model
from course_lib.vos.protocol import VideoSegmenter

SMALL_NETWORKS = (("stcn-small", "SMALL_WEIGHTS", "CC BY-NC 4.0"), ("stcn-small-world", "SMALL_WORLD_WEIGHTS", "MIT"))


def test_names_are_unique_and_described():
    assert len({entry.name for entry in MODELS}) == len(MODELS)
    assert all(entry.description and ":" in entry.loader for entry in MODELS)


@pytest.mark.parametrize("name", ["flow", "flow-plain", "copy"])
def test_the_untrained_methods_load(name, tmp_path):
    assert isinstance(load_model(name, device="cpu"), VideoSegmenter)
    checkpoint = tmp_path / "weights.safetensors"
    checkpoint.write_bytes(b"x")
    with pytest.raises(InputError, match="not trained and takes no weights"):
        load_model(name, weights=checkpoint)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"(?s)unknown model 'flwo'; did you mean 'flow'\?.*copy .*never moved"):
        load_model("flwo")
    with pytest.raises(InputError, match="unknown model 'zzz'\nmodels are"):
        load_model("zzz")


def test_a_missing_checkpoint_is_named():
    with pytest.raises(MissingDataError, match=r"no checkpoint .*nowhere.pt"):
        load_model("flow", weights="nowhere.pt")


@pytest.mark.parametrize(("name", "path", "licence"), SMALL_NETWORKS)
def test_small_networks_without_weights_say_how_to_get_them(name, path, licence, tmp_path, monkeypatch):
    monkeypatch.setattr(load, path, tmp_path / f"{name}.safetensors")
    with pytest.raises(MissingDataError, match=rf"{name}.safetensors\. .*`course train {name}`.*--weights runs/train/"):
        load_model(name, device="cpu")
    assert licence in next(entry.description for entry in MODELS if entry.name == name)


@pytest.mark.parametrize(("name", "path", "licence"), SMALL_NETWORKS)
def test_small_networks_give_the_answers_of_their_weights(name, path, licence, tmp_path, monkeypatch):
    """Shipped or named: the score is that of the network in memory."""
    torch.manual_seed(0)
    net = STCN(SMALL, imagenet=True).to(memory_format=torch.channels_last)  # as loaded: the same sums in the same order
    file = export_weights(net, tmp_path / f"{name}.safetensors", half=False, limit=None)
    monkeypatch.setattr(load, path, file)
    clips = [World(scenario("easy", image_size=64, length=5, dense_truth=False)).clip(0)]
    expected = evaluate(SpaceTimeSegmenter(net, SMALL_MEMORY), clips, progress=False, adds_objects=True)
    for model in (load_model(name, device="cpu"), load_model(name, weights=file, device="cpu")):
        report = evaluate(model, clips, progress=False, adds_objects=True)
        assert report.JF == pytest.approx(expected.JF, abs=1e-4)
        assert report.peak_memory_bytes == expected.peak_memory_bytes


@pytest.mark.parametrize(("name", "path", "licence"), SMALL_NETWORKS)
def test_shipped_weights_load_and_their_card_is_theirs(name, path, licence):
    file = getattr(load, path)
    if not file.is_file():
        pytest.skip(f"{file.name} does not ship yet")
    card = load_card(file)  # holds its checksum against the weights
    assert (card.name, card.licence) == (name, licence)
    assert card.command.startswith(f"course train {name} --preset ")
    assert ("DAVIS" in [source.name for source in card.data]) == (name == "stcn-small")
    assert load_model(name, device="cpu").memory == SMALL_MEMORY


def test_devices(monkeypatch):
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        resolve_device("gpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(InputError, match="'cuda:1' is not here: PyTorch sees 1 CUDA"):
        resolve_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="'mps' is not here"):
        resolve_device("mps")
    with pytest.raises(InputError, match="'cuda' is not here"):
        resolve_device("cuda")


def test_where_a_model_lives():
    assert device_of(nn.Linear(1, 1, device="meta")).type == "meta"
    assert device_of(nn.ReLU()).type == "cpu"
    assert device_of(object()).type == "cpu"
