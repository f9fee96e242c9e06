"""A segmenter with a memory: streams and clips agree, causality, controls, and what trains when."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.local_memory import LocalMemoryConfig, LocalMemoryNet
from course_lib.methods.local_memory.config import PSPNET
from course_lib.methods.propagation.erfnet import ERFNet
from course_lib.methods.propagation.segmenter import FrameSegmenter

SMALL = LocalMemoryConfig(memory_size=2, window=5, key_channels=6, value_channels=8)


class Tiny(FrameSegmenter):
    """Two convolutions; the decoder looks at the frame again, as networks with lateral connections do."""

    def __init__(self, classes: int = 4, channels: int = 16) -> None:
        super().__init__(classes, stride=4, logits_stride=2, features_stride=4, features_channels=channels)
        self.encoder = nn.Sequential(nn.Conv2d(3, channels, 4, stride=4), nn.BatchNorm2d(channels), nn.ReLU())
        self.decoder = nn.ModuleDict(
            {"up": nn.ConvTranspose2d(channels, classes, 2, stride=2), "side": nn.Conv2d(3, classes, 2, stride=2)}
        )
        self.encoded = 0

    def encode(self, frames: Tensor) -> Tensor:
        self.encoded += len(frames)
        return self.encoder(frames)

    def decode(self, features: Tensor, frames: Tensor | None = None) -> Tensor:
        return self.decoder["up"](features) + self.decoder["side"](frames)


def network(**settings) -> LocalMemoryNet:
    torch.manual_seed(0)
    net = LocalMemoryNet(Tiny(), replace(SMALL, **settings))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def video(length: int = 5, height: int = 16, width: int = 24, number: int = 0) -> Tensor:
    return torch.rand(length, 3, height, width, generator=torch.Generator().manual_seed(number))


def run(net: LocalMemoryNet, frames: Tensor, memory_size: int | None = None) -> Tensor:
    session = net.start(memory_size)
    return torch.stack([session.step(frame) for frame in frames])


def test_the_published_size():
    """Keys and values have 184,480 parameters, the fusion 443,392."""
    net = LocalMemoryNet(ERFNet(20))
    count = {name: sum(p.numel() for p in module.parameters()) for name, module in net.named_children()}
    assert count["memory_heads"] + count["query_heads"] == 184_480 and count["fusion"] == 443_392
    assert sum(count.values()) - count["segmenter"] == 627_872


def test_query_keys_begin_as_memory_keys():
    net = network()
    x = torch.rand(1, 16, 4, 4)
    assert torch.equal(net.query_heads.key(x), net.memory_heads.key(x))
    assert net.query_heads.key.weight is not net.memory_heads.key.weight
    assert not torch.equal(net.query_heads.value.weight, net.memory_heads.value.weight)


@pytest.mark.parametrize("source", ["past", "self", "past_and_self", "none"])
@pytest.mark.parametrize("first_frame", ["decode", "self"])
def test_a_clip_says_the_same_as_a_stream(source, first_frame):
    net, frames = network(source=source, first_frame=first_frame), video()
    streamed = run(net, frames)
    for t in range(len(frames)):
        with torch.no_grad():
            last = net.segmenter.upsample(net(frames[None, : t + 1]), (16, 24))
        torch.testing.assert_close(last[0], streamed[t], rtol=1e-5, atol=1e-5)


def test_a_stream_repeats_itself_bit_by_bit():
    """Several videos at once, one at a time, and after a reset."""
    net, one, two = network(), video(), video(number=1)
    session = net.start()
    first = torch.stack([session.step(frame) for frame in one])
    session.reset()
    assert session.memory_bytes() == 0
    assert torch.equal(torch.stack([session.step(frame) for frame in one]), first)
    both = run(net, torch.stack([one, two], dim=1))
    torch.testing.assert_close(both[:, 0], first)
    torch.testing.assert_close(both[:, 1], run(net, two))


def test_the_first_frame_is_decoded_directly():
    net, frames = network(), video()
    with torch.no_grad():
        plain = net.segmenter.segment(frames[:1]).logits[0]
    assert torch.equal(run(net, frames)[0], plain)
    assert not torch.allclose(run(net, frames[[1, 0]])[1], plain, atol=1e-3)
    assert not torch.allclose(run(network(first_frame="self"), frames)[0], plain, atol=1e-3)


def test_a_frame_sees_the_memory_and_nothing_else():
    """Frame 4 reads frames 2 and 3: it changes with those, not with older or later ones."""
    net, frames = network(), video(7)
    before = run(net, frames)
    for changed in range(7):
        other = frames.clone()
        other[changed] = 1 - other[changed]
        differs = (run(net, other) - before).abs().amax((1, 2, 3)) > 1e-6
        assert differs.nonzero().flatten().tolist() == [t for t in range(7) if changed <= t <= changed + 2]


def test_far_places_of_the_past_are_not_seen():
    """Window 3 at stride 4: a changed pixel of the past moves nothing beyond its cell, keys, window and fusion."""
    net, frames = network(window=3, memory_size=1), video(2, 64, 64)
    before = run(net, frames)[1]
    frames[0, :, :4, :4] = 1 - frames[0, :, :4, :4]
    moved = ((run(net, frames)[1] - before).abs().amax(0) > 0).nonzero()
    reach = 1 + 1 + 2  # of the memory's convolutions, the window, and the two of the fusion, in cells
    assert 0 < moved.max() <= 4 * (reach + 1) + 1


def test_more_memory_than_configured():
    """A trained network reads longer memories; frames that repeat add nothing to them."""
    net, frames = network(), video(8)
    assert not torch.allclose(run(net, frames, 6)[-1], run(net, frames)[-1], atol=1e-4)
    still = frames[:1].expand(8, -1, -1, -1)
    torch.testing.assert_close(run(net, still, 6)[-1], run(net, still)[-1], rtol=1e-4, atol=1e-5)
    session = net.start(6)
    held = []
    for frame in frames:
        session.step(frame)
        held.append(session.memory_bytes() // ((6 + 8) * 4 * 6 * 4))
    assert held == [1, 2, 3, 4, 5, 6, 6, 6]


def test_the_encoder_runs_once_for_each_frame():
    net = network()
    run(net, video(6))
    assert net.segmenter.encoded == 6


def test_the_control_sees_no_other_frame():
    net, frames = network(source="self"), video()
    found = run(net, frames)
    assert torch.equal(found, torch.stack([net.start().step(frame) for frame in frames]))
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in network().parameters())
    only = run(network(source="past_and_self", memory_size=1), frames)
    assert torch.equal(found, only)  # a memory of this frame alone


def test_the_decoder_control_is_the_segmenter():
    net, frames = network(source="none"), video()
    assert {name for name, _ in net.named_children()} == {"segmenter"}
    with torch.no_grad():
        assert torch.equal(run(net, frames), torch.cat([net.segmenter.segment(f[None]).logits for f in frames]))


def test_frames_of_any_size():
    net, frames = network(), video(3, 15, 21)
    session = net.start()
    assert session.step(frames[0]).shape == (4, 15, 21)
    with pytest.raises(InputError, match=r"this video's frames are \[3, 15, 21\], got \[3, 16, 24\]"):
        session.step(video()[0])
    session.reset()
    assert session.step(video()[0]).shape == (4, 16, 24)
    padded = nn.functional.pad(frames, (0, 3, 0, 1), mode="replicate")
    torch.testing.assert_close(run(net, frames), run(net, padded)[..., :15, :21])


def trained(net: LocalMemoryNet) -> tuple[set[str], set[str]]:
    """Parts with parameters that moved, and with batch-norm statistics that moved, in one step on a clip."""
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    learning = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.1)
    net.train()
    net(video(3)[None].repeat(2, 1, 1, 1, 1)).square().sum().backward()
    assert all(p.grad is not None for p in learning)
    optimizer.step()
    moved = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    parameters = {name for name, _ in net.named_parameters()}
    return tuple({".".join(n.split(".")[:2]) for n in names} for names in (moved & parameters, moved - parameters))


def test_stages_of_training():
    memory = {"memory_heads.key", "memory_heads.value", "query_heads.key", "query_heads.value", "fusion.embed_query"}
    memory |= {"fusion.embed_memory", "fusion.gate_query", "fusion.gate_memory", "fusion.norm", "fusion.inputs"}
    statistics = {"fusion.norm", "fusion.inputs"}
    assert trained(network().set_stage(1)) == (memory, statistics)
    assert trained(network().set_stage(2)) == (memory | {"segmenter.decoder"}, statistics)
    everything = memory | {"segmenter.decoder", "segmenter.encoder"}
    assert trained(network().set_stage(2).set_stage(0)) == (everything, statistics | {"segmenter.encoder"})
    assert trained(network(source="none").set_stage(2)) == ({"segmenter.decoder"}, set())
    with pytest.raises(InputError, match="nothing trains in stage 1"):
        network(source="none").set_stage(1)
    with pytest.raises(InputError, match="stage must be 0"):
        network().set_stage(3)


def test_training_from_stored_features_is_the_same():
    net, frames = network().set_stage(2), video(6).view(2, 3, 3, 16, 24)
    features = net.segmenter.encode(frames.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(net.from_features(features, frames[:, -1]), net(frames))


def test_one_clip_can_be_learnt():
    """The label is the brightness of the frame before: only a memory can know it."""
    torch.manual_seed(0)
    frames, bright = torch.rand(16, 2, 3, 8, 8) * 0.1, torch.rand(16) > 0.5
    frames[bright, 0] += 0.9
    net = network(memory_size=1, fusion_dropout=0.0).set_stage(2).train()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-2)
    target = bright.long()[:, None, None].expand(-1, 4, 4)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(frames), target).backward()
        optimizer.step()
    assert (net(frames).argmax(1) == target).float().mean() > 0.95
    blind = network(source="self", fusion_dropout=0.0)
    assert torch.equal(blind(frames), blind(frames[:, 1:]))


@pytest.mark.parametrize("scale", ["none", "sqrt", "learned"])
def test_the_scale_of_scores(scale):
    net = network(scale=scale)
    assert float(torch.as_tensor(net.scale).detach()) == pytest.approx(
        {"none": 1.0, "sqrt": 6**-0.5, "learned": 1.0}[scale]
    )
    assert ("scale" in dict(net.named_parameters())) == (scale == "learned")
    net.train()
    net(video(3)[None]).square().sum().backward()
    if scale == "learned":
        assert net.scale.grad.abs() > 0


def test_a_trained_empty_cell():
    """Where it wins everything, the readout is zero."""
    net = network(no_match=True)
    with torch.no_grad():
        net.no_match.fill_(1e4)
    features = net.segmenter.encode(video(1))
    session = net.start()
    session.step(video(1)[0])
    assert (net.read(features, session.memory)[1] == 0).all()


@pytest.mark.parametrize("settings", [{"fusion": "concat"}, {"fusion": "bottleneck", "value_channels": None}])
def test_other_fusions_fit_the_decoder(settings):
    assert run(network(**settings), video()).shape == (5, 4, 16, 24)


class Narrow(nn.Module):
    """A fusion of one's own that loses half of the channels."""

    def forward(self, query: Tensor, readout: Tensor) -> Tensor:
        return query - readout


