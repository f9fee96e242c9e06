"""Train one row of the table in its stages, test it, and write its weights with their card: `train_row`.

All runs of a table lie in one folder: the segmenter of stage 0 is the run of row "frame" with the same random seed, and
every other row starts from it. Unusual: what is tested is what is kept, the weights after they were halved; and the
features of a segmenter are computed once for all rows that start from it.
"""

import math
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from course_lib.data.noisy_drives import TROUBLES, stored_noisy_drives
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.methods.local_memory.network import LocalMemoryNet
from course_lib.methods.local_memory.rows import Row, build_backbone, row_named
from course_lib.methods.local_memory.scoring import Counts, class_iou, load_counts, mean_iou, save_counts, score_clips
from course_lib.methods.local_memory.train_config import LocalMemoryTraining, Stage
from course_lib.methods.local_memory.train_data import ClipSource, SpoiltClips, SpoiltFrames, keep_features
from course_lib.methods.local_memory.train_task import ClipTask
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.train_data import class_frequencies
from course_lib.methods.propagation.train_task import SegmenterTask, class_weights
from course_lib.nn.device import resolve_device
from course_lib.nn.weights import load_exactly, read_state_dict
from course_lib.training import FitConfig, FitResult, fit
from course_lib.training.cards import Card, load_card, save_card
from course_lib.training.config import Task
from course_lib.training.data_sources import NOISY_DRIVING
from course_lib.training.export import SHIPPED_BYTES, export_weights, load_weights
from course_lib.training.parallel import from_main, is_main_process
from course_lib.training.run_directory import describe_machine, keep_settings, now
from course_lib.training.turns import take_turn

SETTINGS = "training.json"  # of a folder
SCORES = "scores.npz"  # what a finished run has
TRAIN_SEED, TEST_SEED = 6_000_003, 7_000_009  # of the drives: the same for all rows and random seeds
CLASSES = len(STREET_CLASSES)
_SAVED = 500  # steps between checkpoints


@dataclass(frozen=True, eq=False)
class TrainedRow:
    """What a run made."""

    row: Row
    network: LocalMemoryNet
    weights: Path
    """Half precision, safetensors; the card and scores.npz lie beside it."""
    card: Card
    counts: Counts
    """Pixels of each class in every test clip; see `scoring`."""


class TableData:
    """Clips that all rows of a table share, and the features of the segmenter that was asked for last.

    They are rendered once and kept in the folder, 33 KB for each frame of the preset cpu.
    """

    def __init__(self, config: LocalMemoryTraining, folder: Path, progress: bool = False) -> None:
        drives, longer = config.drives, replace(config.drives, frames=config.test_frames)
        self.config = config
        with _turn(folder / "drives"):
            self.training = stored_noisy_drives(
                folder / "drives" / "training.safetensors", drives, config.train_drives, TRAIN_SEED, progress
            )
            self.tests = stored_noisy_drives(
                folder / "drives" / "tests.safetensors", longer, config.test_drives, TEST_SEED, progress
            )
        self.weights = class_weights(class_frequencies(self.training.labels, CLASSES))
        self._clips: tuple[tuple[str, int], ClipSource] | None = None

    def clips(self, segmenter: FrameSegmenter, backbone: str, seed: int) -> ClipSource:
        """Training clips of this seed, as features if these are to be kept. The segmenter is the one of both names."""
        pictures = SpoiltClips(self.training, seed)
        if not self.config.keep_features:
            return pictures
        if self._clips is None or self._clips[0] != (backbone, seed):
            self._clips = ((backbone, seed), keep_features(segmenter, pictures))
        return self._clips[1]


def train_row(
    row: str | Row,
    preset: str | LocalMemoryTraining,
    folder: str | Path,
    seed: int = 0,
    *,
    device: str | torch.device = "auto",
    length: float = 1.0,
    budget: str = "",
    data: TableData | None = None,
    progress: bool = True,
) -> TrainedRow:
    """Train a row, or go on with what `folder` holds, test it, and write its weights, card and scores there.

    row     a name of `rows.ROWS`, or a `Row`
    preset  smoke, cpu or gpu, or a `LocalMemoryTraining`
    folder  of the table; the run lies in <folder>/<row>/<seed>, and stage 0 in <folder>/frame/<seed>
    seed    of first weights and samples; clips are the same for all, the trouble laid over training clips is its own
    length  share of the steps of all stages, above 0
    budget  what the run may cost, in words; by default its number of steps
    data    clips that were loaded before, to train several rows with

    A finished run is read, not trained again. Raises `InputError` for an unknown row or preset and if the folder holds
    runs with other settings. Built in lesson 07.
    """
    row = row_named(row) if isinstance(row, str) else row
    config = LocalMemoryTraining.preset(preset) if isinstance(preset, str) else preset
    config, folder, place = config.shortened(length), Path(folder).expanduser(), resolve_device(device)
    keep_settings(folder / SETTINGS, config)
    run = folder / row.name / str(seed)
    if (run / SCORES).is_file():
        return _finished(row, config, run, place)
    data = TableData(config, folder, progress) if data is None else data
    start = None
    if row.trained:
        start = train_row(row.frame_row, config, folder, seed, device=place, data=data, progress=progress)
    with _turn(run):  # another process may have finished it in the meantime
        if not (run / SCORES).is_file():
            work = _Run(row, config, run, seed, place, budget, progress)
            if start is None:
                work.stage_0(data)
            else:
                work.stages_1_and_2(start, data)
    return _finished(row, config, run, place)


