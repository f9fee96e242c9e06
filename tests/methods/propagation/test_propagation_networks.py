"""The two networks that have a refiner: published sizes, the cut between deep and shallow, and that they learn."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib.errors import InputError
from course_lib.methods.propagation.icnet import AUXILIARY, ICNet, ICNetConfig, TrainingLogits, icnet_loss
from course_lib.methods.propagation.lite_segmenter import LiteSegmenter
from course_lib.methods.propagation.oracle import OracleSegmenter
from course_lib.methods.propagation.refiner import Refiner


def shapes(module, names, *inputs):
    """Output sizes [C, H, W] of named parts while the module runs."""
    found = {}

    def note(name):
        def hook(part, inputs, output):
            found[name] = tuple(output.shape[1:])

        return module.get_submodule(name).register_forward_hook(hook)

    hooks = [note(name) for name in names]
    module(*inputs)
    for hook in hooks:
        hook.remove()
    return found


def flops(function, *inputs):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*inputs)
    return counter.get_total_flops()


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):  # shapes only: no memory, no time
        return ICNet(19).eval(), torch.empty(1, 3, 1024, 2048)


def test_icnet_has_the_published_sizes(published):
    net, frames = published
    wanted = {  # channels, height, width for a frame of 2048 x 1024
        "stem": (64, 128, 256),
        "res2": (128, 128, 256),
        "res3_first": (256, 64, 128),
        "res5": (1024, 32, 64),
        "squeeze": (256, 32, 64),
        "fuse_middle": (128, 64, 128),
        "shallow": (64, 128, 256),
        "fuse_shallow": (128, 128, 256),
        "classifier": (19, 256, 512),
    }
    assert shapes(net, wanted, frames) == wanted
    found = net(frames)
    assert found.logits.shape == (1, 19, 256, 512) and found.features.shape == (1, 256, 64, 128)
    assert (net.stride, net.logits_stride, net.features_stride, net.features_channels) == (32, 4, 16, 256)
    grids = [tuple(x.shape[-2:]) for x in net.training_logits(frames)]
    assert grids == [(256, 512), (128, 256), (64, 128)]


def test_the_refiner_leaves_out_the_deep_branch(published):
    """The thesis: the refiner takes almost half of ICNet's time."""
    net, frames = published
    features = net.encode(frames)
    share = flops(net.decode, features, frames) / flops(net, frames)
    assert 0.4 < share < 0.65
    called = []
    for name in ("res3", "res4", "res5", "pyramid", "squeeze"):
        net.get_submodule(name).register_forward_pre_hook(lambda m, i, n=name: called.append(n))
    net.decode(features, frames)
    assert called == []


def test_the_small_sibling_has_finer_grids():
    torch.manual_seed(0)
    net = ICNet(12, ICNetConfig.small()).eval()
    assert 0.2e6 < sum(p.numel() for p in net.parameters()) < 0.5e6
    with torch.no_grad():
        found = net(torch.rand(2, 3, 64, 128))
    assert found.logits.shape == (2, 12, 32, 64) and found.features.shape == (2, 64, 8, 16)
    assert net.stride == 16


@pytest.mark.parametrize("make", [lambda: ICNet(5, ICNetConfig.small()), lambda: LiteSegmenter(5, weights=None)])
def test_decode_of_encode_is_the_network(make):
    torch.manual_seed(1)
    net = make().eval()
    frames = torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        found = net(frames)
        assert torch.equal(net.encode(frames), found.features)
        assert torch.equal(net.decode(found.features, frames), found.logits)
        refined = Refiner(net)(found.features, frames)
    torch.testing.assert_close(refined, found.logits.softmax(1))
    with pytest.raises(InputError, match=r"decode\(features, frames\)"):
        net.decode(found.features)
    with pytest.raises(InputError, match="takes features"):
        Refiner(net)(found.features[:, :3], frames)
    with pytest.raises(InputError, match="takes sides such as 48 x 64, got 40 x 64"):
        net(frames[:, :, :40])
    with pytest.raises(InputError, match=r"torch\.uint8"):
        net((frames * 255).to(torch.uint8))
    assert net.segment(frames[:, :, :41, :50]).logits.shape == (2, 5, 41, 50)


@pytest.mark.parametrize("make", [lambda: ICNet(5, ICNetConfig.small()), lambda: LiteSegmenter(5, weights=None)])
def test_decode_sees_both_the_features_and_the_frame(make):
    torch.manual_seed(2)
    net = make().eval()
    frames = torch.rand(1, 3, 48, 64)
    features = net.encode(frames).detach().requires_grad_()
    inputs = frames.clone().requires_grad_()
    gradients = torch.autograd.grad(net.decode(features, inputs).square().sum(), (features, inputs))
    assert all(g.abs().sum() > 0 for g in gradients)


