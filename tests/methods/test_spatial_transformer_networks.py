"""Classifiers, policies and critics: published sizes, what each one sees and remembers, and the error messages."""

import pytest
import torch
import torchvision
from torch import nn

from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.networks import BodyConfig, ConvBody, ConvNet, Mlp, ResNet18
from course_lib.methods.spatial_transformer.policies import AgentConfig, Critic, Policy


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("hidden", "count"), [(64, 410_314), (128, 820_618)])
def test_mlp_has_the_parameters_worked_out_by_hand(hidden, count):
    assert parameters(Mlp((1, 80, 80), hidden=hidden)) == count


def test_published_lenet_layer_by_layer():
    net = ConvNet(BodyConfig.lenet(), (1, 80, 80))
    shapes, x = [], torch.zeros(1, 1, 80, 80)
    for layer in net.body.layers:
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [(32, 80, 80), (32, 40, 40), (64, 40, 40), (64, 20, 20), (128,)]
    assert net.body.layers[-2].in_features == 25_600
    expected = (25 * 32 + 32) + (25 * 32 * 64 + 64) + (25_600 * 128 + 128) + (128 * 10 + 10)
    assert parameters(net) == expected
    assert net(torch.rand(2, 1, 80, 80)).shape == (2, 10)


def test_curriculum_networks_have_the_published_widths():
    body = ConvBody(BodyConfig.curriculum(), (1, 80, 80))
    assert body.layers[-2].in_features == 64 * 10 * 10
    assert [m.out_channels for m in body.layers if isinstance(m, nn.Conv2d)] == [32, 64, 64]
    lenet1 = ConvBody(BodyConfig.lenet1(), (1, 80, 80))
    assert lenet1.layers[-2].in_features == 64 * 40 * 40
    assert ConvBody(BodyConfig.lenet1("small"), (1, 40, 40)).layers[-2].in_features == 16 * 10 * 10
    assert BodyConfig.lenet2() == BodyConfig.lenet()


@pytest.mark.parametrize("make", [BodyConfig.lenet, BodyConfig.curriculum, BodyConfig.lenet1, BodyConfig.lenet2])
def test_small_presets_are_small(make):
    """Small enough for a checkpoint of 2 MB, at 40 x 40."""
    assert parameters(ConvNet(make("small"), (1, 40, 40))) * 4 < 2 * 2**20


@pytest.mark.parametrize("side", [17, 28, 40])
@pytest.mark.parametrize("config", [BodyConfig.lenet(), BodyConfig.lenet("small"), BodyConfig.scene()])
def test_bodies_fit_any_image(side, config):
    assert ConvBody(config, (3, side, side + 3))(torch.rand(2, 3, side, side + 3)).shape == (2, config.hidden)


def test_resnet18_equals_torchvisions(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None, num_classes=20).eval()
    path = tmp_path / "resnet18.pth"
    torch.save(theirs.state_dict(), path)
    ours = ResNet18(20, path).eval()
    ours.head.load_state_dict(theirs.fc.state_dict())
    assert parameters(ours) == parameters(theirs) == 11_186_772
    images = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs((images - mean) / std), atol=1e-5)


def agent(config, kind=Policy):
    torch.manual_seed(0)
    return kind(config, (1, 20, 20), 10)


def one_hot(*actions):
    return torch.eye(10)[list(actions)]


ALL = [AgentConfig.image_only, AgentConfig.recurrent, AgentConfig.action_only_memory, AgentConfig.curriculum]


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("kind", [Policy, Critic])
def test_unrolling_equals_stepping(make, kind):
    net = agent(make("small"), kind)
    images, previous = torch.rand(3, 5, 1, 20, 20), torch.eye(10)[torch.randint(10, (3, 5))]
    previous[:, 0] = 0
    memory, answers = None, []
    for t in range(5):
        answer, memory = net(images[:, t], previous[:, t], memory)
        answers.append(answer)
    assert torch.allclose(net.unroll(images, previous), torch.stack(answers, dim=1), atol=1e-5)
    assert answers[0].shape == ((3, 10) if kind is Policy else (3,))


