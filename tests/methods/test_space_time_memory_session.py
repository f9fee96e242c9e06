"""Videos followed by a space-time memory network: causality, late objects, bounded memory, and the engine around it.

The network is the small sibling with random weights: what is tested here holds for any weights.
"""

from itertools import pairwise

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.data.synthetic import World, scenario
from course_lib.errors import InputError
from course_lib.methods.space_time_memory import SMALL, STCN, MemoryConfig, MemorySession, SpaceTimeSegmenter
from course_lib.methods.space_time_memory.cells import MemoryCapError
from course_lib.vos.aggregate import soft_aggregate
from course_lib.vos.engine import segment
from course_lib.vos.models import load_model
from course_lib.vos.protocol import Session, VideoSegmenter

POLICIES = ("every_k", "first_and_latest", "adaptive", "softmax_index", "pinned", "fifo", "random", "merging")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = STCN(SMALL).eval()
    with torch.no_grad():
        net.key_encoder.key.weight *= 30  # random features are alike everywhere: spread the keys, or nothing is near
        net.decoder.pred.weight *= 20
    return net


@pytest.fixture(scope="module")
def clip():
    return World(scenario("easy", image_size=(48, 64), length=12, dense_truth=False)).clip(1)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def masks_of(clip) -> torch.Tensor:
    return (clip.labels[0] == clip.ids[:, None, None]).float()


def answers(net, memory, frames, labels, later=None) -> torch.Tensor:
    return [probs.clone() for probs in segment(SpaceTimeSegmenter(net, memory), frames, labels, later)]


@pytest.mark.parametrize("policy", POLICIES)
def test_propagate_and_the_engine_agree(net, clip, policy):
    memory = MemoryConfig(policy=policy, mem_every=2, top_k=4)
    probs = net.propagate(clip.frames.float() / 255, masks_of(clip), memory=memory)
    streamed = answers(net, memory, clip.frames, clip.labels[0])
    assert probs.shape == (12, 3, 48, 64)
    torch.testing.assert_close(probs[1:], torch.stack(streamed[1:]), atol=1e-6, rtol=0)
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(12, 48, 64))


@pytest.mark.parametrize("policy", POLICIES)
def test_the_future_does_not_matter(net, clip, policy):
    memory = MemoryConfig(policy=policy, mem_every=2, top_k=4, include_last=policy == "every_k")
    frames = clip.frames.clone()
    whole = answers(net, memory, frames, clip.labels[0])
    frames[7:] = 255 - frames[7:]
    changed = answers(net, memory, frames, clip.labels[0])
    assert all(torch.equal(a, b) for a, b in zip(whole[:7], changed[:7], strict=True))
    assert not torch.allclose(whole[7], changed[7])


def test_an_unbounded_adaptive_memory_gives_the_answers_of_every_k(net, clip):
    frames, masks = clip.frames.float() / 255, masks_of(clip)
    adaptive = MemoryConfig(policy="adaptive", capacity=float("inf"), mem_every=2, top_k=4)
    assert torch.equal(net.propagate(frames, masks, 2, top_k=4), net.propagate(frames, masks, memory=adaptive))


def test_memory_changes_the_answers(net, clip):
    frames, masks = clip.frames.float() / 255, masks_of(clip)
    every = net.propagate(frames, masks, 2, top_k=4)
    for other in (net.propagate(frames, masks, 3, top_k=4), net.propagate(frames, masks, 2, True, top_k=4)):
        assert (every - other).abs().max() > 1e-4


def test_how_often_each_encoder_runs(net, clip, monkeypatch):
    calls = {"key": 0, "value": 0}
    for name in calls:
        original = getattr(STCN, f"encode_{name}")

        def counted(self, *args, name=name, original=original):
            calls[name] += 1
            return original(self, *args)

        monkeypatch.setattr(STCN, f"encode_{name}", counted)
    frames, masks = torch.rand(21, 3, 32, 32), torch.ones(1, 32, 32)
    expected = {"every_k": 4, "adaptive": 4, "first_and_latest": 20}  # frames 0, 5, 10, 15; the last is never stored
    for policy, values in expected.items():
        calls.update(key=0, value=0)
        net.propagate(frames, masks, memory=MemoryConfig(policy=policy, top_k=2))
        assert calls == {"key": 21, "value": values}


