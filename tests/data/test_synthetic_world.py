"""Clips of the synthetic world: reproducible to the byte, and each dial does what its name says."""

import hashlib
import pickle
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from course_lib.data.clip import Clip
from course_lib.data.synthetic import (
    CLASS_NAMES,
    SCENARIOS,
    STREET_CLASSES,
    SyntheticClip,
    World,
    WorldConfig,
    scenario,
)
from course_lib.data.world.photographs import SEEN_CUTOUTS, UNSEEN_CUTOUTS
from course_lib.data.world.shapes import SEEN_SHAPES, UNSEEN_SHAPES
from course_lib.errors import InputError

DIGEST = """
import hashlib, sys, torch
from course_lib.data.synthetic import World, scenario
from dataclasses import fields
torch.set_num_threads(int(sys.argv[1]))
for name, dials in {cases}.items():
    clip = World(scenario(name, **dials)).clip(7)
    for field in fields(clip):
        value = getattr(clip, field.name)
        if isinstance(value, torch.Tensor):
            print(name, field.name, hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest())
"""
CASES = {
    "crowded": {"length": 6},
    "fast": {"length": 6, "light": 0.5, "drift": 0.5},
    "corrupted": {"length": 6},
    "driving": {"length": 3, "height": 64, "width": 96, "n_objects": 9},
}


def tensors(clip) -> dict[str, torch.Tensor]:
    return {f.name: getattr(clip, f.name) for f in fields(clip) if isinstance(getattr(clip, f.name), torch.Tensor)}


def same(a, b) -> bool:
    left, right = tensors(a), tensors(b)
    return left.keys() == right.keys() and all(
        torch.equal(left[k].nan_to_num(-1) if left[k].is_floating_point() else left[k],
                    right[k].nan_to_num(-1) if right[k].is_floating_point() else right[k])
        for k in left
    )  # fmt: skip


def test_same_bytes_in_a_fresh_process_with_other_threads():
    code = DIGEST.replace("{cases}", repr(CASES))
    run = subprocess.run([sys.executable, "-c", code, "2"], capture_output=True, text=True, check=True)
    here = []
    for name, dials in CASES.items():
        for field, value in tensors(World(scenario(name, **dials)).clip(7)).items():
            here.append(f"{name} {field} {hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()}")
    assert run.stdout.split("\n")[:-1] == here


@pytest.mark.parametrize("name", CASES)
def test_a_batch_is_its_clips_bit_for_bit(name):
    world = World(scenario(name, **CASES[name]))
    batch = world.batch([3, 11, 4])
    assert len(batch) == 3
    for index, seed in enumerate((3, 11, 4)):
        assert same(batch.clip(index), world.clip(seed))
        assert batch.clip(index).seed == seed
    assert not torch.equal(batch.frames[0], batch.frames[1])


def test_long_clips_drawn_in_parts_equal_short_ones_drawn_at_once():
    whole = World(WorldConfig(length=80, height=128, width=128)).clip(1)  # several chunks of frames
    start = World(WorldConfig(length=10, height=128, width=128)).clip(1)
    assert torch.equal(whole.frames[:10], start.frames)
    assert torch.equal(whole.forward_flow[:9], start.forward_flow)


def test_frame_rate_samples_the_same_world():
    fine = World(WorldConfig(length=24, frame_rate=24.0)).clip(2)
    coarse = World(WorldConfig(length=6, frame_rate=6.0)).clip(2)
    assert torch.equal(fine.frames[::4], coarse.frames)


def test_dataset_items_depend_on_seed_and_index_only():
    data = World(WorldConfig(length=3)).dataset(5, seed=1)
    copy = pickle.loads(pickle.dumps(data))
    assert len(data) == 5
    for index in (4, 0):
        assert same(data[index], copy[index])
    assert same(data[-1], data[4])
    assert not torch.equal(data[0].frames, data[1].frames)
    other = World(WorldConfig(length=3)).dataset(5, seed=2)
    assert not {data.clip_seed(i) for i in range(5)} & {other.clip_seed(i) for i in range(5)}
    with pytest.raises(IndexError):
        data[5]


