"""The training loop of every method of the course: `fit(model, task, config, run_directory)`.

Seeds, device, precision and processes (`torchrun`) are handled here, and so are the log, evaluation, checkpoints and
the way back from a crash. Unusual: the state of a run is its step, its weights and its optimizer, nothing else; so on a
CPU a run that was killed and resumed gives, bit for bit, the curve of one that was not. Used from lesson 01 on.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError
from course_lib.training import checkpoint as files
from course_lib.training.config import Best, FitConfig, FitResult, Task, check_same_settings, curve_settings
from course_lib.training.interrupt import StopRequest
from course_lib.training.optimizer import make_optimizer, optimizer_tensors, restore_optimizer
from course_lib.training.parallel import (
    Objective,
    Window,
    accelerated,
    freeze_batch_norm,
    own_random_numbers,
    seed_step,
)
from course_lib.training.run_directory import RunDirectory, plain
from course_lib.training.samples import RankBatches, load_batches, pieces

Evaluate = Callable[[nn.Module], Mapping[str, float]]


def fit(
    model: nn.Module,
    task: Task,
    config: FitConfig,
    run: str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    evaluate: Evaluate | None = None,
    parameters: Iterable[dict] | None = None,
    settings: Mapping[str, object] | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> FitResult:
    """Train `model` in place. Call it again with the same arguments to go on with a run that was interrupted.

    model       network, initialised by the caller; moved to the device
    task        samples and losses
    run         run directory, made if needed; None keeps nothing on disk
    device      "auto", "cpu", "cuda", "mps"; under `torchrun` each process takes its own GPU
    evaluate    model -> metrics; called on the main process, in evaluation mode and without gradients
    parameters  PyTorch parameter groups, where not all weights learn alike; a group's "lr_scale" multiplies its
                learning rate. By default one group of all weights that require a gradient
    settings    whatever else the result depends on (the model's and the data's configs): kept with the run, and a run
                is resumed only with the same
    fresh       forget what the run directory holds and start again
    progress    show a bar and messages

    Raises `InputError` if the directory holds a run with other settings, if all its checkpoints are damaged, if losses
    or samples have wrong shapes, or if the loss stops being a finite number; `WriteError` if the disk is full. Ctrl-C
    and SIGTERM finish the step, save, and say how to resume.
    """
    if config.best and evaluate is None:
        raise InputError(f"best={config.best!r} needs an evaluation that gives this metric; pass `evaluate`")
    with accelerated(config, device) as accelerator, own_random_numbers(accelerator.device), StopRequest() as stop:
        trainer = _Trainer(accelerator, model, task, config, RunDirectory(run, accelerator.is_main_process, progress))
        trainer.prepare(parameters, {"fit": curve_settings(config), **(settings or {})}, fresh)
        return trainer.train(evaluate, stop, bar=progress)


class _Trainer:
    """The state of a run in progress, and its steps from the first to the last."""

    def __init__(
        self, accelerator: Accelerator, model: nn.Module, task: Task, config: FitConfig, run: RunDirectory
    ) -> None:
        self.accelerator, self.model, self.task, self.config, self.run = accelerator, model, task, config, run
        self.step = 0  # updates done
        self.seconds = 0.0  # spent on them, up to the moment `clock`
        self.clock = time.perf_counter()
        self.window = Window()
        self.best: Best | None = None
        self.average: AveragedModel | None = None
        self.saved = -1  # step of the newest checkpoint

    def prepare(self, parameters: Iterable[dict] | None, settings: dict[str, object], fresh: bool) -> None:
        """Build the optimizer, look for a run to go on with, and deal everything out to the processes."""
        config, accelerator = self.config, self.accelerator
        RankBatches(config, 0, accelerator.process_index, accelerator.num_processes)  # does the batch divide?
        self.settings = plain(settings)
        self.model.to(accelerator.device)
        optimizer = make_optimizer(self.model, config, parameters)
        if config.ema:
            self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
        objective = Objective(self.model, self.task)
        self.objective, self.optimizer = accelerator.prepare(objective, optimizer)
        if self.run.path is not None:
            if fresh:
                self.run.clear()
            accelerator.wait_for_everyone()
            self._resume()
            self.run.write_config({"fit": config, **{k: v for k, v in settings.items() if k != "fit"}})
            self.run.note_session(accelerator.device, accelerator.num_processes)

    def train(self, evaluate: Evaluate | None, stop: StopRequest, bar: bool) -> FitResult:
        """All steps that are left."""
        config, accelerator = self.config, self.accelerator
        pin = accelerator.device.type == "cuda"
        batches = load_batches(
            self.task, config, self.step, accelerator.process_index, accelerator.num_processes, pin=pin
        )
        show = tqdm(
            total=config.steps, initial=self.step, disable=not (bar and accelerator.is_main_process), unit="step"
        )
        self._train_mode()
        self.clock = time.perf_counter()
        with show:
            for batch in batches if self.step < config.steps else ():
                norm = self._update(batch)
                show.update()
                done = self.step == config.steps
                if self.step % config.log_every == 0 or done:
                    show.set_postfix(loss=f"{self._log(norm):.4g}", refresh=False)
                if evaluate is not None and (done or _every(self.step, config.evaluate_every)):
                    self._evaluate(evaluate)
                if done or _every(self.step, config.checkpoint_every):
                    self._save()
                if not done and self._must_stop(stop):
                    self._save()
                    self._say_goodbye()
                    stop.leave()
        return self._finish()

    def _update(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """One step of the optimizer. Returns the norm of the gradient."""
        config, accelerator = self.config, self.accelerator
        seed_step(config.seed, self.step, accelerator.process_index)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step) * group["lr_scale"]
        for number, piece in enumerate(pieces(batch, config.accumulate, accelerator.device), 1):
            if number < config.accumulate:
                with accelerator.no_sync(self.objective):
                    self._backward(piece)
            else:
                self._backward(piece)
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        norm = accelerator.clip_grad_norm_(weights, config.clip_norm or math.inf)  # measures in any case
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step += 1
        return norm

    def _backward(self, piece: dict[str, torch.Tensor]) -> None:
        losses = self.objective(piece, self.step)
        # All processes hold equally many samples, so the mean of their means is the mean of the batch.
        self.accelerator.backward(losses["loss"].mean() / self.config.accumulate)
        self.window.add(losses)

    def _log(self, norm: torch.Tensor) -> float:
        """Add a row to the metrics. Raises `InputError` if the loss is not finite."""
        means = self.window.means(self.accelerator)
        self._count_time()
        self._check_finite(means["loss"])
        numbers = {"lr": self._rate(self.step - 1), "gradient_norm": float(norm), "seconds": round(self.seconds, 3)}
        self.run.add_row({"phase": "train", "step": self.step, **means, **numbers})
        return means["loss"]

    def _rate(self, step: int) -> float:
        """Learning rate of update `step`."""
        return self.config.lr * self.config.schedule.factor(step, self.config.steps)

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise InputError(
                f"the loss became {loss} before step {self.step}; lower the learning rate, set clip_norm, or use fp32. "
                "The last checkpoint is from before"
            )

    def _evaluate(self, evaluate: Evaluate) -> None:
        """Measure on the main process, tell the others, and keep the best weights."""
        found: list[dict[str, float] | None] = [None]
        if self.accelerator.is_main_process:
            network = self._result_model().eval()
            with torch.no_grad():
                found = [{name: float(value) for name, value in evaluate(network).items()}]
            self._train_mode()
        metrics = broadcast_object_list(found)[0]
        self.run.add_row({"phase": "eval", "step": self.step, **metrics})
        name = self.config.best.removeprefix("-")
        if not name:
            return
        if name not in metrics:
            raise InputError(f"best={self.config.best!r} is not among the evaluation's metrics {sorted(metrics)}")
        sign = -1 if self.config.best.startswith("-") else 1
        if not math.isnan(metrics[name]) and (self.best is None or sign * metrics[name] > sign * self.best.value):
            self.best = Best(self.step, name, metrics[name])
            if self.run.writes:
                facts = {"course": json.dumps(plain(self.best))}
                with atomic_path(self.run.best) as temporary:
                    files.write_safetensors(files.on_cpu(self._result_model().state_dict()), temporary, facts)

    def _save(self) -> None:
        """Write a checkpoint. All processes take part, the main one writes."""
        if self.run.path is None or self.saved == self.step:
            return
        window = self.window.gathered(self.accelerator)
        if window:
            self._check_finite(float(window["loss"][0]))  # weights behind such a loss are not worth keeping
        self._count_time()
        if self.run.writes:
            tensors = files.prefixed("model", self.model.state_dict())
            tensors |= files.prefixed("optimizer", optimizer_tensors(self.optimizer))
            tensors |= files.prefixed("window", window)
            if self.average is not None:
                tensors |= files.prefixed("average", self.average.state_dict())
            scaler = self.accelerator.scaler
            facts = {
                "seconds": self.seconds,
                "best": plain(self.best),
                "scaler": None if scaler is None else scaler.state_dict(),
                "settings": self.settings,
            }
            files.save_checkpoint(self.run.checkpoints, files.Checkpoint(self.step, tensors, facts), self.config.keep)
        self.saved = self.step

    def _resume(self) -> None:
        """Go on from the newest readable checkpoint of the run directory, if there is one."""
        chosen: list[int | None] = [None]
        failure: InputError | None = None
        if self.accelerator.is_main_process:
            try:
                newest, messages = files.newest_readable(self.run.checkpoints)
                chosen = [newest.step if newest else None]
                if newest and messages:
                    files.set_aside_after(self.run.checkpoints, newest.step)
                    self.run.say(f"{'; '.join(messages)}; going on from step {newest.step} instead")
            except InputError as error:
                failure, chosen = error, [-1]
        step = broadcast_object_list(chosen)[0]
        if failure is not None:
            raise failure
        if step == -1:
            raise InputError("the main process could not read a checkpoint")
        if step is None:
            self.run.rewind(0)
            return
        stored = files.read_checkpoint(files.checkpoint_path(self.run.checkpoints, step))
        check_same_settings(stored.facts["settings"], self.settings, self.run.path)
        self.run.rewind(step)
        files.restore_module(self.model, stored, "model")
        restore_optimizer(self.optimizer, stored.part("optimizer"))
        if self.average is not None:
            files.restore_module(self.average, stored, "average")
        if self.accelerator.scaler is not None and stored.facts["scaler"]:
            self.accelerator.scaler.load_state_dict(stored.facts["scaler"])
        share = 1.0 if self.accelerator.is_main_process else 0.0  # it holds the sums of all; the others begin at zero
        self.window.sums = {k: share * v.to(self.accelerator.device) for k, v in stored.part("window").items()}
        self.step = self.saved = stored.step
        self.seconds = stored.facts["seconds"]
        self.best = Best(**stored.facts["best"]) if stored.facts["best"] else None
        finished = self.step == self.config.steps
        progress = "finished" if finished else f"resumed at step {self.step} of {self.config.steps}"
        self.run.say(f"run {self.run.path}: {progress}")

    def _count_time(self) -> None:
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now

    def _must_stop(self, stop: StopRequest) -> bool:
        """Whether any process was asked to stop. Several processes agree on it only where they meet for the log."""
        if self.accelerator.num_processes == 1:
            return stop.signal is not None
        if self.step % self.config.log_every:
            return False
        asked = torch.tensor(float(stop.signal is not None), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum") > 0)

    def _say_goodbye(self) -> None:
        kept = "nothing is kept, because the run has no directory"
        if self.run.path is not None:
            kept = f"saved in {self.run.path}. Run the same command again to go on from here"
        self.run.say(f"stopped after step {self.step} of {self.config.steps}; {kept}")

    def _finish(self) -> FitResult:
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        self.accelerator.wait_for_everyone()
        self.model.eval()
        return FitResult(self.model, self.run.rows, self.step, self.seconds, self.best, self.run.path)

    def _result_model(self) -> nn.Module:
        """The network that the run is about: the averaged one where there is one."""
        return self.model if self.average is None else self.average.module

    def _train_mode(self) -> None:
        self.objective.train()
        if self.config.freeze_batch_norm:
            freeze_batch_norm(self.objective)


def _every(step: int, period: int) -> bool:
    return period > 0 and step % period == 0