def test_a_fusion_of_ones_own_must_give_what_the_decoder_takes():
    session = LocalMemoryNet(Tiny(), SMALL, fusion=Narrow()).start()
    session.step(video(1)[0])
    with pytest.raises(InputError, match=r"takes, \[1, 16, 4, 6\], got \[1, 8, 4, 6\]"):
        session.step(video(1)[0])
    wide = LocalMemoryNet(Tiny(), replace(SMALL, value_channels=16), fusion=Narrow())
    assert run(wide, video()).shape == (5, 4, 16, 24)


def test_a_network_that_changes_during_a_video_is_noticed():
    net, frames = network(), video().double()
    session = net.start()
    first = session.step(video()[0])
    net.train()
    with pytest.raises(InputError, match="the network is in training mode"):
        session.step(video()[1])
    net.eval().double()
    for _ in range(2):  # the frame that is refused leaves nothing behind
        with pytest.raises(InputError, match=r"holds keys in torch\.float32 on cpu, got torch\.float64"):
            session.step(frames[1])
    session.reset()
    torch.testing.assert_close(session.step(frames[0]), first.double(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(session.step(frames[1]), run(net, frames)[1])


@pytest.mark.parametrize("source", ["self", "none"])
def test_a_control_needs_no_room_in_the_memory(source):
    net, frames = network(source=source), video(2)
    assert torch.equal(run(net, frames, memory_size=0), run(net, frames))
    with pytest.raises(InputError, match="got capacity=-1"):
        net.start(-1)


@pytest.mark.parametrize("source", ["past", "past_and_self"])
def test_a_memory_of_no_frame_is_refused(source):
    with pytest.raises(InputError, match="at least one frame, got capacity=0"):
        network(source=source).start(0)


def test_fusions_that_do_not_fit_are_named():
    with pytest.raises(InputError, match=r"fusion 'concat' must give the segmenter's 16 features, .* value_channels=8"):
        network(fusion="concat", value_channels=6)
    with pytest.raises(InputError, match="needs value_channels=None or 16; got value_channels=8"):
        network(fusion="bottleneck")


def test_features_can_be_values():
    net = LocalMemoryNet(Tiny(), replace(PSPNET, window=3)).eval()
    features = torch.rand(1, 16, 4, 4)
    assert torch.equal(net.memory_heads(features)[1], features)
    assert run(net, video()).isfinite().all()


def test_bad_clips():
    net = network()
    for bad in (torch.rand(2, 3, 16, 16), torch.rand(1, 0, 3, 16, 16), torch.zeros(1, 2, 3, 16, 16).byte()):
        with pytest.raises(InputError, match=r"a clip is \[B, T, 3, H, W\] float"):
            net(bad)
    with pytest.raises(InputError, match="Tiny takes sides such as 16 x 20, got 15 x 20"):
        net(torch.rand(1, 2, 3, 15, 20))
