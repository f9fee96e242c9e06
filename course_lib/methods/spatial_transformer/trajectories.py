"""The episode of every training image under a finished agent, kept as matrices: all its views without a second look.

F. Azimi (2024), section 5.4.2: a curriculum needs each image after t moves, for every t. Unusual: what is kept is the
moves (a byte each) and the matrices they compose to, not T + 1 images; and besides the agent there are two others that
make episodes, an oracle that knows where the object is and a wanderer that moves at random, so that a bad agent can be
told from a bad idea.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from safetensors import safe_open
from torch import Tensor

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.geometry import compose, identity, transport_boxes, view
from course_lib.methods.spatial_transformer.policies import Memory, Policy
from course_lib.methods.spatial_transformer.policy_gradient import choose
from course_lib.nn.device import device_of
from course_lib.training.checkpoint import on_cpu, write_safetensors

FORMAT = "trajectories 1"


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Episodes of T moves of N images; make them with `from_moves`, `record`, `OraclePolicy.record` or `wander`.

    moves     numbers of the moves, [N, T]
    matrices  of the views, [N, T + 1, 3, 3]: `matrices[i, t]` after t moves, the identity for t = 0
    actions   the set that the numbers belong to
    """

    moves: UInt8[Tensor, "n t"]
    matrices: Float[Tensor, "n t1 3 3"]
    actions: ActionSet

    @classmethod
    def from_moves(cls, moves: Int[Tensor, "n t"], actions: ActionSet) -> "Trajectories":
        """Compose the moves of each image. Raises `InputError` for anything but [N, T] numbers of the set's moves."""
        if moves.ndim != 2 or 0 in moves.shape or moves.is_floating_point() or len(actions) > 256:
            raise InputError(f"moves must be whole numbers [N, T] of at most 256 moves, got {list(moves.shape)}")
        if not 0 <= int(moves.min()) <= int(moves.max()) < len(actions):
            raise InputError(f"moves are numbered 0 … {len(actions) - 1}, got {int(moves.min())} … {int(moves.max())}")
        steps = actions.to(moves.device).matrices[moves.long()]  # [N, T, 3, 3]
        matrices = [identity(len(moves), moves.device)]
        for t in range(moves.shape[1]):
            matrices.append(compose(matrices[-1], steps[:, t]))
        return cls(moves.to(torch.uint8), torch.stack(matrices, dim=1), actions)

    def __len__(self) -> int:
        return len(self.moves)

    @property
    def longest(self) -> int:
        """Moves of an episode: T."""
        return self.moves.shape[1]

    def after(self, steps: int) -> Float[Tensor, "n 3 3"]:
        """Matrices of all images after so many moves. Raises `InputError` for more moves than an episode has."""
        if not 0 <= steps <= self.longest:
            raise InputError(f"an episode has 0 … {self.longest} moves, asked for the view after {steps}")
        return self.matrices[:, steps]

    def move_shares(self) -> Float[Tensor, "t a"]:
        """How often each move is made at each step, over all images; each row adds up to 1."""
        return self.actions.one_hot(self.moves.long()).mean(dim=0)  # [N, T, A] -> [T, A]

    def save(self, path: str | Path) -> None:
        """Write moves and action set to a .safetensors file, one byte per move. Raises `WriteError` if it cannot."""
        path = Path(path)
        if path.suffix != ".safetensors":
            raise InputError(f"trajectories are written as .safetensors, got {path.name}")
        tensors = on_cpu({"moves": self.moves, "actions": self.actions.matrices})
        with atomic_path(path) as temporary:
            write_safetensors(tensors, temporary, {"format": FORMAT, "names": json.dumps(self.actions.names)})

    @classmethod
    def load(cls, path: str | Path) -> "Trajectories":
        """Read what `save` wrote, on the CPU. Raises `MissingDataError`, or `InputError` for any other file."""
        path = Path(path)
        if not path.is_file():
            raise MissingDataError(f"there are no trajectories {path}; record them and call save")
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
                if facts.get("format") != FORMAT:
                    raise InputError(f"it has format {facts.get('format')!r}, expected {FORMAT!r}")
                actions = ActionSet(tuple(json.loads(facts["names"])), file.get_tensor("actions"))
                return cls.from_moves(file.get_tensor("moves"), actions)
        except Exception as error:  # damaged bytes make the reader fail in many ways, all of which mean the same here
            raise InputError(f"{path} cannot be read as trajectories ({error}); record them again") from error


@torch.no_grad()
def record(
    policy: Policy,
    images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"],
    actions: ActionSet,
    length: int,
    seed: int = 0,
    *,
    greedy: bool = False,
    batch_size: int = 1000,
) -> Trajectories:
    """One episode of `length` moves for each image, with the policy as it is, on the policy's device.

    images  [N, C, H, W], uint8 or float in [0, 1]
    seed    of the draws; another one gives other episodes of the same images
    greedy  take the likeliest move instead of drawing one

    Returned on the CPU. Raises `InputError` for fewer than one move or image, or a set of moves that is not the
    policy's. Built in lesson 02.
    """
    if length < 1 or batch_size < 1 or not len(images):
        raise InputError(f"expected images, moves and a batch, got {len(images)}, {length} and {batch_size}")
    if policy.n_actions != len(actions):
        raise InputError(f"this policy chooses among {policy.n_actions} moves, the set has {len(actions)}")
    device = device_of(policy)
    generator = torch.Generator(device).manual_seed(seed)
    training = policy.training
    policy.eval()
    try:
        parts = [
            _episode(policy, as_float(part.to(device)), actions.to(device), length, generator, greedy)
            for part in images.split(batch_size)
        ]
    finally:
        policy.train(training)
    return Trajectories.from_moves(torch.cat(parts).cpu(), actions.to("cpu"))


