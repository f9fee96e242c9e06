"""The sizes at which DQ-SSTN is trained, the weights that ship, and what is said about bad input."""

from dataclasses import replace

import pytest
import torch

from course_lib.errors import InputError, MissingDataError
from course_lib.methods.spatial_transformer.dq_config import DQConfig
from course_lib.methods.spatial_transformer.dq_data import in_memory, salient_images, salient_parts
from course_lib.methods.spatial_transformer.dq_network import answers
from course_lib.methods.spatial_transformer.dq_task import AgentTask
from course_lib.methods.spatial_transformer.dq_training import evaluate_agent, train_classifier, train_dq
from course_lib.methods.spatial_transformer.dq_weights import load_dq_sstn, train_shipped
from course_lib.methods.spatial_transformer.networks import ResNet18
from course_lib.training.export import SHIPPED_BYTES

SMOKE = DQConfig.preset("smoke")
TRAIN, _, TEST = salient_parts(SMOKE, 0)


def test_what_is_shipped_comes_back(tmp_path):
    shipped = train_shipped(SMOKE, tmp_path, progress=False, device="cpu")
    assert shipped.weights.stat().st_size < 2_000_000 < SHIPPED_BYTES
    models = load_dq_sstn(shipped.weights, config=SMOKE)
    again = evaluate_agent(models.network, TEST)
    torch.testing.assert_close(again.played.logits, shipped.result.played.logits, atol=0.02, rtol=0.02)
    plain = answers(models.plain, (part.images for part in TEST.batches()))
    assert (plain == shipped.result.baseline.predictions).float().mean() > 0.9
    card = shipped.card
    assert card.licence == "CC BY 4.0" and card.metrics["Top-1, with agent, 48 test scenes"] == pytest.approx(
        100 * shipped.result.correct.float().mean().item(), abs=0.01
    )
    assert '"Top-2", plain classifier, 48 test scenes' in card.metrics and "smallest third" in str(card.metrics)
    with pytest.raises(InputError, match="do not fit"):
        load_dq_sstn(shipped.weights)


def test_presets_say_what_is_published():
    gpu, cpu = DQConfig.preset("gpu"), DQConfig.preset("cpu")
    assert (gpu.image, gpu.classes, gpu.episode_length, gpu.replay, gpu.lr) == ((3, 224, 224), 20, 10, 1000, 5e-6)
    assert (gpu.q.gamma, gpu.q.sync_every, gpu.q.double, gpu.q.learning_rate) == (0.95, 100, False, 5e-6)
    assert (gpu.exploration.end, gpu.exploration.decay, gpu.steps * gpu.batch_size // 8218) == (0.05, 50_000, 50)
    assert gpu.body is None and gpu.flip and gpu.actions().matrices[0, 0, 2].item() == pytest.approx(2 * 4 / 224)
    assert (cpu.image, cpu.episode_length, cpu.shift, cpu.steps, cpu.replay) == ((1, 32, 32), 6, 3.0, 3000, 5000)
    assert cpu.shortened(0.1).steps == 300


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DQConfig.preset("huge"), InputError, "unknown preset 'huge'"),
        (lambda: replace(SMOKE, steps=0), InputError, "steps must be at least 1"),
        (lambda: replace(SMOKE, image=(1, 40, 40)), InputError, "canvas of 32 are images"),
        (lambda: DQConfig(image=(1, 32, 32)), InputError, "3 channels"),
        (lambda: SMOKE.shortened(0), InputError, "above 0"),
        (lambda: salient_images(SMOKE, "dev", 0), InputError, "train, validation, test; got 'dev'"),
        (lambda: in_memory([]), InputError, "at least one batch"),
        (lambda: train_dq(SMOKE, "negative_loss"), InputError, "got 'negative_loss'"),
        (lambda: train_classifier(SMOKE, "some"), InputError, "none, full, any_length; got 'some'"),
        (lambda: train_dq(SMOKE, baseline=train_classifier(SMOKE, seed=1, progress=False)), InputError, "other images"),
        (lambda: AgentTask(SMOKE, TRAIN, 0, "share_sign", torch.ones(3)), InputError, r"\[64\]; got \[3\]"),
        (lambda: AgentTask(SMOKE, TRAIN, 0, "share_sign").loss(ResNet18(2, None), {}, 0), InputError, "DQLearner"),
        (lambda: train_shipped("gpu", "nowhere"), InputError, "built-in digits"),
        (lambda: load_dq_sstn("nowhere.safetensors"), MissingDataError, "course train dq-sstn"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