def test_what_each_agent_sees_and_remembers():
    """An image-only agent is blind to moves; without an LSTM the past is gone; with one it is not."""
    x, y = torch.rand(1, 1, 20, 20), torch.rand(1, 1, 20, 20)
    blind, seeing, recalling = (agent(make("small")) for make in ALL[:3:1])
    blind, recalling, seeing = blind, seeing, recalling  # the order of ALL: image only, recurrent, no LSTM
    assert torch.equal(blind(x, one_hot(1))[0], blind(x, one_hot(2))[0])
    assert torch.equal(blind(x, None)[0], blind(x, one_hot(2))[0])
    assert not torch.allclose(seeing(x, one_hot(1))[0], seeing(x, one_hot(2))[0])
    for net, remembers in ((blind, False), (seeing, False), (recalling, True)):
        after_x = net(x, one_hot(1), net(x, one_hot(3))[1])[0]
        after_y = net(x, one_hot(1), net(y, one_hot(4))[1])[0]
        assert torch.allclose(after_x, after_y) is not remembers


def test_memory_is_carried_outside():
    """Two episodes through one network do not mix, and a fresh start is a start from zero memory."""
    net = agent(AgentConfig.recurrent("small"))
    x, first = torch.rand(2, 1, 20, 20), torch.zeros(2, 10)
    once, memory = net(x, first)
    again, _ = net(x, first)
    assert torch.equal(once, again)
    zero = (torch.zeros(2, 64), torch.zeros(2, 64))
    assert torch.equal(net(x, first, zero)[0], once)
    assert memory[0].shape == memory[1].shape == (2, 64)
    assert not torch.allclose(net(x, first, memory)[0], once)


def test_gradient_reaches_the_first_view_through_the_memory():
    net = agent(AgentConfig.recurrent("small"), Critic)
    images = torch.rand(1, 4, 1, 20, 20, requires_grad=True)
    net.unroll(images, torch.zeros(1, 4, 10))[:, -1].sum().backward()
    assert images.grad[:, 0].abs().sum() > 0


def test_policy_and_critic_share_nothing():
    policy, critic = agent(AgentConfig()), agent(AgentConfig(), Critic)
    assert not {id(p) for p in policy.parameters()} & {id(p) for p in critic.parameters()}
    assert AgentConfig().memory == 256 and AgentConfig().previous_action
    assert policy.lstm.input_size == 128 + 10


def test_errors_say_what_was_expected():
    net = agent(AgentConfig.recurrent("small"))
    with pytest.raises(InputError, match=r"one-hot \[2, 10\] \(zeros before the first\), got None"):
        net(torch.rand(2, 1, 20, 20), None)
    with pytest.raises(InputError, match=r"got \[2, 9\]"):
        net(torch.rand(2, 1, 20, 20), torch.zeros(2, 9))
    with pytest.raises(InputError, match=r"ConvBody takes images \[B, 1, 20, 20\], got \[2, 1, 28, 28\]"):
        net(torch.rand(2, 1, 28, 28), torch.zeros(2, 10))
    with pytest.raises(InputError, match=r"Mlp takes images \[B, 1, 8, 8\]"):
        Mlp((1, 8, 8))(torch.rand(2, 64))
    with pytest.raises(InputError, match="too small"):
        ConvBody(BodyConfig.curriculum(), (1, 6, 40))
    with pytest.raises(InputError, match="'published' or 'small', got 'tiny'"):
        BodyConfig.lenet("tiny")
    with pytest.raises(InputError, match="each convolution needs channels and a kernel"):
        BodyConfig((32, 64), (5,))
    with pytest.raises(InputError, match="kernels odd"):
        BodyConfig((32,), (4,))
    with pytest.raises(InputError, match="at least 1 unit"):
        AgentConfig(memory=0)
