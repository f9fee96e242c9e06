"""What rows learn from: the same clips and coins for all, unknown and hidden pixels, and the terms of the loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.recurrent.ablation_rows import ALIASES, ROW_NAMES, ROWS, SHIPPED_ROWS, row_named
from course_lib.methods.recurrent.experiment import fit_config, new_network
from course_lib.methods.recurrent.rows import hs2s
from course_lib.methods.recurrent.schedules import ClipLengths, ScheduledSampling
from course_lib.methods.recurrent.train_config import RecurrentTraining
from course_lib.methods.recurrent.train_data import clip_source
from course_lib.methods.recurrent.train_task import RecurrentTask
from course_lib.training.samples import collate, sample_rng

SMOKE = RecurrentTraining.preset("smoke")
CPU = torch.device("cpu")


def task(row: str, config: RecurrentTraining = SMOKE) -> RecurrentTask:
    return RecurrentTask(row_named(row), config, clip_source(config, 0))


def batch(of: RecurrentTask, step: int = 0, n: int = 2):
    return collate([of.sample(i, step, sample_rng(0, i)) for i in range(n)])


def test_all_rows_see_the_same_clips_and_coins_and_train_equally_long():
    """Also rows that never feed a mask back, and those that only ever hand on the truth (whose coins all show it)."""
    config = replace(SMOKE, steps=100)
    reference = batch(task("hs2s", config), step=80)
    settings = fit_config(config, 0, CPU)
    for row in ROWS:
        samples = batch(task(row.name, config), step=80)
        assert torch.equal(samples["frames"], reference["frames"])
        assert torch.equal(samples["masks"], reference["masks"])
        if row.sampling is None:
            assert torch.equal(samples["teacher"], reference["teacher"])
        else:
            assert bool(samples["teacher"].all())
        for family in ("s2s", "hs2s"):
            assert RecurrentTraining.preset("cpu", family) == RecurrentTraining.preset("cpu", row.family)
        assert settings.steps == 100


def test_coins_follow_the_schedule():
    """All true in the first 30 %; then the share of truth falls to a quarter; each sample and frame for itself."""
    config = replace(SMOKE, steps=1000, lengths=ClipLengths(3, 3), sampling=ScheduledSampling(0.3, 1.0, 0.25))
    one = RecurrentTask(row_named("hs2s"), config, lambda index, frames, rng: {"masks": torch.zeros(frames)})
    for step, share in ((0, 1.0), (299, 1.0), (650, 0.625), (999, 0.25)):
        coins = torch.stack([one.sample(i, step, sample_rng(0, i))["teacher"] for i in range(2000)])
        assert coins.float().mean(0).tolist() == pytest.approx([share] * 3, abs=0.04)
        if 0 < share < 1:
            apart = np.corrcoef(coins.float().T.numpy())
            assert np.abs(apart - np.eye(3)).max() < 0.08
    early = one.sample(7, 650, sample_rng(0, 7))["teacher"]
    late = one.sample(7, 999, sample_rng(0, 7))["teacher"]
    assert not (late & ~early).any()  # one coin, a falling threshold


def test_a_sample_depends_on_its_number_and_step_alone():
    one = task("hs2s", replace(SMOKE, steps=10, lengths=ClipLengths(2, 5, drawn=True)))
    for index, step in ((0, 0), (13, 6), (19, 9)):
        first, again = (one.sample(index, step, sample_rng(0, index)) for _ in range(2))
        assert all(torch.equal(first[name], again[name]) for name in first)
    lengths = [len(one.sample(2 * step, step, sample_rng(0, 2 * step))["frames"]) for step in range(10)]
    others = [len(one.sample(2 * step + 1, step, sample_rng(0, 2 * step + 1))["frames"]) for step in range(10)]
    assert lengths == others  # what a batch needs


@pytest.mark.parametrize("name", ROW_NAMES)
def test_every_row_has_a_finite_loss_that_reaches_all_its_weights(name):
    """Weights without gradient would be dead; distance classes fit the loss; flow is a term of one row only."""
    config = replace(SMOKE, steps=10)
    one = task(name, config)
    network = new_network(one.row, config, seed=0)
    terms = one.loss(network, batch(one, step=9), step=9)
    assert all(term.shape == (2,) and term.isfinite().all() for term in terms.values())
    assert ("flow" in terms) == (name == "raft-hs2s") and ("distance" in terms) == bool(one.row.distance)
    terms["loss"].mean().backward()
    silent = [n for n, w in network.named_parameters() if w.grad is None or not w.grad.isfinite().all()]
    assert not silent


def test_loss_is_the_weighted_sum_of_what_is_logged():
    one = task("raft-hs2s", replace(SMOKE, steps=10, distance_weight=0.07, jaccard_weight=0.3, flow_weight=0.3))
    network = new_network(one.row, SMOKE, 0)
    with torch.no_grad():
        terms = one.loss(network, batch(one), 0)
    total = 0.5 * terms["segmentation"] + 0.3 * terms["jaccard"] + 0.07 * terms["distance"] + 0.3 * terms["flow"]
    torch.testing.assert_close(terms["loss"], total)
    plain = task("s2s")  # without distances the other weights are enlarged to sum to one
    with torch.no_grad():
        terms = plain.loss(new_network(plain.row, SMOKE, 0), batch(plain), 0)
    torch.testing.assert_close(terms["loss"], 0.75 * terms["segmentation"] + 0.25 * terms["jaccard"])


def test_plain_cross_entropy_is_half_of_the_unweighted_one():
    one = task("s2s-plain-bce", replace(SMOKE, jaccard_weight=0.0))
    network, samples = new_network(one.row, SMOKE, 0), batch(one)
    truth = (samples["masks"] == 1).float()
    with torch.no_grad():
        logits = network(samples["frames"], truth[:, 0]).logits
        loss = one.loss(network, samples, 0)["loss"]
    plain = F.binary_cross_entropy_with_logits(logits, truth[:, 1:], reduction="none").flatten(1).mean(1)
    torch.testing.assert_close(loss, plain / 2)


def test_while_the_truth_is_certain_clips_are_unrolled_at_once_with_the_same_loss():
    """The fast way of the first phase and frame by frame with coins that all show the truth agree."""
    one = task("hs2s", replace(SMOKE, steps=10, lengths=ClipLengths(3, 3)))
    network, samples = new_network(one.row, SMOKE, 0), batch(one)
    assert bool(samples["teacher"].all())
    truth = (samples["masks"] == 1).float()
    with torch.no_grad():
        fast = one.loss(network, samples, 0)["loss"]
        slow = network(samples["frames"], truth[:, 0], truth, samples["teacher"])
        fed = network(samples["frames"], truth[:, 0], truth, torch.zeros_like(samples["teacher"]))
        quick = network(samples["frames"], truth[:, 0], truth, True)
    torch.testing.assert_close(quick.logits, slow.logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(slow.logits[:, 1:], fed.logits[:, 1:], atol=1e-3)
    late = one.loss(network, samples | {"teacher": torch.zeros_like(samples["teacher"])}, 9)["loss"]
    assert not torch.allclose(fast, late)


def test_unknown_pixels_cost_nothing_and_are_handed_on_as_background():
    one = task("hs2s")
    network, samples = new_network(one.row, SMOKE, 0), batch(one)
    unknown = samples["masks"].clone()
    unknown[:, :, :, :8] = 255
    seen = []
    handle = network.encoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]))
    with torch.no_grad():
        one.loss(network, samples | {"masks": unknown}, 0)
    handle.remove()
    assert all(set(masks.unique().tolist()) <= {0.0, 1.0} for masks in seen)


def test_names_of_rows():
    assert len(set(ROW_NAMES)) == len(ROW_NAMES) and set(SHIPPED_ROWS.values()) <= set(ROW_NAMES)
    assert row_named("s2s-star-plus").name == "s2s-skip1-distance"
    assert set(ALIASES.values()) <= set(ROW_NAMES)
    with pytest.raises(InputError, match="unknown row 's3s'; there are s2s, s2s-distance"):
        row_named("s3s")


def test_published_schedules():
    """Steps are epochs of 3471 videos; the rate falls by 1 % every 4 epochs from 150, by a tenth every 5 from 650."""
    s2s, hs2s = (RecurrentTraining.preset("gpu", family) for family in ("s2s", "hs2s"))
    assert (s2s.batch_size, s2s.lr, s2s.frame) == (4, 1e-5, (256, 448))
    assert (hs2s.batch_size, hs2s.lr, hs2s.frame) == (16, 1e-4, (256, 448))
    assert s2s.steps == pytest.approx(400 * 3471 / 4, abs=1) and hs2s.steps == pytest.approx(750 * 3471 / 16, abs=1)
    for config, epochs, values in (
        (s2s, 400, {149: 1.0, 151: 0.99, 155: 0.99**2, 399: 0.99**63}),
        (hs2s, 750, {649: 1.0, 651: 0.9, 656: 0.81, 749: 0.9**20}),
    ):
        for epoch, factor in values.items():
            assert config.schedule.factor(round(epoch / epochs * config.steps), config.steps) == pytest.approx(factor)


def test_fine_tuning_goes_on_as_training_ended():
    """Full length, the last rate, and from step 1 on the teacher's final share; step 0 still shows the truth."""
    config = RecurrentTraining.preset("cpu").fine_tuning(200)
    assert config.steps == 200 and config.lr == pytest.approx(3e-4) and config.schedule.factor(199, 200) == 1
    assert {config.lengths.draw(step / 200, step, 0) for step in range(200)} == {8}
    assert [config.sampling.at(step / 200) for step in (0, 1, 199)] == [1.0, 0.25, 0.25]


