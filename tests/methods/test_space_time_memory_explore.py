"""A recorded run agrees with the session it was recorded from. Random weights: this holds for any."""

import numpy as np
import pytest
import torch

from course_lib.data.clip import Clip
from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError
from course_lib.methods.space_time_memory import SMALL, STCN, MemoryConfig, SpaceTimeSegmenter
from course_lib.methods.space_time_memory.explore import record_run
from course_lib.metrics import region_similarity
from course_lib.vos.engine import segment


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return STCN(SMALL).eval()


@pytest.fixture(scope="module")
def clip():
    world = World(scenario("occlusion", image_size=(48, 48), length=20, dense_truth=False))
    return world.clip(2)


def test_a_growing_memory_is_recorded_as_a_staircase(net, clip):
    run = record_run(SpaceTimeSegmenter(net, MemoryConfig(mem_every=4, top_k=4)), clip, policy="every_k", stride=4)
    assert dict(run.settings) == {"policy": "every_k", "stride": 4}
    cells = 9  # 48 x 48 pixels at stride 16
    for t, born in enumerate(run.births):
        expected = np.repeat(np.arange(0, t, 4), cells)
        np.testing.assert_array_equal(np.sort(born), expected)
    assert run.bytes[0] == 0 and len(set(run.bytes[1:] / [len(b) for b in run.births[1:]])) == 1
    assert run.frames_per_second > 0


def test_a_bounded_memory_is_full_and_then_constant(net, clip):
    memory = MemoryConfig(policy="adaptive", capacity=2, mem_every=2, top_k=4)
    run = record_run(SpaceTimeSegmenter(net, memory), clip)
    assert [len(born) for born in run.births[3:]] == [18] * 17
    assert run.births[-1].max() == 18 and len(set(run.bytes[3:].tolist())) == 1


def test_scores_are_those_of_the_target_where_it_is_to_be_seen(net, clip):
    segmenter = SpaceTimeSegmenter(net, MemoryConfig(top_k=4))
    run = record_run(segmenter, clip, target=1)
    following = segment(segmenter, clip.frames, clip.labels[0])
    for t, probs in enumerate(following):
        truth = clip.labels[t] == 1
        assert run.hidden[t] == (not truth.any())
        if truth.any():
            assert run.J[t] == region_similarity(following.labels(probs) == 1, truth)
        else:
            assert np.isnan(run.J[t])
    assert run.hidden.any() and run.J[0] == 1


def test_what_cannot_be_recorded_is_explained(net, clip):
    segmenter = SpaceTimeSegmenter(net)
    with pytest.raises(InputError, match="object 7 is not in the first frame"):
        record_run(segmenter, clip, target=7)
    with pytest.raises(InputError, match="labels in every frame"):
        record_run(segmenter, Clip(clip.frames))