@pytest.mark.parametrize("reaggregate", [False, True])
def test_objects_that_come_later_leave_earlier_answers_alone(net, clip, reaggregate):
    memory = MemoryConfig(mem_every=2, top_k=4, reaggregate=reaggregate)
    first = torch.where(clip.labels[0] == 1, 1, 0).to(torch.uint8)
    new = torch.zeros(48, 64, dtype=torch.uint8)
    new[30:46, 40:60] = 9
    alone = answers(net, memory, clip.frames, first)
    joined = answers(net, memory, clip.frames, first, {5: new})
    assert all(torch.equal(a, b) for a, b in zip(alone[:5], joined[:5], strict=True))
    at_birth = joined[5]
    assert len(at_birth) == 3 and (at_birth.argmax(dim=0) == 2).equal(new == 9)
    expected = soft_aggregate(alone[5][1:]) if reaggregate else alone[5]  # the published rule: compete once more
    torch.testing.assert_close(at_birth[:2, new == 0], expected[:, new == 0], atol=1e-6, rtol=0)


def test_a_late_object_answers_as_if_its_video_began_at_its_birth(net, clip):
    """Cells older than an object are closed to it, so alone with its own first frame it would see the same memory."""
    frames = clip.frames.float() / 255
    first = torch.where(clip.labels[0] == 1, 1, 0).to(torch.uint8)
    new = torch.zeros(48, 64, dtype=torch.uint8)
    new[30:46, 40:60] = 9
    run = MemorySession(net, MemoryConfig(top_k=4), frames[0], (first == 1)[None].float(), torch.tensor([1]))
    for t in range(1, 5):
        run.step(frames[t])
    run.add(new)
    both = run._probs[1:].clone()
    run.step(frames[5])
    old, young = (g.values for g in run.bank.cells.groups)
    features = [net.encode_key(f[None]) for f in frames[4:6]]
    value = net.encode_value(frames[4, None], features[0], both[None])  # [1, 2, Cv, h, w]
    assert torch.allclose(young[0, 12:24].mT, value[0, 1].flatten(1), atol=1e-6) and old.shape[1] == young.shape[1]
    readout = net.read(features[0].key.flatten(2), value.flatten(3), features[1].key, top_k=4)
    found = run.bank.read(features[1].key[0].flatten(1))
    torch.testing.assert_close(found[1], readout[0, 1].flatten(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("policy", POLICIES)
def test_late_objects_with_every_policy(net, policy):
    frames = torch.rand(14, 3, 32, 48)
    labels = torch.zeros(32, 48, dtype=torch.uint8)
    labels[4:20, 4:20] = 200
    later = {t: torch.zeros(32, 48, dtype=torch.uint8) for t in (3, 8)}
    later[3][20:30, 30:40], later[8][2:8, 40:46], later[8][25:30, 2:9] = 4, 7, 1
    run = segment(SpaceTimeSegmenter(net, MemoryConfig(policy=policy, top_k=2)), frames, labels, later)
    for t, probs in enumerate(run):
        assert probs.isfinite().all() and len(probs) == 2 + (t >= 3) + 2 * (t >= 8)
    assert run.ids.tolist() == [200, 4, 1, 7]


def test_padding_is_the_colour_that_normalises_to_zero(net):
    """A frame of that colour with more of it around it is the same input; borders of the padding are not seen."""
    frames, mask = net.border[None, :, None, None].expand(3, 3, 40, 40).clone(), torch.zeros(1, 40, 40)
    mask[0, 10:30, 10:30] = 1
    wide = net.border[None, :, None, None].expand(3, 3, 48, 48).clone()
    wide_mask = torch.nn.functional.pad(mask, (4, 4, 4, 4))
    small, large = net.propagate(frames, mask, top_k=3), net.propagate(wide, wide_mask, top_k=3)
    torch.testing.assert_close(small, large[:, :, 4:44, 4:44], atol=1e-5, rtol=0)


def test_the_first_mask_goes_through_soft_aggregation(net, clip):
    masks = masks_of(clip)
    probs = net.propagate(clip.frames[:1].float() / 255, masks)
    torch.testing.assert_close(probs[0], soft_aggregate(masks))


def test_sessions_do_not_affect_each_other(net, clip):
    segmenter = SpaceTimeSegmenter(net, MemoryConfig(policy="adaptive", mem_every=2, top_k=4))
    frames = clip.frames.float() / 255
    alone = segmenter.start(frames[0], clip.labels[0])
    one, other = segmenter.start(frames[0], clip.labels[0]), segmenter.start(frames[5], clip.labels[5])
    assert isinstance(segmenter, VideoSegmenter) and isinstance(one, Session)
    for t in range(1, 7):
        expected = alone.step(frames[t])
        found = one.step(frames[t])
        other.step(frames[5 - t % 5])
        assert torch.equal(found, expected)


def test_300_frames_in_constant_memory(net):
    """Bytes of the bounded memory and of the whole session stay; every_k grows until its cap stops it."""
    frames, labels = torch.rand(10, 3, 32, 32), torch.zeros(32, 32, dtype=torch.uint8)
    labels[8:24, 8:24] = 1
    stream = [frames[t % 10] for t in range(300)]
    run = segment(SpaceTimeSegmenter(net, MemoryConfig(policy="adaptive", capacity=3, top_k=2)), stream, labels)
    held = []
    for probs in run:
        assert probs.isfinite().all()
        held.append(run.memory_bytes())
    assert len(held) == 300 and len(set(held[2:])) == 1  # the first step allocates
    cells = run.session.bank.cells
    assert cells.stored == 3 * 4 and int(cells.uses.sum()) > 0

    growing = segment(SpaceTimeSegmenter(net, MemoryConfig(top_k=2, max_bytes=50_000)), stream, labels)
    bytes_used = []
    with pytest.raises(MemoryCapError, match="'adaptive' keeps it constant"):
        for _ in growing:
            bytes_used.append(growing.session.bank.used_bytes())
    assert 50 < len(bytes_used) < 300 and max(bytes_used) <= 50_000
    assert all(a <= b for a, b in pairwise(bytes_used))


class Calls(TorchDispatchMode):
    """Names of the tensor operations that run inside."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "merging"])
def test_a_step_never_waits_for_the_device(net, clip, policy):
    """No operation whose result the host must see before it goes on, neither in reading nor in writing."""
    frames = clip.frames.float() / 255
    memory = MemoryConfig(policy=policy, mem_every=1, top_k=4, include_last=policy == "adaptive")
    session = SpaceTimeSegmenter(net, memory).start(frames[0], clip.labels[0])
    with Calls() as calls:
        for frame in frames[1:8]:
            session.step(frame)
    waits = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "bincount", "_unique2", "equal"}
    assert "topk" in calls.names and not calls.names & waits


def test_ignored_pixels_belong_to_nobody(net):
    labels = torch.zeros(32, 32, dtype=torch.uint8)
    labels[:8], labels[16:] = 3, 255
    session = SpaceTimeSegmenter(net).start(torch.rand(3, 32, 32), labels)
    assert session.ids.tolist() == [3] and (session.probs[0, 16:] > 0.99).all()


def test_errors(net, clip):
    segmenter = SpaceTimeSegmenter(net)
    frames = clip.frames.float() / 255
    session = segmenter.start(frames[0], clip.labels[0])
    session.step(frames[1])
    with pytest.raises(InputError, match=r"hold \[1\], which the session already follows"):
        session.add(torch.where(clip.labels[1] == 1, 1, 0).to(torch.uint8))
    with pytest.raises(InputError, match="hold no object"):
        segmenter.start(frames[0], torch.zeros_like(clip.labels[0]))
    with pytest.raises(InputError, match=r"frames must be \[T, 3, H, W\] floating point.*uint8; divide"):
        net.propagate(clip.frames, masks_of(clip))
    with pytest.raises(InputError, match=r"masks must be \[K, H, W\] of the frames' size \[48, 64\]"):
        net.propagate(frames, torch.zeros(2, 48, 60))
    with pytest.raises(InputError, match="divisible by 16"):
        net.encode_key(torch.rand(1, 3, 40, 48))
    with pytest.raises(InputError, match=r"masks must be \[B, K, H, W\]"):
        net.encode_value(torch.rand(1, 3, 32, 32), net.encode_key(torch.rand(1, 3, 32, 32)), torch.rand(1, 16, 16))
    with pytest.raises(FileNotFoundError, match="--weights"):
        load_model("stcn", device="cpu")
