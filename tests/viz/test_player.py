import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from course_lib.errors import InputError, WriteError
from course_lib.viz import player
from course_lib.viz.embed import decode_labels, encode_labels


def clip(length: int = 6, height: int = 24, width: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (length, 3, height, width), dtype=torch.uint8, generator=generator)
    labels = torch.zeros(length, height, width, dtype=torch.uint8)
    for t in range(length):
        labels[t, 5:15, t : t + 8] = 3
    labels[0, 0, 0] = 255
    return frames, labels


def picture(uri: str) -> Image.Image:
    import base64

    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.sampled_from([0, 1, 7, 255])))
def test_label_code_is_lossless(labels):
    np.testing.assert_array_equal(decode_labels(encode_labels(labels), *labels.shape), labels)


def test_long_runs_are_lossless_and_small():
    labels = np.zeros((480, 854), dtype=np.uint8)
    labels[100, 5:700] = 9
    code = encode_labels(labels)
    assert len(code) < 20
    np.testing.assert_array_equal(decode_labels(code, 480, 854), labels)


def test_tracks_over_the_same_frames_store_them_once():
    frames, labels = clip()
    shown = player({"truth": (frames, labels), "method": (frames, labels.roll(1, 2)), "plain": frames}, alt="x moves")
    assert len(shown.data["images"]) == 1
    assert [track["images"] for track in shown.data["tracks"]] == [0, 0, 0]
    assert shown.data["tracks"][2]["labels"] is None
    assert set(shown.data["palette"]) == {3, 255}
    two = player({"a": frames, "b": frames.flip(0)}, alt="x moves")
    assert len(two.data["images"]) == 2


def test_every_nth_frame_keeps_its_number_and_its_caption():
    frames, labels = clip(7)
    shown = player({"a": (frames, labels)}, captions=[f"J = {t}" for t in range(7)], every=3, alt="x moves")
    assert shown.data["frames"] == [0, 3, 6] and shown.data["total"] == 7
    assert shown.data["captions"] == ["J = 0", "J = 3", "J = 6"]
    np.testing.assert_array_equal(decode_labels(shown.data["tracks"][0]["labels"][1], 24, 32), labels[3].numpy())


def test_wide_frames_are_reduced_and_labels_with_them():
    frames, labels = clip(2, 60, 200)
    shown = player({"a": (frames, labels)}, max_width=100, alt="x moves")
    assert (shown.data["width"], shown.data["height"]) == (100, 30)
    assert picture(shown.data["images"][0][0]).size == (100, 30)
    small = decode_labels(shown.data["tracks"][0]["labels"][1], 30, 100)
    assert set(np.unique(small)) == {0, 3}  # no label between two labels
    assert abs((small == 3).mean() - (labels[1] == 3).float().mean().item()) < 0.01


def test_quality_falls_to_fit_the_budget_but_no_frame_is_dropped():
    frames, _ = clip(8, 60, 80)
    full, tight = player(frames, alt="noise", max_kilobytes=10_000), player(frames, alt="noise", max_kilobytes=1)
    sizes = [sum(map(len, shown.data["images"][0])) for shown in (tight, full)]
    assert sizes[0] < 0.7 * sizes[1] and tight.kilobytes < full.kilobytes
    assert len(tight.data["images"][0]) == 8


def test_frames_come_out_as_they_went_in():
    y, x = np.mgrid[:40, :60]
    smooth = np.stack([x * 4, y * 6, 255 - x * 4], axis=-1).astype(np.uint8)
    shown = player([smooth, smooth], alt="a ramp", quality=95)
    error = np.abs(np.asarray(picture(shown.data["images"][0][0]).convert("RGB")).astype(int) - smooth)
    assert error.mean() < 4


class Reader(HTMLParser):
    """Collects tags, and whatever points somewhere."""

    def __init__(self):
        super().__init__()
        self.addresses, self.images = [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "data", "poster", "action"}]
        if tag == "img":
            self.images.append(attributes)


def test_html_is_self_contained_and_its_still_has_alt_text():
    frames, labels = clip()
    shown = player({'a <b> & "c"': (frames, labels)}, alt='Two <cats> & a "dog"', captions=["</script>"] * 6)
    html = shown._repr_html_()
    reader = Reader()
    reader.feed(html)
    assert reader.addresses and all(address.startswith("data:image/webp;base64,") for address in reader.addresses)
    assert [image["alt"] for image in reader.images] == ['Two <cats> & a "dog"']
    assert not re.search(r"https?:|@import|url\(", html)
    embedded = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1]
    data = json.loads(embedded)
    assert data["captions"][0] == "</script>" and data["tracks"][0]["name"] == 'a <b> & "c"'


def test_the_same_player_is_the_same_bytes():
    frames, labels = clip()
    assert (
        player({"a": (frames, labels)}, alt="x")._repr_html_() == player({"a": (frames, labels)}, alt="x")._repr_html_()
    )


def test_saves_one_file(tmp_path):
    shown = player(clip()[0], alt="noise & more")
    page = shown.save(tmp_path / "clip.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "<title>noise &amp; more</title>" in page
    with pytest.raises(WriteError, match="could not write"):
        shown.save(tmp_path / "no" / "such" / "folder.html")


def test_plain_text_for_those_who_see_no_html():
    assert player(clip()[0], alt="noise")._repr_mimebundle_()["text/plain"] == "Player: noise"


FRAMES, LABELS = clip()


@pytest.mark.parametrize(
    ("tracks", "settings", "message"),
    [
        (FRAMES, {"alt": "  "}, "alt is empty"),
        ({}, {}, "at least one track"),
        ({"a": FRAMES, "b": FRAMES[:3]}, {}, "frames of 'a': 6, frames of 'b': 3"),
        ({"a": (FRAMES, LABELS[:2])}, {}, "labels of 'a': 2"),
        (FRAMES, {"captions": ["one"]}, "captions: 1"),
        ({"a": FRAMES, "b": FRAMES[..., :20]}, {}, "one size"),
        ({"a": (FRAMES, LABELS[..., :20])}, {}, r"labels are \[24, 20\] but its frames are \[24, 32\]"),
        ({"a": (FRAMES, LABELS, LABELS)}, {}, "tuple of 3"),
        (FRAMES[:0], {}, "length of at least 1"),
        (FRAMES, {"fps": 0}, "fps must lie"),
        (FRAMES, {"every": 0}, "every must be at least 1"),
        (FRAMES, {"quality": 0}, "quality must lie"),
    ],
)
def test_bad_input_is_explained(tracks, settings, message):
    with pytest.raises(InputError, match=message):
        player(tracks, **{"alt": "noise", **settings})
