"""The network and its parts: the equations of the chapter by hand, what reaches what, and the error messages.

Weights are random: what is tested here holds for any weights.
"""

import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.methods.recurrent.decoder import Blend, Decoder, MaskHead
from course_lib.methods.recurrent.encoders import small_encoder
from course_lib.methods.recurrent.fusion import make_fusion
from course_lib.methods.recurrent.initializer import FirstState, Initializer
from course_lib.methods.recurrent.matching import LevelMatching, Matching
from course_lib.methods.recurrent.memory import Memory
from course_lib.methods.recurrent.network import RecurrentVOS
from course_lib.methods.recurrent.rows import TABLE, hs2s, mask_guided, rgmp, s2s, s2s_plus_plus
from course_lib.methods.recurrent.sizes import SMALL
from course_lib.nn.conv_gru import ConvGRU
from course_lib.nn.conv_lstm import ConvLSTM

CAUSAL = sorted(set(TABLE) - {"E"})


def clip(batch=2, length=5, size=(32, 48)):
    generator = torch.Generator().manual_seed(3)
    frames = torch.rand(batch, length, 3, *size, generator=generator)
    masks = (torch.rand(batch, length, 1, *size, generator=generator) > 0.6).float()
    return frames, masks


def network(row, *options, **settings):
    torch.manual_seed(0)
    return row(*options, **settings).eval()


def by_steps(net, frames, first, handed=None):
    """Logits of frames 1 … T-1 by `begin` and `step`; `handed` masks [B, T, 1, H, W] replace the network's own."""
    state, answers = net.begin(frames[:, 0], first), []
    for t in range(1, frames.shape[1]):
        prediction, state = net.step(frames[:, t], state)
        answers.append(prediction.logits)
        if handed is not None:
            state = state._replace(mask=handed[:, t])
    return torch.stack(answers, dim=1)


def test_s2s_is_equations_6_1_to_6_4():
    net, (frames, masks) = network(s2s), clip()
    hidden, cell = net.initializer(frames[:, 0], masks[:, 0], net.memory)[16]
    answers = []
    for t in range(1, 5):
        features = net.encoder(frames[:, t])
        hidden, cell = net.memory.cell(16)(features.deep, (hidden, cell))
        answers.append(net.decoder(features.levels, {16: hidden}).logits)
    torch.testing.assert_close(net(frames, masks[:, 0]).logits, torch.stack(answers, 1), atol=1e-5, rtol=1e-5)


def test_hs2s_is_equations_6_8_to_6_13():
    net, (frames, masks) = network(hs2s), clip()
    lstm, skip = net.memory.cell(16), net.memory.cell(8)
    match, reference = net.matching.levels["16"], net.matching.encoder
    state = (torch.zeros(2, 64, 2, 3), torch.zeros(2, 64, 2, 3))
    fine = (torch.zeros(2, 48, 4, 6), torch.zeros(2, 48, 4, 6))
    mask, answers = masks[:, 0], []
    zero = reference(frames[:, 0], mask).deep
    for t in range(1, 5):
        before = reference(frames[:, t - 1], mask).deep
        features = net.encoder(frames[:, t], mask)
        state, fine = lstm(features.deep, state), skip(features.levels[8], fine)
        found = [match.fusions["first"](zero, state[0]), match.fusions["previous"](before, state[0])]
        merged = F.relu(match.join(torch.cat(found, dim=1)))
        answers.append(net.decoder(features.levels, {16: merged, 8: fine[0]}).logits)
        mask = answers[-1].sigmoid()
    torch.testing.assert_close(net(frames, masks[:, 0]).logits, torch.stack(answers, 1), atol=1e-5, rtol=1e-5)


def test_a_blend_is_one_convolution_over_concatenated_branches():
    torch.manual_seed(0)
    blend = Blend({"up": 3, "plain": 5, "memory": 4}, 6)
    inputs = {"memory": torch.randn(2, 4, 7, 7), "up": torch.randn(2, 3, 7, 7), "plain": torch.randn(2, 5, 7, 7)}
    weight = torch.cat([blend.branches[name].weight for name in ("up", "plain", "memory")], dim=1)
    joint = F.conv2d(torch.cat([inputs[n] for n in ("up", "plain", "memory")], 1), weight, blend.branches["up"].bias)
    torch.testing.assert_close(blend(inputs), joint.relu(), atol=1e-6, rtol=1e-5)
    bound = (6 / (12 + 6)) ** 0.5  # Xavier's, of the joint convolution
    assert 0.8 * bound < weight.abs().max() <= bound
    assert [name for name, _ in blend.named_parameters() if "bias" in name] == ["branches.up.bias"]