def new_network(row: Row, config: LocalMemoryTraining, seed: int) -> LocalMemoryNet:
    """The network of a row; random weights follow from the seed alone. Rows of one seed have the same segmenter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        segmenter = build_backbone(row.backbone, config, CLASSES)
        return LocalMemoryNet(segmenter, row.memory(config))


@dataclass(frozen=True)
class _Run:
    """One row with one random seed, from first weights to card."""

    row: Row
    config: LocalMemoryTraining
    folder: Path
    seed: int
    device: torch.device
    budget: str
    progress: bool

    def stage_0(self, data: TableData) -> None:
        """The segmenter on single frames."""
        network = new_network(self.row, self.config, self.seed)
        task = SegmenterTask(SpoiltFrames(data.training, self.seed), data.weights)
        result = self._fit(network.segmenter, task, self.config.frame, "frame")
        self._finish(network, data, result.minutes, f"{self.config.frame.steps:,} steps on single frames")

    def stages_1_and_2(self, start: TrainedRow, data: TableData) -> None:
        """Memory and fusion, then the decoder too; without a memory the decoder alone, as long as in the others."""
        network = new_network(self.row, self.config, self.seed)
        segmenter = network.segmenter
        load_exactly(segmenter, start.network.segmenter.state_dict(), "the row of stage 0")
        task = ClipTask(data.clips(segmenter.to(self.device), self.row.backbone, self.seed), data.weights)
        minutes, steps = start.card.minutes, f"stage 0 as row {self.row.frame_row!r}"
        for number, stage, name in ((1, self.config.memory, "memory"), (2, self.config.decoder, "decoder")):
            if number == 1 and network.config.source == "none":
                continue  # nothing trains
            network.set_stage(number)
            minutes += self._fit(network, task, stage, name).minutes
            steps += f", {stage.steps:,} steps of stage {number}"
        self._finish(network, data, minutes, steps)

    def _fit(self, model: nn.Module, task: Task, stage: Stage, name: str) -> FitResult:
        config = self.config
        looks = FitConfig(
            steps=stage.steps, batch_size=config.batch_size, lr=stage.lr, schedule=stage.schedule,
            weight_decay=config.weight_decay, clip_norm=5.0, precision=config.precision, freeze_batch_norm=False,
            seed=self.seed, log_every=max(1, min(50, stage.steps // 2)),
            checkpoint_every=min(_SAVED, max(1, stage.steps // 2)), workers=config.workers,
        )  # fmt: skip
        settings = {"row": self.row.name, "changes": dict(self.row.changes), "stage": name, "training": config}
        return fit(
            model, task, looks, self.folder / name, device=self.device, settings=settings, progress=self.progress
        )

    def _finish(self, network: LocalMemoryNet, data: TableData, minutes: float, steps: str) -> None:
        name = self.row.name

        def finish() -> None:
            limit = SHIPPED_BYTES if self.config.networks == "small" else None
            weights = export_weights(network, self.folder / f"{name}.safetensors", limit=limit)
            load_weights(network, weights).to(self.device)
            counts = score_clips(network, data.tests, self.row.sizes(self.config))
            card = Card(
                name=name,
                description=f"{type(network.segmenter).__name__}: {self.row.description}; trained on "
                f"{NOISY_DRIVING.name}",
                command=f"train_row({name!r}, …, seed={self.seed}) of course_lib.methods.local_memory.experiment",
                seed=self.seed,
                data=(NOISY_DRIVING,),
                licence=NOISY_DRIVING.licence,
                budget=self.budget or steps,
                minutes=minutes,
                machine=describe_machine(self.device),
                metrics=card_metrics(counts, self.row.own_size(self.config)),
                date=now()[:10],
                notes=f"Batches of {self.config.batch_size}: {steps}; no checkpoint was chosen. Scored after the "
                "weights were halved, in the last frame of each test clip.",
            )
            save_card(card, weights)
            save_counts(counts, self.folder / SCORES)
            for stage in ("frame", "memory", "decoder"):
                shutil.rmtree(self.folder / stage / "checkpoints", ignore_errors=True)

        from_main(finish)


def load_row(row: str | Row, config: str | LocalMemoryTraining, weights: str | Path) -> LocalMemoryNet:
    """The network that `train_row` wrote, ready to use. Raises `MissingDataError`, `InputError` for unfit weights."""
    row = row_named(row) if isinstance(row, str) else row
    config = LocalMemoryTraining.preset(config) if isinstance(config, str) else config
    network = new_network(row, config, seed=0)
    load_exactly(network, read_state_dict(weights), Path(weights))
    return network.eval()


def card_metrics(counts: Counts, size: int) -> dict[str, float]:
    """Percent: mean over classes with each kind of trouble, then every class over both."""
    clips = len(counts[TROUBLES[0]][size])
    found = {f"mIoU, {trouble} ({clips} clips)": mean_iou(counts[trouble][size]) for trouble in TROUBLES}
    each = class_iou(np.stack([counts[trouble][size] for trouble in TROUBLES]))
    found |= {f"IoU of {name}": float(value) for name, value in zip(STREET_CLASSES, each)}
    return {name: round(100 * value, 2) for name, value in found.items() if not math.isnan(value)}


def _finished(row: Row, config: LocalMemoryTraining, run: Path, device: torch.device) -> TrainedRow:
    weights = run / f"{row.name}.safetensors"
    network = load_row(row, config, weights).to(device)
    return TrainedRow(row, network, weights, load_card(weights), load_counts(run / SCORES))


def _turn(folder: Path) -> AbstractContextManager[bool]:
    """A folder is written by one process at a time; processes of one `torchrun` count as one."""
    return take_turn(folder, wait=True) if is_main_process() else nullcontext(False)
