import numpy as np
import pytest

from course_lib.viz.palette import IGNORE_GREY, OKABE_ITO, object_colour, object_palette, seen


def voc_palette() -> np.ndarray:
    """The Pascal VOC colours by their rule: the bits of the id, dealt to red, green and blue from the top."""
    table = np.zeros((256, 3), dtype=np.uint8)
    for label in range(256):
        for channel in range(3):
            value, bits = 0, label
            for shift in range(8):
                value |= ((bits >> channel) & 1) << (7 - shift)
                bits >>= 3
            table[label, channel] = value
    return table


def smallest_distance(colours: np.ndarray, vision: str) -> float:
    points = seen(colours, vision)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return distance[~np.eye(len(points), dtype=bool)].min()


def test_first_ids_are_okabe_and_ito_and_the_ends_are_fixed():
    palette = object_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert palette[0].tolist() == [0, 0, 0] and tuple(palette[255]) == IGNORE_GREY
    assert [tuple(c) for c in palette[1:8].tolist()] == list(OKABE_ITO)
    assert object_colour(1) == "#E69F00"


def test_all_colours_differ_and_none_could_be_taken_for_a_contour():
    palette = object_palette()[1:255]
    assert len(np.unique(palette, axis=0)) == 254
    lightness = seen(palette)[:, 0]
    assert lightness.min() > 0.3 and lightness.max() < 0.95


@pytest.mark.parametrize(
    ("vision", "first_seven", "first_twenty"),
    [("normal", 0.15, 0.085), ("protanopia", 0.09, 0.08), ("deuteranopia", 0.07, 0.07), ("tritanopia", 0.08, 0.03)],
)
def test_colours_stay_apart_in_every_vision(vision, first_seven, first_twenty):
    assert smallest_distance(object_palette()[1:8], vision) > first_seven
    assert smallest_distance(object_palette()[1:21], vision) > first_twenty


@pytest.mark.parametrize("vision", ["protanopia", "deuteranopia"])
def test_farther_apart_than_the_voc_palette_for_red_green_deficient_eyes(vision):
    assert smallest_distance(object_palette()[1:21], vision) > 3 * smallest_distance(voc_palette()[1:21], vision)


def test_a_caller_cannot_spoil_the_palette():
    object_palette()[:] = 0
    assert object_palette()[1].tolist() == [230, 159, 0]


def test_oklab_of_white_grey_and_black():
    points = seen(np.array([[255, 255, 255], [0, 0, 0], [119, 119, 119]], dtype=np.uint8))
    np.testing.assert_allclose(points[0], [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(points[1], [0, 0, 0], atol=1e-4)
    np.testing.assert_allclose(points[2, 1:], [0, 0], atol=1e-4)
