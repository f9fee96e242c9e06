"""The sequential video segmenter: what each operating point does to each frame, by hand and with an oracle."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.errors import InputError
from course_lib.methods.propagation.dense_flow import KnownFlow, OpenCvFlow, motion_between
from course_lib.methods.propagation.inconsistency import AttentionConfig, blend_with_past, find_inconsistent, soften
from course_lib.methods.propagation.label_warp import warp_soft
from course_lib.methods.propagation.oracle import OracleSegmenter
from course_lib.methods.propagation.refiner import refine_carried
from course_lib.methods.propagation.schedule import OperatingPoint
from course_lib.methods.propagation.segmenter import FrameSegmenter
from course_lib.methods.propagation.video_segmenter import CarryConfig, PropagatingSegmenter


class TinySegmenter(FrameSegmenter):
    """Random weights; logits at stride 4, features at stride 8, a lateral connection; counts its calls."""

    def __init__(self, classes=5):
        super().__init__(classes, 8, 4, 8, 6)
        torch.manual_seed(0)
        self.deep = nn.Conv2d(3, 6, 8, stride=8)
        self.lateral = nn.Conv2d(3, classes, 4, stride=4)
        self.out = nn.Conv2d(6, classes, 1)
        self.calls = []
        self.eval()

    def encode(self, frames):
        self.calls.append("encode")
        return torch.tanh(8 * self.deep(frames - 0.5))

    def decode(self, features, frames=None):
        self.calls.append("decode")
        up = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
        return 4 * (self.out(up) + self.lateral(frames - 0.5))


def panning(length=6, step=2, height=40, width=56, seed=0):
    """Frames [T, 3, H, W] uint8 of a smooth random texture that moves by `step` pixels to the left each frame."""
    grain = torch.rand(1, 3, 12, 24, generator=torch.Generator().manual_seed(seed))
    large = F.interpolate(grain, (height, width + step * length), mode="bicubic", align_corners=False).clamp(0, 1)
    frames = [large[0, :, :, step * t : step * t + width] for t in range(length)]
    return (torch.stack(frames) * 255).round().to(torch.uint8)


def known(frames, step):
    flow = torch.zeros(len(frames) - 1, 2, *frames.shape[2:])
    flow[:, 0] = -step
    return KnownFlow(frames, flow, -flow)


@pytest.mark.parametrize("size", [(40, 56), (37, 50)])
def test_with_every_frame_a_key_it_is_the_network(size):
    net, frames = TinySegmenter(), panning(3, height=size[0], width=size[1])
    answers = list(PropagatingSegmenter(net, point=OperatingPoint(1)).run(frames))
    for frame, answer in zip(frames, answers, strict=True):
        image = frame[None].float() / 255
        probs = net(net.padded(image)).logits.softmax(1)
        assert torch.equal(answer.probs, probs[0]) and answer.kind == "key" and answer.attention is None
        assert answer.labels.shape == size and answer.labels.dtype == torch.uint8
        assert torch.equal(answer.labels, net.segment(image).logits.argmax(1)[0].to(torch.uint8))


@pytest.mark.parametrize(
    ("point", "calls"),
    [
        (OperatingPoint(3), {"encode": 2, "decode": 2}),
        (OperatingPoint(3, refine="last"), {"encode": 2, "decode": 4}),
        (OperatingPoint(3, refine="all"), {"encode": 2, "decode": 6}),
        (OperatingPoint(3, warp=False), {"encode": 2, "decode": 2}),
        (OperatingPoint(1, refine="last"), {"encode": 6, "decode": 6}),
    ],
)
def test_the_network_runs_where_the_schedule_says(point, calls):
    net = TinySegmenter()
    answers = list(PropagatingSegmenter(net, point=point).run(panning(6)))
    assert tuple(answer.kind for answer in answers) == point.kinds(6)
    assert [answer.index for answer in answers] == list(range(6))
    assert {name: net.calls.count(name) for name in calls} == calls
    assert all((answer.attention is not None) == (answer.kind in ("refine", "blend")) for answer in answers)
    if not point.warp:
        assert torch.equal(answers[2].labels, answers[0].labels)


def test_an_oracle_and_known_motion_leave_only_what_enters():
    frames, step, S = panning(6, step=3), 3, 6
    labels = (frames.float().mean(1) / 64).to(torch.uint8)
    video = PropagatingSegmenter(OracleSegmenter(frames, labels, 4), known(frames, step), OperatingPoint(S))
    for answer in video.run(frames):
        seen = slice(0, 56 - step * answer.index)  # the rest has entered since the key frame
        assert torch.equal(answer.labels[:, seen], labels[answer.index][:, seen])
    copied = PropagatingSegmenter(
        OracleSegmenter(frames, labels, 4), known(frames, step), OperatingPoint(S, warp=False)
    )
    last = list(copied.run(frames))[-1]
    assert (last.labels != labels[-1]).float().mean() > 0.1


def test_a_refined_frame_by_hand():
    """S = 2: features and probabilities are warped, each with vectors of its own grid; then equations 3.3 and 3.4."""
    net, frames, flow = TinySegmenter(), panning(2), OpenCvFlow()
    config = CarryConfig(attention=AttentionConfig("labels", dilation=3, smoothing=1.0))
    answer = list(PropagatingSegmenter(net, flow, OperatingPoint(2, refine="last"), config).run(frames))[1]
    first, second = (frame[None].float() / 255 for frame in frames)
    motion = motion_between(flow, flow.see(first[0]), flow.see(second[0]), both=True)
    with torch.no_grad():
        key = net(first)
        refined = net.decode(warp_soft(key.features, motion.to_past), second).softmax(1)
    wanted, attention = refine_carried(
        refined, warp_soft(key.logits.softmax(1), motion.to_past), motion, config.attention
    )
    assert torch.equal(answer.probs, wanted[0]) and torch.equal(answer.attention, attention[0, 0])
    assert attention.max() > 0.5  # there was something to refine


def test_every_frame_blended_with_its_past_by_hand():
    net, frames, flow = TinySegmenter(), panning(2), OpenCvFlow()
    attention = AttentionConfig("either", dilation=3, smoothing=1.0)
    point = OperatingPoint(1, refine="last")
    answer = list(PropagatingSegmenter(net, flow, point, CarryConfig(attention=attention)).run(frames))[1]
    first, second = (frame[None].float() / 255 for frame in frames)
    motion = motion_between(flow, flow.see(first[0]), flow.see(second[0]), both=True)
    with torch.no_grad():
        past, new = (net(x).logits.softmax(1) for x in (first, second))
    past = warp_soft(past, motion.to_past)
    wanted = blend_with_past(soften(find_inconsistent(past, motion, attention), attention), new, past)
    assert torch.equal(answer.probs, wanted[0])
    fresh = list(PropagatingSegmenter(net, flow, point, CarryConfig(keep=0.0)).run(frames))[1]
    torch.testing.assert_close(fresh.probs, new[0])  # nothing of the past is kept


@pytest.mark.parametrize(
    "point", [OperatingPoint(3, refine="all"), OperatingPoint(1, refine="last"), OperatingPoint(3)]
)
@pytest.mark.parametrize("config", [CarryConfig(), CarryConfig(form="literal", repeat="compose")])
def test_future_frames_change_nothing(point, config):
    net, frames = TinySegmenter(), panning(6)
    changed = frames.clone()
    changed[4:] = 255 - changed[4:]
    video = PropagatingSegmenter(net, point=point, config=config)
    before, after = list(video.run(frames)), list(video.run(changed))
    for a, b in zip(before[:4], after[:4], strict=True):
        assert torch.equal(a.probs, b.probs) and torch.equal(a.labels, b.labels)
    assert not torch.equal(before[4].probs, after[4].probs)


def test_answers_come_while_frames_come():
    asked = []

    def camera():
        for t, frame in enumerate(panning(5)):
            asked.append(t)
            yield frame

    for answer in PropagatingSegmenter(TinySegmenter()).run(camera()):
        assert asked[-1] == answer.index


def test_a_cut_starts_anew():
    net = TinySegmenter()
    first, second = panning(4), panning(5, seed=9, height=48, width=64)  # another size, which a cut allows
    video = PropagatingSegmenter(net, point=OperatingPoint(3, refine="last"))
    joined = list(video.run([*first, *second], cuts=(4,)))
    alone = list(video.run(second))
    assert [a.kind for a in joined] == ["key", "warp", "refine", "key", "key", "warp", "refine", "key", "warp"]
    for a, b in zip(joined[4:], alone, strict=True):
        assert torch.equal(a.probs, b.probs) and a.index == b.index + 4


def test_two_streams_do_not_meet():
    video = PropagatingSegmenter(TinySegmenter())
    one, two = panning(4), panning(4, seed=3)
    alone = list(video.run(one)), list(video.run(two))
    together = list(zip(video.run(one), video.run(two), strict=True))
    assert all(torch.equal(pair[i].probs, alone[i][t].probs) for t, pair in enumerate(together) for i in (0, 1))


def test_half_the_input_scale():
    net, frames = TinySegmenter(), panning(3, height=80, width=112)
    sizes = []
    net.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[-2:])))
    answers = list(PropagatingSegmenter(net, point=OperatingPoint(2, input_scale=0.5)).run(frames))
    assert sizes == [(40, 56), (40, 56)] and answers[1].labels.shape == (80, 112)
    assert answers[1].probs.shape == (5, 10, 14)


def test_composed_flow_keeps_edges_sharp():
    """Half a pixel a frame, eight frames: one warp instead of eight."""
    frames = panning(9, step=1)
    labels = torch.zeros(9, 40, 56, dtype=torch.uint8)
    labels[:, :, 20:24] = 1  # a pole
    flow = torch.zeros(8, 2, 40, 56)
    flow[:, 0] = -0.5
    oracle = OracleSegmenter(frames, labels, 2)
    last = {}
    for repeat in ("warp", "compose"):
        video = PropagatingSegmenter(
            oracle, KnownFlow(frames, flow, -flow), OperatingPoint(9), CarryConfig(repeat=repeat)
        )
        last[repeat] = list(video.run(frames))[-1].probs[1]
    truth = torch.zeros(40, 56)
    truth[:, 16:20] = 1
    torch.testing.assert_close(last["compose"], truth)
    assert last["warp"].max() < 0.95


def test_uint8_and_float_frames_are_one():
    video, frames = PropagatingSegmenter(TinySegmenter()), panning(3)
    for a, b in zip(video.run(frames), video.run(frames.float() / 255), strict=True):
        assert torch.equal(a.probs, b.probs)


def test_answers_hold_no_graph():
    answers = list(PropagatingSegmenter(TinySegmenter(), point=OperatingPoint(2, refine="last")).run(panning(3)))
    assert not any(answer.probs.requires_grad for answer in answers)


def test_bad_input_is_named():
    video = PropagatingSegmenter(TinySegmenter())
    frames = panning(2)
    with pytest.raises(InputError, match=r"frame 1 is \[20, 56\] but the frames before it are \[40, 56\].*cuts"):
        list(video.run([frames[0], frames[1][:, :20]]))
    with pytest.raises(InputError, match="frame 0 must be a tensor"):
        list(video.run([frames]))
    with pytest.raises(InputError, match="frame 0 must be a tensor"):
        list(video.run([frames[0].numpy()]))
    with pytest.raises(InputError, match="frame 1 holds values"):
        list(video.run([frames[0].float() / 255, frames[1].float()]))
    with pytest.raises(InputError, match="indices of frames"):
        list(video.run(frames, cuts=(-1,)))
    with pytest.raises(InputError, match="at least 16"):
        list(video.run(panning(2, height=8, width=40)))
    with pytest.raises(InputError, match=r"call \.eval\(\) first"):
        PropagatingSegmenter(TinySegmenter().train())
    with pytest.raises(InputError, match="has 256"):
        PropagatingSegmenter(TinySegmenter(256))
    with pytest.raises(InputError, match="form must be"):
        CarryConfig(form="forward")
    with pytest.raises(InputError, match="share"):
        CarryConfig(keep=-1)