def test_the_mask_is_read_from_the_distance_scores_too():
    torch.manual_seed(0)
    head = MaskHead(8, 6)
    x = torch.randn(1, 8, 4, 4)
    before = head(x)
    with torch.no_grad():
        head.distance.weight.mul_(-1)
    after = head(x)
    torch.testing.assert_close(after.distance, -before.distance)
    assert before.distance.shape == (1, 6, 4, 4) and (after.logits - before.logits).abs().max() > 0.01
    assert MaskHead(8, 0)(x).distance is None


@pytest.mark.parametrize("name", CAUSAL)
def test_all_at_once_is_frame_by_frame(name):
    """With the truth handed on, and with nothing fed back, only the cells run in time."""
    net, (frames, masks) = network(TABLE[name], SMALL), clip()
    with torch.no_grad():
        slow = by_steps(net, frames, masks[:, 0], masks)
        torch.testing.assert_close(net.unroll(frames, masks[:, 0], masks, True).logits, slow, atol=1e-5, rtol=1e-5)
        always = torch.ones(2, 5, dtype=torch.bool)
        torch.testing.assert_close(net.unroll(frames, masks[:, 0], masks, always).logits, slow, atol=1e-5, rtol=1e-5)
        own = by_steps(net, frames, masks[:, 0])
        torch.testing.assert_close(net.unroll(frames, masks[:, 0]).logits, own, atol=1e-5, rtol=1e-5)
        never = ~always
        torch.testing.assert_close(net.unroll(frames, masks[:, 0], masks, never).logits, own, atol=1e-5, rtol=1e-5)
        if net.feeds_back:
            assert (slow[:, 1:] - own[:, 1:]).abs().max() > 1e-4
            torch.testing.assert_close(slow[:, 0], own[:, 0], atol=1e-5, rtol=1e-5)  # frame 0 is given either way
        else:
            assert torch.equal(slow, own)


def test_a_teacher_chooses_for_each_sample_and_frame():
    net, (frames, masks) = network(hs2s), clip()
    teacher = torch.tensor([[False, True, False, False, True], [True, False, False, True, False]])
    with torch.no_grad():
        both = net.unroll(frames, masks[:, 0], masks, teacher).logits
        for b, told in enumerate(teacher.tolist()):
            state = net.begin(frames[b : b + 1, 0], masks[b : b + 1, 0])
            for t in range(1, 5):
                prediction, state = net.step(frames[b : b + 1, t], state)
                torch.testing.assert_close(both[b : b + 1, t - 1], prediction.logits, atol=1e-5, rtol=1e-5)
                if told[t]:
                    state = state._replace(mask=masks[b : b + 1, t])


@pytest.mark.parametrize("name", CAUSAL)
def test_the_future_changes_no_earlier_answer(name):
    net, (frames, masks) = network(TABLE[name], SMALL), clip()
    changed = frames.clone()
    changed[:, 3:] = 1 - changed[:, 3:]
    with torch.no_grad():
        for teacher in (None, True):
            truth = None if teacher is None else masks
            before = net.unroll(frames, masks[:, 0], truth, teacher).logits
            after = net.unroll(changed, masks[:, 0], truth, teacher).logits
            torch.testing.assert_close(before[:, :2], after[:, :2], atol=1e-6, rtol=1e-6)
            assert (before[:, 2] - after[:, 2]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("references", "reaches"), [(("first", "previous"), True), (("first",), True), (("previous",), False)]
)
def test_frame_0_reaches_a_late_answer_through_its_reference_alone_once_the_memory_is_cut(references, reaches):
    net, (frames, masks) = network(hs2s, references=references), clip()
    start = frames[:, 0].clone().requires_grad_()
    state = net.begin(start, masks[:, 0])
    for t in range(1, 4):
        memory = {s: tuple(x.detach() for x in cell) for s, cell in state.memory.items()}
        state = state._replace(memory=memory, mask=state.mask.detach())
        prediction, state = net.step(frames[:, t], state)
    (gradient,) = torch.autograd.grad(
        prediction.logits.sum(), start, allow_unused=True, materialize_grads=True, retain_graph=True
    )
    assert bool(gradient.abs().max() > 1e-6) == reaches
    if state.first is not None:
        (gradient,) = torch.autograd.grad(prediction.logits.sum(), state.first.deep)
        assert gradient.abs().max() > 1e-6


