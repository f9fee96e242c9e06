"""The systems of the chapter: what each is made of, its size, and that it can learn a clip by heart."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.methods.recurrent import rows
from course_lib.methods.recurrent.bidirectional import BidirectionalVOS
from course_lib.methods.recurrent.encoders import vgg_encoder
from course_lib.methods.recurrent.flow_network import FlowPrediction
from course_lib.methods.recurrent.rows import (
    TABLE,
    bi_hs2s,
    hs2s,
    mask_guided,
    raft_hs2s,
    rgmp,
    s2s,
    s2s_plus_plus,
    with_backbone,
)
from course_lib.methods.recurrent.session import BidirectionalSegmenter, RecurrentSegmenter
from course_lib.methods.recurrent.sizes import LITE, PUBLISHED, PUBLISHED_VGG, SMALL, Border, make_encoder
from course_lib.training.export import export_weights, load_weights

# initializer, mask into the encoder, references, cells beside the bottleneck's (None: no cell at all), distance classes
PARTS = {
    "A": (True, False, (), 0, 0),
    "A'": (False, True, (), None, 0),
    "B1": (True, False, (), 0, 22),
    "B2": (True, False, (), 1, 0),
    "B3": (True, False, (), 1, 22),
    "B4": (True, False, (), 2, 22),
    "C": (False, True, ("first",), None, 0),
    "D": (False, True, ("first", "previous"), 1, 22),
    "D1": (False, True, ("first",), 1, 22),
    "D2": (False, True, ("previous",), 1, 22),
    "D3": (False, True, ("first", "previous"), 1, 22),
    "D4": (False, True, ("first", "previous"), 1, 22),
    "E": (True, False, ("first", "previous"), 1, 22),
    "F": (False, True, ("first", "previous"), 1, 22),
}


def clip(batch=2, length=4, size=32):
    """A bright square that moves over a blurred background: frames [B, T, 3, S, S] and masks [B, T, 1, S, S]."""
    generator = torch.Generator().manual_seed(1)
    ground = 0.7 * F.interpolate(torch.rand(batch, 3, 6, 6, generator=generator), size=(size, size), mode="bilinear")
    frames, masks = ground[:, None].repeat(1, length, 1, 1, 1), torch.zeros(batch, length, 1, size, size)
    for t in range(length):
        x, y = 4 + 3 * t, 6 + 2 * t
        masks[:, t, :, y : y + 10, x : x + 10] = 1
    return torch.where(masks > 0, torch.tensor([0.9, 0.2, 0.3])[:, None, None], frames), masks


def parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", sorted(PARTS))
def test_what_a_row_is_made_of(name):
    initializer, guided, references, skips, classes = PARTS[name]
    net = TABLE[name](SMALL)
    assert isinstance(net, BidirectionalVOS) == (name == "E")
    net = net.net if name == "E" else net
    assert (net.initializer is not None) == initializer
    assert net.encoder.guided == guided
    assert net.references == references
    assert net.memory.strides == ([] if skips is None else [16, 8, 4][: skips + 1])
    assert (net.decoder.head.distance.out_channels if classes else net.decoder.head.distance) == (classes or None)
    own = {"encoder", "memory", "decoder", "initializer", "matching", "flow"}
    assert {child for child, _ in net.named_children()} <= own
    if name == "C":  # siamese
        assert net.matching.encoder is None


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_weight_of_a_row_learns(name):
    """Forward and backward with a mixed teacher: shapes, and a gradient for each weight, as parallel training needs."""
    torch.manual_seed(0)
    net, (frames, masks) = TABLE[name](SMALL), clip()
    answer = net(frames, masks[:, 0], masks, torch.tensor([[True, False, True, False], [True, True, False, False]]))
    assert answer.logits.shape == (2, 3, 1, 32, 32)
    loss = answer.logits.square().mean()
    if answer.distance is not None:
        assert answer.distance.shape == (2, 3, 22, 32, 32)
        loss = loss + answer.distance.square().mean()
    if isinstance(answer, FlowPrediction):
        assert [list(flow.shape) for flow in answer.flows] == [[2, 3, 2, 32, 32]] * 4
        loss = loss + sum(flow.square().mean() for flow in answer.flows)
    loss.backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("cell", ["gru", "deep", "tensor train", "relu lstm"])
def test_every_memory_can_be_started_by_an_initializer(cell):
    net, (frames, masks) = s2s(skip_memories=1, cell=cell), clip()
    net(frames, masks[:, 0]).logits.sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_row_follows_a_video_whose_sides_no_stride_divides(name):
    torch.manual_seed(0)
    net, labels = TABLE[name](SMALL), torch.zeros(37, 50, dtype=torch.uint8)
    labels[10:20, 10:20] = 3
    frames = torch.rand(3, 3, 37, 50)
    if name == "E":
        answer = BidirectionalSegmenter(net).segment(frames, labels)
        assert answer.shape == (3, 37, 50) and set(answer.unique().tolist()) <= {0, 3}
        return
    with torch.no_grad():
        session = RecurrentSegmenter(net).start(frames[0], labels)
        for frame in frames[1:]:
            probs = session.step(frame)
    assert probs.shape == (2, 37, 50) and probs.isfinite().all()


def test_plain_skips_stay_when_skip_memories_are_added():
    """What is there without a skip-memory is there with it, by the same name and of the same shape."""
    for before, after in ((s2s(), s2s(skip_memories=1)), (s2s(skip_memories=1), s2s(skip_memories=2))):
        old = {name: tensor.shape for name, tensor in before.state_dict().items()}
        new = {name: tensor.shape for name, tensor in after.state_dict().items()}
        assert old.items() <= new.items()
        added = new.keys() - old.keys()
        assert all(name.startswith(("memory.", "initializer.")) or ".memory." in name for name in added)
    plain = [name for name in s2s().state_dict() if ".plain." in name]
    assert len(plain) == 5  # four levels, and a bias where there is nothing to come up
    assert not [name for name in s2s(plain_skips=False).state_dict() if ".plain." in name]


def test_small_sizes():
    """The pilot's networks had 0.68 M (S2S) to 1.0 M (HS2S) parameters; all that ship must fit into 4 MB of halves."""
    assert parameters(s2s()) == 686_353
    assert parameters(hs2s()) == 1_033_513
    assert parameters(s2s().memory) == 64 * 9 * 2 * 256 + 256  # one ConvLSTM
    sizes = {name: parameters(row(SMALL)) for name, row in TABLE.items()}
    assert max(sizes.values()) < 2_000_000
    assert sizes["A"] < sizes["B1"] < sizes["B2"] < sizes["B3"] < sizes["B4"]
    for row in (s2s, s2s_plus_plus, hs2s, bi_hs2s, raft_hs2s, rgmp, mask_guided):
        assert parameters(row(LITE)) < 4_000_000


