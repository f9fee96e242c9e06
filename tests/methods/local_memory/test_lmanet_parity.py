"""ERFNet, PSPNet and the local memory against reference numbers. No weights travel: a rule makes them from names.

Variants that make no sensible public option (memory of fused features, a decoder of the readout alone, gates without a
sigmoid) are built here from the library's parts.
"""

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.methods.local_memory import LocalMemoryNet, MemoryQueue, local_affinity, local_read
from course_lib.methods.local_memory.config import PUBLISHED_ERFNET
from course_lib.methods.local_memory.fusion import GatedFusion
from course_lib.methods.local_memory.local_read import local_similarity
from course_lib.methods.local_memory.network import KeyValue
from course_lib.methods.local_memory.published import erfnet_with_memory, load_published, pspnet_with_memory
from course_lib.methods.propagation.erfnet import ERFNet, erf_decoder

PLACES = [(0, 0), (0, 31), (15, 0), (8, 16), (3, 5)]
WINDOW = 21


def filled(name: str, shape: list[int]) -> Tensor:
    """The tensor of this name and shape: normal numbers drawn from the name's checksum, scaled by its kind."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    generator = np.random.Generator(np.random.Philox(key=[zlib.crc32(name.encode()), 0]))
    noise = generator.standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        noise = 1.0 + 0.1 * np.abs(noise)
    elif name.endswith("running_mean"):
        noise = 0.1 * noise
    elif len(shape) >= 2:
        noise = noise / np.sqrt(np.float64(np.prod(shape[1:])))
    elif name.endswith("weight"):
        noise = 1.0 + 0.1 * noise
    else:
        noise = 0.05 * noise
    return torch.from_numpy(np.asarray(noise, dtype=np.float32))


def picture(shape: tuple[int, ...], number: int) -> Tensor:
    """Smooth pictures: one plane wave for each plane of the leading axes."""
    rng = np.random.Generator(np.random.Philox(key=[7, number]))
    ys, xs = np.meshgrid(*(np.linspace(0, 1, n) for n in shape[-2:]), indexing="ij")
    out = np.zeros(shape, dtype=np.float32)
    for plane in out.reshape(-1, *shape[-2:]):
        down, across = rng.uniform(1, 9, 2)
        plane[:] = 0.5 + 0.5 * np.sin(6.28 * (down * ys + across * xs) + rng.uniform(0, 6.28))
    return torch.from_numpy(out)


class Golden:
    """Reference numbers with their tolerances."""

    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / "lmanet.json").read_text(encoding="utf-8"))
        self.arrays = np.load(folder / "lmanet.npz")

    def state(self, network: str, sharp: bool = False) -> dict[str, Tensor]:
        """State dict of a network; `sharp` has keys three times as long."""
        factors = self.about["multipliers"]["clip_logits_var_and_peaky"] if sharp else {}
        return {name: filled(name, shape) * factors.get(name, 1.0) for name, shape in self.shapes(network).items()}

    def shapes(self, network: str) -> dict[str, list[int]]:
        entry = self.about["state_dict"][network]
        if "same_as" not in entry:
            return entry
        base = {name: shape for name, shape in self.shapes(entry["same_as"]).items() if name not in entry["removed"]}
        return base | entry["added"]

    def clip(self, name: str) -> Tensor:
        """Frames [T, 3, H, W] that a moving window cuts from a picture."""
        c = self.about["inputs"][name]
        last = c["T"] - 1
        canvas = picture((3, c["H"] + c["dy"] * last, c["W"] + c["dx"] * last), c["seed"])
        return torch.stack(
            [canvas[:, c["dy"] * t :, c["dx"] * t :][:, : c["H"], : c["W"]] for t in range(c["T"])]
        )  # [T, 3, H, W]

    def check(self, name: str, found: Tensor) -> None:
        tolerance = self.about["arrays"][name]["atol"]
        np.testing.assert_allclose(found.numpy(), self.arrays[name], rtol=0, atol=tolerance, err_msg=name)

    def check_classes(self, name: str, found: Tensor) -> None:
        wrong = (found.numpy() != self.arrays[name]).sum()
        assert found.shape == self.arrays[name].shape and wrong <= self.about["arrays"][name]["max_mismatches"]


@pytest.fixture(scope="module")
def gold(golden) -> Golden:
    return Golden(golden)


@pytest.fixture(scope="module")
def plain(gold) -> LocalMemoryNet:
    """The published network on ERFNet, memory of four frames."""
    return load_published(erfnet_with_memory(), gold.state("lmanet_erf_sigmoid-do1")).eval()


@pytest.fixture(scope="module")
def sharp(gold) -> LocalMemoryNet:
    """The same with long keys, so that attention is sharp."""
    return load_published(erfnet_with_memory(), gold.state("lmanet_erf_peaky", sharp=True)).eval()


@pytest.fixture(scope="module")
def features(gold, plain) -> Tensor:
    """Of the five frames of the clip, [5, 128, 16, 32]."""
    with torch.no_grad():
        return torch.cat([plain.segmenter.encode(frame[None]) for frame in gold.clip("erf_clip")])


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def memory_of(net: LocalMemoryNet, features: Tensor) -> MemoryQueue:
    """The memory after these frames."""
    memory = MemoryQueue(net.config.memory_size)
    for frame in features:
        memory.write(*net.memory_heads(frame[None]))
    return memory


def logits_of_last(net: LocalMemoryNet, features: Tensor) -> Tensor:
    """[1, 1, 20, 19, 37]: logits of the last frame, every seventh pixel."""
    return net.from_features(features[None])[:, None, :, ::7, ::7]


@pytest.mark.parametrize("entry", [0, 1])
def test_erfnet_labels_single_frames(gold, entry):
    net = load_published(ERFNet(20), gold.state("erfnet")).eval()
    about = gold.about["inputs"]["erfnet_single"][entry]
    frames = picture((about["batch"], 3, about["height"], about["width"]), about["seed"])
    found = net(frames)
    gold.check(f"erfnet_s{entry}_enc", found.features)
    gold.check(f"erfnet_s{entry}_logits", found.logits[:, :, ::3, ::3])
    gold.check_classes(f"erfnet_s{entry}_argmax", found.logits.argmax(1))
    if entry == 0:
        gold.check("erfnet_s0_stem", net.encoder[0](frames)[..., ::4, ::4])
        gold.check("erfnet_s0_down2", net.encoder[:2](frames)[..., ::4, ::4])
    else:
        shallow = load_published(ERFNet(20, shallow=True), gold.state("erfnet_shallow")).eval()
        gold.check("erfnet_shallow_s1_logits", shallow(frames).logits)


def test_a_video_segmented_frame_by_frame(gold, plain):
    video = plain.start()
    logits = torch.stack([video.step(frame) for frame in gold.clip("erf_clip")])[None]  # [1, T, 20, H, W]
    gold.check("clip_logits_sigmoid-do1", logits[..., ::7, ::7])
    gold.check_classes("clip_argmax_sigmoid-do1", logits.argmax(2)[..., ::2, ::2])


def test_every_step_of_the_last_frame(gold, plain, features):
    gold.check("clip_enc", features[:, ::4])
    key_memory, value_memory = plain.memory_heads(features)
    gold.check("clip_keyM", key_memory)
    gold.check("clip_valM", value_memory[:, ::4])
    key, value = plain.query_heads(features[-1:])
    gold.check("clip_keyQ_last", key)
    gold.check("clip_valQ_last", value)

    keys = key_memory[None, :-1]  # [1, 4, 16, 16, 32]
    scores = local_similarity(key, keys, WINDOW)
    gold.check("clip_corr_samples", torch.stack([scores[0, 0, :, y, x] for y, x in PLACES]))
    weights = local_affinity(key, keys, WINDOW, border="zero")[0]  # [4, 441, 16, 32]
    gold.check("clip_attn_samples", torch.stack([weights[:, :, y, x].T for y, x in PLACES]))
    gold.check("clip_attn_sum", weights.sum((0, 1))[None])
    gold.check("clip_attn_max", weights.amax(1))

    readout = local_read(key, keys, value_memory[None, :-1], WINDOW, border="zero")
    gold.check("clip_mem", readout)
    memory = memory_of(plain, features[:-1])
    assert torch.equal(plain.read(features[-1:], memory)[1], readout)
    gold.check("clip_fused_sigmoid-do1", plain.with_memory(features[-1:], memory)[..., ::2, ::2])


def test_the_read_from_arrays_alone(gold):
    """Without any network: stored keys and values give the stored readout (of every fourth channel)."""
    keys, values, query = (torch.from_numpy(gold.arrays[f"clip_{n}"]) for n in ("keyM", "valM", "keyQ_last"))
    found = local_read(query, keys[None, :-1], values[None, :-1], WINDOW, border="zero").numpy()
    tolerance = gold.about["arrays"]["clip_mem"]["atol"]
    np.testing.assert_allclose(found, gold.arrays["clip_mem"][:, ::4], rtol=0, atol=tolerance)


FUSIONS = {
    "sigmoid-do3": {"one_gate": True},
    "sigmoid": {"normalise": False},
    "simple-sigmoid": {"normalise": False, "one_gate": True},
    "product": {"normalise": False, "squash": nn.Identity()},
    "concat": None,
}


@pytest.mark.parametrize("name", FUSIONS)
def test_fusions(gold, features, name):
    if name == "concat":
        net = LocalMemoryNet(ERFNet(20), replace(PUBLISHED_ERFNET, fusion="concat"))
    else:
        net = LocalMemoryNet(ERFNet(20), PUBLISHED_ERFNET, fusion=GatedFusion(64, 128, **FUSIONS[name]))
    load_published(net, gold.state(f"lmanet_erf_{name}")).eval()
    gold.check(f"clip_fused_{name}", net.with_memory(features[-1:], memory_of(net, features[:-1]))[..., ::2, ::2])
    gold.check(f"clip_logits_{name}", logits_of_last(net, features))


def test_sharp_attention(gold, sharp, features):
    memory = memory_of(sharp, features[:-1])
    gold.check("clip_mem_peaky", sharp.read(features[-1:], memory)[1][..., ::2, ::2])
    logits = [sharp.from_features(features[None, : t + 1]) for t in range(5)]
    gold.check("clip_logits_peaky", torch.stack(logits, dim=1)[..., ::7, ::7])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("queue2", {"memory_size": 2}),
        ("corr_alt", {"window": 9}),
        ("global", {"window": None, "border": "mask", "scale": "sqrt"}),
        ("const", {"no_match": True}),
        ("const_global", {"no_match": True, "window": None, "border": "mask", "scale": "sqrt"}),
        ("memorize_first", {"source": "past_and_self"}),
    ],
)
def test_variants_that_are_settings(gold, features, name, settings):
    net = LocalMemoryNet(ERFNet(20), replace(PUBLISHED_ERFNET, **settings))
    load_published(net, gold.state(f"lmanet_erf_{name}", sharp=True)).eval()
    gold.check(f"clip_logits_var_{name}", logits_of_last(net, features))


def test_every_second_frame(gold, sharp, features):
    gold.check("clip_logits_var_skip_01", logits_of_last(sharp, features[::2]))


def test_no_memory_at_all(gold, sharp, features):
    decoded = sharp.segmenter.decode(features[-1:])
    gold.check("clip_logits_var_baseline", decoded[:, None, :, ::7, ::7])
    control = LocalMemoryNet(sharp.segmenter, replace(PUBLISHED_ERFNET, source="none")).eval()
    assert torch.equal(control.from_features(features[None]), decoded)
    assert control.state_dict().keys() == {f"segmenter.{name}" for name in sharp.segmenter.state_dict()}


class FusedMemory(LocalMemoryNet):
    """Remembers what the decoder saw instead of the frame's features; the first frame has heads of its own."""

    def remember(self, features: Tensor, fused: Tensor, memory: MemoryQueue) -> None:
        heads = self.first_heads if len(memory) == 0 else self.memory_heads
        memory.write(*heads(fused))


