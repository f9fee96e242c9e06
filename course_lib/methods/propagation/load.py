"""Trained segmenters by name: `load_segmenter("icnet-small-driving")`.

Unusual: a name says network and classes; the published sizes, trained with preset gpu, are built by `build_segmenter`.
"""

from pathlib import Path
from typing import TypeVar

import torch

from course_lib.errors import InputError
from course_lib.methods.propagation.icnet import ICNet, ICNetConfig
from course_lib.methods.propagation.lite_segmenter import LiteSegmenter
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.train_config import Network, SegmenterTraining
from course_lib.nn.device import resolve_device
from course_lib.nn.weights import find_weights, load_exactly, read_state_dict

Net = TypeVar("Net", bound=torch.nn.Module)


def load_segmenter(name: str, weights: str | Path | None = None, device: str | torch.device = "auto") -> FrameSegmenter:
    """A trained network for single frames, ready to use: `segment(frames)` gives logits and features.

    name     icnet-small-driving, icnet-half-driving, lite-driving or lite-camvid; `class_names(name)` says what it
             tells apart
    weights  a file of `course train`; None takes those of the course

    Raises `InputError` for another name and for weights that are damaged or do not fit, `MissingDataError` where there
    are none. Built in lesson 06.
    """
    config = SegmenterTraining.preset("cpu", name)
    network = build_segmenter(config.network, len(config.class_names))
    return read_into(network, find_weights(name, weights), device)


def class_names(name: str) -> tuple[str, ...]:
    """What a segmenter of this name tells apart, in the order of its logits. Raises `InputError` for another name."""
    return SegmenterTraining.preset("cpu", name).class_names


def build_segmenter(network: Network, classes: int, imagenet: bool = False) -> FrameSegmenter:
    """A new network. imagenet: with a trained backbone, where it has one; other weights are random.

    Raises `InputError` for an unknown network.
    """
    if network == "lite":
        return LiteSegmenter(classes, weights="imagenet" if imagenet else None)
    widths = {"icnet": ICNetConfig(), "icnet-small": ICNetConfig.small(), "icnet-half": ICNetConfig(0.125, fine=True)}
    if network not in widths:
        raise InputError(f"unknown network {network!r}; there are lite, {', '.join(widths)}")
    return ICNet(classes, widths[network])


def read_into(net: Net, path: Path, device: str | torch.device) -> Net:
    """Weights from a file into a network on a device, for use: evaluation mode, channels together in memory."""
    load_exactly(net, read_state_dict(path), path)
    return net.to(resolve_device(device)).to(memory_format=torch.channels_last).eval()