@pytest.mark.parametrize("name", SCENARIOS)
def test_shapes_and_types_of_every_scenario(name):
    config = scenario(name, length=8, height=48, width=72)
    clip = World(config).clip(0)
    t, k, h, w = 8, config.n_objects, 48, 72
    assert isinstance(clip, SyntheticClip)
    assert isinstance(clip, Clip)
    assert clip.fps == config.frame_rate
    expected = {
        "frames": ((t, 3, h, w), torch.uint8), "labels": ((t, h, w), torch.uint8), "classes": ((k,), torch.int64),
        "boxes": ((t, k, 4), torch.float32), "amodal_boxes": ((t, k, 4), torch.float32),
        "visible": ((t, k), torch.float32), "amodal": ((t, k, h, w), torch.bool), "surface": ((t, h, w), torch.uint8),
        "depth_order": ((k,), torch.int64), "forward_flow": ((t - 1, 2, h, w), torch.float32),
        "backward_flow": ((t - 1, 2, h, w), torch.float32), "occluded_forward": ((t - 1, h, w), torch.bool),
        "occluded_backward": ((t - 1, h, w), torch.bool),
    }  # fmt: skip
    if name == "driving":
        expected |= {
            "right": ((t, 3, h, w), torch.uint8), "disparity": ((t, h, w), torch.float32),
            "occluded_right": ((t, h, w), torch.bool), "semantic": ((t, h, w), torch.uint8),
        }  # fmt: skip
    assert {n: (tuple(v.shape), v.dtype) for n, v in tensors(clip).items()} == expected
    assert clip.ids.tolist() == list(range(1, k + 1))
    assert set(clip.labels.unique().tolist()) <= {0, *range(1, k + 1)}
    assert all(name in CLASS_NAMES for name in clip.class_names)
    assert clip.visible.min() >= 0
    assert clip.visible.max() <= 1


@pytest.mark.parametrize(
    "dials", [{}, {"length": 16}, {"height": 60, "width": 107}, {"deformation": 0.3, "n_objects": 5, "camera": 0.1}]
)
def test_occlusion_hides_object_one_and_shows_it_again(dials):
    config = scenario("occlusion", dense_truth=False, **dials)
    world = World(config)
    for seed in range(25):
        share = world.clip(seed).visible[:, 0].numpy()
        hidden = np.flatnonzero(share == 0)
        runs = np.split(hidden, np.flatnonzero(np.diff(hidden) > 1) + 1)
        runs = [run for run in runs if len(run) >= 3]
        assert any((share[: run[0]] > 0.3).any() and (share[run[-1] :] > 0.3).any() for run in runs), (seed, share)


def test_partial_occlusion_hides_about_its_share():
    for wanted in (0.3, 0.6):
        world = World(scenario("occlusion", occlusion=wanted, camera=0.0, dense_truth=False))
        hidden = [1 - world.clip(seed).visible[:, 0].min().item() for seed in range(12)]
        assert abs(np.mean(hidden) - wanted) < 0.15


def test_leaving_objects_leave_and_return():
    world = World(WorldConfig(n_objects=2, leave=1.0, size=0.2, dense_truth=False))
    for seed in range(10):
        clip = world.clip(seed)
        for k in range(2):
            outside = (~clip.amodal[:, k].flatten(1).any(1)).numpy()  # not a pixel in the frame
            assert outside.any()
            gone = np.flatnonzero(outside)
            inside = clip.amodal[:, k].flatten(1).sum(1).numpy()
            assert inside[: gone[0]].max(initial=0) > 20
            assert inside[gone[-1] :].max() > 20


def test_twins_share_class_and_texture():
    scene = World(scenario("lookalikes", n_objects=4, lookalikes=2)).plan(0)
    objects = sorted((layer for layer in scene.layers if layer.object_id), key=lambda layer: layer.object_id)
    assert [layer.levels[0] is objects[0].levels[0] for layer in objects] == [True, True, True, False]
    assert len({layer.class_index for layer in objects}) == 2
    street = World(scenario("driving", n_objects=4, lookalikes=3)).plan(0)
    cars = [layer for layer in street.layers if layer.object_id]
    assert {CLASS_NAMES[layer.class_index] for layer in cars} == {"car"}


def test_unseen_classes_are_held_out():
    assert len(SEEN_SHAPES) >= 12
    assert not {*SEEN_SHAPES, *SEEN_CUTOUTS} & {*UNSEEN_SHAPES, *UNSEEN_CUTOUTS}
    for choice, allowed in (
        ("seen", {*SEEN_SHAPES, *SEEN_CUTOUTS}),
        ("unseen", {*UNSEEN_SHAPES, *UNSEEN_CUTOUTS}),
        ("all", {*SEEN_SHAPES, *SEEN_CUTOUTS, *UNSEEN_SHAPES, *UNSEEN_CUTOUTS}),
    ):
        drawn = set()
        for seed in range(6):
            scene = World(WorldConfig(n_objects=8, classes=choice)).plan(seed)
            drawn |= {CLASS_NAMES[layer.class_index] for layer in scene.layers if layer.object_id}
        assert drawn <= allowed
        assert len(drawn) > len(allowed) / 2