def test_a_memory_of_fused_features(gold):
    state = gold.state("lmanet_erf_kv_fusion", sharp=True)
    first = {name: state.pop(f"kv_init_r4.{name}") for name in ("Key.weight", "Key.bias", "Value.weight", "Value.bias")}
    net = load_published(FusedMemory(ERFNet(20), PUBLISHED_ERFNET), state).eval()
    net.first_heads = KeyValue(128, 16, 64)
    net.first_heads.load_state_dict({name.lower(): tensor for name, tensor in first.items()})
    video = net.start()
    *_, last = [video.step(frame) for frame in gold.clip("erf_clip")]
    gold.check("clip_logits_var_kv_fusion", last[None, None, :, ::7, ::7])


def test_a_decoder_of_the_readout_alone(gold, sharp, features):
    """The main output is that of the memory network by design, so the second one is what is tested."""
    state = gold.state("lmanet_erf_aux", sharp=True)
    second = ERFNet(20)
    second.decoder = erf_decoder(20, inputs=64)
    own = {name: tensor for name, tensor in state.items() if name.startswith(("encoder.", "decoder_mem."))}
    single = {n.replace("decoder_mem", "decoder").replace("output_conv", "output_conv_new"): t for n, t in own.items()}
    load_published(second, single).eval()
    readout = sharp.read(features[-1:], memory_of(sharp, features[:-1]))[1]
    gold.check("clip_logits_var_aux_aux", second.decoder(readout)[:, None, :, ::7, ::7])
    gold.check("clip_logits_var_aux", logits_of_last(sharp, features))


