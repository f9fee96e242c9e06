"""What the loop does with a task: learns, measures, averages, freezes, chooses; and what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from course_lib.errors import InputError, MissingDataError
from course_lib.training import FitConfig, LearningRate, fit, load_best
from course_lib.training.optimizer import make_optimizer
from course_lib.training.run_directory import read_metrics


class Line:
    """Learn y = 2 x - 1 from samples; the loss of each sample is its squared error."""

    def sample(self, index, step, rng):
        x = torch.from_numpy(rng.uniform(-1, 1, 1)).float()
        return {"x": x, "y": 2 * x - 1, "index": torch.tensor(index), "step": torch.tensor(step)}

    def loss(self, model, batch, step):
        return {"loss": (model(batch["x"]) - batch["y"])[:, 0] ** 2}


def line_model():
    torch.manual_seed(1)
    return nn.Linear(1, 1)


QUICK = FitConfig(steps=60, batch_size=4, lr=0.1, log_every=10)


def train(model=None, task=None, config=QUICK, run=None, **options):
    return fit(model or line_model(), task or Line(), config, run, device="cpu", progress=False, **options)


def test_it_learns_and_reports(tmp_path):
    result = train(config=replace(QUICK, steps=200), run=tmp_path, settings={"data": "a line"})
    assert result.model.weight.item() == pytest.approx(2, abs=0.02)
    assert result.model.bias.item() == pytest.approx(-1, abs=0.02)
    steps, losses = result.curve()
    assert steps == list(range(10, 201, 10)) and losses[0] > 0.2 and losses[-1] < 1e-3
    assert result.rows == read_metrics(tmp_path / "metrics.jsonl")
    assert set(result.rows[0]) == {"phase", "step", "loss", "lr", "gradient_norm", "seconds"}
    assert not result.model.training and result.minutes == result.seconds / 60 > 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["fit"]["lr"] == 0.1 and config["fit"]["workers"] == 0 and config["data"] == "a line"
    (session,) = json.loads((tmp_path / "environment.json").read_text())
    assert session["packages"]["torch"] and session["processes"] == 1 and "cores" in session["machine"]
    with pytest.raises(InputError, match=r"no train row has 'J'; there are gradient_norm, loss"):
        result.curve("J")


def test_one_step_is_what_pytorch_would_do_by_hand():
    result = train(config=replace(QUICK, steps=1, optimizer="sgd", momentum=0.0, weight_decay=0.1, clip_norm=0.5))
    task, model = Line(), line_model()
    from course_lib.training.samples import sample_rng

    x, y = (torch.stack([task.sample(i, 0, sample_rng(0, i))[name] for i in range(4)]) for name in "xy")
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    norm = torch.cat([model.weight.grad.flatten(), model.bias.grad]).norm()
    for w in (model.weight, model.bias):
        w.data -= 0.1 * (w.grad * min(1.0, 0.5 / norm.item()) + 0.1 * w.data)
    torch.testing.assert_close(result.model.state_dict(), model.state_dict(), rtol=0, atol=1e-6)
    row = result.rows[0]
    assert row["loss"] == pytest.approx(loss.item()) and row["gradient_norm"] == pytest.approx(norm.item())


def test_rows_are_means_over_their_steps():
    class Constant(Line):
        def loss(self, model, batch, step):
            return {"loss": (model(batch["x"]) * 0)[:, 0], "index": batch["index"], "update": batch["step"].double()}

    rows = train(task=Constant(), config=replace(QUICK, steps=25)).rows
    assert [row["step"] for row in rows] == [10, 20, 25]
    assert [row["index"] for row in rows] == [19.5, 59.5, 89.5]  # sample numbers 0-39, 40-79, 80-99
    assert [row["update"] for row in rows] == [4.5, 14.5, 22]


def test_the_learning_rate_follows_its_schedule_and_its_groups():
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    groups = [{"params": model[0].parameters(), "lr_scale": 0.0}, {"params": model[1].parameters()}]
    frozen = model[0].weight.item()
    schedule = LearningRate("step", drops=(0.5,))
    config = replace(QUICK, steps=4, log_every=1, schedule=schedule)
    first = train(model, config=config, parameters=groups).rows
    groups[0]["lr_scale"] = 1.0
    assert model[0].weight.item() == frozen
    again = train(line_model(), config=config).rows
    assert [row["lr"] for row in again] == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert len(first) == 4


def test_the_average_is_the_one_computed_by_hand():
    seen = []

    class Watching(Line):
        def loss(self, model, batch, step):
            seen.append(model.weight.item())
            return super().loss(model, batch, step)

    result = train(task=Watching(), config=replace(QUICK, steps=6, ema=0.8), evaluate=lambda m: {"w": m.weight.item()})
    last = train(config=replace(QUICK, steps=6)).model.weight.item()
    average = seen[1]  # begins with the weights after the first update
    for weight in (*seen[2:], last):
        average = 0.8 * average + 0.2 * weight
    assert result.model.weight.item() == pytest.approx(average, abs=1e-6)
    assert result.rows[-1]["w"] == result.model.weight.item()


def test_batch_norm_keeps_its_statistics_unless_told_otherwise():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def forward(self, x):
            return self.norm(x)

    frozen = train(Normed()).model.norm
    assert frozen.running_mean.item() == 0 and frozen.num_batches_tracked == 0
    assert frozen.weight.item() != 1, "its scale is still learnt"
    moving = train(Normed(), config=replace(QUICK, freeze_batch_norm=False)).model.norm
    assert moving.num_batches_tracked == 60


def test_the_best_evaluation_is_kept(tmp_path):
    scores = iter([0.2, 0.7, float("nan"), 0.7, 0.1, 0.3])
    weights = []

    def evaluate(model):
        assert not model.training and not torch.is_grad_enabled()
        weights.append(model.weight.item())
        return {"J&F": next(scores)}

    config = replace(QUICK, evaluate_every=10, best="J&F")
    result = train(config=config, run=tmp_path, evaluate=evaluate)
    assert (result.best.step, result.best.metric, result.best.value) == (20, "J&F", 0.7)
    assert load_best(line_model(), tmp_path).weight.item() == weights[1] != result.model.weight.item()
    assert result.curve("J&F", "eval")[0] == [10, 20, 30, 40, 50, 60]
    with pytest.raises(MissingDataError):
        load_best(line_model(), tmp_path / "elsewhere")


def test_lower_may_be_better():
    scores = iter([0.2, 0.1, 0.3])
    config = replace(QUICK, steps=30, evaluate_every=10, best="-error")
    result = train(config=config, evaluate=lambda model: {"error": next(scores)})
    assert result.best.value == 0.1


def test_evaluation_does_not_disturb_training():
    def noisy(model):
        torch.rand(100)
        return {"x": 1}

    quiet = train(config=replace(QUICK, ema=0.5))
    watched = train(config=replace(QUICK, ema=0.5, evaluate_every=7), evaluate=noisy)
    assert torch.equal(quiet.model.weight, watched.model.weight)


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(), nn.Linear(8, 1))
    torch.manual_seed(3)
    train(model)
    assert torch.equal(torch.rand(2), expected)


def test_seeds_differ():
    assert train().rows[0]["loss"] != train(config=replace(QUICK, seed=1)).rows[0]["loss"]


def test_mixed_precision_stays_close_and_leaves_weights_in_full():
    full, mixed = train(), train(config=replace(QUICK, precision="bf16"))
    assert mixed.model.weight.dtype == torch.float32 and mixed.model(torch.ones(1, 1)).dtype == torch.float32
    assert mixed.model.weight.item() == pytest.approx(full.model.weight.item(), abs=0.05)
    assert mixed.model.weight.item() != full.model.weight.item()


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint(tmp_path):
    class Diverging(Line):
        def loss(self, model, batch, step):
            return {"loss": super().loss(model, batch, step)["loss"] * (float("nan") if step >= 25 else 1)}

    with pytest.raises(InputError, match="the loss became nan before step 30; lower the learning rate"):
        train(task=Diverging(), config=replace(QUICK, checkpoint_every=10), run=tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000010.safetensors", "step-00000020.safetensors",
    ]  # fmt: skip


def test_a_loss_that_is_not_finite_is_not_saved_between_rows(tmp_path):
    class Diverging(Line):
        def loss(self, model, batch, step):
            return {"loss": super().loss(model, batch, step)["loss"] * (float("nan") if step >= 12 else 1)}

    with pytest.raises(InputError, match="the loss became nan"):
        train(task=Diverging(), config=replace(QUICK, checkpoint_every=5), run=tmp_path)
    assert max(path.name for path in (tmp_path / "checkpoints").iterdir()) == "step-00000010.safetensors"


def losing(result):
    class Losing(Line):
        def loss(self, model, batch, step):
            return result(super().loss(model, batch, step)["loss"])

    return Losing()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": losing(lambda loss: {"loss": loss.mean()})}, r"'loss' should be \[4\], got \[\]. Take means"),
        ({"task": losing(lambda loss: {"loss": loss, "n": 3})}, r"'n' should be \[4\], got int"),
        ({"task": losing(lambda loss: {"bce": loss})}, r"must return the entry 'loss', got \['bce'\]"),
        ({"task": losing(lambda loss: {"loss": loss, "lr": loss})}, "cannot be called 'lr'"),
        ({"config": replace(QUICK, precision="fp16")}, "needs a GPU"),
        ({"config": replace(QUICK, batch_size=5, accumulate=2)}, "5 cannot be dealt out"),
        ({"config": replace(QUICK, best="J"), "evaluate": lambda m: {"F": 1}}, r"'J' is not among .* \['F'\]"),
        ({"config": replace(QUICK, best="J")}, "best='J' needs an evaluation"),
        ({"model": nn.Linear(1, 1).requires_grad_(False)}, "no weights to train"),
        ({"settings": {"model": object()}, "run": "runs"}, "settings must be dataclasses"),
    ],
)
def test_what_is_refused(options, message, tmp_path):
    if "run" in options:
        options = {**options, "run": tmp_path}
    with pytest.raises(InputError, match=message):
        train(**options)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "FitConfig.steps must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"lr": 0.0}, "lr > 0"),
        ({"ema": 1.0}, "ema < 1"),
        ({"optimizer": "lion"}, "one of adam, adamw, sgd, got 'lion'"),
        ({"precision": "16"}, "one of fp32, bf16, fp16"),
    ],
)
def test_bad_settings(wrong, message):
    with pytest.raises(InputError, match=message):
        FitConfig(**wrong)


def test_the_optimizer_gets_its_settings():
    model = line_model()
    adam = make_optimizer(model, FitConfig(betas=(0.5, 0.9), weight_decay=0.1))
    assert type(adam) is torch.optim.Adam and adam.defaults["betas"] == (0.5, 0.9)
    assert adam.defaults["weight_decay"] == 0.1
    sgd = make_optimizer(model, FitConfig(optimizer="sgd", momentum=0.3))
    assert type(sgd) is torch.optim.SGD and sgd.defaults["momentum"] == 0.3
    assert type(make_optimizer(model, FitConfig(optimizer="adamw"))) is torch.optim.AdamW
