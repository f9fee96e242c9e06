"""Commands for who uses the library: follow objects, score and train models, test claims."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, subcommand

from course_lib.commands import Preset, project_root

if TYPE_CHECKING:
    from course_lib.training.cards import Card


@dataclass
class Track:
    """Follow an object through any video and write the video with the object coloured."""

    video: Positional[str] = "bigbuckbunny"
    """A video file, a folder of pictures, or a clip that is here already: bigbuckbunny, carphone, bikes."""
    box: tuple[int, int, int, int] | None = None
    """The object in the start frame: x0 y0 x1 y1 in pixels of the video. The clips that are here have their own."""
    mask: Path | None = None
    """Or its mask: a palette, grey or black-and-white PNG of the first frame's size."""
    box_is_mask: bool = False
    """Take the whole rectangle instead of segmenting inside it."""
    model: str = "flow"
    weights: Path | None = None
    """Checkpoint of the model; none takes the one that ships."""
    out: Path = Path("overlay.mp4")
    masks: Path | None = None
    """Folder for one palette PNG per frame."""
    start: int = 0
    """Frame to begin with; box and mask belong to it."""
    max_side: int | None = None
    """Shrink the video so that its longer side has this many pixels."""
    device: str = "auto"

    def __call__(self) -> int:
        from course_lib.vos.track import track

        result = track(
            self.video,
            model=self.model,
            box=self.box,
            mask=self.mask,
            box_is_mask=self.box_is_mask,
            out=self.out,
            masks=self.masks,
            start=self.start,
            max_side=self.max_side,
            weights=self.weights,
            device=self.device,
        )
        print(result)
        return 0


@dataclass
class Label:
    """Name the class of every pixel of a street video: a network looks at key frames, optical flow does the rest."""

    video: Positional[str] = "driving"
    """A video file, a folder of pictures, or "driving", a drive through the course's own world."""
    segmenter: str | None = None
    """icnet-small-driving, icnet-half-driving, lite-driving or lite-camvid [lite-camvid for your own videos]."""
    key_every: int = 5
    """Every so many frames pass through the network; 1 is frame by frame."""
    warp: bool = True
    """Carry labels along flow in between; --no-warp repeats them."""
    refine: Literal["off", "last", "all"] = "off"
    """Which carried frames are repaired by the cheap part of the network."""
    input_scale: float = 1.0
    """Size of the frames that network and flow see, as a share of the video's."""
    weights: Path | None = None
    """Weights of the segmenter; none takes those that ship."""
    out: Path = Path("labelled.mp4")
    labels: Path | None = None
    """Folder for one palette PNG of classes per frame."""
    max_side: int | None = None
    """Shrink the video so that its longer side has this many pixels."""
    device: str = "auto"

    def __call__(self) -> int:
        from course_lib.methods.propagation.label_video import label_video

        result = label_video(
            self.video,
            segmenter=self.segmenter,
            key_every=self.key_every,
            warp=self.warp,
            refine=self.refine,
            input_scale=self.input_scale,
            weights=self.weights,
            out=self.out,
            labels=self.labels,
            max_side=self.max_side,
            device=self.device,
        )
        print(result)
        return 0


@dataclass
class Eval:
    """Score a model on a data set: J and F per object, as a table, JSON and CSV."""

    model: str = "flow"
    data: str = "synthetic:occlusion"
    """synthetic:SCENARIO, davis:PATH or youtube_vos:PATH."""
    n: int | None = None
    """Score only this many clips."""
    weights: Path | None = None
    out: Path | None = None
    """Folder of the report and, with --masks, the predictions; an interrupted run resumes there."""
    masks: bool = False
    """Write the predictions as DAVIS palette PNGs."""
    seed: int = 0
    device: str = "auto"

    def __call__(self) -> int:
        from course_lib.vos.datasets import open_dataset
        from course_lib.vos.evaluation import evaluate
        from course_lib.vos.models import load_model

        dataset = open_dataset(self.data, n=self.n, seed=self.seed)
        model = load_model(self.model, weights=self.weights, device=self.device)
        print(evaluate(model, dataset, out=self.out, masks=self.masks, name=self.model))
        return 0