def test_weights_that_do_not_fit_are_named(gold, plain):
    state = gold.state("lmanet_erf_sigmoid-do1")
    with pytest.raises(InputError, match=r"'memory_fusion.bn1.weight' is missing"):
        load_published(erfnet_with_memory(), {k: v for k, v in state.items() if k != "memory_fusion.bn1.weight"})
    with pytest.raises(InputError, match=r"'kv_M_r4.Key.weight' is \[8, 128, 3, 3\], expected \[16, 128, 3, 3\]"):
        load_published(erfnet_with_memory(), state | {"kv_M_r4.Key.weight": state["kv_M_r4.Key.weight"][:8]})
    with pytest.raises(InputError, match=r"no place for tensor 'kv_init_r4\.Key\.weight'"):
        load_published(erfnet_with_memory(), gold.state("lmanet_erf_kv_fusion"))
    wrapped = load_published(erfnet_with_memory(), {f"module.{name}": tensor for name, tensor in state.items()})
    assert all(torch.equal(a, b) for a, b in zip(wrapped.state_dict().values(), plain.state_dict().values()))


@pytest.fixture(scope="module")
def psp(gold) -> LocalMemoryNet:
    return load_published(pspnet_with_memory(), gold.state("lmanet_psp101_sigmoid-down1")).eval()


