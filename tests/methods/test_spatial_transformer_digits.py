"""Training on cluttered digits: no image in two parts, one Adam for three networks, resuming, choosing, shipping."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from course_lib.errors import InputError, MissingDataError
from course_lib.methods.spatial_transformer import digit_weights
from course_lib.methods.spatial_transformer.digit_config import DigitTrainingConfig, System
from course_lib.methods.spatial_transformer.digit_experiments import gradient_noise, views_at
from course_lib.methods.spatial_transformer.digit_parts import DigitImages, render_part
from course_lib.methods.spatial_transformer.digit_task import DigitNetwork, DigitTask, box_matrices
from course_lib.methods.spatial_transformer.digit_training import fit_config, part_of, score, train_system
from course_lib.methods.spatial_transformer.digit_weights import load_sstn, train_sstn
from course_lib.methods.spatial_transformer.geometry import view
from course_lib.methods.spatial_transformer.policy_gradient import PolicyGradientConfig, choose
from course_lib.training import fit
from course_lib.training.cards import load_card

SMOKE = DigitTrainingConfig.preset("smoke")
CPU = {"device": "cpu", "progress": False}
ROWS = [
    System.plain(), System.truth(), System.stn(), System.image_only(), System.previous_move(), System.recurrent(),
    System.actor_critic(),
]  # fmt: skip


def objects(part):
    """The objects of a part, cut out along their boxes, as bytes that can be compared."""
    images = render_part(dataclasses.replace(SMOKE.clutter, n_clutter=0), part, 3000, 5)
    cut = [image[0, y0:y1, x0:x1] for image, (x0, y0, x1, y1) in zip(images.images, images.boxes.long().tolist())]
    return {bytes(c.numpy()) for c in cut}


def test_no_object_is_in_two_parts():
    train, validation, test = objects("train"), objects("validation"), objects("test")
    assert len(train) > 2000 and 200 < len(validation) < 300 and len(test) > 900
    assert not train & validation and not train & test and not validation & test


def test_parts_differ_in_places_and_repeat():
    first = render_part(SMOKE.clutter, "train", 50, 3)
    again = render_part.__wrapped__(SMOKE.clutter, "train", 50, 3)
    assert torch.equal(first.images, again.images) and torch.equal(first.boxes, again.boxes)
    others = [render_part(SMOKE.clutter, "validation", 50, 3), render_part(SMOKE.clutter, "train", 50, 4)]
    assert all(not torch.equal(first.boxes, other.boxes) for other in others)
    pixels, labels, boxes = first.take(torch.tensor([7, 2]))
    assert pixels.dtype == torch.float32 and 0 <= pixels.min() and pixels.max() <= 1
    assert torch.equal((pixels[1] * 255).round().byte(), first.images[2]) and labels[0] == first.labels[7]
    assert torch.equal(torch.cat([b for _, _, b in first.batches(16)]), first.boxes) and boxes.shape == (2, 4)
    with pytest.raises(InputError, match="part must be one of train, validation, test"):
        render_part(SMOKE.clutter, "best", 50, 3)


def test_the_view_of_a_box_is_the_box():
    pixels, _, boxes = render_part(SMOKE.clutter, "train", 20, 3).take(slice(None))
    side = SMOKE.clutter.sprite
    shown = view(pixels, box_matrices(boxes, (20, 20)), size=(side, side))
    cut = torch.stack([image[:, y0:y1, x0:x1] for image, (x0, y0, x1, y1) in zip(pixels, boxes.long().tolist())])
    assert torch.allclose(shown, cut, atol=1e-5)


@pytest.mark.parametrize("classifier", ["mlp", "lenet"])
def test_systems_have_the_networks_of_their_row_and_begin_with_the_same_classifier(classifier):
    made = {}
    for row in ROWS:
        torch.manual_seed(0)
        system = dataclasses.replace(row, classifier=classifier)
        made[system.label] = net = DigitNetwork(system, SMOKE)
        parts = {name.split(".")[0] for name, _ in net.named_parameters()}
        extra = {"none": set(), "truth": set(), "stn": {"localiser"}, "agent": {"policy"}}[system.transform]
        assert parts == {"classifier"} | extra | ({"critic"} if system.critic else set())
        assert (net.policy is not None and net.policy.lstm is not None) == system.memory
    assert len(made) == len(ROWS)  # labels tell them apart
    weights = [dict(net.classifier.named_parameters()) for net in made.values()]
    assert all(torch.equal(w[name], weights[0][name]) for w in weights for name in w)


def test_one_adam_is_three():
    """Classifier, policy and critic under one Adam learn what they learn under an Adam each, from their own losses."""
    config = dataclasses.replace(SMOKE, steps=3)
    task, batch = DigitTask(config, part_of(config, "train", 0), 0), {"index": torch.arange(8)}

    def learn(split):
        torch.manual_seed(0)
        net = DigitNetwork(System.actor_critic(), config)
        groups = [net.classifier, net.policy, net.critic] if split else [net]
        adams = [torch.optim.Adam(part.parameters(), 1e-2) for part in groups]
        for step in range(config.steps):
            torch.manual_seed(step)
            losses = task.loss(net, batch, step)
            for number, adam in enumerate(adams):
                # Each on its own: the cross-entropy, the actor's part, the critic's part of the sum.
                wanted = losses["loss"].mean()
                weights = [w for group in adam.param_groups for w in group["params"]]
                slopes = torch.autograd.grad(wanted, weights, retain_graph=number + 1 < len(adams))
                for weight, slope in zip(weights, slopes):
                    weight.grad = slope
            for adam in adams:
                adam.step()
        return net.state_dict()

    together, apart = learn(split=False), learn(split=True)
    assert all(torch.equal(together[name], apart[name]) for name in together)


def test_each_part_of_the_loss_reaches_its_own_network():
    """The sum's gradient in the classifier is the cross-entropy's alone, whatever the agent is paid."""
    task, batch = DigitTask(SMOKE, part_of(SMOKE, "train", 0), 0), {"index": torch.arange(8)}
    torch.manual_seed(0)
    net = DigitNetwork(System.actor_critic(), SMOKE)
    torch.manual_seed(1)
    losses = task.loss(net, batch, 0)
    assert {name: list(value.shape) for name, value in losses.items()} == {name: [8] for name in losses}
    torch.manual_seed(1)
    with torch.no_grad():
        env, (pixels, labels, _) = net.environment(), task.images.take(batch["index"])
        observation, memory = env.reset(pixels, labels), None
        for _ in range(SMOKE.episode_length):
            logits, memory = net.policy(*observation, memory)
            observation = env.step(choose(logits).actions).observation
    alone = F.cross_entropy(net.classifier(env.views), labels)
    assert torch.allclose(losses["classifier"].mean(), alone)
    weights = list(net.classifier.parameters())
    for a, b in zip(torch.autograd.grad(losses["loss"].mean(), weights), torch.autograd.grad(alone, weights)):
        assert torch.allclose(a, b, atol=1e-6)


def test_warm_up_trains_the_classifier_on_raw_images_and_leaves_the_agent_alone():
    config = dataclasses.replace(SMOKE, warm_up=2, steps=4)
    task = DigitTask(config, part_of(config, "train", 0), 0)

    def after(steps, system):
        torch.manual_seed(0)
        net = DigitNetwork(system, config)
        fit(net, task, dataclasses.replace(fit_config(config, 0), steps=steps, best=""), **CPU)
        return net

    torch.manual_seed(0)
    new = DigitNetwork(System.recurrent(), config)
    warm, plain, later = after(2, System.recurrent()), after(2, System.plain()), after(3, System.recurrent())
    for a, b, c in zip(warm.policy.parameters(), new.policy.parameters(), later.policy.parameters()):
        assert torch.equal(a, b) and not torch.equal(a, c)
    for a, b, c in zip(warm.classifier.parameters(), plain.classifier.parameters(), new.classifier.parameters()):
        assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("system", [System.stn(), System.actor_critic()], ids=["stn", "actor-critic"])
def test_a_run_repeats_itself_and_resumes(system, tmp_path):
    once = train_system(system, SMOKE, tmp_path / "once", seed=1, **CPU)
    unkept = train_system(system, SMOKE, seed=1, **CPU)  # as if there were no directory
    again = train_system(system, SMOKE, tmp_path / "once", seed=1, **CPU)  # finished: only tested anew
    for other in (unkept, again):
        assert torch.equal(other.test.correct, once.test.correct)
        for a, b in zip(other.network.parameters(), once.network.parameters()):
            assert torch.equal(a, b)
    # From the checkpoint in the middle to the end: the same losses as in one go.
    for path in sorted((tmp_path / "once" / "checkpoints").glob("step-*4.safetensors")):
        path.unlink()
    resumed = train_system(system, SMOKE, tmp_path / "once", seed=1, **CPU)
    pick = [row["loss"] for row in once.fit.rows if row["phase"] == "train"]
    assert [row["loss"] for row in resumed.fit.rows if row["phase"] == "train"] == pick
    assert torch.equal(resumed.test.correct, once.test.correct)
    with pytest.raises(InputError, match="other settings"):
        train_system(system, dataclasses.replace(SMOKE, lr=1e-2), tmp_path / "once", seed=1, **CPU)


def test_the_checkpoint_is_chosen_on_validation_images():
    config = dataclasses.replace(SMOKE, steps=30, evaluations=10, lr=0.02, validation_images=40)
    made = train_system(System.truth(), config, **CPU)
    looks = [row["accuracy"] for row in made.fit.rows if row["phase"] == "eval"]
    assert len(looks) == 10 and made.fit.best.value == max(looks) > looks[0]
    assert float(score(made.network, part_of(config, "validation", 0)).accuracy[-1]) == max(looks)
    answers = made.network.classifier(made.network.look(*part_of(config, "test", 0).take(slice(None))[::2]))
    assert torch.equal(made.correct, answers.argmax(1) == part_of(config, "test", 0).labels)
    assert made.greedy is None and made.greedy_accuracy == made.accuracy == float(made.correct.float().mean())


def test_fine_tuning_begins_with_the_given_weights():
    first = train_system(System.recurrent(), SMOKE, **CPU)
    tuned = train_system(
        System.recurrent(), dataclasses.replace(SMOKE, lr=1e-12, steps=1), start=first.network, seed=3, **CPU
    )
    for a, b in zip(tuned.network.parameters(), first.network.parameters()):
        assert torch.allclose(a, b, atol=1e-9)
    with pytest.raises(InputError, match="cannot begin with a network"):
        train_system(System.image_only(), SMOKE, start=first.network, **CPU)


def test_an_agents_test_is_repeatable_and_has_all_steps():
    made = train_system(System.image_only(), SMOKE, **CPU)
    images = part_of(SMOKE, "test", 0)
    assert torch.equal(score(made.network, images).correct, made.test.correct)
    assert made.test.correct.shape == (24, 7) and made.test.action_counts.sum(1).tolist() == [24] * 6
    assert torch.equal(score(made.network, images, greedy=True).correct, made.greedy.correct)


def test_views_of_moments():
    net = train_system(System.actor_critic(), SMOKE, **CPU).network
    images = part_of(SMOKE, "test", 0)
    raw, last = views_at(net, images, (0, 6))
    assert torch.equal(raw.images, images.images) and not torch.equal(last.images, images.images)
    assert isinstance(last, DigitImages) and torch.equal(last.labels, images.labels)
    with pytest.raises(InputError, match="0 … 6"):
        views_at(net, images, (7,))


def test_baselines_are_compared_on_the_same_episodes():
    """Asked twice, one baseline gives the same numbers, and another one others."""
    twice = gradient_noise(SMOKE, 0, ("none", "leave_one_out", "none"))
    assert (twice[0] == twice[2]).all() and (twice[0] != twice[1]).all() and (twice[0] > 0).all()


def test_shipped_weights_answer_as_the_trained_network_and_carry_their_licence(tmp_path):
    made = train_sstn(SMOKE, tmp_path, seed=2, budget="a minute", **CPU)
    assert made.weights.name == "sstn-digits.safetensors" and made.weights.stat().st_size < digit_weights.LARGEST
    card = load_card(made.weights)
    assert card.licence == "CC BY 4.0" and card.budget == "a minute"
    assert {source.licence for source in card.data} == {"CC BY 4.0", "Bitstream Vera"}
    assert card.metrics["accuracy, moves drawn, 24 test images"] == round(100 * made.trained.accuracy, 2)
    loaded = load_sstn(weights=made.weights, config=SMOKE)
    pixels = part_of(SMOKE, "test", 2).take(slice(None))[0]
    assert torch.allclose(loaded.classifier(pixels), made.trained.network.classifier(pixels), atol=0.01)
    before = torch.zeros(24, 10)
    for name in ("policy", "critic"):
        ours, theirs = (getattr(net, name)(pixels, before)[0] for net in (loaded, made.trained.network))
        assert torch.allclose(ours, theirs, atol=0.01)
    with pytest.raises(InputError, match="do not fit"):
        load_sstn(weights=made.weights)  # of another size than the preset cpu
    with pytest.raises(MissingDataError, match="are not here"):
        load_sstn("sstn-nowhere")


def test_the_published_agent_ships_in_two_megabytes_at_preset_cpu():
    net = DigitNetwork(digit_weights.SYSTEM, DigitTrainingConfig.preset("cpu"))
    assert 2 * sum(p.numel() for p in net.parameters()) < digit_weights.LARGEST


def test_the_published_sizes():
    gpu = DigitTrainingConfig.preset("gpu")
    assert (gpu.clutter.canvas, gpu.clutter.sprite, gpu.clutter.source) == (80, 28, "mnist")
    assert (gpu.train_images, gpu.test_images, gpu.episode_length, gpu.lr) == (500_000, 100_000, 40, 1e-4)
    env = gpu.environment()
    assert torch.allclose(env.actions.matrices[env.actions.index("right")][0, 2], torch.tensor(0.1))
    net = DigitNetwork(System.actor_critic("lenet"), gpu)
    assert net.policy.lstm.hidden_size == 256 and net.classifier.body.layers[6 + 1].in_features == 25_600
    assert gpu.estimator_of(System.recurrent()).baseline == "none"
    assert gpu.estimator_of(System.actor_critic()).baseline == "critic"


def test_settings_out_of_range_say_so():
    with pytest.raises(InputError, match="unknown preset 'tpu'"):
        DigitTrainingConfig.preset("tpu")
    with pytest.raises(InputError, match="episode_length must be at least 1"):
        dataclasses.replace(SMOKE, episode_length=0)
    with pytest.raises(InputError, match="warm_up is part of the 4 steps"):
        dataclasses.replace(SMOKE, warm_up=4)
    with pytest.raises(InputError, match="said by the System"):
        dataclasses.replace(SMOKE, estimator=PolicyGradientConfig(baseline="critic"))
    with pytest.raises(InputError, match="belong to agents"):
        System("stn", memory=True)
    with pytest.raises(InputError, match="transform must be one of"):
        System("glimpse")
    with pytest.raises(InputError, match="has no agent"):
        DigitNetwork(System.stn(), SMOKE).agent_policy()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_update_waits_for_the_gpu():
    task, batch = DigitTask(SMOKE, part_of(SMOKE, "train", 0), 0), {"index": torch.arange(8, device="cuda")}
    net = DigitNetwork(System.actor_critic(), SMOKE).cuda()
    task.loss(net, batch, 0)["loss"].mean().backward()  # takes the images and the moves there, once
    torch.cuda.set_sync_debug_mode("error")
    try:
        task.loss(net, batch, 1)["loss"].mean().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