@pytest.mark.parametrize("row", [s2s, s2s_plus_plus])
def test_a_propagator_hears_of_the_first_mask_through_its_cells_alone(row):
    net, (frames, masks) = network(row), clip()
    first = masks[:, 0].clone().requires_grad_()
    logits = net(frames, first).logits
    (gradient,) = torch.autograd.grad(logits[:, -1].sum(), first)
    assert gradient.abs().max() > 0
    state = net.begin(frames[:, 0], first)
    state = state._replace(memory={s: tuple(x.detach() for x in cell) for s, cell in state.memory.items()})
    logits = net.step(frames[:, 1], state)[0].logits
    assert torch.autograd.grad(logits.sum(), first, allow_unused=True) == (None,)


@pytest.mark.parametrize("row", [mask_guided, hs2s])
def test_detach_cuts_gradients_through_masks_that_are_handed_on(row):
    net, (frames, masks) = network(row), clip(length=3)
    if net.matching is not None:  # leave the masks as the only way from answer 1 to answer 2
        net.memory.cell(16).gates.weight.requires_grad_(False)
    soft = net.unroll(frames, masks[:, 0])
    cut = net.unroll(frames, masks[:, 0], detach=True)
    torch.testing.assert_close(soft.logits, cut.logits)
    weight = net.decoder.head.segment.weight
    through = torch.autograd.grad(soft.logits[:, 1].sum(), weight)[0]
    direct = torch.autograd.grad(cut.logits[:, 1].sum(), weight)[0]
    assert (through - direct).abs().max() > 1e-5
    state = net.begin(frames[:, 0], masks[:, 0])
    state = net.step(frames[:, 1], state)[1]
    state = state._replace(mask=state.mask.detach())
    again = torch.autograd.grad(net.step(frames[:, 2], state)[0].logits.sum(), weight)[0]
    torch.testing.assert_close(direct, again, atol=1e-4, rtol=1e-4)


def test_memories_begin_with_zeros_or_as_an_initializer_writes():
    frames, masks = clip()
    zeros = network(hs2s).begin(frames[:, 0], masks[:, 0]).memory
    assert {s: [list(x.shape) for x in cell] for s, cell in zeros.items()} == {
        16: [[2, 64, 2, 3]] * 2,
        8: [[2, 48, 4, 6]] * 2,
    }
    assert all(not x.any() for cell in zeros.values() for x in cell)
    net = network(s2s_plus_plus)
    written = net.begin(frames[:, 0], masks[:, 0]).memory
    other = net.begin(frames[:, 0], 1 - masks[:, 0]).memory
    assert list(written) == [16, 8, 4] and all(
        (x - y).abs().max() > 1e-3 for s in written for x, y in zip(written[s], other[s])
    )
    assert all(written[s][0].abs().max() < 1 for s in written)
    positive = network(s2s, skip_memories=2, cell="relu lstm").begin(frames[:, 0], masks[:, 0]).memory
    assert all(x.min() >= 0 and x.max() > 0 for cell in positive.values() for x in cell)
    assert FirstState(4, ConvGRU(4, 4)).cell is None and FirstState(4, ConvLSTM(4, 4)).cell is not None


@pytest.mark.parametrize("name", ["A", "A'", "B4", "C", "D", "D2"])
def test_one_frame_serves_all_objects(name):
    """Its plain skips, and without a mask its features, are computed once; the answers are those of a copy each."""
    net, (frames, masks) = network(TABLE[name], SMALL), clip(batch=1)
    firsts = torch.cat([masks[:, 0], 1 - masks[:, 0], masks[:, 1]])  # three objects
    with torch.no_grad():
        shared, copied = net.begin(frames[:, 0], firsts), net.begin(frames[:, 0].expand(3, -1, -1, -1), firsts)
        for t in range(1, 4):
            one, shared = net.step(frames[:, t], shared)
            each, copied = net.step(frames[:, t].expand(3, -1, -1, -1), copied)
            torch.testing.assert_close(one.logits, each.logits, atol=1e-5, rtol=1e-5)
    assert len(shared.frame) == 1 and one.logits.shape == (3, 1, 32, 48)


@pytest.mark.parametrize("name", ["B4", "D", "G2", "F"])
def test_half_precision_keeps_the_answer_and_the_states_keep_float(name):
    net, (frames, masks) = network(TABLE[name], SMALL), clip()
    with torch.no_grad():
        exact = net.unroll(frames, masks[:, 0]).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = net.unroll(frames, masks[:, 0]).logits
            state = net.step(frames[:, 1], net.begin(frames[:, 0], masks[:, 0]))[1]
    assert half.dtype == torch.bfloat16 and (half - exact).abs().max() < 0.1 * exact.abs().max()
    assert state.mask.dtype == torch.float32 and all(x.dtype == torch.float32 for c in state.memory.values() for x in c)


