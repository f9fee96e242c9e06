"""The network that runs both ways: the scheme by hand, what sees what, windows, and whole clips as a method."""

import pytest
import torch

from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError
from course_lib.methods.recurrent.bidirectional import BidirectionalVOS, both_ways
from course_lib.methods.recurrent.rows import bi_hs2s, hs2s, s2s
from course_lib.methods.recurrent.session import BidirectionalSegmenter, windows
from course_lib.nn.conv_lstm import ConvLSTM
from course_lib.nn.recurrent_cell import RecurrentCell
from course_lib.vos.aggregate import labels_from_probs, soft_aggregate
from course_lib.vos.protocol import OfflineSegmenter, VideoSegmenter


class Sum(RecurrentCell):
    """A cell that adds up what it reads."""

    maps = 1

    def update(self, x, state):
        return (state[0] + x,)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return bi_hs2s().eval()


def clip(batch=2, length=5, size=(32, 48)):
    generator = torch.Generator().manual_seed(3)
    frames = torch.rand(batch, length, 3, *size, generator=generator)
    masks = (torch.rand(batch, length, 1, *size, generator=generator) > 0.6).float()
    return frames, masks


def test_sums_both_ways():
    inputs = [torch.full((1, 1, 1, 1), value) for value in (1.0, 2.0, 3.0)]
    ahead, back = both_ways(Sum(1, 1, 1), Sum(1, 1, 1), inputs, (torch.zeros(1, 1, 1, 1),))
    assert [float(x) for x in ahead] == [1, 3, 6]
    assert [float(x) for x in back] == [12, 11, 9]


def test_the_backward_cell_takes_over_both_states_of_the_forward_one():
    torch.manual_seed(0)
    forward, backward = ConvLSTM(2, 3), ConvLSTM(2, 3)
    inputs = [torch.randn(1, 2, 4, 4) for _ in range(3)]
    state = forward.zeros(inputs[0])
    _, back = both_ways(forward, backward, inputs, state)
    for x in inputs:
        state = forward(x, state)
    assert torch.equal(back[2], backward(inputs[2], state)[0])


def test_every_answer_sees_the_last_frame(net):
    """And none the frames after the clip, of course; the causal network does not (see there)."""
    frames, masks = clip()
    last = frames[:, -1].clone().requires_grad_()
    logits = net(torch.cat([frames[:, :-1], last[:, None]], dim=1), masks[:, 0]).logits
    for t in range(4):
        (gradient,) = torch.autograd.grad(logits[:, t].sum(), last, retain_graph=True)
        assert gradient.abs().max() > 1e-7
    assert not net.causal


def test_all_at_once_is_frame_by_frame(net):
    frames, masks = clip()
    always = torch.ones(2, 5, dtype=torch.bool)
    with torch.no_grad():
        fast, slow = net(frames, masks[:, 0], masks, True), net(frames, masks[:, 0], masks, always)
        torch.testing.assert_close(fast.logits, slow.logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(fast.distance, slow.distance, atol=1e-5, rtol=1e-5)
        own = net(frames, masks[:, 0]).logits
        torch.testing.assert_close(own[:, 0], slow.logits[:, 0], atol=1e-5, rtol=1e-5)
        assert (own[:, 1:] - slow.logits[:, 1:]).abs().max() > 1e-5


def test_one_clip_serves_all_objects(net):
    frames, masks = clip(batch=1)
    firsts = torch.cat([masks[:, 0], 1 - masks[:, 0]])
    with torch.no_grad():
        shared = net(frames, firsts).logits
        for k in range(2):
            torch.testing.assert_close(shared[k : k + 1], net(frames, firsts[k : k + 1]).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("length", "spans"),
    [
        (1, []),
        (2, [(0, 2)]),
        (20, [(0, 20)]),
        (21, [(0, 20), (15, 21)]),
        (35, [(0, 20), (15, 35)]),
        (36, [(0, 20), (15, 35), (30, 36)]),
    ],
)
def test_windows(length, spans):
    found = windows(length, 20, 5)
    assert found == spans
    assert {t for begin, end in found for t in range(begin + 1, end)} == set(range(1, length))


def test_a_short_clip_is_one_window(net):
    world = World(scenario("easy", image_size=(40, 56), length=6, dense_truth=False)).clip(2)
    frames, labels = world.frames.float() / 255, world.labels[0]
    method = BidirectionalSegmenter(net)
    assert isinstance(method, OfflineSegmenter) and not isinstance(method, VideoSegmenter) and not method.causal
    first = (labels == world.ids[:, None, None]).float()
    masks = method.masks(frames, first)
    assert torch.equal(masks[0], first)
    generous = BidirectionalSegmenter(net, window=100, overlap=50)
    assert torch.equal(generous.masks(frames, first), masks)
    answer = method.segment(frames, labels)
    assert torch.equal(answer[0], labels) and answer.dtype == torch.uint8
    for t in range(1, 6):
        assert torch.equal(answer[t], labels_from_probs(soft_aggregate(masks[t]), world.ids))


def test_a_later_window_begins_with_the_mask_handed_over_and_still_asks_frame_0(net):
    frames, masks = clip(batch=1, length=8)
    method = BidirectionalSegmenter(net, window=5, overlap=2)
    first = masks[0, 0]
    found = method.masks(frames[0], first)
    with torch.no_grad():
        early = net(frames[:, :5], first[None]).logits.sigmoid()[0, :, 0]
        torch.testing.assert_close(found[1:4, 0], early[:3], atol=1e-6, rtol=1e-5)
        anchor = net.net.refer(frames[:, 0], first[None])
        late = net.unroll(frames[:, 3:8], early[None, 2:3], anchor=anchor).logits.sigmoid()[0, :, 0]
        torch.testing.assert_close(found[4:8, 0], late, atol=1e-6, rtol=1e-5)
        adrift = net.unroll(frames[:, 3:8], early[None, 2:3]).logits.sigmoid()[0, :, 0]
    assert (late - adrift).abs().max() > 1e-5


def test_objects_are_followed_independently(net):
    frames = torch.rand(7, 3, 40, 56)
    first = torch.zeros(2, 40, 56)
    first[0, 5:15, 5:15], first[1, 20:35, 30:50] = 1, 1
    method = BidirectionalSegmenter(net, window=4, overlap=1)
    both = method.masks(frames, first)
    for k in range(2):
        torch.testing.assert_close(both[:, k : k + 1], method.masks(frames, first[k : k + 1]), atol=1e-5, rtol=1e-5)


def test_errors(net):
    with pytest.raises(InputError, match="needs an encoder without mask"):
        BidirectionalVOS(hs2s(), ConvLSTM(64, 64))
    with pytest.raises(InputError, match="the forward cell's channels, 64 in and 64 out, got 64 and 32"):
        BidirectionalVOS(s2s(), ConvLSTM(64, 32))
    with pytest.raises(InputError, match="expected a BidirectionalVOS, got RecurrentVOS"):
        BidirectionalSegmenter(s2s())
    with pytest.raises(InputError, match="1 <= overlap < window, got overlap 5 and window 5"):
        BidirectionalSegmenter(net, window=5)
    with pytest.raises(InputError, match="merge must be one of soft, half; got 'hard'"):
        BidirectionalSegmenter(net, merge="hard")
    with pytest.raises(InputError, match="hold no object"):
        BidirectionalSegmenter(net).segment(torch.rand(2, 3, 32, 32), torch.zeros(32, 32, dtype=torch.uint8))