@dataclass
class Train:
    """Train one of the course's small networks; its card has the exact command. A stopped run goes on where it was."""

    name: Positional[
        Literal[
            "stcn-small",
            "stcn-small-world",
            "sstn-digits",
            "sstn-mnist",
            "sstn-fashion-mnist",
            "sstn-garments",
            "dq-sstn",
            "s2s-small",
            "s2s-plus-plus-small",
            "hs2s-small",
            "hs2s-first-small",
            "hs2s-previous-small",
            "hs2s-blind-small",
            "bi-hs2s-small",
            "hs2s-lite",
            "icnet-small-driving",
            "icnet-half-driving",
            "lite-driving",
            "lite-camvid",
            "lmanet-small",
            "lmanet-small-self",
            "lmanet-small-frame",
        ]
    ]
    """stcn-small and hs2s-lite also see DAVIS (weights CC BY-NC 4.0), stcn-small-world the synthetic world alone (MIT);
    sstn-… and dq-sstn are the agents of lessons 01 to 03, s2s-… to bi-hs2s-… the recurrent networks of 04 and 05.
    icnet-… and lite-… label single frames for lesson 06, of the world or of CamVid; lmanet-… are those of lesson 07."""
    preset: Preset = "cpu"
    length: float = 1.0
    """Share of the preset's steps: 0.5 trains half as long."""
    run: Path | None = None
    """Folder of checkpoints, logs, weights and card [runs/train/NAME]."""
    data_root: Path | None = None
    """Folder of real data sets [environment variable COURSE_DATA]."""
    device: str = "auto"
    seed: int = 0
    threads: int | None = None
    """Torch threads."""
    budget: str = ""
    """What the run may cost, in words; written into the card before the first step."""
    fresh: bool = False
    """Start again instead of going on."""

    def __call__(self) -> int:
        import torch

        from course_lib.training.parallel import is_main_process

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        weights, card = self._train(self.run if self.run is not None else project_root() / "runs" / "train" / self.name)
        if is_main_process():
            print(f"{weights}\n{card}")
        return 0

    def _train(self, folder: Path) -> tuple[Path, "Card"]:
        """Weights and card of the network asked for."""
        if self.name.startswith("stcn"):
            from course_lib.methods.space_time_memory.experiment import train_small

            trained = train_small(
                self.preset, folder, data_root=self.data_root, device=self.device, seed=self.seed,
                world_only=self.name == "stcn-small-world", length=self.length, budget=self.budget, fresh=self.fresh,
            )  # fmt: skip
            return trained.weights, trained.card
        if self.name == "dq-sstn":
            from course_lib.methods.spatial_transformer.dq_weights import train_shipped

            agent = train_shipped(
                self.preset, folder, device=self.device, seed=self.seed, length=self.length, budget=self.budget,
                fresh=self.fresh,
            )  # fmt: skip
            return agent.weights, agent.card
        if "s2s" in self.name:
            from course_lib.methods.recurrent.ablation_rows import SHIPPED_ROWS
            from course_lib.methods.recurrent.experiment import train_row

            recurrent = train_row(
                SHIPPED_ROWS[self.name], self.preset, folder, self.seed, name=self.name, data_root=self.data_root,
                device=self.device, length=self.length, budget=self.budget, fresh=self.fresh,
            )  # fmt: skip
            return recurrent.weights, recurrent.card
        if self.name.startswith(("icnet", "lite")):
            from course_lib.methods.propagation.train_segmenter import train_segmenter

            segmenter = train_segmenter(
                self.name, self.preset, folder, self.seed, data_root=self.data_root, device=self.device,
                length=self.length, budget=self.budget, fresh=self.fresh,
            )  # fmt: skip
            return segmenter.weights, segmenter.card
        if self.name.startswith("lmanet"):
            from course_lib.methods.local_memory.load import train_local_memory

            return train_local_memory(
                self.name, self.preset, folder, self.seed, device=self.device, length=self.length, budget=self.budget,
                fresh=self.fresh,
            )  # fmt: skip
        from course_lib.methods.spatial_transformer.digit_weights import NAMES, train_sstn

        source = next(source for source, name in NAMES.items() if name == self.name)
        searcher = train_sstn(
            self.preset, folder, source=source, root=self.data_root, device=self.device, seed=self.seed,
            length=self.length, budget=self.budget, fresh=self.fresh,
        )  # fmt: skip
        return searcher.weights, searcher.card


@dataclass
class ClaimsRun:
    """Measure claims and write docs/claims.json; what is measured already is kept."""

    ids: Positional[tuple[str, ...]] = ()
    preset: Preset = "cpu"
    fresh: bool = False
    """Measure again."""

    def __call__(self) -> int:
        from course_lib.claims import run_claims

        run_claims(ids=self.ids or None, preset=self.preset, out=project_root() / "docs/claims.json", fresh=self.fresh)
        return ClaimsShow()()


@dataclass
class ClaimsShow:
    """Print the board of claims."""

    def __call__(self) -> int:
        from course_lib.claims import board_text, load_board

        print(board_text(load_board(project_root() / "docs/claims.json")))
        return 0


@dataclass
class Claims:
    """The ledger of published claims, tested here."""

    action: Annotated[ClaimsRun, subcommand("run")] | Annotated[ClaimsShow, subcommand("show")]

    def __call__(self) -> int:
        return self.action()
