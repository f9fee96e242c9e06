"""The card of a checkpoint: how it was made, from which data under which licences, and what it scores.

A JSON file beside the weights, with the same name. Unusual: it holds a checksum of the weights, so a card cannot
describe other ones than it was written for.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from course_lib.data.atomic import atomic_path
from course_lib.errors import InputError, MissingDataError


@dataclass(frozen=True)
class TrainedOn:
    """One data source: its name, its licence, and who is to be named."""

    name: str
    licence: str
    attribution: str = ""


@dataclass(frozen=True)
class Card:
    """Facts about trained weights. Raises `InputError` if something a reader needs is empty."""

    name: str
    """Of the model, as in `load_model`."""
    description: str
    command: str
    """The command that makes these weights again."""
    seed: int
    data: tuple[TrainedOn, ...]
    licence: str
    """Of the weights; that of the strictest data source."""
    budget: str
    """Time and machine set aside before the run began."""
    minutes: float
    """That training took."""
    machine: str
    metrics: dict[str, float]
    """Scores; the names say on what, for example "J&F, kept-out DAVIS, 240p"."""
    date: str
    """ISO date of the end of training."""
    notes: str = ""
    weights_sha256: str = ""
    """Filled in by `save_card`."""

    def __post_init__(self) -> None:
        needed = ("name", "description", "command", "data", "licence", "budget", "machine", "metrics", "date")
        empty = [name for name in needed if not getattr(self, name)]
        if empty:
            raise InputError(f"a card must say everything a reader needs; empty: {', '.join(empty)}")
        if self.minutes <= 0:
            raise InputError(f"training took some time; minutes is {self.minutes}")

    def __str__(self) -> str:
        """What a reader wants first: what it is, what it scores, what it may be used for."""
        width = max(len(f"{value:.2f}") for value in self.metrics.values())
        scores = [f"  {value:{width}.2f}  {name}" for name, value in self.metrics.items()]
        facts = f"{self.minutes:.1f} minutes on {self.machine}; licence of the weights: {self.licence}"
        return "\n".join([f"{self.name}: {self.description}", *scores, facts])


def card_path(weights: str | Path) -> Path:
    """Where the card of a weights file lies."""
    return Path(weights).with_suffix(".json")


def save_card(card: Card, weights: str | Path) -> Path:
    """Write the card of `weights` beside them. Raises `MissingDataError` if there are no such weights."""
    filled = dataclasses.replace(card, weights_sha256=_sha256(Path(weights)))
    with atomic_path(card_path(weights)) as temporary:
        text = json.dumps(dataclasses.asdict(filled), indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return card_path(weights)


def load_card(weights: str | Path) -> Card:
    """Read the card of `weights` and hold them against it.

    Raises `MissingDataError` if card or weights are missing, `InputError` if the card is damaged, lacks an entry, or
    belongs to other weights.
    """
    path = card_path(weights)
    if not path.is_file():
        raise MissingDataError(f"the weights {weights} have no card {path}; write one with `save_card`")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        card = Card(**{**entries, "data": tuple(TrainedOn(**source) for source in entries["data"])})
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is not a card: {error}") from error
    found = _sha256(Path(weights))
    if card.weights_sha256 != found:
        raise InputError(
            f"{path} describes other weights: it names sha256 {card.weights_sha256[:12]}…, {weights} has {found[:12]}…"
        )
    return card


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise MissingDataError(f"there are no weights {path}")
    return hashlib.sha256(path.read_bytes()).hexdigest()