def with_ignored_class(logits: Tensor) -> Tensor:
    """The release has a twentieth class, for pixels to ignore, whose logit is 0 everywhere."""
    return torch.cat([logits, torch.zeros_like(logits[..., :1, :, :])], dim=-3)


def test_pspnet_labels_single_frames(gold, psp):
    about = gold.about["inputs"]["psp_single"]
    net = psp.segmenter
    frames = picture((about["batch"], 3, about["height"], about["width"]), about["seed"])
    x = net.encoder.stem((frames - net.mean) / net.std)
    gold.check("psp_s0_layer0", x[:, ::4, ::2, ::2])
    for stage, (channels, step) in enumerate([(8, 2), (8, 1), (16, 1), (16, 1)], start=1):
        x = net.encoder.get_submodule(f"layer{stage}")(x)
        name = f"psp_s0_layer{stage}" if stage < 4 else "psp_s0_enc"
        gold.check(name, x[:, ::channels, ::step, ::step])
    gold.check("psp_s0_ppm", net.pyramid(x)[:, ::32])
    found = net.segment(frames)
    assert torch.equal(found.features, x)
    gold.check("psp_s0_logits_low", net(frames).logits)
    gold.check("psp_s0_logits", with_ignored_class(found.logits)[..., ::2, ::2])


def test_pspnet_with_memory(gold, psp):
    frames = gold.clip("psp_clip")
    video = psp.start()
    logits = with_ignored_class(torch.stack([video.step(frame) for frame in frames]))[None]  # [1, T, 20, H, W]
    gold.check("psp_clip_logits", logits[..., ::5, ::5])
    gold.check_classes("psp_clip_argmax", logits.argmax(2)[..., ::2, ::2])
    gold.check("psp_clip_logits_peaklast", logits[:, -1, :, 97 // 2 : 97 // 2 + 1])

    features = torch.cat([psp.segmenter.encode(frame[None]) for frame in frames])
    gold.check("psp_clip_enc_last", features[-1:, ::16])
    keys = psp.memory_heads.key(features)
    gold.check("psp_clip_keyM", keys[:, ::4])
    key = psp.query_heads.key(features[-1:])
    gold.check("psp_clip_keyQ_last", key[:, ::4])
    weights = local_affinity(key, keys[None, :-1], WINDOW, border="zero")[0]
    samples = [weights[:, :, y, x].T for y, x in [(0, 0), (6, 8), (12, 3)]]
    gold.check("psp_clip_attn_samples", torch.stack(samples))
    memory = memory_of(psp, features[:-1])
    gold.check("psp_clip_mem", psp.read(features[-1:], memory)[1][:, ::16])
    gold.check("psp_clip_fused", psp.with_memory(features[-1:], memory)[:, ::16])
