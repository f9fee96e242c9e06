"""Videos followed by networks of the recurrent family: objects, late objects, constant memory, and the engine around.

Weights are random: what is tested here holds for any weights.
"""

from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.recurrent import load
from course_lib.methods.recurrent.rows import bi_hs2s, hs2s, mask_guided, rgmp, s2s, s2s_plus_plus
from course_lib.methods.recurrent.session import BidirectionalSegmenter, RecurrentSegmenter, half_background
from course_lib.methods.recurrent.sizes import LITE
from course_lib.training.export import export_weights
from course_lib.vos.aggregate import labels_from_probs, soft_aggregate
from course_lib.vos.engine import segment
from course_lib.vos.protocol import Session, VideoSegmenter

ROWS = (s2s, s2s_plus_plus, mask_guided, rgmp, hs2s)


def network(row, **settings):
    torch.manual_seed(0)
    return row(**settings).eval()


@pytest.fixture(scope="module")
def clip():
    return World(scenario("easy", image_size=(40, 56), length=8, dense_truth=False)).clip(1)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def two_objects():
    labels = torch.zeros(40, 56, dtype=torch.uint8)
    labels[4:20, 4:20], labels[22:38, 30:50], labels[0:3] = 9, 200, 255
    return labels


@pytest.mark.parametrize("row", ROWS)
def test_a_session_is_unroll_without_a_teacher(row):
    net, labels = network(row), torch.zeros(32, 48, dtype=torch.uint8)
    labels[8:24, 8:24] = 5
    frames = torch.rand(6, 3, 32, 48)
    session = RecurrentSegmenter(net).start(frames[0], labels)
    expected = net.unroll(frames[None], (labels == 5)[None, None].float()).logits.sigmoid()
    for t in range(1, 6):
        probs = session.step(frames[t])
        torch.testing.assert_close(session.masks, expected[0, t - 1], atol=1e-5, rtol=1e-5)
        assert torch.equal(probs, soft_aggregate(session.masks))


