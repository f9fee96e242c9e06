"""The memory queue, the fusions and the settings: by hand, by limits, and by their messages."""

import pytest
import torch
from torch import Tensor

from course_lib.errors import InputError
from course_lib.methods.local_memory import LocalMemoryConfig, MemoryQueue
from course_lib.methods.local_memory.fusion import BottleneckFusion, ConcatFusion, GatedFusion


def frame(number: float, size: tuple[int, int] = (2, 3)) -> tuple[Tensor, Tensor]:
    """Key and value of a frame, filled with a number that tells it from others."""
    return torch.full((1, 4, *size), number), torch.full((1, 6, *size), -number)


def sides(channels: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, channels, 5, 7, generator=generator) for _ in range(2))


def shaken(fusion: torch.nn.Module) -> torch.nn.Module:
    """In evaluation mode, with batch-norm statistics and parameters that are not those of a new network."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in fusion.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(0.5 + noise if name.endswith(("var", "norm.weight")) else 0.4 * noise - 0.2)
    return fusion.eval()


def test_the_oldest_frame_goes_first():
    memory = MemoryQueue(3)
    for number in range(5):
        memory.write(*frame(float(number)))
        keys, values = memory.stacked()
        kept = list(range(max(0, number - 2), number + 1))
        assert len(memory) == len(kept) and keys.shape == (1, len(kept), 4, 2, 3) and values.shape[2] == 6
        assert keys[0, :, 0, 0, 0].tolist() == kept and (values[0, :, 0, 0, 0] == -keys[0, :, 0, 0, 0]).all()
    memory.clear()
    assert len(memory) == 0 and memory.memory_bytes() == 0


def test_a_frame_of_the_published_size_takes_2_6_megabytes():
    memory = MemoryQueue(4)
    memory.write(torch.zeros(1, 16, 64, 128), torch.zeros(1, 64, 64, 128))
    assert memory.memory_bytes() == (16 + 64) * 64 * 128 * 4 == 2_621_440
    for _ in range(9):
        memory.write(torch.zeros(1, 16, 64, 128), torch.zeros(1, 64, 64, 128))
    assert memory.memory_bytes() == 4 * 2_621_440


def test_what_a_queue_refuses():
    with pytest.raises(InputError, match="at least one frame, got capacity=0"):
        MemoryQueue(0)
    memory = MemoryQueue(2)
    with pytest.raises(InputError, match="the memory is empty"):
        memory.stacked()
    memory.write(*frame(1.0))
    with pytest.raises(InputError, match="clear the memory first"):
        memory.write(*frame(1.0, size=(4, 4)))
    with pytest.raises(InputError, match="key and value must be of one frame"):
        memory.write(frame(1.0)[0], frame(1.0, size=(4, 4))[1])
    with pytest.raises(InputError, match=r"holds values of shape \[1, 6, 2, 3\], got \[1, 5, 2, 3\]"):
        memory.write(frame(1.0)[0], frame(1.0)[1][:, :5])
    assert len(memory) == 1  # what was refused is not stored


@pytest.mark.parametrize(
    ("move", "came"),
    [(Tensor.double, "torch.float64 on cpu"), (lambda x: x.to("meta"), "torch.float32 on meta")],
    ids=["dtype", "device"],
)
def test_a_queue_holds_one_dtype_on_one_device(move, came):
    memory = MemoryQueue(2)
    memory.write(*frame(1.0))
    key, value = frame(2.0)
    for pair, name in (((move(key), move(value)), "keys"), ((key, move(value)), "values")):
        with pytest.raises(InputError, match=f"holds {name} in torch.float32 on cpu, got {came}: .* another session"):
            memory.write(*pair)
    memory.clear()
    memory.write(move(key), move(value))
    assert len(memory) == 1


def test_mixed_precision_may_mix_dtypes():
    memory = MemoryQueue(2)
    memory.write(*frame(1.0))
    half = [x.bfloat16() for x in frame(2.0)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        memory.write(*half)
    assert memory.stacked()[0][0, :, 0, 0, 0].tolist() == [1, 2]
    with pytest.raises(InputError, match="moved or converted"):
        memory.write(*half)


def test_gated_fusion_is_the_equation():
    """(4.6) written out with the module's own layers."""
    fusion, (query, readout) = shaken(GatedFusion(8, 12)), sides()
    q, m = fusion.inputs.query(query).relu(), fusion.inputs.memory(readout).relu()
    both = torch.cat([q, m], dim=1)
    total = fusion.gate_query(both).sigmoid() * fusion.embed_query(q)
    total = total + fusion.gate_memory(both).sigmoid() * fusion.embed_memory(m)
    torch.testing.assert_close(fusion(query, readout), fusion.norm(total).relu())


