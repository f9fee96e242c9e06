"""A small segmentation run, as a program: for tests that kill it, or start it on two processes.

python tiny_run.py RUN_DIRECTORY STEPS PAUSE   (PAUSE: seconds that each sample takes longer)
"""

import sys
import time

import torch
from torch import nn

from course_lib.data.synthetic import World, scenario
from course_lib.training import FitConfig, LearningRate, fit
from course_lib.training.clips import ClipConfig, ClipSamples
from course_lib.training.losses import bootstrapped_cross_entropy
from course_lib.training.schedules import hard_pixel_share

CONFIG = FitConfig(
    steps=24, batch_size=4, lr=3e-3, schedule=LearningRate("cosine", warmup=0.1), clip_norm=1.0, ema=0.8,
    weight_decay=1e-3, log_every=5, evaluate_every=8, best="-loss", checkpoint_every=7,
)  # fmt: skip


class TinyTask:
    """Tell objects from background in single frames; hard pixels are mined from the middle of the run on."""

    def __init__(self, steps: int, pause: float = 0.0) -> None:
        world = World(scenario("easy", image_size=32, dense_truth=False, length=4))
        clips = [world.clip(seed) for seed in range(3)]
        self.samples = ClipSamples(clips, ClipConfig(frames=2, size=(32, 32), min_pixels=4))
        self.steps, self.pause = steps, pause

    def sample(self, index, step, rng):
        time.sleep(self.pause)
        return self.samples(index, rng, max_gap=2)

    def loss(self, model, batch, step):
        frames, labels = batch["frames"].flatten(0, 1), (batch["labels"] > 0).to(torch.uint8)
        logits = model.head(model.body(frames))  # methods of the bare network, not only its forward
        share = hard_pixel_share(step / self.steps, 0.3, 0.8, final=0.2)
        logits = logits.unflatten(0, labels.shape[:2]).transpose(1, 2)  # [B, 2, T, H, W]
        return {"loss": bootstrapped_cross_entropy(logits, labels, share), "share": torch.full((len(labels),), share)}


class TinyNetwork(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout),
            nn.Conv2d(8, 8, 3, padding=1),
        )  # fmt: skip
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.head(self.body(x))


def network(dropout: float = 0.0) -> TinyNetwork:
    torch.manual_seed(5)
    return TinyNetwork(dropout)


def norm_of(model):
    """Stands in for an evaluation: a number that depends on all weights."""
    return {"loss": sum(float(w.square().sum()) for w in model.parameters())}


def train(run, config=CONFIG, pause=0.0, dropout=0.0, **options):
    task = TinyTask(config.steps, pause)
    return fit(network(dropout), task, config, run, evaluate=norm_of, device="cpu", progress=False, **options)


if __name__ == "__main__":
    from dataclasses import replace

    torch.set_num_threads(1)
    path, steps, pause = sys.argv[1:]
    train(path, replace(CONFIG, steps=int(steps)), float(pause), dropout=0.1 if float(pause) else 0.0)
