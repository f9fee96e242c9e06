"""Drives with noise and glare: what is cut out where, what trouble does and does not touch, and the file they keep."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from course_lib.data.noisy_drives import (
    NoisyDrivesConfig,
    pan_path,
    render_noisy_drives,
    spoil,
    stored_noisy_drives,
)
from course_lib.data.synthetic import STREET_CLASSES, World, scenario
from course_lib.errors import InputError

SMALL = NoisyDrivesConfig(
    size=(32, 64), street=(64, 128), frames=3, pan=(1.0, 3.0), patch_height=(5, 8), patch_width=(6, 9), glare_noise=0.0
)


@pytest.fixture(scope="module")
def drives():
    return render_noisy_drives(SMALL, 2, seed=4)


def test_windows_are_cut_out_of_the_world_where_the_corners_say(drives):
    assert len(drives) == 4 and drives.class_names == STREET_CLASSES
    world = World(scenario("driving", image_size=(64, 128), length=3, stereo=False, dense_truth=False)).dataset(2, 4)
    for i in range(4):
        clip = world[i // 2]
        for t, (y, x) in enumerate(drives.corners[i].tolist()):
            assert torch.equal(drives.frames[i, t], clip.frames[t, :, y : y + 32, x : x + 64])
            assert torch.equal(drives.labels[i, t], clip.semantic[t, y : y + 32, x : x + 64])
    assert not torch.equal(drives.corners[0], drives.corners[1])  # windows of one drive go different ways


def test_pans_go_in_all_directions_at_the_speed_asked_for_and_stay_inside():
    config = replace(SMALL, street=(132, 164), pan=(3.0, 3.0))
    steps = []
    for seed in range(40):
        path = pan_path(config, 60, np.random.default_rng(seed))
        assert (path >= 0).all() and (path <= [100, 100]).all()
        whole = pan_path(config, 2, np.random.default_rng(seed))
        steps.append(whole[1] - whole[0])
    lengths = np.linalg.norm(steps, axis=1)
    assert (np.abs(lengths - 3) < 1.5).all()  # corners are whole pixels
    headings = np.arctan2(*np.array(steps).T)
    assert all(((headings >= low) & (headings < low + np.pi / 2)).sum() >= 4 for low in np.arange(-2, 2) * np.pi / 2)


def test_noise_has_its_strength_and_glare_hides_rectangles_that_move(drives):
    grey = torch.full((3, 3, 64, 128), 0.5)
    strong = replace(SMALL, noise=(0.1, 0.1))
    noisy = spoil(grey, "noise", strong, np.random.default_rng(0))
    assert float((noisy - grey).std()) == pytest.approx(0.1, rel=0.02) and noisy.min() >= 0 and noisy.max() <= 1
    assert torch.equal(grey, torch.full_like(grey, 0.5))  # the frames given are left alone
    glare = spoil(grey, "glare", SMALL, np.random.default_rng(0))
    bright = (glare > 0.8).all(dim=1)  # [T, H, W]
    areas = bright.sum((1, 2))
    assert (areas >= 5 * 6).all() and (areas <= 2 * 8 * 9).all()
    assert torch.equal(glare[~bright[:, None].expand_as(glare)], grey[~bright[:, None].expand_as(grey)])
    assert not torch.equal(bright[0], bright[1])
    with pytest.raises(InputError, match="trouble must be one of noise, glare; got 'fog'"):
        spoil(grey, "fog", SMALL, np.random.default_rng(0))


def test_trouble_follows_from_the_generator_and_labels_stay(drives):
    one, same, other = (drives.spoilt(1, "noise", np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert drives.spoilt(1, "glare", np.random.default_rng(0), slice(2, 3)).shape == (1, 3, 32, 64)


def test_the_file_gives_the_same_clips_and_refuses_other_settings(tmp_path, drives):
    path = tmp_path / "drives.safetensors"
    made, read = stored_noisy_drives(path, SMALL, 2, 4), stored_noisy_drives(path, SMALL, 2, 4)
    for name in ("frames", "labels", "corners"):
        assert torch.equal(getattr(made, name), getattr(read, name))
        assert torch.equal(getattr(made, name), getattr(drives, name))
    for changed in ((replace(SMALL, pan=(1.0, 2.0)), 2, 4), (SMALL, 3, 4), (SMALL, 2, 5)):
        with pytest.raises(InputError, match="was made with other settings"):
            stored_noisy_drives(path, *changed)
    save_file({"frames": made.frames}, path)
    with pytest.raises(InputError, match="other settings"):
        stored_noisy_drives(path, SMALL, 2, 4)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        stored_noisy_drives(path, SMALL, 2, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "frames, windows >= 1"),
        ({"size": (64, 300)}, "must fit into the street"),
        ({"noise": (0.3, 0.1)}, "noise is a range from 0 up, in order"),
        ({"patch_width": (10, 65)}, "patches of glare must fit"),
    ],
)
def test_bad_dials(changes, message):
    with pytest.raises(InputError, match=message):
        replace(SMALL, **changes)


def test_no_drives():
    with pytest.raises(InputError, match="at least one drive"):
        render_noisy_drives(SMALL, 0, seed=0)
