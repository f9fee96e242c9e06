"""Methods by name, and devices."""

import pytest
import torch
from torch import nn

from course_lib.errors import InputError, MissingDataError
from course_lib.nn.device import device_of, resolve_device
from course_lib.vos.models import MODELS, load_model
from course_lib.vos.protocol import VideoSegmenter


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