@pytest.mark.parametrize("fusion", [GatedFusion(8, 12), BottleneckFusion(8, 5)], ids=["gated", "bottleneck"])
def test_gates_do_not_sum_to_one(fusion):
    first, second = shaken(fusion).gates(*sides())
    assert ((first > 0) & (first < 1) & (second > 0) & (second < 1)).all()
    assert (first + second - 1).abs().max() > 0.1 and first.shape == second.shape


def test_one_gate_opens_both_sides():
    fusion = shaken(GatedFusion(8, 12, one_gate=True))
    first, second = fusion.gates(*sides())
    assert first is second
    gate = 8 * 2 * 12 * 9 + 12
    count = {one: sum(p.numel() for p in GatedFusion(8, 12, one_gate=one).parameters()) for one in (True, False)}
    assert count[False] - count[True] == gate


def test_a_closed_memory_gate_leaves_the_query_alone():
    """A_M -> -infinity: the content of the memory is gone. What it still can move is the query's own gate A_Q."""
    fusion, (query, readout) = shaken(GatedFusion(8, 12)), sides()
    with torch.no_grad():
        fusion.gate_memory.weight.zero_()
        fusion.gate_memory.bias.fill_(-torch.inf)
    assert not torch.allclose(fusion(query, readout), fusion(query, -readout))
    with torch.no_grad():
        fusion.gate_query.weight[:, 8:].zero_()
    assert torch.equal(fusion(query, readout), fusion(query, -readout))
    assert not torch.allclose(fusion(query, readout), fusion(-query, readout))


def test_concatenation_keeps_the_sides_apart():
    fusion, (query, readout) = shaken(ConcatFusion(8)), sides()
    fused = fusion(query, readout)
    assert fused.shape == (2, 16, 5, 7) and (fused >= 0).all()
    changed = fusion(query, -readout)
    assert torch.equal(fused[:, :8], changed[:, :8]) and not torch.equal(fused[:, 8:], changed[:, 8:])


def test_dropout_takes_whole_channels_in_training_only():
    fusion, (query, readout) = ConcatFusion(64, dropout=0.5), sides(64)
    torch.manual_seed(0)
    dead = (fusion.train()(query.abs() + 1, readout.abs() + 1).flatten(2) == 0).all(dim=2).float().mean()
    assert 0.3 < dead < 0.7
    assert torch.equal(fusion.eval()(query, readout), fusion(query, readout))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 20}, "window must be odd and at least 1, or None for the whole frame; got 20"),
        ({"window": None, "border": "zero"}, "use border 'mask'"),
        ({"memory_size": 0}, "memory_size must be at least 1 frame, got 0"),
        ({"fusion": "sum"}, "fusion must be one of gated, concat, bottleneck; got 'sum'"),
        ({"source": "future"}, "source must be one of past, self, past_and_self, none"),
        ({"scale": 2.0}, "scale must be one of none, sqrt, learned"),
        ({"key_channels": 0}, "keys and values need channels"),
        ({"value_channels": 0}, "keys and values need channels"),
        ({"fusion_dropout": 1.0}, r"fusion_dropout must lie in \[0, 1\), got 1.0"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        LocalMemoryConfig(**settings)