def test_lite_segmenter_is_small_and_starts_with_trained_eyes():
    net = LiteSegmenter(12)
    assert sum(t.numel() for t in net.state_dict().values()) * 2 < 6e6  # bytes in half precision
    assert net.pyramid.trunk.stem.conv.weight.std() > 0.05
    with torch.no_grad():
        found = net.eval()(torch.rand(1, 3, 64, 96))
        coarse = LiteSegmenter(12, logits_stride=4).eval()(torch.rand(1, 3, 64, 96))
        levels = net.pyramid(torch.rand(1, 3, 64, 96))
    assert found.logits.shape == (1, 12, 32, 48) and found.features.shape == (1, 128, 4, 6)
    assert coarse.logits.shape == (1, 12, 16, 24)
    assert levels[16].shape == (1, 112, 4, 6)


def test_lite_segmenters_shallow_maps_are_the_trunks():
    torch.manual_seed(3)
    net = LiteSegmenter(3, weights=None).eval()
    frames = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        levels, shallow = net.pyramid(frames), net._shallow(frames)
    for stride in (4, 8):
        torch.testing.assert_close(shallow[stride], levels[stride])


def test_the_loss_weighs_three_grids_and_ignores_255():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (2, 16, 16), generator=generator, dtype=torch.uint8)
    labels[0, :4] = 255
    logits = TrainingLogits(*(torch.randn(2, 4, s, s, generator=generator) for s in (8, 4, 2)))
    total = torch.zeros(2)
    for weight, scores in zip((1, 0.4, 0.4), logits):
        step = 16 // scores.shape[-1]
        for b in range(2):
            nearest = labels[b, step // 2 :: step, step // 2 :: step].long()  # the pixel at or after a cell's centre
            total[b] += weight * nn.functional.cross_entropy(scores[b][None], nearest[None], ignore_index=255)
    torch.testing.assert_close(icnet_loss(logits, labels), total)
    nothing = icnet_loss(logits, torch.full_like(labels, 255))
    assert nothing.tolist() == [0, 0] and AUXILIARY == (1.0, 0.4, 0.4)


@pytest.mark.parametrize("lite", [False, True])
def test_a_few_steps_learn_two_frames(lite):
    torch.manual_seed(0)
    frames = torch.rand(2, 3, 64, 64) * 0.3
    labels = torch.zeros(2, 64, 64, dtype=torch.uint8)
    for i, x in enumerate((8, 32)):
        frames[i, :, 16:48, x : x + 24] += 0.6
        labels[i, 16:48, x : x + 24] = 1
    net = LiteSegmenter(2) if lite else ICNet(2, ICNetConfig.small())
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    for _ in range(25):
        optimizer.zero_grad()
        if isinstance(net, ICNet):
            loss = icnet_loss(net.training_logits(frames), labels).mean()
        else:
            loss = nn.functional.cross_entropy(net.segment(frames).logits, labels.long())
        loss.backward()
        optimizer.step()
    with torch.no_grad():  # batch statistics: running ones need more steps
        found = net.segment(frames).logits.argmax(1)
    assert (found == labels).float().mean() > 0.95


def test_the_oracle_knows_its_clip_only():
    frames = torch.randint(0, 256, (3, 3, 8, 10), dtype=torch.uint8)
    labels = torch.randint(0, 4, (3, 8, 10), dtype=torch.uint8)
    labels[0, 0, 0] = 255
    oracle = OracleSegmenter(frames, labels, 4)
    probs = oracle.segment(frames[1:2].float() / 255).logits.softmax(1)
    assert torch.equal(probs.argmax(1), labels[1:2].long()) and probs.max() == 1
    assert oracle.segment(frames[:1].float() / 255).logits.argmax(1)[0, 0, 0] == 0
    with pytest.raises(InputError, match="none of the clip's 3"):
        oracle.segment(torch.zeros(1, 3, 8, 10))
    with pytest.raises(InputError, match="labels reach 3"):
        OracleSegmenter(frames, labels, 3)
    with pytest.raises(InputError, match="do not fit"):
        OracleSegmenter(frames, labels[:2], 4)


def test_bad_settings_are_named():
    with pytest.raises(InputError, match="width of ICNet"):
        ICNetConfig(width=0)
    with pytest.raises(InputError, match="stride 2 or 4"):
        LiteSegmenter(3, weights=None, logits_stride=8)
    with pytest.raises(InputError, match="must be positive"):
        LiteSegmenter(3, weights=None, features=0)
    with pytest.raises(InputError, match="at least one class"):
        ICNet(0)


@pytest.mark.parametrize("make", [lambda: ICNet(5, ICNetConfig.small()), lambda: LiteSegmenter(5)])
def test_what_trains_behind_frozen_features_changes_answers_and_not_features(make):
    net = make().eval()
    frames = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        before = net(frames)
        for part in net.decoder_parts():
            for weight in part.parameters():
                weight += 0.1
        after = net(frames)
    assert torch.equal(after.features, before.features) and not torch.allclose(after.logits, before.logits)
