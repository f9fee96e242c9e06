"""A new classifier trained on views of its images as a curriculum says, and tested on originals: the agent is gone.

F. Azimi (2024), section 5.4.3 and Tables 5.3 to 5.6. Unusual: all schemes get the same images, first weights, order and
number of updates, which the text does not promise for its own; and the last weights are tested, not the best ones.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.curriculum import FixedSteps
from course_lib.methods.spatial_transformer.curriculum_schemes import CurriculumConfig, Scheme
from course_lib.methods.spatial_transformer.digit_parts import DigitImages, render_part
from course_lib.methods.spatial_transformer.geometry import compose, view
from course_lib.methods.spatial_transformer.networks import ConvNet
from course_lib.methods.spatial_transformer.trajectories import Trajectories, as_float
from course_lib.nn.device import device_of
from course_lib.training import FitConfig, fit
from course_lib.training.samples import epoch_order

CLASSES = 10
_CHUNK = 1000  # images that are classified at once


@dataclass(frozen=True, eq=False)
class CurriculumData:
    """Images to train on, to draw the learning curve with, and to test on."""

    train: DigitImages
    validation: DigitImages
    test: DigitImages


def make_data(config: CurriculumConfig, seed: int = 0) -> CurriculumData:
    """Render the images of a random seed. Raises `MissingDataError` where the source of images is not there."""
    return CurriculumData(
        render_part(config.clutter, "train", config.train_images, seed),
        render_part(config.clutter, "validation", config.validation_images, seed),
        render_part(config.clutter, "test", config.test_images, seed),
    )


class ViewTask:
    """Views of the training images as a scheme says, and their losses (`course_lib.training.Task`).

    trajectories  one for each pass over the images, in turn; schemes of originals need none
    epochs        passes that the curriculum is asked about
    """

    def __init__(
        self,
        scheme: Scheme,
        images: DigitImages,
        trajectories: Sequence[Trajectories],
        epochs: int,
        batch_size: int,
        seed: int,
    ) -> None:
        deepest = scheme.curriculum.longest
        for episodes in trajectories:
            if len(episodes) != len(images) or episodes.longest < deepest:
                raise InputError(
                    f"scheme {scheme.name!r} needs {deepest} moves of {len(images)} images; got {episodes.longest} "
                    f"moves of {len(episodes)}"
                )
        if deepest and not trajectories:
            raise InputError(f"scheme {scheme.name!r} shows views after up to {deepest} moves; pass their trajectories")
        self.augmentation, self.images, self.batch_size, self.seed = scheme.augmentation, images, batch_size, seed
        self.matrices = [episodes.matrices for episodes in trajectories] or [torch.eye(3).repeat(len(images), 1, 1, 1)]
        # The schedule is asked once per epoch, not once per image.
        self.steps = [scheme.curriculum.steps(epoch, batch_size).tolist() for epoch in range(epochs)]
        self._placed: dict[torch.device, tuple[Tensor, Tensor, list[Tensor]]] = {}

    def sample(self, index: int, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Which image, in which epoch, after how many moves; and a random matrix [3, 3] where a scheme augments."""
        epoch = step * self.batch_size // len(self.images)  # of the batch: its images may belong to two passes
        sample = {
            "image": torch.tensor(epoch_order(index, len(self.images), self.seed)),
            "steps": torch.tensor(self.steps[epoch][index % self.batch_size]),
        }
        if self.augmentation is not None:
            sample["affine"] = self.augmentation.matrix(rng)
        return sample

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Cross-entropy of the views, and whether they are classified rightly, [B] each."""
        pixels, labels, matrices = self._on(batch["image"].device)
        chosen = batch["image"]
        epoch = step * self.batch_size // len(self.images)
        seen = matrices[epoch % len(matrices)][chosen, batch["steps"]]  # [B, 3, 3]
        if "affine" in batch:
            seen = compose(seen, batch["affine"])
        logits = model(view(as_float(pixels[chosen]), seen))
        loss = F.cross_entropy(logits, labels[chosen], reduction="none")
        return {"loss": loss, "accuracy": (logits.detach().argmax(dim=1) == labels[chosen]).float()}

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Images, labels and matrices on a device, carried there once: batches are gathered where they are used."""
        if device not in self._placed:
            self._placed[device] = (
                self.images.images.to(device),
                self.images.labels.to(device),
                [matrices.to(device) for matrices in self.matrices],
            )
        return self._placed[device]


