"""The encoders see what their publishers trained them to see, keep one size rule, and start deaf to extra channels."""

import copy
import urllib.error

import numpy as np
import pytest
import skimage.data
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from course_lib.data.packaged import efficientnet_lite0_weights
from course_lib.errors import DownloadError, InputError, MissingDataError
from course_lib.nn.backbones import efficientnet_lite0, freeze_batch_norm, resnet, vgg16
from course_lib.nn.efficientnet_lite import SameConv2d, efficientnet_lite0_classifier
from course_lib.nn.weights import load_exactly, read_state_dict

CATS = {281, 282, 283, 284, 285}  # tabby, tiger cat, Persian, Siamese, Egyptian
ESPRESSO, MISSILE = 967, 657
MAKERS = {
    "lite0": lambda **how: efficientnet_lite0(None, **how),
    "resnet18": lambda **how: resnet(18, None, **how),
    "resnet50": lambda **how: resnet(50, None, **how),
    "vgg16": lambda **how: vgg16(None, **how),
}


def photograph(name: str, size: int = 224) -> torch.Tensor:
    """Centre square of a photograph of scikit-image: [1, 3, size, size] in [0, 1]."""
    image = Image.fromarray(getattr(skimage.data, name)())
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def lite0():
    return efficientnet_lite0().eval()


@pytest.mark.parametrize(("name", "classes"), [("chelsea", CATS), ("coffee", {ESPRESSO}), ("rocket", {MISSILE})])
def test_the_packaged_weights_name_photographs(name, classes):
    with torch.no_grad():
        probs = efficientnet_lite0_classifier()(photograph(name)).softmax(dim=1)[0]
    assert int(probs.argmax()) in classes
    if name != "rocket":  # a launch is a rarer sight, seen with less confidence
        assert probs[list(classes)].sum() > 0.8