@pytest.mark.parametrize("row", ROWS)
def test_objects_are_followed_independently(row):
    """K objects in one session are K sessions of one, until the answers are merged. Ids are any, 255 is nobody."""
    segmenter, labels = RecurrentSegmenter(network(row)), two_objects()
    frames = torch.rand(5, 3, 40, 56)
    both = segmenter.start(frames[0], labels)
    each = [segmenter.start(frames[0], torch.where(labels == i, i, 0).to(torch.uint8)) for i in (9, 200)]
    assert isinstance(segmenter, VideoSegmenter) and isinstance(both, Session) and both.ids.tolist() == [9, 200]
    for frame in frames[1:]:
        probs = both.step(frame)
        for one in each:
            one.step(frame)
        torch.testing.assert_close(both.masks, torch.cat([one.masks for one in each]), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(probs, soft_aggregate(torch.cat([one.masks for one in each])), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("born", [0, 3])
def test_a_late_object_is_as_one_whose_video_begins_at_its_birth(row, born):
    segmenter = RecurrentSegmenter(network(row))
    frames = torch.rand(7, 3, 40, 56)
    old, new = torch.zeros(40, 56, dtype=torch.uint8), torch.zeros(40, 56, dtype=torch.uint8)
    old[4:20, 4:20], new[10:30, 15:40] = 9, 2
    run, alone = segmenter.start(frames[0], old), segmenter.start(frames[0], old)
    for frame in frames[1 : born + 1]:
        run.step(frame), alone.step(frame)
    probs = run.add(new)
    fresh = segmenter.start(frames[born], new)
    assert run.ids.tolist() == [9, 2] and probs.shape == (3, 40, 56)
    assert torch.equal(run.masks[1], (new == 2).float())
    assert not (run.masks[0] * (new == 2)).any()  # its pixels are its own
    assert torch.equal(run.masks[0, new == 0], alone.masks[0, new == 0])
    assert torch.equal(probs.argmax(0)[new == 2], torch.full((20 * 25,), 2))
    for frame in frames[born + 1 :]:
        run.step(frame), fresh.step(frame)
        torch.testing.assert_close(run.masks[1:], fresh.masks, atol=1e-5, rtol=1e-5)


def test_the_engine_streams_it(clip):
    segmenter = RecurrentSegmenter(network(hs2s))
    new = torch.zeros(40, 56, dtype=torch.uint8)
    new[30:38, 40:50] = 77
    run = segment(segmenter, clip.frames, clip.labels[0], {3: new})
    count = len(clip.ids)
    for t, probs in enumerate(run):
        assert probs.shape == (1 + count + (t >= 3), 40, 56)
        torch.testing.assert_close(probs.sum(dim=0), torch.ones(40, 56))
    assert run.ids.tolist() == [*clip.ids.tolist(), 77]


@pytest.mark.parametrize("row", ROWS)
def test_memory_is_constant_in_time(row):
    session = RecurrentSegmenter(network(row)).start(torch.rand(3, 40, 56), two_objects())
    frames, held = torch.rand(5, 3, 40, 56), []
    for t in range(60):
        session.step(frames[t % 5])
        held.append(session.memory_bytes())
    assert len(set(held)) == 1 and session.masks.isfinite().all()
    padded = 48 * 64  # the frame, and two masks
    floor = 4 * padded * (3 + 2)
    cells = {s2s: 2 * 2 * 64 * 12, s2s_plus_plus: 2 * 2 * (64 * 12 + 48 * 48 + 32 * 192), hs2s: 2 * 2 * (768 + 48 * 48)}
    references = 2 * 64 * 12 if row in (rgmp, hs2s) else 0
    assert held[0] == floor + 4 * (cells.get(row, 0) + references)


def test_padding_has_the_colour_that_the_network_sees_as_zero():
    """A frame of that colour with more of it around, in whole strides, is the same input but for what lies beyond."""
    net = network(rgmp)
    colour = torch.tensor(net.border)[:, None, None]
    labels = torch.zeros(40, 40, dtype=torch.uint8)
    labels[10:30, 10:30] = 1
    wide = torch.nn.functional.pad(labels, (4, 4, 4, 4))
    small = RecurrentSegmenter(net).start(colour.expand(3, 40, 40), labels)
    large = RecurrentSegmenter(net).start(colour.expand(3, 48, 48), wide)
    for _ in range(3):
        small.step(colour.expand(3, 40, 40)), large.step(colour.expand(3, 48, 48))
    assert torch.equal(small.masks, large.masks[:, 4:44, 4:44])


def test_the_thesis_rule_of_merging():
    """Background scores one half: a pixel is an object's if that scores more, and the largest of several wins."""
    masks = torch.tensor([[0.4, 0.6, 0.6, 0.51], [0.3, 0.2, 0.7, 0.52]])[:, None]  # [2, 1, 4]
    probs = half_background(masks)
    torch.testing.assert_close(probs.sum(dim=0), torch.ones(1, 4))
    assert labels_from_probs(probs, torch.tensor([5, 8])).tolist() == [[0, 5, 8, 8]]
    # independent objects compete harder in soft aggregation: two at 0.4 outdo a background of 0.36
    pair = torch.full((2, 1, 1), 0.4)
    assert int(half_background(pair).argmax(0)) == 0 and int(soft_aggregate(pair).argmax(0)) == 1
    segmenter = RecurrentSegmenter(network(hs2s), merge="half")
    session = segmenter.start(torch.rand(3, 40, 56), two_objects())
    assert torch.equal(session.step(torch.rand(3, 40, 56)), half_background(session.masks))


def test_what_is_fed_back():
    net, labels, frames = network(mask_guided), two_objects(), torch.rand(4, 3, 40, 56)
    own = RecurrentSegmenter(net).start(frames[0], labels)
    merged = RecurrentSegmenter(net, feedback="merged").start(frames[0], labels)
    own.step(frames[1]), merged.step(frames[1])
    assert torch.equal(own.masks, merged.masks)  # frame 0 is given
    own.step(frames[2]), merged.step(frames[2])
    assert (own.masks - merged.masks).abs().max() > 1e-4


def test_merged_feedback_of_whole_strides_by_hand():
    net, frames = network(mask_guided), torch.rand(3, 3, 32, 48)
    labels = torch.zeros(32, 48, dtype=torch.uint8)
    labels[:10, :10], labels[15:30, 20:40] = 1, 2
    session = RecurrentSegmenter(net, feedback="merged").start(frames[0], labels)
    session.step(frames[1])
    state = net.begin(frames[1:2], soft_aggregate(session.masks)[1:, None])
    session.step(frames[2])
    torch.testing.assert_close(session.masks, net.step(frames[2:3], state)[1].mask[:, 0], atol=1e-6, rtol=1e-6)


def test_sessions_do_not_affect_each_other():
    segmenter = RecurrentSegmenter(network(hs2s))
    frames, labels = torch.rand(5, 3, 40, 56), two_objects()
    alone, one = segmenter.start(frames[0], labels), segmenter.start(frames[0], labels)
    other = segmenter.start(frames[4], labels)
    for t in range(1, 4):
        expected = alone.step(frames[t])
        found = one.step(frames[t])
        other.step(frames[4 - t])
        assert torch.equal(found, expected)


class Calls(TorchDispatchMode):
    """Names of the tensor operations that run inside."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("row", ROWS)
def test_no_step_and_no_clip_waits_for_the_device(row):
    """No operation whose result the host must see before it goes on."""
    net, frames = network(row), torch.rand(2, 4, 3, 32, 48)
    masks = (torch.rand(2, 4, 1, 32, 48) > 0.5).float()
    session = RecurrentSegmenter(net).start(torch.rand(3, 40, 56), two_objects())
    with Calls() as calls:
        session.step(torch.rand(3, 40, 56))
        net.unroll(frames, masks[:, 0], masks, torch.rand(2, 4) > 0.5)
        net.unroll(frames, masks[:, 0], masks, True)
    waits = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "bincount", "_unique2", "equal"}
    assert "convolution" in calls.names and not calls.names & waits


def test_a_blind_encoder_sees_a_frame_once_for_all_objects():
    net = network(s2s_plus_plus)
    batches = []
    net.encoder.register_forward_hook(lambda _, inputs, __: batches.append(len(inputs[0])))
    session = RecurrentSegmenter(net).start(torch.rand(3, 40, 56), two_objects())
    session.step(torch.rand(3, 40, 56))
    net.unroll(torch.rand(2, 5, 3, 32, 48), torch.ones(2, 1, 32, 48))
    assert batches == [1, 8]  # one frame for two objects; all frames but the first of two clips in one call


LOADERS = {
    "s2s-small": (load.load_s2s, s2s),
    "s2s-plus-plus-small": (load.load_s2s_plus_plus, s2s_plus_plus),
    "hs2s-small": (load.load_hs2s, hs2s),
    "bi-hs2s-small": (load.load_bi_hs2s, bi_hs2s),
    "hs2s-lite": (load.load_hs2s_lite, partial(hs2s, LITE)),
}


@pytest.mark.parametrize("name", LOADERS)
def test_loaders(name, tmp_path, monkeypatch):
    loader, row = LOADERS[name]
    path = export_weights(network(row), tmp_path / f"{name}.safetensors", half=False, limit=None)
    monkeypatch.setattr(load, "SHIPPED", tmp_path)
    for weights in (path, None):
        method = loader(weights, torch.device("cpu"))
        assert isinstance(method, BidirectionalSegmenter if name == "bi-hs2s-small" else RecurrentSegmenter)
        assert all(
            torch.equal(x, y) for x, y in zip(method.net.state_dict().values(), network(row).state_dict().values())
        )
    path.unlink()
    with pytest.raises(MissingDataError, match=f"weights of '{name}' are not here.*course train {name}.*--weights"):
        loader(None, torch.device("cpu"))


def test_errors():
    segmenter = RecurrentSegmenter(network(hs2s))
    labels = two_objects()
    session = segmenter.start(torch.rand(3, 40, 56), labels)
    session.step(torch.rand(3, 40, 56))
    with pytest.raises(InputError, match=r"hold \[9, 200\], which the session already follows"):
        session.add(labels)
    with pytest.raises(InputError, match="hold no object"):
        segmenter.start(torch.rand(3, 40, 56), torch.zeros_like(labels))
    with pytest.raises(InputError, match="labels of frame 0 are 40 x 56 but the frame is 40 x 50"):
        segmenter.start(torch.rand(3, 40, 50), labels)
    with pytest.raises(InputError, match="sees the future: use BidirectionalSegmenter"):
        RecurrentSegmenter(bi_hs2s())
    with pytest.raises(InputError, match="merge must be one of soft, half; got 'max'"):
        RecurrentSegmenter(segmenter.net, merge="max")
    with pytest.raises(InputError, match="feedback must be one of own, merged; got 'none'"):
        RecurrentSegmenter(segmenter.net, feedback="none")
    with pytest.raises(InputError, match="fed back only with merge='soft'"):
        RecurrentSegmenter(segmenter.net, merge="half", feedback="merged")
