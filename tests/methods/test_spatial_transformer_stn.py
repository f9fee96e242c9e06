"""The one-shot spatial transformer: its start, its sampler's gradient beside the printed formula, that it learns."""

import pytest
import torch
from torch.nn import functional as F

from course_lib.methods.spatial_transformer.geometry import identity, view
from course_lib.methods.spatial_transformer.networks import BodyConfig, ConvNet, Mlp
from course_lib.methods.spatial_transformer.sampler import bilinear_slope, bilinear_value
from course_lib.methods.spatial_transformer.stn import STN, Localiser, stn_loss


def sample_at(image, x, y):
    """grid_sample at positions in pixels."""
    h, w = image.shape
    grid = torch.stack([(2 * x + 1) / w - 1, (2 * y + 1) / h - 1], dim=-1)[None, None]
    return F.grid_sample(image[None, None], grid, align_corners=False)[0, 0, 0]


def positions(n=200):
    g = torch.Generator().manual_seed(0)
    image = torch.rand(6, 9, generator=g, dtype=torch.float64)
    x = torch.rand(n, generator=g, dtype=torch.float64) * 11 - 1.5  # some outside
    y = torch.rand(n, generator=g, dtype=torch.float64) * 8 - 1.5
    return image, x, y


def test_worked_example():
    """Samples 0, 10, 30, 20 at x = 1.25: value 15, slope 20."""
    image, x, y = torch.tensor([[0.0, 10, 30, 20]]), torch.tensor([1.25]), torch.tensor([0.0])
    assert bilinear_value(image, x, y).item() == pytest.approx(15)
    assert bilinear_slope(image, x, y)[0].item() == pytest.approx(20)


def test_printed_equations_equal_the_sampler():
    image, x, y = positions()
    x.requires_grad_(), y.requires_grad_()
    sampled = sample_at(image, x, y)
    assert torch.allclose(sampled, bilinear_value(image, x, y), atol=1e-12)
    autograd_x, autograd_y = torch.autograd.grad(sampled.sum(), (x, y))
    in_x, in_y = bilinear_slope(image, x, y)
    assert torch.allclose(autograd_x, in_x, atol=1e-10)
    assert torch.allclose(autograd_y, in_y, atol=1e-10)


def test_printed_equations_equal_finite_differences():
    image, x, y = positions()
    e = 1e-6
    in_x, in_y = bilinear_slope(image, x, y)
    across = (bilinear_value(image, x + e, y) - bilinear_value(image, x - e, y)) / (2 * e)
    down = (bilinear_value(image, x, y + e) - bilinear_value(image, x, y - e)) / (2 * e)
    assert torch.allclose(across, in_x, atol=1e-6) and torch.allclose(down, in_y, atol=1e-6)


def test_at_whole_numbers_the_printed_slope_is_neither_side():
    image = torch.tensor([[0.0, 10, 30, 20]])
    x, y = torch.tensor([1.0], requires_grad=True), torch.tensor([0.0])
    right, left = 20, 10
    printed = bilinear_slope(image, x, y)[0].item()
    assert printed == 10 and image[0, 1] == 10  # the pixel itself, here by chance the left slope
    brighter = bilinear_slope(image + 100, x, y)[0].item()
    assert brighter == 110 and brighter not in (left, right)
    padded = torch.cat([image, image, image])  # one row would put y on the border
    autograd = torch.autograd.grad(sample_at(padded, x, y + 1).sum(), x)[0].item()
    assert autograd == pytest.approx(right, rel=1e-4) or autograd == pytest.approx(left, rel=1e-4)


def test_slope_sees_its_neighbours_only():
    image, x, y = torch.rand(8, 8), torch.tensor([3.4]), torch.tensor([4.6])
    far = image.clone()
    far[:4], far[6:], far[:, :3], far[:, 5:] = 0, 0, 0, 0  # all but the four pixels around
    assert torch.equal(bilinear_slope(image, x, y)[0], bilinear_slope(far, x, y)[0])


def test_gradient_of_the_whole_warp():
    g = torch.Generator().manual_seed(1)
    images = torch.rand(2, 1, 5, 6, generator=g, dtype=torch.float64, requires_grad=True)
    m = identity(2, dtype=torch.float64)
    m[:, :2] += torch.rand(2, 2, 3, generator=g, dtype=torch.float64) * 0.2
    assert torch.autograd.gradcheck(view, (images, m.requires_grad_()))


@pytest.fixture
def stn():
    torch.manual_seed(0)
    return STN(Mlp((1, 28, 28)), Localiser(BodyConfig.lenet("small"), (1, 28, 28)))


def test_starts_as_the_identity(stn):
    images = torch.rand(5, 1, 28, 28)
    views, matrices = stn.transform(images)
    assert torch.equal(matrices, identity(5))
    assert torch.allclose(views, images, atol=1e-5)
    assert torch.allclose(stn(images), stn.classifier(images), atol=1e-4)


def test_loss_is_the_cross_entropy_of_the_views_and_reaches_all_parts(stn):
    images, labels = torch.rand(5, 1, 28, 28), torch.arange(5)
    with torch.no_grad():
        stn.localiser.head.bias += 0.1 * torch.randn(6)
    loss = stn_loss(stn, images, labels)
    by_hand = -stn.classifier(stn.transform(images)[0]).log_softmax(1)[torch.arange(5), labels].mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    loss.backward()
    assert all(p.grad is not None for p in stn.parameters())
    assert stn.localiser.head.weight.grad.abs().sum() > 0
    assert stn.localiser.body.layers[0].weight.grad.abs().sum() == 0  # behind zero weights; from the second step on


def test_finds_a_hidden_shift():
    """A frozen classifier that knows one place teaches the localiser, through the sampler, to bring things there."""
    torch.manual_seed(0)
    axis = torch.linspace(-1, 1, 20)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    away = torch.rand(64, 2) * 0.5 - 0.25
    images = torch.exp(-((x - away[:, 0, None, None]) ** 2 + (y - away[:, 1, None, None]) ** 2) / 0.1)[:, None]
    target = torch.exp(-(x**2 + y**2) / 0.1)
    localiser = Localiser(BodyConfig.lenet("small"), (1, 20, 20))
    optimizer = torch.optim.Adam(localiser.parameters(), 3e-3)
    for _ in range(150):
        loss = ((view(images, localiser(images)) - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = localiser(images).detach()[:, :2, 2]
    assert (found - away).abs().mean() < 0.03  # positive shifts bring things on the right to the middle


def test_any_network_can_classify(stn):
    other = STN(ConvNet(BodyConfig.lenet("small"), (1, 28, 28)), stn.localiser)
    assert other(torch.rand(2, 1, 28, 28)).shape == (2, 10)