def test_settings_that_make_no_sense_are_refused():
    for changes, message in (
        ({"steps": 0}, "steps, batch_size"),
        ({"frame": (64, 64)}, "have its side 32"),
        ({"data": "davis", "frame": (60, 64)}, "multiples of 16"),
        ({"world_share": 1.0}, "world_share"),
        ({"test_frames": 2}, "at least 3"),
    ):
        with pytest.raises(InputError, match=message):
            replace(SMOKE, **changes)
    with pytest.raises(InputError, match="smoke, cpu, gpu"):
        RecurrentTraining.preset("tpu")
    with pytest.raises(InputError, match="family must be"):
        RecurrentTraining.preset("cpu", "stm")
    with pytest.raises(InputError, match="share of the preset's steps"):
        SMOKE.shortened(0)
    assert replace(SMOKE, steps=10).shortened(0.5).steps == 5
    with pytest.raises(InputError, match="recurrent family"):
        task("s2s").loss(nn.Linear(1, 1), {}, 0)


def test_precision_is_never_emulated():
    """auto takes bf16 on a processor with instructions for it; what was asked for is taken at its word."""
    config = RecurrentTraining.preset("cpu")
    assert config.precision_on(CPU) in ("fp32", "bf16") and config.precision_on(torch.device("mps")) == "fp32"
    assert replace(config, precision="bf16").precision_on(torch.device("mps")) == "bf16"