@dataclass(frozen=True, eq=False)
class SchemeRun:
    """A classifier trained by one scheme, and how it did on originals."""

    scheme: Scheme
    classifier: nn.Module
    correct: Bool[Tensor, "n"]
    """Which test images it gets right."""
    epochs: list[float]
    """Passes over the training images at the points of the learning curve."""
    curve: list[float]
    """Accuracy on originals of the validation images there, in percent."""
    seconds: float

    @property
    def accuracy(self) -> float:
        """On test images, in percent."""
        return percent(self.correct)


def train_scheme(
    scheme: Scheme,
    config: CurriculumConfig,
    data: CurriculumData,
    trajectories: Sequence[Trajectories] = (),
    seed: int = 0,
    *,
    device: str | torch.device = "auto",
    progress: bool = False,
) -> SchemeRun:
    """Train a new classifier by one scheme and test it on the original test images; no agent takes part.

    trajectories  of the training images; empty for schemes that show originals only
    seed          of the first weights, the order of images and the augmentation: the same for schemes to be compared

    Raises `InputError` if config, images, trajectories and scheme do not belong together. Built in lesson 02.
    """
    if len(data.train) != config.train_images:
        raise InputError(f"the config counts {config.train_images} training images, got {len(data.train)}")
    began = time.perf_counter()
    task = ViewTask(scheme, data.train, trajectories, config.epochs, config.batch_size, seed)
    result = fit(
        new_classifier(config, seed), task, fit_config(config, seed), device=device, progress=progress,
        evaluate=lambda model: {"accuracy": percent(classified(model, data.validation))},
    )  # fmt: skip
    steps, accuracies = result.curve("accuracy", "eval")
    per_epoch = config.train_images / config.batch_size
    return SchemeRun(
        scheme, result.model, classified(result.model, data.test), [step / per_epoch for step in steps], accuracies,
        time.perf_counter() - began,
    )  # fmt: skip


def new_classifier(config: CurriculumConfig, seed: int) -> ConvNet:
    """An untrained classifier; the same one for the same random seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNet(config.body, (1, config.clutter.canvas, config.clutter.canvas), CLASSES)


def fit_config(config: CurriculumConfig, seed: int) -> FitConfig:
    """The training loop's settings, the same for all schemes."""
    every = math.ceil(config.updates / config.evaluations)
    return FitConfig(
        steps=config.updates, batch_size=config.batch_size, lr=config.lr, seed=seed, log_every=every,
        evaluate_every=every,
    )  # fmt: skip


@torch.no_grad()
def classified(
    model: nn.Module, images: DigitImages, matrices: Float[Tensor, "n 3 3"] | None = None
) -> Bool[Tensor, "n"]:
    """Which images a classifier gets right, on the CPU: originals, or their views through `matrices`."""
    device = device_of(model)
    training = model.training
    model.eval()
    answers = []
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        shown = as_float(images.images[part].to(device))
        if matrices is not None:
            shown = view(shown, matrices[part].to(device))
        answers.append(model(shown).argmax(dim=1).cpu())
    model.train(training)
    return torch.cat(answers) == images.labels


def difficulty_by_step(
    config: CurriculumConfig,
    data: CurriculumData,
    train: Trajectories,
    test: Trajectories,
    steps: Sequence[int],
    seed: int = 0,
    *,
    device: str | torch.device = "auto",
) -> Float[np.ndarray, "s"]:
    """How easy views are after each number of moves: test accuracy in percent of a classifier trained on just those.

    A new classifier for each, as the thesis defines easier; one that was trained together with the agent knows finished
    views only and would call originals harder than they are. Built in lesson 02.
    """
    accuracies = []
    for t in steps:
        run = train_scheme(Scheme(f"after {t}", FixedSteps(t)), config, data, (train,), seed, device=device)
        accuracies.append(percent(classified(run.classifier, data.test, test.after(t))))
    return np.array(accuracies)


def percent(correct: Bool[Tensor, "n"]) -> float:
    """Share that is right, in percent."""
    return 100 * int(correct.sum()) / len(correct)
