"""`lesson(...)` chooses, seeds, and says so."""

import random

import numpy as np
import pytest
import torch

from course_lib.errors import InputError, MissingDataError
from course_lib.lessons import lesson
from course_lib.lessons.opening import choose_device


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_it_says_what_it_found_and_set(capsys):
    opened = lesson("7", preset="smoke", seed=4, device="cpu")
    text = capsys.readouterr().out
    assert "Lesson 07 · preset smoke (at most 25 s and 2 GB) · device cpu" in text
    assert "Seed 4: this call has seeded torch, numpy and random." in text
    assert "COURSE_DATA is not set" in text
    assert opened.data_root is None and opened.data_sets == ()


def test_presets_pick_values():
    picked = {p: lesson("0", preset=p, device="cpu").pick(smoke=1, cpu=2, gpu=3) for p in ("smoke", "cpu", "gpu")}
    assert picked == {"smoke": 1, "cpu": 2, "gpu": 3}
    with pytest.raises(InputError, match="unknown preset 'laptop'; use \"smoke\""):
        lesson("0", preset="laptop")


def test_seeding_and_generators():
    def draw():
        return torch.rand(()).item(), random.random(), np.random.rand()

    opened = lesson("0", seed=3, device="cpu")
    first = draw()
    lesson("0", seed=3, device="cpu")
    assert draw() == first
    numbers = torch.rand(3, generator=opened.generator())
    assert torch.equal(numbers, torch.rand(3, generator=opened.generator()))
    assert not torch.equal(numbers, torch.rand(3, generator=opened.generator(1)))


def test_devices():
    assert choose_device("auto").type in {"cuda", "mps", "cpu"}
    with pytest.raises(InputError, match="unknown device 'tpu9'"):
        choose_device("tpu9")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="'cuda' is not here; this machine has"):
            choose_device("cuda")


def test_data_sets_are_found_and_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "CamVid" / "trainannot").mkdir(parents=True)
    opened = lesson("0", device="cpu", data_root=tmp_path)
    assert opened.data_sets == ("camvid",) and opened.data_root == tmp_path
    text = capsys.readouterr().out
    assert "Real data found: camvid." in text
    assert str(tmp_path) not in text, "a stored output must not name a folder of this machine"
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert lesson("0", device="cpu").data_sets == ("camvid",)
    with pytest.raises(MissingDataError):
        lesson("0", device="cpu", data_root=tmp_path / "nowhere")


def test_files_of_a_lesson(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path / "files"))
    assert lesson("0", device="cpu").runs == tmp_path / "files"
    monkeypatch.delenv("COURSE_RUNS")
    (tmp_path / "notebooks" / "source").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks")
    folder = lesson("3", device="cpu").runs
    assert folder == tmp_path / "runs" / "lessons" / "03" and folder.is_dir()
