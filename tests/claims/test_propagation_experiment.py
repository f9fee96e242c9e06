"""The experiments behind lesson 00 measure what they say, with methods whose scores are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import course_lib.methods.propagation.experiment as experiment
from course_lib.data.hidden_target import clear_frames
from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError
from course_lib.methods.propagation.experiment import PropagationConfig, follow, hiding_clips, target_J
from course_lib.vos.aggregate import one_hot


class Oracle:
    """Knows the truth: answers the true labels until the target is hidden, and after it nothing if it `forgets`."""

    def __init__(self, clip, forgets):
        self.clip, self.forgets = clip, forgets

    def start(self, frame, labels):
        first = next(t for t in range(len(self.clip)) if torch.equal(self.clip.labels[t], labels))
        return OracleSession(self, first, labels)


class OracleSession:
    def __init__(self, oracle, t, labels):
        self.oracle, self.t = oracle, t
        self.ids = torch.tensor(sorted(set(labels.unique().tolist()) - {0}))
        self.lost = False

    def step(self, frame):
        self.t += 1
        labels = self.oracle.clip.labels[self.t].clone()
        self.lost |= not (labels == 1).any()
        if self.lost and self.oracle.forgets:
            labels[labels == 1] = 0
        return one_hot(labels, self.ids)

    def memory_bytes(self):
        return 0


@pytest.fixture(scope="module")
def clips():
    return hiding_clips(PropagationConfig.preset("smoke"), seed=3)


def test_frames_before_and_after(clips):
    for clip in clips:
        before, after = clear_frames(clip, 0.5)
        visible = clip.visible[:, 0].numpy()
        assert len(before) >= 1 and len(after) >= 2 and 0 not in before
        assert before.max() < np.flatnonzero(visible == 0).min() and after.min() > np.flatnonzero(visible == 0).max()
        assert (visible[[*before, *after]] >= 0.5).all()


@pytest.mark.parametrize("forgets", [True, False])
def test_oracle_scores_as_it_must(clips, forgets):
    clip = clips[0]
    before, after = clear_frames(clip, 0.5)
    J = target_J(follow(Oracle(clip, forgets), clip), clip)
    assert (J[before] == 1).all()
    assert (J[after] == (0 if forgets else 1)).all()
    start = int(after[0])
    again = target_J(follow(Oracle(clip, forgets), clip, start), clip, start)
    assert (again[after - start] == 1).all()


def test_flow_beats_the_copied_mask_and_dies_behind_the_panel():
    flow, copied = experiment.moved_and_copied("smoke", seed=0)
    assert flow.shape == copied.shape == (2,) and (flow > copied).all()
    before, after = experiment.before_and_after_occlusion("smoke", seed=0)
    assert (before > 0.6).all() and (after < 0.2).all()
    again, carried = experiment.given_again_and_carried("smoke", seed=0)
    assert (again > carried + 0.3).all()
    early, late = experiment.early_and_late("smoke", seed=0)
    assert (early > late).all()


def test_seed_picks_the_clips():
    one, two, other = (experiment.moved_and_copied("smoke", seed=s)[1] for s in (0, 0, 1))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_bad_settings_say_what_is_wrong():
    with pytest.raises(InputError, match="unknown preset 'huge'; use one of smoke, cpu, gpu"):
        experiment.moved_and_copied("huge", 0)
    with pytest.raises(InputError, match="clips >= 1"):
        replace(PropagationConfig(), clips=0)
    open_clip = World(scenario("occlusion", occlusion=0.0, n_objects=1, dense_truth=False)).clip(0)
    with pytest.raises(InputError, match="never wholly hidden; take clips of the scenario 'occlusion'"):
        clear_frames(open_clip, 0.5)


def test_clips_without_clear_frames_are_replaced_or_the_lack_is_said(monkeypatch):
    config = PropagationConfig(clips=2, image_size=48)
    looked = []

    def every_third(clip, clear):
        looked.append(clip.name)
        return len(looked) % 3 == 0

    monkeypatch.setattr(experiment, "_has_both_sides", every_third)
    clips = hiding_clips(config, 0)
    assert [clip.name for clip in clips] == looked[2::3] and len(looked) == 6
    monkeypatch.setattr(experiment, "_has_both_sides", lambda *_: False)
    with pytest.raises(InputError, match=r"only 0 of 12 clips show 50% of the target.*lower `clear` or enlarge"):
        hiding_clips(config, 0)
