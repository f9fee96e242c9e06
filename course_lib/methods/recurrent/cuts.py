"""Does a trained network use a part at all? Cut it: zeros in its place, and look what happens.

A row of an ablation table trains another network *without* a part, which may learn to do without it. To cut asks the
network at hand. Unusual: nothing is trained, so a cut costs a test run and has no spread of its own; and a part whose
cut changes nothing cannot be why the network is better than another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.recurrent.bidirectional import BidirectionalVOS
from course_lib.methods.recurrent.masked_encoder import Features
from course_lib.methods.recurrent.network import RecurrentVOS

MASK = "mask"


def parts(network: nn.Module) -> tuple[str, ...]:
    """What can be cut: "memory 16" (the hidden state at a stride), "first", "previous" (references), "mask" (fed back).

    Raises `InputError` for a network of another family.
    """
    inner = _inner(network)
    masks = (MASK,) if inner.encoder.guided else ()
    return (*(f"memory {stride}" for stride in sorted(inner.memory.strides, reverse=True)), *inner.references, *masks)


@contextmanager
def without(network: nn.Module, *cut: str) -> Iterator[None]:
    """Within the block the network runs with these parts cut; afterwards it is whole again.

    A hidden state or the features of a reference are zeros where they are read, the mask that the encoder sees is
    empty. The state itself goes on as before. Blocks may be nested: then both cuts hold. Raises `InputError` naming the
    parts there are. Built in lesson 05.
    """
    inner = _inner(network)
    unknown = [name for name in cut if name not in parts(network)]
    if unknown:
        raise InputError(f"cannot cut {', '.join(map(repr, unknown))}; the parts are {', '.join(parts(network))}")
    decode, encode = inner.decode, inner.encode
    outer = {name: own for name, own in vars(inner).items() if name in ("decode", "encode")}  # of a block around this

    def decode_cut(features: Features, hidden: dict[int, Tensor], references: Any) -> Any:
        hidden = {s: torch.zeros_like(x) if f"memory {s}" in cut else x for s, x in hidden.items()}
        references = {name: _emptied(f) if name in cut else f for name, f in references.items()}
        return decode(features, hidden, references)

    def encode_cut(frame: Tensor, mask: Tensor) -> Features:
        return encode(frame, torch.zeros_like(mask) if MASK in cut else mask)

    inner.decode, inner.encode = decode_cut, encode_cut  # type: ignore[method-assign]
    try:
        yield
    finally:
        del inner.decode, inner.encode
        vars(inner).update(outer)


def _emptied(features: Features) -> Features:
    levels = {stride: torch.zeros_like(level) for stride, level in features.levels.items()}
    return Features(levels, torch.zeros_like(features.deep))


def _inner(network: nn.Module) -> RecurrentVOS:
    inner = network.net if isinstance(network, BidirectionalVOS) else network
    if not isinstance(inner, RecurrentVOS):
        raise InputError(f"expected a network of the recurrent family, got {type(network).__name__}")
    return inner
