"""Operating points are scored as they should be: by hand on tiny counts, and by what must be true of any run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import course_lib.methods.propagation.operating_points as points
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.propagation.icnet import ICNet, ICNetConfig
from course_lib.methods.propagation.operating_points import (
    CLASSES,
    DrivingClip,
    OperatingConfig,
    PointScores,
    Setting,
    class_ious,
    driving_clips,
    inconsistent_shares,
    run_setting,
    score_point,
    steadiness,
)
from course_lib.methods.propagation.schedule import OperatingPoint
from course_lib.metrics.confusion import ConfusionMatrix

CONFIG = OperatingConfig.preset("smoke")
SEED = 901


@pytest.fixture
def untrained(monkeypatch):
    """A network with random weights in the place of every trained one."""
    torch.manual_seed(0)
    network = ICNet(CLASSES, ICNetConfig(0.05, fine=True)).eval()
    torch.nn.init.zeros_(network.classifier.bias)  # else it outweighs what an untrained network sees
    monkeypatch.setattr(points, "_trained", lambda name, folder, device: network)
    points._score.cache_clear()
    yield network
    points._score.cache_clear()


def test_iou_counts_only_classes_of_the_truth():
    counts = np.zeros((1, 3, 3), dtype=np.int64)
    counts[0] = [[6, 1, 1], [2, 2, 0], [0, 0, 0]]  # class 2 is found, but is not there
    ious = class_ious(counts)
    assert ious[0, :2].tolist() == pytest.approx([6 / 10, 2 / 5])
    assert np.isnan(ious[0, 2])


def test_periods_end_with_the_clip():
    """Frame t holds t + 1 pixels of class 0, so the sums tell which frames were taken."""
    counts = np.zeros((1, 10, 2, 2), dtype=np.int64)
    counts[0, :, 0, 0] = 2 ** np.arange(10)
    scores = PointScores(0, counts)

    def frames(period, step):
        total = int(scores.at(period, step)[0, 0, 0])
        return [t for t in range(10) if total >> t & 1]

    assert frames(1, 0) == list(range(10))
    assert frames(5, 4) == [4, 9] and frames(5, 0) == [0, 5] and frames(10, 3) == [3]
    assert frames(3, 2) == [0, 3, 6, 9]
    late = PointScores(4, counts)
    assert [t for t in range(10) if int(late.at(3, 2)[0, 0, 0]) >> t & 1] == [6, 9]
    with pytest.raises(InputError, match="steps 0 to 4, got 5"):
        scores.at(5, 5)
    with pytest.raises(InputError, match="show no step 3 of 20"):
        scores.at(20, 3)


def test_pooled_scores_are_those_of_all_frames_together():
    setting = Setting(OperatingPoint(5))
    scores = score_point(CONFIG, SEED, setting)
    matrix = ConfusionMatrix(CLASSES)
    for clip in driving_clips(CONFIG, SEED):
        matrix.update(run_setting(CONFIG, clip, setting), clip.semantic)
    shown = ~np.isnan(scores.pooled())
    np.testing.assert_allclose(scores.pooled()[shown], matrix.iou().numpy()[shown])


def test_an_oracle_on_each_frame_is_right_and_errs_only_on_the_way():
    each = score_point(CONFIG, SEED, Setting(OperatingPoint(1, warp=False)))
    assert (each.mIoU() == 1).all()
    carried, copied = (score_point(CONFIG, SEED, Setting(OperatingPoint(5, warp=warp))) for warp in (True, False))
    assert (carried.mIoU(5, 0) == 1).all() and (copied.mIoU(5, 0) == 1).all()
    assert (carried.mIoU(5, 4) < 1).all()
    assert (carried.mIoU(5, 4) > copied.mIoU(5, 4)).all()
    longer = score_point(CONFIG, SEED, Setting(OperatingPoint(10)))
    assert (longer.mIoU(10, 9) < longer.mIoU(10, 1)).all()


def test_the_stream_begins_so_that_the_last_frame_ends_a_period():
    scores = score_point(CONFIG, SEED, Setting(OperatingPoint(3)))
    assert scores.start == 1 and scores.counts[:, 0].sum() == 0
    assert (scores.mIoU(3, 0) == 1).all() and (scores.mIoU(3, 2) < 1).all()
    with pytest.raises(InputError, match="too short for a period of 17"):
        score_point(CONFIG, SEED, Setting(OperatingPoint(17)))


def test_asking_for_flow_changes_no_frame():
    for plain, dense in zip(driving_clips(CONFIG, SEED), points._dense_clips(CONFIG, SEED), strict=True):
        assert torch.equal(plain.frames, dense.frames) and torch.equal(plain.semantic, dense.semantic)
        assert plain.backward is None and dense.backward.shape == (CONFIG.length - 1, 2, CONFIG.height, CONFIG.width)


def test_copying_a_copied_answer_is_the_key_frame_itself():
    clip = driving_clips(CONFIG, SEED)[0]
    labels = run_setting(CONFIG, clip, Setting(OperatingPoint(10, warp=False)))
    assert (labels == clip.semantic[0]).all()


def test_labels_that_move_with_the_scene_are_steady(monkeypatch):
    """A scene shifts by two pixels a frame: labels that shift with it score 1, whatever enters at the border."""
    scene = torch.randint(0, 4, (16, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.stack([scene[:, 2 * t : 2 * t + 40] for t in range(5)])
    backward = torch.zeros(4, 2, 16, 40)
    backward[:, 0] = 2
    unseen = torch.zeros(4, 16, 40, dtype=torch.bool)
    unseen[:, :, 38:] = True
    clip = DrivingClip(torch.zeros(5, 3, 16, 40, dtype=torch.uint8), labels, None, backward, unseen)
    monkeypatch.setattr(points, "_dense_clips", lambda config, seed: (clip, clip))
    setting = Setting(OperatingPoint(1, warp=False))
    monkeypatch.setattr(points, "run_setting", lambda config, clip, setting: labels)
    assert steadiness(CONFIG, SEED, setting).tolist() == [1, 1]
    monkeypatch.setattr(points, "run_setting", lambda config, clip, setting: labels[2:])  # a stream that begins late
    assert steadiness(CONFIG, SEED, setting).tolist() == [1, 1]
    monkeypatch.setattr(points, "run_setting", lambda config, clip, setting: labels[:1].expand(5, -1, -1))
    assert (steadiness(CONFIG, SEED, setting) < 0.4).all()  # standing still, while the scene moves


def test_shares_of_inconsistent_pixels_are_small_and_grow():
    shares = inconsistent_shares(CONFIG, SEED, (1, 4, 8))
    assert shares.shape == (CONFIG.clips, 3)
    assert (shares >= 0).all() and (shares < 0.1).all()
    assert shares[:, 2].mean() > shares[:, 0].mean()
    one_back = inconsistent_shares(CONFIG, SEED, (1, 8), back=1)
    assert (one_back[:, 0] == shares[:, 0]).all() and (one_back[:, 1] < shares[:, 2]).all()
    exact = inconsistent_shares(CONFIG, SEED, (1,), flow="exact")
    assert (exact < 0.02).all()
    with pytest.raises(InputError, match="between 1 and 9"):
        inconsistent_shares(CONFIG, SEED, (10,))


def test_replacing_lets_the_refiner_answer_everywhere(untrained):
    clip = driving_clips(CONFIG, SEED)[0]
    point = OperatingPoint(5, refine="last")
    inside, everywhere, carried = (
        run_setting(CONFIG, clip, setting)
        for setting in (
            Setting(point, "icnet-small-driving"),
            Setting(point, "icnet-small-driving", replace=True),
            Setting(OperatingPoint(5), "icnet-small-driving"),
        )
    )
    same = [t for t in range(10) if t % 5 != 4]
    assert (inside[same[:4]] == carried[same[:4]]).all() and (everywhere[same[:4]] == carried[same[:4]]).all()
    changed = (everywhere[4] != carried[4]).float().mean(), (inside[4] != carried[4]).float().mean()
    assert changed[0] > changed[1]


def test_half_size_runs_on_frames_of_half_their_sides(untrained):
    scores = score_point(CONFIG, SEED, Setting(OperatingPoint(5, input_scale=0.5), "icnet-small-driving"))
    assert scores.counts.sum() == CONFIG.clips * CONFIG.length * CONFIG.height * CONFIG.width


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing for it to refine"):
        Setting(OperatingPoint(5, refine="last"))
    with pytest.raises(InputError, match="no input scale"):
        Setting(OperatingPoint(5, input_scale=0.5))
    with pytest.raises(InputError, match="needs a point that refines"):
        Setting(OperatingPoint(5), "icnet-small-driving", replace=True)
    with pytest.raises(InputError, match="flow must be one of dis"):
        Setting(OperatingPoint(5), flow="raft")
    with pytest.raises(InputError, match="unknown preset 'huge'"):
        OperatingConfig.preset("huge")
    with pytest.raises(MissingDataError, match=r"course train icnet-half-driving"):
        score_point(replace(CONFIG, weights=tmp_path), SEED, Setting(OperatingPoint(5), "icnet-half-driving"))
