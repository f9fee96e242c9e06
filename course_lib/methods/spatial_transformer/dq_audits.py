"""The audits of lesson 03: does size help, does a common class attract errors, is the largest object the salient one?

F. Azimi (2024), section 5.5.2, figures 5.13 and 5.15, Tables 5.9 and 5.10. Unusual: small scenes get what photographs
have by nature, a dominant class and objects in front of others, both in one set; and accuracy by overlap is also
compared among objects of equal size.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.data.constant_share import constant_share_windows, window_matrices
from course_lib.data.scene_batch import SceneBatch
from course_lib.data.voc import PERSON
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.dq_config import DQConfig
from course_lib.methods.spatial_transformer.dq_data import PARTS, Parts, SalientImages, in_memory, salient_images
from course_lib.methods.spatial_transformer.dq_experiments import (
    Pair,
    Preset,
    agent,
    config_of,
    group_means,
    groups_by_size,
)
from course_lib.methods.spatial_transformer.dq_training import ClassifierResult, train_classifier
from course_lib.methods.spatial_transformer.geometry import transport_boxes, view
from course_lib.methods.spatial_transformer.salient import accuracy_at_equal_size, bias_table, overlap_groups

AUDIT_IMAGES = 12_000  # test scenes of the audits, which look at few of them at a time
AUDIT_GROUPS = 10
DOMINANT_SHARE = 0.25  # of all objects of audited scenes; "person" is a fifth of the labels of PASCAL VOC
CONSTANT_SHARE_LENGTH = 0.5  # of the preset's updates, for each of the sets of constant share
BELOW, ABOVE = 1, 2  # as in `overlap_groups`


def audited(config: DQConfig) -> DQConfig:
    """The same training on what can be audited: photographs as they are, digits with overlap and a common class."""
    if config.scenes is None:
        return config
    scenes = replace(config.scenes, overlap="allowed", dominant=DOMINANT_SHARE)
    tests = max(config.test_images, AUDIT_IMAGES if config.test_images >= 1000 else 10 * config.test_images)
    return replace(config, scenes=scenes, test_images=tests)


def dominant_present_and_absent(preset: Preset, seed: int) -> Pair:
    """Share of DQ-SSTN's wrong answers that name the dominant class, in points: where an object of it is present as a
    secondary one, and where it is absent."""
    config = audited(config_of(preset))
    rows = [bias_table(*part, dominant_class(config)) for part in _answers_by_group(config, seed)]
    present, absent = (np.array([100 * row[i].dominant for row in rows]) for i in range(2))
    return _finite(present, absent)


def dominant_and_other_classes(preset: Preset, seed: int) -> Pair:
    """Share of wrong answers that name a class where it is present as a secondary object, in points: the dominant
    class, and the others, counted together."""
    config = audited(config_of(preset))
    others = [k for k in range(config.classes) if k != dominant_class(config)]
    dominant, other = [], []
    for part in _answers_by_group(config, seed):
        dominant.append(bias_table(*part, dominant_class(config))[0].dominant)
        rows = [row for row in (bias_table(*part, k)[0] for k in others) if row.errors]
        other.append(sum(row.dominant * row.errors for row in rows) / max(sum(row.errors for row in rows), 1))
    return _finite(100 * np.array(dominant), 100 * np.array(other))


def dominant_class(config: DQConfig) -> int:
    """Number of the class that is far more frequent than any other: person, or the digit 0."""
    return PERSON if config.scenes is None else 0


def below_and_above_threshold(preset: Preset, seed: int) -> Pair:
    """Top-1 of DQ-SSTN in points where others cover up to 0.4 of the largest box (but some), and where more."""
    result = agent(audited(config_of(preset)), seed)
    size, cover = groups_by_size(result.share_before, AUDIT_GROUPS), overlap_groups(result.truth.overlap)
    below, above = (group_means(result.correct[cover == c], size[cover == c]) for c in (BELOW, ABOVE))
    return below, above


def none_and_below_threshold(preset: Preset, seed: int) -> Pair:
    """Top-1 of DQ-SSTN in points where no other box touches the largest, and where others cover up to 0.4 of it; both
    as if its objects were equally large."""
    return _at_equal_size(preset, seed, (0, BELOW))


def below_and_above_at_equal_size(preset: Preset, seed: int) -> Pair:
    """As `below_and_above_threshold`, as if the objects of both were equally large."""
    return _at_equal_size(preset, seed, (BELOW, ABOVE))


def share_50_and_10(preset: Preset, seed: int) -> Pair:
    """Top-1 in points of classifiers trained and tested at a constant share of 50 %, and of 10 %."""
    return _by_share(preset, seed, 0.5), _by_share(preset, seed, 0.1)


def share_90_and_50(preset: Preset, seed: int) -> Pair:
    """Top-1 in points of classifiers trained and tested at a constant share of 90 %, and of 50 %."""
    return _by_share(preset, seed, 0.9), _by_share(preset, seed, 0.5)


def share_90_and_100(preset: Preset, seed: int) -> Pair:
    """Top-1 in points of classifiers trained and tested at a constant share of 90 %, and of 100 %."""
    return _by_share(preset, seed, 0.9), _by_share(preset, seed, 1.0)


def share_100_and_200(preset: Preset, seed: int) -> Pair:
    """Top-1 in points at a constant share of 100 %, and in windows of half the area of the box."""
    return _by_share(preset, seed, 1.0), _by_share(preset, seed, 2.0)


@cache
def at_constant_share(config: DQConfig, seed: int, share: float) -> ClassifierResult:
    """A classifier trained and tested where the largest object fills `share` of every image (figure 5.13).

    share  above 1 the view is smaller than the object's box. About ten seconds of one core at cpu; kept
    """
    length = config.shortened(CONSTANT_SHARE_LENGTH)
    return train_classifier(length, data=constant_share_parts(config, seed, share), seed=seed, progress=False)


def constant_share_parts(config: DQConfig, seed: int, share: float) -> Parts:
    """The images of a training, each seen through a window at a random place that gives its object this share."""
    train, validation, test = (
        constant_share_images(salient_images(config, part, seed), share, len(PARTS) * seed + PARTS.index(part))
        for part in PARTS
    )
    return train, validation, test


def constant_share_images(images: SalientImages, share: float, seed: int) -> SalientImages:
    """Views of images in which the largest object fills `share`; `seed` is that of the windows' places.

    Boxes go with the views and may reach beyond them. Overlaps stay those of the whole images.
    """
    size = images.truth.size
    windows = constant_share_windows(images.truth.boxes, size, share, seed)
    matrices = window_matrices(windows, size)

    def views() -> list[SceneBatch]:
        seen, start = [], 0
        for batch in images.batches(1024):
            here = matrices[start : start + len(batch.labels)]
            start += len(batch.labels)
            m = batch.object_labels.shape[1]
            objects = transport_boxes(batch.object_boxes.flatten(0, 1), here.repeat_interleave(m, dim=0), size)
            objects = torch.where(batch.object_labels[..., None] >= 0, objects.unflatten(0, (-1, m)), 0)  # [N, M, 4]
            seen.append(batch._replace(images=view(batch.images, here), boxes=objects[:, 0], object_boxes=objects))
        return seen

    return in_memory(views())


def _by_share(preset: Preset, seed: int, share: float) -> Float[np.ndarray, "c"]:
    config = config_of(preset)
    group = groups_by_size(salient_images(config, "test", seed).truth.share)
    return group_means(at_constant_share(config, seed, share).correct, group)


def _at_equal_size(preset: Preset, seed: int, covers: tuple[int, int]) -> Pair:
    result = agent(audited(config_of(preset)), seed)
    size, cover = groups_by_size(result.share_before, AUDIT_GROUPS), overlap_groups(result.truth.overlap)
    rows = []
    for g in range(int(size.max()) + 1):
        here = (size == g) & ((cover == covers[0]) | (cover == covers[1]))
        kind = (cover[here] == covers[1]).long()
        rows.append(accuracy_at_equal_size(result.correct[here], result.share_before[here], kind, groups=2, bins=3))
    first, second = 100 * np.array(rows).T
    return first, second


def _answers_by_group(config: DQConfig, seed: int) -> list[tuple[Int[Tensor, "n"], Int[Tensor, "n m"]]]:
    """The agent's answers and the labels of all objects, for each group of test images."""
    result = agent(config, seed)
    group = groups_by_size(result.share_before, AUDIT_GROUPS)
    chosen = [group == g for g in range(int(group.max()) + 1)]
    return [(result.predictions[here], result.truth.object_labels[here]) for here in chosen]


def _finite(first: np.ndarray, second: np.ndarray) -> Pair:
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("some group of test images has no wrong answers of both kinds; take more test images")
    return first, second