def test_flow_leaves_hidden_pixels_out_and_gets_no_gradient_from_the_check():
    """A flow back that contradicts the flow everywhere hides every pixel: smoothness alone is left."""
    one = task("raft-hs2s", replace(SMOKE, steps=10))
    network, samples = new_network(one.row, SMOKE, 0), batch(one)
    found = network(samples["frames"], (samples["masks"][:, 0] == 1).float())
    assert found.back.shape == found.flows[-1].shape and not found.back.requires_grad
    still = [torch.zeros_like(found.back)]
    seen = one._flow(found._replace(flows=still, back=torch.zeros_like(found.back)), samples["frames"])
    hidden = one._flow(found._replace(flows=still, back=found.back * 0 + 50), samples["frames"])
    assert bool((seen > 0).all()) and bool((hidden == 0).all())  # a flow of zeros is smooth


def test_blind_frames_hide_the_mask_from_the_encoder_alone():
    """Blind everywhere and without references, the masks handed on say nothing; with references they still do."""
    torch.manual_seed(0)
    frames, first = torch.rand(2, 4, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    first[:, :, 4:16, 4:16] = 1
    other, everywhere = first.flip(-1), torch.ones(2, 4, dtype=torch.bool)
    truth = first[:, None].expand(-1, 4, -1, -1, -1)
    with torch.no_grad():
        for references in ((), ("first", "previous")):
            net = hs2s(references=references).eval()
            one, two = (net.unroll(frames, mask, blind=everywhere).logits for mask in (first, other))
            assert torch.equal(one, two) == (not references)
            none = net.unroll(frames, first, blind=torch.zeros_like(everywhere)).logits
            assert torch.equal(none, net.unroll(frames, first).logits)
        some = torch.tensor([[False, False, True, False], [False, True, False, True]])
        steps = net.unroll(frames, first, truth, torch.ones(2, 4, dtype=torch.bool), blind=some).logits
        torch.testing.assert_close(net.unroll(frames, first, truth, True, blind=some).logits, steps)


def test_a_blind_row_sees_the_same_clips_and_teacher_as_others():
    config = RecurrentTraining.preset("smoke")
    rows = [row_named(name) for name in ("hs2s", "hs2s-blind")]
    plain, blind = (RecurrentTask(row, config, clip_source(config, 0)) for row in rows)
    one, two = (task.sample(3, 1, np.random.default_rng(5)) for task in (plain, blind))
    for name in ("frames", "masks", "teacher"):
        assert torch.equal(one[name], two[name])
    shares = torch.stack([blind.sample(i, 1, np.random.default_rng(i))["blind"].float().mean() for i in range(300)])
    assert not one["blind"].any() and 0.25 < shares.mean() < 0.35