def test_matching_keeps_what_it_asks_for():
    frames, masks = clip()
    slim = network(hs2s).begin(frames[:, 0], masks[:, 0])
    assert list(slim.first.levels) == [] and slim.first.deep.shape == (2, 64, 2, 3)
    wide = network(hs2s, merge_skip=True).begin(frames[:, 0], masks[:, 0])
    assert list(wide.first.levels) == [8]
    assert network(s2s).begin(frames[:, 0], masks[:, 0]).first is None


def test_what_is_known_of_frame_0_is_not_computed_again():
    net, (frames, masks) = network(hs2s), clip()
    calls = []
    net.matching.encoder.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        net.unroll(frames, masks[:, 0])
        assert len(calls) == 4  # frame 0, whose features serve step 1 twice, then frames 1 to 3
        state = net.begin(frames[:, 0], masks[:, 0])
        fresh = state._replace(previous=None)
        torch.testing.assert_close(
            net.step(frames[:, 1], state)[0].logits, net.step(frames[:, 1], fresh)[0].logits, atol=1e-6, rtol=1e-6
        )


def test_parts_that_do_not_fit():
    blind, guided = small_encoder(False), small_encoder(True)
    memory = Memory(blind, {16: ConvLSTM(64, 8)})
    decoder = Decoder(blind.channels, memory.channels, SMALL.decoder)
    with pytest.raises(InputError, match="never sees the first mask"):
        RecurrentVOS(blind, memory, decoder)
    level = LevelMatching({"first": make_fusion("cosine", 64, 8, 8, 4)}, 8)
    with pytest.raises(InputError, match="share the network's encoder only if that is guided"):
        RecurrentVOS(blind, memory, decoder, matching=Matching({16: level}, None))
    with pytest.raises(InputError, match=r"build the reference encoder with guided=True"):
        Matching({16: level}, blind)
    with pytest.raises(InputError, match=r"matching needs a reference, 'first', 'previous' or both, got \['last'\]"):
        hs2s(references=("last",))
    with pytest.raises(InputError, match="an initializer must see the mask"):
        Initializer(blind, memory)
    with pytest.raises(InputError, match=r"cells at strides \[16\] cannot start from.*levels \[2, 4\]"):
        Initializer(small_encoder(True, (8, 8)), memory)
    with pytest.raises(InputError, match=r"no level at stride 32 to remember.*\[2, 4, 8, 16\]"):
        Memory(guided, {32: ConvLSTM(64, 8)})
    with pytest.raises(InputError, match="the cell at stride 8 takes 64 channels, not 48"):
        Memory(guided, {8: ConvLSTM(64, 8)})
    with pytest.raises(InputError, match=r"a decoder of 4 levels at strides \[16, 8, 4, 2\] needs as many widths"):
        Decoder(blind.channels, memory.channels, (8, 8))
    with pytest.raises(InputError, match=r"the deepest among them, got \[8\]"):
        Decoder(blind.channels, {8: 4}, SMALL.decoder)


def test_clips_that_do_not_fit():
    net, (frames, masks) = rgmp(), clip()
    with pytest.raises(
        InputError, match=r"frames must be \[B, T, 3, H, W\] with T of at least 2, got \[2, 3, 32, 48\]"
    ):
        net(frames[:, 0], masks[:, 0])
    with pytest.raises(InputError, match=r"first masks must be \[2, 1, 32, 48\].*got \[2, 1, 32, 40\]"):
        net(frames, masks[:, 0, :, :, :40])
    with pytest.raises(InputError, match="a teacher hands on the truth: give `truth`"):
        net(frames, masks[:, 0], teacher=True)
    with pytest.raises(InputError, match=r"truth must be \[2, 5, 1, 32, 48\], got \[2, 4, 1, 32, 48\]"):
        net(frames, masks[:, 0], masks[:, 1:], True)
    with pytest.raises(InputError, match=r"teacher must be \[2, 5\] bool, got \[2, 4\] torch.bool"):
        net(frames, masks[:, 0], masks, torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(InputError, match=r"sides divisible by 16, got \[32, 40\].*crop"):
        net(frames[..., :40], masks[:, 0, :, :, :40])
    with pytest.raises(InputError, match=r"frame \[B or 1, 3, H, W\] and masks \[B, 1, H, W\] of its size"):
        net.begin(frames[:, 0], masks[:1, 0, 0])
