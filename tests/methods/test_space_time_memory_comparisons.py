"""Comparisons of memory policies: the clips are what they are said to be, and only the memory differs between two runs.

The network is the small sibling with random weights, so nothing here depends on what it has learned.
"""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from time import process_time

import numpy as np
import pytest
import torch

import course_lib.methods.space_time_memory.comparison_clips as clips_room
import course_lib.methods.space_time_memory.comparison_speed as speed
import course_lib.methods.space_time_memory.comparisons as comparisons
from course_lib.data.clip import Clip
from course_lib.data.hidden_target import clear_frames
from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError
from course_lib.methods.space_time_memory import SMALL, STCN, SpaceTimeSegmenter
from course_lib.methods.space_time_memory.comparison_clips import (
    ComparisonConfig,
    DwellingWorld,
    changing_clips,
    clips_of,
    hidden_clips,
)
from course_lib.methods.space_time_memory.comparisons import PolicyRun, memory_of, policy_table, run_policy
from course_lib.vos.aggregate import one_hot
from course_lib.vos.evaluation import evaluate

TINY = ComparisonConfig(clips=2, clips_hidden=2, image_size=64, length=24, short=8, frames_hidden=6, passes=1)
STARTED: Counter[str] = Counter()  # networks loaded, by policy


@pytest.fixture(scope="module", autouse=True)
def net():
    """The network that is compared, in place of the one that ships."""
    torch.manual_seed(0)
    net = STCN(SMALL).eval()
    with torch.no_grad():
        net.key_encoder.key.weight *= 30  # random features are alike everywhere: spread the keys, or nothing is near
        net.decoder.pred.weight *= 20

    def segmenter(config, memory, device):
        STARTED[memory.policy] += 1
        return SpaceTimeSegmenter(net, memory)

    with pytest.MonkeyPatch.context() as patch:
        for room in (comparisons, speed):
            patch.setattr(room, "small_segmenter", segmenter)
        run_policy.cache_clear()
        yield net
    for kept in (run_policy, clips_of, speed._speeds):
        kept.cache_clear()


def runs(policy, capacity=2.0, kind="changing", seed=0):
    return run_policy(TINY, seed, kind, memory_of(TINY, policy, capacity, seed))


@pytest.mark.parametrize(("frames_hidden", "drift"), [(6, 0.0), (6, 1.0), (9, 0.0)])
def test_hidden_clips_hide_the_target_once_and_long_enough(frames_hidden, drift):
    for clip in hidden_clips(TINY, 3, frames_hidden, drift):
        pixels = (clip.labels == 1).sum(dim=(1, 2)).numpy()  # counted in the label maps, not taken from `visible`
        hidden = np.flatnonzero(pixels == 0)
        assert len(hidden) >= frames_hidden and hidden[-1] - hidden[0] == len(hidden) - 1
        after = clear_frames(clip, TINY.clear)[1]
        assert len(after) >= 3 and after.min() > hidden.max()
        assert (pixels[after] >= 0.5 * TINY.clear * pixels.max()).all()
        assert set(clip.labels[0].unique().tolist()) == {0, 1, 2}  # both objects are given in frame 0


def test_the_look_changes_behind_the_panel_only_with_drift():
    """Mean colour of the target before it hides and after: the light does not change in these clips."""
    config = replace(TINY, clips_hidden=4, image_size=96)

    def change(drift):
        moved = []
        for clip in hidden_clips(config, 0, drift=drift):
            means = [
                clip.frames[t].float()[:, clip.labels[t] == 1].mean(dim=1) for t in (0, clear_frames(clip, 0.5)[1][-1])
            ]
            moved.append(float((means[0] - means[1]).norm()))
        return np.mean(moved)

    assert change(1.0) > 3 * change(0.0)


def test_time_slows_down_while_the_target_is_hidden_and_at_no_other_time():
    plan = scenario("occlusion", image_size=64, camera=0.1)
    planned, shown = World(plan).clip(5), DwellingWorld(plan, 10).clip(5)
    assert len(shown) == len(planned) + 7
    hidden = [np.flatnonzero((clip.labels == 1).flatten(1).sum(dim=1) == 0) for clip in (planned, shown)]
    assert len(hidden[1]) == len(hidden[0]) + 7 and hidden[0][0] == hidden[1][0]
    middle = int(np.median(hidden[0]))  # the planned frames around it become ten
    torch.testing.assert_close(shown.frames[:middle], planned.frames[:middle])
    torch.testing.assert_close(shown.frames[middle + 8 :], planned.frames[middle + 1 :])
    dwelling = shown.frames[middle - 1 : middle + 9].float()
    assert not any(torch.equal(a, b) for a, b in pairwise(dwelling))  # nor does it stand still
    steps, usual = ((x[1:] - x[:-1]).abs().mean() for x in (dwelling, planned.frames.float()))
    assert steps < 0.5 * usual
    item = DwellingWorld(plan, 10).dataset(2, 9)[1]
    assert torch.equal(item.frames, DwellingWorld(plan, 10).clip(item.seed).frames)