def test_the_lite_encoder_begins_trained():
    trained, other = make_encoder(LITE, False, imagenet=True), make_encoder(LITE, False, imagenet=True)
    state = trained.state_dict()
    name = next(key for key in state if key.endswith("conv.weight"))
    assert torch.equal(state[name], other.state_dict()[name])
    assert not torch.equal(state[name], make_encoder(LITE, False).state_dict()[name])


@cache
def published_encoder(size, guided, imagenet=False):
    """One for all networks here, for it takes a second to build; VGG-16 with a narrow head."""
    with torch.device("cpu"):
        return vgg_encoder(guided, None, head_width=4) if size.backbone == "vgg16" else make_encoder(size, guided)


@pytest.fixture
def published(monkeypatch):
    """Build a row at a published size: trunks for real, the rest as shapes only."""

    def build(row, size, **settings):
        with torch.device("meta"):
            return row(size, **settings)

    monkeypatch.setattr(rows, "make_encoder", published_encoder)
    return build


def test_published_s2s(published):
    """VGG-16 with its layers as convolutions, twice; ConvLSTM 512, and S2S++'s cells and decoder of section 6.3.2."""
    plain, full = published(s2s, PUBLISHED_VGG), published(s2s_plus_plus, PUBLISHED_VGG)
    trunk = 14_714_688  # VGG-16's convolutions
    head = 512 * 4 * 49 + 4 + 4 * 4 + 4 + 4 * 512 + 512
    assert parameters(plain.encoder) == trunk + head
    assert parameters(plain.initializer) == trunk + 64 * 9 + head + 2 * (512 * 512 + 512)
    assert parameters(plain.memory) == 18_876_416
    # fine to coarse: 1x1 over what comes up, plain skip and memory; 5x5; then 3x3 to one channel
    assert parameters(plain.decoder) == sum(
        merged * (inputs + 0) + merged + out * merged * 25 + out
        for inputs, merged, out in (
            (512 + 512, 512, 512), (512 + 512, 512, 256), (256 + 256, 256, 128), (128 + 128, 128, 64), (64 + 64, 64, 64)
        )
    ) + 64 * 9 + 1  # fmt: skip
    assert {s: parameters(full.memory.cell(s)) for s in full.memory.strides} == {
        32: 18_876_416,
        16: 18_876_416,
        8: 13_108_224,
    }
    assert full.memory.cell(8).kernel == 5
    head = 2 * (42 * 64 * 9 + 42) + 84 + 1
    assert parameters(full.decoder) == parameters(plain.decoder) - 577 + 512 * 512 + 256 * 256 + head
    finer = (512 * 512 * 9 + 512 + 1024 * 512 + 512) + (512 * 256 * 9 + 256 + 512 * 256 + 256)
    starts = 2 * (512 * 512 + 512) + 2 * (256 * 256 + 256)
    assert parameters(full.initializer) == parameters(plain.initializer) + finer + starts


