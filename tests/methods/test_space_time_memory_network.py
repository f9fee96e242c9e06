"""The networks as modules: who sees what, who is treated alike, what learns."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.data.synthetic import World, scenario
from course_lib.methods.space_time_memory import SMALL, STCN, MemoryConfig
from course_lib.methods.space_time_memory.blocks import Cbam, ResidualBlock
from course_lib.methods.space_time_memory.encoders import with_others
from course_lib.methods.space_time_memory.load import load_stcn_small
from course_lib.methods.space_time_memory.official import load_stcn_state
from course_lib.vos.aggregate import aggregation_logits


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return STCN(SMALL, imagenet=True)


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    return STCN()


def test_shapes_at_480p(small):
    """480 x 864: a grid of 30 x 54, so 1620 queries; what the decoder returns has the frame's size."""
    with torch.no_grad():
        features = small.encode_key(torch.rand(1, 3, 480, 864))
    assert features.key.shape == (1, 64, 30, 54) and features.key[0, 0].numel() == 1620
    assert features.f8.shape[2:] == (60, 108) and features.f4.shape[2:] == (120, 216)


def test_the_published_value_encoder_at_first_ignores_the_mask(published):
    """The new input channels have zero weights: a network starts from seeing exactly what it was trained to see."""
    frame, masks = torch.rand(1, 3, 32, 32), torch.rand(1, 2, 32, 32)
    with torch.no_grad():
        features = published.encode_key(frame)
        torch.testing.assert_close(
            published.encode_value(frame, features, masks), published.encode_value(frame, features, 0 * masks)
        )


def test_the_others_mask_is_the_sum_of_everyone_else():
    masks = torch.rand(2, 3, 4, 5)
    pairs = with_others(masks)
    assert torch.equal(pairs[:, :, 0], masks)
    torch.testing.assert_close(pairs[:, 1, 1], masks[:, 0] + masks[:, 2])
    assert not with_others(masks[:, :1])[:, :, 1].any()


def test_objects_are_treated_alike_and_batches_apart(small):
    """Swapping objects swaps answers; a clip's answer does not depend on the others in its batch."""
    frames, masks = torch.rand(2, 3, 32, 48), torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        features = small.encode_key(frames)
        values = small.encode_value(frames, features, masks)
        swapped = small.encode_value(frames, features, masks[:, [2, 0, 1]])
        torch.testing.assert_close(swapped, values[:, [2, 0, 1]], atol=1e-4, rtol=1e-4)
        readout = small.read(features.key.flatten(2), values.flatten(3), features.key, top_k=3)
        logits = small.decode(readout, features)
        alone = small.encode_key(frames[1:])
        value = small.encode_value(frames[1:], alone, masks[1:])
        single = small.decode(small.read(alone.key.flatten(2), value.flatten(3), alone.key, top_k=3), alone)
    assert logits.shape == (2, 3, 32, 48)
    torch.testing.assert_close(single[0], logits[1], atol=1e-3, rtol=1e-3)


def test_a_residual_block_can_fall_back_to_its_input():
    block = ResidualBlock(4, 4)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), x)
    kept = x.clone()
    ResidualBlock(4, 6)(x)
    assert torch.equal(x, kept)  # the ReLU inside does not write over its input


def test_attention_gates_only_shrink():
    x = torch.randn(2, 32, 6, 7)
    assert (Cbam(32)(x).abs() <= x.abs()).all()


def test_the_small_sibling_fits_its_budget(small, tmp_path):
    """At most 8 MB in half precision with its backbone, and what is stored in half loads again."""
    from safetensors.torch import save_file

    path = tmp_path / "small.safetensors"
    half = {k: v.half() if v.is_floating_point() else v for k, v in small.state_dict().items()}
    save_file({k: v.contiguous() for k, v in half.items()}, path)
    assert path.stat().st_size <= 8e6
    loaded = load_stcn_small(path, torch.device("cpu"))
    weight = loaded.net.decoder.pred.weight
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, small.decoder.pred.weight, atol=1e-3, rtol=1e-3)
    assert loaded.memory.policy == "adaptive" and not loaded.net.training


def test_batch_norm_is_frozen_and_everything_else_learns(small):
    small.train()
    norms = [m for m in small.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [m.running_mean.clone() for m in norms]
    frames, masks = torch.rand(2, 3, 48, 48), torch.rand(2, 2, 48, 48)
    features = small.encode_key(frames)
    values = small.encode_value(frames, features, masks)
    readout = small.read(features.key.flatten(2), values.flatten(3), features.key, top_k=None)
    small.decode(readout, features).square().mean().backward()
    assert norms and all(torch.equal(m.running_mean, old) for m, old in zip(norms, before, strict=True))
    still = [name for name, p in small.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not still
    small.zero_grad(set_to_none=True)


def test_a_network_that_does_not_match_is_refused(small):
    with pytest.raises(ValueError, match=r"'key_encoder\.mean' is missing|is missing, expected"):
        load_stcn_state(small, {}, "empty")


def test_it_learns_to_follow_one_clip():
    """Thirty steps on three frames: the mask of the third, which it never sees, is found from the first two."""
    torch.manual_seed(0)
    net = STCN(SMALL, imagenet=True)
    clip = World(scenario("easy", n_objects=1, image_size=64, length=9, dense_truth=False)).clip(3)
    frames = clip.frames[::4].float() / 255  # [3, 3, H, W]
    masks = (clip.labels[::4] == 1).float()
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-4)
    for _ in range(30):
        features = net.encode_key(frames)
        one = [type(features)(*(x[t, None] for x in features)) for t in range(3)]
        values = [net.encode_value(frames[t, None], one[t], masks[t].view(1, 1, 64, 64)) for t in (0, 1)]
        losses = []
        for t in (1, 2):
            keys = torch.cat([f.key.flatten(2) for f in one[:t]], dim=2)
            stored = torch.cat([v.flatten(3) for v in values[:t]], dim=3)
            logits = aggregation_logits(net.decode(net.read(keys, stored, one[t].key, None), one[t])[0].sigmoid())
            losses.append(F.cross_entropy(logits[None], masks[t].long()[None]))
        optimiser.zero_grad()
        sum(losses).backward()
        optimiser.step()
    found = net.propagate(frames, masks[:1], memory=MemoryConfig(mem_every=1, top_k=None))[2].argmax(dim=0) == 1
    truth = masks[2] == 1
    assert (found & truth).sum() / (found | truth).sum() > 0.85
