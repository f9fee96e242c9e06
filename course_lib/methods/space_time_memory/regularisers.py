"""Two ways to make attention spread over more memory cells: drop connections, or hand weight to the less attended.

Source: Pourganjalikhan (2021), chapter 4, where neither helps. Unusual: the text leaves open which of several
operations is meant, and they differ in sign. Scores are negative distances, so 0 is the best there is: what zeroes a
score promotes it. Each reading has a name here, and all are transformations of scores, before the softmax.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.errors import InputError
from course_lib.nn.attention_read import affinity

DropoutMode = Literal["mask_inf", "post_softmax_renorm", "literal_zero"]
ReallocationMode = Literal["literal", "literal_mean1", "post_softmax"]
Background = Literal["closed", "open", "ranked"]


@dataclass(frozen=True)
class AffinityDropout:
    """Switch off memory-query connections at random while training; call with scores, get the affinity.

    mask_inf             scores become -infinity; a query that would lose every cell keeps its best one
    post_softmax_renorm  weights become 0 and the rest is scaled to sum to one. In exact numbers the same; in floats,
                         survivors whose weight had vanished stay at 0, and if all had, the undropped weights are kept
    literal_zero         scores become 0, as a stock dropout layer does: with negative distances that is the maximum
    """

    mode: DropoutMode = "mask_inf"
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.mode not in get_args(DropoutMode) or not 0 <= self.rate < 1:
            raise InputError(
                f"affinity dropout takes a mode of {', '.join(get_args(DropoutMode))} and a rate in [0, 1), "
                f"got {self.mode!r} and {self.rate}"
            )

    def __call__(
        self, scores: Float[Tensor, "b n q"], support: Bool[Tensor, "b k n"] | None = None
    ) -> Float[Tensor, "b n q"]:
        return drop(scores, torch.rand_like(scores) < self.rate, self.mode)


def drop(scores: Float[Tensor, "b n q"], dropped: Bool[Tensor, "b n q"], mode: DropoutMode) -> Float[Tensor, "b n q"]:
    """Affinity [B, N, Q] without the `dropped` connections, in the sense of `mode` (see `AffinityDropout`)."""
    if mode == "literal_zero":
        return affinity(scores.masked_fill(dropped, 0))
    if mode == "mask_inf":
        best = torch.zeros_like(dropped).scatter(1, scores.argmax(dim=1, keepdim=True), True)
        keep_best = best & dropped.all(dim=1, keepdim=True)
        return affinity(scores.masked_fill(dropped & ~keep_best, -torch.inf))
    weights = affinity(scores)
    kept = weights.masked_fill(dropped, 0)
    total = kept.sum(dim=1, keepdim=True)
    return torch.where(total > 0, kept / total.where(total > 0, 1), weights)


@dataclass(frozen=True)
class Reallocation:
    """Reweigh memory cells by their rank in attention; call with scores, get one affinity per object.

    Cell i of rank w_i (1 = most attended by all queries together) gets the factor w_i / sum of ranks.

    literal        factor times score, as printed: every score comes near 0 and attention near uniform
    literal_mean1  factors scaled to mean 1: the most attended, with small factors on negative scores, win still more
    post_softmax   factor times weight, renormalised: the intention

    The thesis ranks the cells of each object apart and uses its mask to keep the background out. `background` says what
    becomes of the cells outside an object's `support`:

    closed  the object cannot read them, so that queries of the background, too, are answered by cells of the object
    open    they keep their scores and take no rank; the object's factors have mean 1, but for `literal`. post_softmax
            then takes weight from the object's most attended cells, to the profit of its others and of the background;
            `literal` lifts all of the object's cells near 0, above the background, whatever the query
    ranked  they are reallocated like the others: the equation for the whole memory, one affinity for all objects

    For training and test alike. Without `support`, the whole memory is ranked.
    """

    mode: ReallocationMode = "post_softmax"
    background: Background = "closed"

    def __post_init__(self) -> None:
        if self.background not in get_args(Background):
            raise InputError(
                f"reallocation's background must be one of {', '.join(get_args(Background))}; got {self.background!r}"
            )
        if self.mode not in get_args(ReallocationMode):
            raise InputError(
                f"reallocation mode must be one of {', '.join(get_args(ReallocationMode))}; got {self.mode!r}"
            )

    def __call__(
        self, scores: Float[Tensor, "b n q"], support: Bool[Tensor, "b k n"] | None = None
    ) -> Float[Tensor, "b k n q"] | Float[Tensor, "b n q"]:
        return affinity(reallocate(scores, self.mode, support, self.background))


def reallocate(
    scores: Float[Tensor, "b n q"],
    mode: ReallocationMode,
    support: Bool[Tensor, "b k n"] | None = None,
    background: Background = "closed",
) -> Float[Tensor, "b k n q"] | Float[Tensor, "b n q"]:
    """Scores after reallocation. `scores` are negative distances (`negative_distance`), at most 0.

    support     cells that belong to each object; None for the whole memory
    background  what becomes of the others (see `Reallocation`). An object without any cell changes nothing if they
                are open, and keeps all cells if they are closed

    Returns [B, K, N, Q] with support, else, or if ranked, [B, N, Q].
    """
    if support is None or background == "ranked":
        ranked = torch.ones(scores.shape[:-1], dtype=torch.bool, device=scores.device)  # [B, N]
    else:
        scores = scores[:, None]  # [B, 1, N, Q]
        ranked = support  # [B, K, N]
        if background == "closed":
            ranked = ranked | ~ranked.any(dim=-1, keepdim=True)
    attention = scores.sum(dim=-1).expand(ranked.shape).masked_fill(~ranked, -torch.inf)
    rank = attention.argsort(dim=-1, descending=True).argsort(dim=-1) + 1.0  # [B, (K,) N], 1 = most attended
    rank = rank * ranked
    factor = rank / rank.sum(dim=-1, keepdim=True).clamp(min=1)
    if mode != "literal":
        factor = factor * ranked.sum(dim=-1, keepdim=True)  # mean 1 over what is ranked
    factor = factor.masked_fill(~ranked, 1)[..., None]  # [B, (K,) N, 1]
    if mode == "post_softmax":
        changed = scores + factor.log()  # w_i a_i / sum w a is the softmax of d + log w
    else:
        changed = scores * factor
    return changed if background == "open" else changed.masked_fill(~ranked[..., None], -torch.inf)