def test_published_hs2s(published):
    """ResNet-50 twice, 1024 channels at the bottleneck, and the stages of section 6.4.2."""
    net = published(hs2s, PUBLISHED)
    assert {s: parameters(net.memory.cell(s)) for s in net.memory.strides} == {32: 75_501_568, 16: 209_719_296}
    resnet = 25_557_032 - (2048 * 1000 + 1000) + 64 * 49  # without its classifier, with a channel for the mask
    reduction = 2048 * 1024 + 2 * 1024
    assert parameters(net.encoder) == parameters(net.matching.encoder) == resnet + reduction
    assert parameters(net.matching.levels["32"].fusions["first"]) == 9_176_576
    assert parameters(net.matching.levels) == 2 * 9_176_576 + 1024 * 512 + 512
    wide = published(hs2s, PUBLISHED, shared=True, merge_skip=True)
    assert parameters(wide.matching) == 2 * parameters(net.matching.levels)
    stages = {}
    for name, stage in net.decoder.stages.items():
        branches = {b: conv.in_channels for b, conv in stage.blend.branches.items()}
        stages[int(name)] = (branches, stage.conv.in_channels, stage.conv.out_channels)
    assert stages == {
        32: ({"plain": 2048, "memory": 512}, 512, 512),
        16: ({"up": 512, "plain": 1024, "memory": 1024}, 512, 256),
        8: ({"up": 256, "plain": 512}, 256, 128),
        4: ({"up": 128, "plain": 256}, 128, 64),
        2: ({"up": 64, "plain": 64}, 64, 64),
    }
    assert net.decoder.head.distance.out_channels == 42


@pytest.mark.parametrize("backbone", ["vgg16", "resnet101", "deeplab", "deeplab-aspp", "axial-deeplab"])
def test_published_backbones(backbone, published):
    net = published(hs2s, with_backbone(PUBLISHED, backbone), shared=True)
    assert net.stride == (16 if "deeplab" in backbone else 32)
    assert net.memory.strides == [net.stride, net.stride // 2]


def test_choices_that_do_not_exist():
    with pytest.raises(InputError, match="up to 2 skip-memories, got 3"):
        s2s(skip_memories=3)
    with pytest.raises(InputError, match=r"backbone must be one of plain, residual.*got 'vgg'"):
        hs2s(with_backbone(SMALL, "vgg"))
    with pytest.raises(InputError, match=r"cell must be one of lstm.*got 'rnn'"):
        hs2s(cell="rnn")
    with pytest.raises(InputError, match="no ImageNet weights for the backbone 'plain'; 'lite' has them"):
        s2s(imagenet=True)
    with pytest.raises(InputError, match="1 <= width <= radius"):
        s2s(distance=Border(4, 5))


def test_weights_go_out_and_come_back(tmp_path):
    """A siamese network holds its encoder once; a network with two encoders holds both."""
    for row in (rgmp, hs2s):
        torch.manual_seed(0)
        net, (frames, masks) = row().eval(), clip()
        path = export_weights(net, tmp_path / f"{row.__name__}.safetensors", half=False)
        again = load_weights(row(), path).eval()
        with torch.no_grad():
            assert torch.equal(net(frames, masks[:, 0]).logits, again(frames, masks[:, 0]).logits)


@pytest.mark.parametrize("name", ["A", "B4", "D", "E"])
def test_a_clip_can_be_learned_by_heart(name):
    """Without a teacher, from the first mask alone: J over 95 % after a hundred steps at most."""
    torch.manual_seed(0)
    net, (frames, masks) = TABLE[name](SMALL), clip(batch=1, length=5)
    truth = masks[:, 1:]
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(100):
        logits = net(frames, masks[:, 0]).logits
        found = logits > 0
        overlap = (found & (truth > 0)).flatten(2).sum(2) / (found | (truth > 0)).flatten(2).sum(2)
        if overlap.min() > 0.97:
            break
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logits, truth).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    assert overlap.mean() > 0.95