def test_size_and_speed_are_what_they_say():
    world = World(WorldConfig(n_objects=4, size=0.2, speed=0.6, height=192, width=192, length=96, photographs=False))
    sides, speeds = [], []
    for seed in range(6):
        clip = world.clip(seed)
        boxes = clip.amodal_boxes
        sides.append((boxes[..., 2:] - boxes[..., :2]).amax(-1).median().item() / 192)
        centre = (boxes[..., 2:] + boxes[..., :2]) / 2
        speeds.append(centre.diff(dim=0).square().sum(-1).mean().sqrt().item() * 24 / 192)
    assert np.mean(sides) == pytest.approx(0.2, rel=0.15)
    assert np.mean(speeds) == pytest.approx(0.6, rel=0.15)


@pytest.mark.parametrize("kind", ["gaussian_noise", "snow", "fog", "motion_blur"])
def test_corruption_changes_frames_by_severity_and_nothing_else(kind):
    clean = World(WorldConfig(length=4)).clip(3)
    change = []
    for severity in range(1, 6):
        clip = World(WorldConfig(length=4, corruption=kind, severity=severity)).clip(3)
        for name, value in tensors(clean).items():
            if name != "frames":
                assert torch.equal(tensors(clip)[name].nan_to_num(-1), value.nan_to_num(-1)), name
        change.append((clip.frames.float() - clean.frames.float()).square().mean().sqrt().item())
    assert all(mild < strong for mild, strong in pairwise(change)), change
    assert change[0] > 2


def test_light_drift_and_blur_leave_the_labels_alone():
    base = World(WorldConfig(length=12)).clip(5)
    for dial in ({"light": 1.0}, {"blur": 0.8}):
        clip = World(WorldConfig(length=12, **dial)).clip(5)
        assert torch.equal(clip.labels, base.labels)
        assert not torch.equal(clip.frames, base.frames)
    clip = World(WorldConfig(length=12, drift=1.0, speed=0.0)).clip(5)
    on_object = (clip.labels[0] > 0) & (clip.labels[0] == clip.labels[-1])
    change = (clip.frames[-1].float() - clip.frames[0].float()).abs().mean(0)
    assert change[on_object].mean() > 15
    assert change[clip.surface[0] == 0].median() == 0


def test_a_still_world_stands_still():
    clip = World(WorldConfig(speed=0.0, length=4)).clip(0)
    assert (clip.frames == clip.frames[0]).all()
    assert clip.forward_flow.abs().max() < 1e-9
    assert not clip.occluded_forward.any()


def test_semantic_maps():
    clip = World(WorldConfig(semantic=True, length=3, n_objects=4)).clip(1)
    for k in clip.ids.tolist():
        meaning = clip.semantic[clip.labels == k].unique().tolist()
        assert [clip.semantic_names[m] for m in meaning] == [clip.class_names[k - 1]]
    assert (clip.semantic[clip.labels == 0] == 0).all()
    drives = World(scenario("driving", length=2)).batch(range(4))
    assert drives.semantic_names == STREET_CLASSES
    assert len(drives.semantic.unique()) >= 11
    for clip in (drives.clip(i) for i in range(4)):
        for k in clip.ids.tolist():
            assert all(STREET_CLASSES[m] == clip.class_names[k - 1] for m in clip.semantic[clip.labels == k].unique())


def test_without_dense_truth_only_flows_are_missing():
    config = WorldConfig(length=4)
    full, lean = World(config).clip(0), World(replace(config, dense_truth=False)).clip(0)
    missing = {"forward_flow", "backward_flow", "occluded_forward", "occluded_backward"}
    assert tensors(full).keys() - tensors(lean).keys() == missing
    assert torch.equal(full.frames, lean.frames)


def test_the_backdrop_fills_the_frame_whatever_the_camera_does():
    for dials in ({"camera": 1.0, "length": 60}, {"camera": 0.02}, {"camera": 0.5, "height": 40, "width": 120}):
        config = WorldConfig(**dials)
        scene = World(config).plan(2)
        corners = np.array([[0, 0, 1], [config.width, 0, 1], [0, config.height, 1], [config.width, config.height, 1.0]])
        to_texture = np.linalg.inv(scene.layers[0].motion(np.arange(config.length) / config.frame_rate, "left"))
        at = np.einsum("tij,cj->tci", to_texture, corners)[..., :2]
        assert np.abs(at).max() <= 1


def test_bad_calls():
    with pytest.raises(InputError, match="WorldConfig"):
        World("easy")
    world = World(WorldConfig(length=2))
    for seed in (-1, 1.5, True, "a"):
        with pytest.raises(InputError, match="seed is a whole number"):
            world.clip(seed)
    with pytest.raises(InputError, match="at least one seed"):
        world.batch([])
    with pytest.raises(InputError, match="at least one clip"):
        world.dataset(0, seed=0)