def test_parameters_are_as_many_as_published():
    def count(network):
        return sum(p.numel() for p in network.parameters())

    assert count(efficientnet_lite0_classifier()) == 4_652_008
    published = {18: (11_689_512, 512), 34: (21_797_672, 512), 50: (25_557_032, 2048), 101: (44_549_160, 2048)}
    for depth, (whole, width) in published.items():
        assert count(resnet(depth, None)) == whole - 1000 * (width + 1)  # without the classifier
    assert count(vgg16(None)) == 138_357_544 - (25_088 + 1) * 4096 - (4096 + 1) * 4096 - (4096 + 1) * 1000


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("size", [(64, 96), (97, 131), (33, 7)])
def test_every_level_has_the_ceiling_of_size_over_stride(name, size):
    pyramid = MAKERS[name]().eval()
    with torch.no_grad():
        features = pyramid(torch.rand(1, 3, *size))
    assert list(features) == [4, 8, 16, 32] == list(pyramid.channels)
    for stride, feature in features.items():
        cells = [-(-side // stride) for side in size]
        assert list(feature.shape) == [1, pyramid.channels[stride], *cells]


@pytest.mark.parametrize("name", MAKERS)
def test_a_shallower_pyramid_is_the_top_of_the_deeper_one(name):
    deep = MAKERS[name]().eval()
    shallow = MAKERS[name](deepest=8).eval()
    state = deep.state_dict()
    shallow.load_state_dict({key: state[key] for key in shallow.state_dict()})
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features, wanted = shallow(x), deep(x)
    assert list(features) == [4, 8]
    assert all(torch.equal(features[s], wanted[s]) for s in features)


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_reach_the_image_and_every_parameter(name):
    pyramid = MAKERS[name](deepest=16)
    x = torch.rand(2, 3, 64, 64, requires_grad=True)
    pyramid(x)[16].square().mean().backward()
    assert x.grad.abs().sum() > 0
    assert [n for n, p in pyramid.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_an_image_moved_by_32_pixels_moves_the_features(lite0, stride):
    x = photograph("chelsea", 640)
    with torch.no_grad():
        here, there = lite0(x[..., 32:, :-32])[stride], lite0(x[..., :-32, 32:])[stride]
    n, margin = 32 // stride, here.shape[-1] // 4
    inside = slice(margin, -margin)
    a = here[..., : here.shape[2] - n, n:][..., inside, inside]  # the cell of the same picture content …
    b = there[..., n:, : there.shape[3] - n][..., inside, inside]  # … in the other crop
    shifted = torch.nn.functional.cosine_similarity(a, b, dim=1).mean()
    unshifted = torch.nn.functional.cosine_similarity(
        here[..., inside, inside], there[..., inside, inside], dim=1
    ).mean()
    assert shifted > 0.97 and shifted > unshifted + 0.1


def test_same_padding_against_the_plain_sum():
    generator = torch.Generator().manual_seed(0)
    for size, kernel, stride in [(7, 3, 2), (8, 3, 2), (7, 5, 2), (8, 5, 2), (5, 3, 1), (1, 5, 2)]:
        conv = SameConv2d(1, 1, kernel, stride, bias=False)
        x = torch.randn(1, 1, size, size + 1, generator=generator)
        out = conv(x)[0, 0]
        expected = torch.zeros_like(out)
        before = [max((-(-n // stride) - 1) * stride + kernel - n, 0) // 2 for n in x.shape[2:]]
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                for u in range(kernel):
                    for v in range(kernel):
                        r, c = i * stride - before[0] + u, j * stride - before[1] + v
                        if 0 <= r < x.shape[2] and 0 <= c < x.shape[3]:
                            expected[i, j] += conv.weight[0, 0, u, v] * x[0, 0, r, c]
        assert out.shape == (-(-size // stride), -(-(size + 1) // stride))
        assert torch.allclose(out, expected, atol=1e-5)


def test_batch_norms_use_the_published_epsilon(lite0):
    norms = [m for m in lite0.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 48 and {m.eps for m in norms} == {1e-3}


def test_resnet_equals_torchvision(tmp_path):
    network = torchvision.models.resnet18(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "a.pth")
    pyramid = resnet(18, tmp_path / "a.pth").eval()
    seen = {}
    for stride, name in zip((4, 8, 16, 32), ("layer1", "layer2", "layer3", "layer4")):
        getattr(network, name).register_forward_hook(lambda m, i, out, s=stride: seen.__setitem__(s, out))
    x = torch.rand(1, 3, 75, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        features = pyramid(x)
        network((x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    assert all(torch.equal(features[s], seen[s]) for s in (4, 8, 16, 32))


def test_vgg_equals_torchvision_where_sides_divide(tmp_path):
    network = torchvision.models.vgg16(weights=None).features.eval()
    save_file({f"features.{k}": v for k, v in network.state_dict().items()}, tmp_path / "a.safetensors")
    pyramid = vgg16(tmp_path / "a.safetensors").eval()
    x = torch.rand(1, 3, 64, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        features = pyramid(x)
        y = (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
        for stride, end in {4: 16, 8: 23, 16: 30, 32: 31}.items():
            assert torch.allclose(features[stride], network[:end](y), atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_extra_channels_change_nothing_at_first_but_learn(name, tmp_path):
    plain = MAKERS[name](deepest=8).eval()
    torch.save(plain.state_dict(), tmp_path / "a.pth")
    load = {"lite0": efficientnet_lite0, "vgg16": vgg16}.get(name) or (lambda *a, **k: resnet(int(name[6:]), *a, **k))
    wide = load(tmp_path / "a.pth", extra_channels=2, deepest=8).eval()
    rgb, mask = torch.rand(1, 3, 32, 32), torch.rand(1, 2, 32, 32)
    features, wanted = wide(torch.cat([rgb, mask], dim=1)), plain(rgb)
    assert all(torch.allclose(features[s], wanted[s], atol=1e-5) for s in (4, 8))
    features[8].square().sum().backward()
    stem = next(wide.parameters())
    assert stem.shape[1] == 5 and (stem[:, 3:] == 0).all() and stem.grad[:, 3:].abs().sum() > 0
    torch.save(wide.state_dict(), tmp_path / "wide.pth")
    again = load(tmp_path / "wide.pth", extra_channels=2, deepest=8)  # its own checkpoint has the extra inputs already
    assert torch.equal(next(again.parameters()), stem)


def test_evaluation_is_deterministic(lite0):
    x = torch.rand(2, 3, 50, 70)
    with torch.no_grad():
        first, second, alone = lite0(x), lite0(x), lite0(x[:1])
    assert all(torch.equal(first[s], second[s]) for s in first)
    assert all(torch.allclose(first[s][:1], alone[s], atol=1e-4) for s in first)


@pytest.mark.parametrize("affine", [True, False])
def test_frozen_batch_norm_stays_as_it_was(lite0, affine):
    network = copy.deepcopy(lite0)
    keys, x = list(network.state_dict()), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        wanted = network(x)
    frozen = freeze_batch_norm(network, affine=affine)
    assert frozen is network and list(frozen.state_dict()) == keys
    before = {k: v.clone() for k, v in frozen.state_dict().items()}
    frozen.train()
    features = frozen(x)
    assert all(torch.equal(features[s], wanted[s]) for s in wanted)
    features[32].sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())
    assert (frozen.trunk.stem.norm.weight.grad is None) == affine
    assert frozen.trunk.stem.conv.weight.grad is not None


def test_unusable_input_is_refused(lite0):
    for bad in (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8), torch.zeros(1, 4, 8, 8)):
        with pytest.raises(InputError, match=r"takes \[B, 3, H, W\] float"):
            lite0(bad)
    with pytest.raises(InputError, match=r"takes \[B, 3, H, W\] float"):
        lite0(torch.zeros(1, 3, 0, 8))
    with pytest.raises(InputError, match=r"one of \[18, 34, 50, 101\], got 20"):
        resnet(20, None)
    with pytest.raises(InputError, match=r"one of the strides .* got 64"):
        vgg16(None, deepest=64)
    with pytest.raises(InputError, match="cannot be negative"):
        efficientnet_lite0(None, extra_channels=-1)


def test_weights_that_do_not_fit_name_their_first_tensor(tmp_path):
    state = torch.load(efficientnet_lite0_weights(), weights_only=True)
    cases = {
        r"'trunk\.stages\.2\.0\.expand\.conv\.weight' \[144, 24, 1, 1\] is missing": lambda s: s.pop(
            "_blocks.3._expand_conv.weight"
        ),
        r"'trunk\.stem\.norm\.weight' is \[3\], expected \[32\]": lambda s: s.update({"_bn0.weight": torch.zeros(3)}),
        r"no place for tensor '_blocks\.0\._se_reduce\.weight'": lambda s: s.update(
            {"_blocks.0._se_reduce.weight": torch.zeros(1)}
        ),
    }
    for message, spoil in cases.items():
        spoilt = dict(state)
        spoil(spoilt)
        torch.save(spoilt, tmp_path / "a.pth")
        with pytest.raises(InputError, match=message):
            efficientnet_lite0(tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"do not fit ResNetPyramid: tensor 'conv1.weight'"):
        resnet(18, efficientnet_lite0_weights())


def test_a_misfit_leaves_the_module_as_it_was():
    module = torch.nn.Linear(2, 2)
    before = module.weight.clone()
    with pytest.raises(InputError, match="'bias'"):
        load_exactly(module, {"weight": torch.ones(2, 2)}, "here")
    assert torch.equal(module.weight, before)


class NotATensor:
    pass


def test_unreadable_weights_are_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"no weights file .*a\.pth"):
        read_state_dict(tmp_path / "a.pth")
    whole = efficientnet_lite0_weights().read_bytes()
    for keep in (0, 1000, len(whole) // 2):
        for suffix in ("pth", "safetensors"):
            path = tmp_path / f"cut.{suffix}"
            path.write_bytes(whole[:keep])
            with pytest.raises(InputError, match=rf"cut\.{suffix} cannot be read as weights"):
                read_state_dict(path)
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list\.pth holds a list, not a state dict"):
        read_state_dict(tmp_path / "list.pth")
    torch.save({"a": NotATensor()}, tmp_path / "code.pth")  # would run code of its author's choice if unpickled
    with pytest.raises(InputError, match=r"code\.pth cannot be read as weights"):
        read_state_dict(tmp_path / "code.pth")


def test_without_a_network_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", offline)
    with pytest.raises(DownloadError, match=r"resnet18.*no network.*efficientnet_lite0\(\)"):
        resnet(18)
    with pytest.raises(DownloadError, match=r"vgg16.*efficientnet_lite0\(\)"):
        vgg16()
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.write_bytes(b"half a download")
    with pytest.raises(DownloadError, match=r"resnet18-f37072fd\.pth.*may be deleted"):
        resnet(18)