def test_changing_clips_begin_with_all_objects_and_depend_on_the_seed():
    first, again, other = (changing_clips(TINY, seed) for seed in (0, 0, 1))
    assert [clip.seed for clip in first] == [clip.seed for clip in again]
    assert not {clip.seed for clip in first} & {clip.seed for clip in other}
    for clip in first:
        assert len(clip) == 24 and set(clip.labels[0].unique().tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("policy", ["every_k", "adaptive", "first_and_latest"])
def test_scores_are_those_of_the_evaluator(net, policy):
    """Of whole clips and, since a method sees no later frame, of clips that end earlier."""
    memory = memory_of(TINY, policy)
    for clip, run in zip(changing_clips(TINY, 0), runs(policy), strict=True):
        for frames in (None, TINY.short):
            cut = Clip(clip.frames[:frames], clip.labels[:frames], "cut")
            report = evaluate(SpaceTimeSegmenter(net, memory), [cut], progress=False, protocol="youtube_vos")
            assert run.JF(frames) == pytest.approx(report.JF, abs=1e-9)
            if frames is None:
                objects = report.sequences[0].objects
                assert run.J_decay() == pytest.approx(np.mean([entry.J_decay for entry in objects]), abs=1e-9)


def test_after_hiding_the_target_alone_counts():
    J = np.zeros((2, 8))
    J[0] = [1, 0.9, 0.8, 0, 0, 0.2, 0.4, 0.9]
    run = PolicyRun(J, J, np.ones(8), np.ones(8), np.array([6, 7]), 1.0)
    assert run.J_after() == pytest.approx(0.65)
    assert run.JF(3) == pytest.approx((0.9 + 0.8) / 4)  # frame 0 is given; two objects, one of them lost
    with pytest.raises(InputError, match="hides nothing; compare on clips of kind 'hidden'"):
        replace(run, after=None).J_after()


def test_frames_in_memory_are_a_staircase_or_a_line():
    t = np.arange(1, 24)
    for run in runs("every_k"):
        assert (run.frames_held[1:] == 1 + (t - 1) // 5).all()
    for run in runs("adaptive"):
        assert (run.frames_held[1:] == np.minimum(1 + (t - 1) // 5, 2)).all()
    for run in runs("first_and_latest"):
        assert (run.frames_held[1:] == np.minimum(t, 2)).all()
    cells = (TINY.image_size // 16) ** 2
    values = 3 * SMALL.value_channels
    assert runs("adaptive")[0].bytes_held[-1] == 2 * cells * (4 * (SMALL.key_channels + values) + 3 * 8)


def test_the_memory_of_the_adaptive_bank_is_constant_to_the_byte():
    end, quarter = comparisons.adaptive_bytes_end_and_quarter(TINY, 0)
    assert (end == quarter).all() and (end > 0).all()
    growing, adaptive = comparisons.growth_every_k_and_adaptive(TINY, 0)
    assert (adaptive == 1).all()
    assert (growing == 5 / 2).all()  # frames 0, 5, 10, 15, 20 at the end; at frame 6, frames 0 and 5


def test_where_nothing_is_evicted_policies_agree_exactly():
    """All of a run but the bank is the same: with room for every stored frame, so are the scores."""
    kept = [run.JF() for run in runs("every_k")]
    assert comparisons.capacity_curve(TINY, 0, (5, 8)).tolist() == [kept, kept]
    for policy in ("pinned", "softmax_index", "fifo", "random"):
        assert [run.JF() for run in runs(policy, 5.0)] == kept
    assert [run.JF() for run in runs("adaptive")] != kept


def test_a_run_is_done_once_and_the_seed_draws_what_random_eviction_drops():
    run_policy.cache_clear()
    STARTED.clear()
    comparisons.adaptive_and_first_latest(TINY, 0)
    comparisons.count_and_softmax(TINY, 0)
    comparisons.decay_adaptive_and_first_latest(TINY, 0)
    assert STARTED == {"adaptive": 1, "first_and_latest": 1, "softmax_index": 1}
    policy_table(TINY, 0, (("adaptive", 2.0), ("random", 2.0)))
    assert STARTED["adaptive"] == 1 and STARTED["random"] == 1
    comparisons.adaptive_and_random(TINY, 0)
    assert STARTED["random"] == 1
    assert memory_of(TINY, "random", seed=4).seed == 4 and memory_of(TINY, "adaptive", seed=4).seed == 0


def test_policy_table_reports_memory_and_scores():
    rows = policy_table(TINY, 0, (("every_k", 2.0), ("adaptive", 2.0)))
    assert [row.policy for row in rows] == ["every_k", "adaptive"]
    for row in rows:
        assert row.JF.shape == (2,) and (0 <= row.JF).all() and (row.JF <= 1).all()
        assert row.J_after is None and row.frames_per_second > 0
    assert rows[0].bytes_at_end == 2.5 * rows[1].bytes_at_end
    assert rows[0].mean_frames == pytest.approx(np.mean(1 + np.arange(23) // 5))
    hidden = policy_table(TINY, 0, (("adaptive", 2.0),), kind="hidden")[0]
    assert hidden.J_after.shape == (2,) and (0 <= hidden.J_after).all() and (hidden.J_after <= 1).all()


class Burner:
    """A segmenter whose every step takes a given processor time, and that notes who stepped."""

    def __init__(self, name, seconds, order):
        self.name, self.seconds, self.order = name, seconds, order

    def start(self, frame, labels):
        self.probs = one_hot(labels, torch.tensor([1]))
        return self

    def step(self, frame):
        self.order.append((self.name, torch.get_num_threads()))
        began = process_time()
        while process_time() - began < self.seconds:
            pass
        return self.probs


def test_speeds_are_taken_in_turns_on_one_thread(monkeypatch):
    order: list[tuple[str, int]] = []
    burners = {"adaptive": Burner("a", 0.002, order), "every_k": Burner("e", 0.004, order)}
    monkeypatch.setattr(speed, "small_segmenter", lambda config, memory, device: burners[memory.policy])
    memories = tuple(memory_of(TINY, policy) for policy in ("adaptive", "every_k"))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rates = speed.paired_speeds(replace(TINY, passes=3), 0, memories)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert rates[0] == pytest.approx(500, rel=0.1) and rates[1] == pytest.approx(250, rel=0.1)
    assert len(order) == 3 * 2 * 23 and {threads for _, threads in order} == {1}
    assert "".join(name for name, _ in order[:8]) == "eaaeeaae"


def test_speed_claims_come_from_one_measurement(monkeypatch):
    asked = []

    def measured(config, seed, memories):
        asked.append([memory.policy for memory in memories])
        return 30.0, 20.0, 25.0

    speed._speeds.cache_clear()
    monkeypatch.setattr(speed, "paired_speeds", measured)
    assert [part.tolist() for part in speed.adaptive_and_every_k_speed(TINY, 1)] == [[30.0], [20.0]]
    assert [part.tolist() for part in speed.adaptive_and_first_latest_speed(TINY, 1)] == [[30.0], [25.0]]
    assert asked == [["adaptive", "every_k", "first_and_latest"]]
    speed._speeds.cache_clear()


def test_bad_settings_say_what_is_wrong(monkeypatch):
    with pytest.raises(InputError, match="unknown preset 'huge'; use one of smoke, cpu, gpu"):
        comparisons.adaptive_and_first_latest("huge", 0)
    with pytest.raises(InputError, match="clips, clips_hidden, frames_hidden, mem_every, top_k and passes must be"):
        replace(TINY, clips=0)
    with pytest.raises(InputError, match="short 24, length 24"):
        replace(TINY, short=24)
    with pytest.raises(InputError, match="hides for 3 frames anyhow, got frames_hidden=2"):
        hidden_clips(TINY, 0, frames_hidden=2)
    with pytest.raises(InputError, match="only clips with occlusion 1, deformation 0 and light 0"):
        DwellingWorld(scenario("occlusion", deformation=0.2), 9)
    with pytest.raises(InputError, match="'hidden' or 'hidden_changed', got 'dark'"):
        clips_of(TINY, 0, "dark")
    with pytest.raises(InputError, match="never wholly hidden; take clips of the scenario"):
        clear_frames(World(scenario("easy", image_size=48, length=2, dense_truth=False)).clip(0), 0.5)
    monkeypatch.setattr(clips_room, "_all_in_view", lambda *_: False)
    with pytest.raises(
        InputError, match=r"only 0 of 16 clips hide the target for 6 frames and show 50%.*lower `clear`"
    ):
        hidden_clips(TINY, 0)