def _episode(
    policy: Policy, images: Tensor, actions: ActionSet, length: int, generator: torch.Generator, greedy: bool
) -> Int[Tensor, "b t"]:
    matrices = identity(len(images), images.device)
    previous = torch.zeros(len(images), len(actions), device=images.device)
    memory: Memory | None = None
    moves = []
    views = images
    for _ in range(length):
        logits, memory = policy(views, previous, memory)
        moves.append(choose(logits, generator, greedy).actions)
        matrices = compose(matrices, actions.matrices[moves[-1]])
        views, previous = view(images, matrices), actions.one_hot(moves[-1])
    return torch.stack(moves, dim=1)


@dataclass(frozen=True, eq=False)
class OraclePolicy:
    """An agent that is told where the object is: it centres it, then zooms in until it fills the view, then stays.

    actions  a set with shifts, "zoom" and "stay"; as coarse for the oracle as for an agent that has to look
    size     height and width of the images
    fill     share of the view's side that the object may take up; a zoom beyond it is not made

    Not in the thesis. What its curriculum gains is what perfect views can give, whatever the trained agent's are like.
    """

    actions: ActionSet
    size: tuple[int, int]
    fill: float = 0.9
    _moves: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.fill <= 1:
            raise InputError(f"fill is a share of the view's side, above 0 and at most 1, got {self.fill}")
        numbers = {name: self.actions.index(name) for name in ("right", "left", "down", "up", "zoom", "stay")}
        object.__setattr__(self, "_moves", numbers)

    def __call__(self, boxes: Float[Tensor, "b 4"], matrices: Float[Tensor, "b 3 3"]) -> Int[Tensor, "b"]:
        """The next move of each image, given its object's box in pixels of the original and its present view."""
        height, width = self.size
        number = self._moves
        moves = self.actions.to(boxes.device).matrices
        x0, y0, x1, y1 = transport_boxes(boxes, matrices, self.size).unbind(1)  # [B] each, pixels of the view
        off_x, off_y = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2  # of the object's centre from the view's
        # Distances in shifts: one of more than a half gets smaller by making one.
        far_x = off_x / (moves[number["right"], 0, 2] * width / 2)
        far_y = off_y / (moves[number["down"], 1, 2] * height / 2)
        zoomed = torch.maximum((x1 - x0) / width, (y1 - y0) / height) / moves[number["zoom"], 0, 0]
        along_x = torch.where(far_x > 0, number["right"], number["left"])
        along_y = torch.where(far_y > 0, number["down"], number["up"])
        shift = torch.where(far_x.abs() >= far_y.abs(), along_x, along_y)
        closer = torch.where(zoomed <= self.fill, number["zoom"], number["stay"])
        return torch.where(torch.maximum(far_x.abs(), far_y.abs()) > 0.5, shift, closer)

    def record(self, boxes: Float[Tensor, "n 4"], length: int) -> Trajectories:
        """Episodes of `length` moves for objects in these boxes (x0, y0, x1, y1 in pixels)."""
        _check_length(length)
        actions = self.actions.to(boxes.device)
        matrices = identity(len(boxes), boxes.device)
        moves = []
        for _ in range(length):
            moves.append(self(boxes, matrices))
            matrices = compose(matrices, actions.matrices[moves[-1]])
        return Trajectories.from_moves(torch.stack(moves, dim=1), actions)


def wander(n: int, actions: ActionSet, length: int, seed: int = 0) -> Trajectories:
    """Episodes of moves drawn at random: what an agent that has learnt nothing does. It augments, and nothing else."""
    _check_length(length)
    moves = torch.randint(len(actions), (n, length), generator=torch.Generator().manual_seed(seed))
    return Trajectories.from_moves(moves, actions.to("cpu"))


def views_at(
    images: UInt8[Tensor, "b c h w"] | Float[Tensor, "b c h w"],
    matrices: Float[Tensor, "b t1 3 3"],
    steps: Int[Tensor, "b"],
) -> Float[Tensor, "b c h w"]:
    """Image i after `steps[i]` moves, sampled once from the original, in [0, 1]; waits for nothing on a GPU.

    Raises `InputError` if the three do not belong together. Built in lesson 02.
    """
    if matrices.ndim != 4 or len(matrices) != len(images) or steps.shape != (len(images),):
        raise InputError(
            f"views_at takes images [B, C, H, W], their matrices [B, T + 1, 3, 3] and steps [B]; got "
            f"{list(images.shape)}, {list(matrices.shape)} and {list(steps.shape)}"
        )
    chosen = matrices[torch.arange(len(images), device=matrices.device), steps]  # [B, 3, 3]
    return view(as_float(images), chosen)


def as_float(images: Tensor) -> Float[Tensor, "*b"]:
    """Images in [0, 1]; bytes are divided by 255, floats stay as they are."""
    return images if images.is_floating_point() else images.float() / 255


def _check_length(length: int) -> None:
    if length < 1:
        raise InputError(f"an episode has at least one move, got {length}")
