"""The table of cuts: what it measures is what a cut does, it travels through its file, and bad input is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from course_lib.data.small_world import SmallWorld
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent.ablation import SETTINGS
from course_lib.methods.recurrent.cut_table import CUTS, KINDS, cut_scores, load_cuts, write_cuts
from course_lib.methods.recurrent.cuts import without
from course_lib.methods.recurrent.experiment import TRACKS, load_row
from course_lib.methods.recurrent.load import SHIPPED
from course_lib.methods.recurrent.rows import hs2s, s2s
from course_lib.methods.recurrent.scoring import AFTER, follow_small, mean_over
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.training.run_directory import keep_settings

CONFIG = RecurrentTraining.preset("smoke")
TESTS = {kind: SmallWorld(world).clips(2, seed=5) for kind, world in CONFIG.test_worlds().items() if kind in KINDS}


def network(build, seed):
    torch.manual_seed(seed)
    return build(CONFIG.size).eval()


def test_a_number_is_the_score_of_the_network_with_that_part_cut():
    net = load_row("hs2s", "cpu", SHIPPED / "hs2s-small.safetensors")
    found = cut_scores(net, TESTS)
    for kind, frames in (("plain", None), ("occlusion", AFTER)):
        numbers = dict(zip(CUTS, found[kind], strict=True))
        assert numbers["memory 4"] is None  # HS2S has two memories
        for name, cut in (("whole", ()), ("mask", ("mask",)), ("references", ("first", "previous"))):
            with without(net, *cut):
                tracks = follow_small(net, TESTS[kind])
            expected = mean_over(tracks, *([frames] if frames else []))
            assert numbers[name] == pytest.approx(expected, abs=0.006) or (np.isnan(expected) and not numbers[name])
    assert found["plain"][CUTS.index("whole")] != found["plain"][CUTS.index("mask")]


def test_a_row_without_references_has_no_such_numbers():
    numbers = dict(zip(CUTS, cut_scores(network(s2s, 0), {"plain": TESTS["plain"]})["plain"], strict=True))
    assert [name for name, value in numbers.items() if value is not None] == ["whole", "memory 16"]
    with pytest.raises(InputError, match="no kind of clips 'foggy'; there are plain, look-alikes, occlusion"):
        cut_scores(network(s2s, 0), {"foggy": TESTS["plain"]})


@pytest.fixture
def folder(tmp_path):
    """Finished runs of two rows with two random seeds each, of random weights."""
    keep_settings(tmp_path / SETTINGS, CONFIG)
    for name, build in (("hs2s", hs2s), ("s2s", s2s)):
        for seed in (0, 1):
            run = tmp_path / name / str(seed)
            run.mkdir(parents=True)
            save_file(network(build, seed).state_dict(), run / f"{name}.safetensors")
            (run / TRACKS).write_text("{}")
    return tmp_path


def test_what_is_written_is_read_and_losses_are_differences(folder):
    cuts = load_cuts(write_cuts(folder, folder / "cuts.json", CONFIG, clips=2))
    assert cuts.rows == ("s2s", "hs2s") and cuts.seeds == (0, 1) and cuts.clips == dict.fromkeys(KINDS, 2)
    whole, without_mask = (cuts.numbers("hs2s", name, "plain") for name in ("whole", "mask"))
    np.testing.assert_allclose(cuts.lost("hs2s", "mask"), whole - without_mask)
    assert np.isnan(cuts.lost("s2s", "references")).all()
    text = cuts.table({"hs2s": "HS2S", "s2s": "S2S"}, ("references", "mask"))
    assert "- references" in text and "2 random seeds" in text.splitlines()[0]
    assert text.splitlines()[-1].split()[-2:] == ["-", "-"]  # S2S has neither
    with pytest.raises(InputError, match="no column 'wings'"):
        cuts.lost("hs2s", "wings")


def test_folders_that_make_no_table(folder, tmp_path):
    with pytest.raises(InputError, match="another folder"):
        write_cuts(folder, folder / "cuts.json", replace(CONFIG, lr=0.5))
    (folder / "s2s" / "1" / TRACKS).unlink()
    with pytest.raises(InputError, match="different random seeds"):
        write_cuts(folder, folder / "cuts.json", CONFIG)
    assert load_cuts(write_cuts(folder, folder / "one.json", CONFIG, rows=("hs2s",), clips=1)).rows == ("hs2s",)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingDataError, match="no finished run"):
        write_cuts(empty, empty / "cuts.json", CONFIG)
    assert not list(tmp_path.rglob("cuts.json"))
