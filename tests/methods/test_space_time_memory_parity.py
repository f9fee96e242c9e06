"""STCN and STM against reference numbers: every module, and whole runs. No weights travel: a rule makes them."""

import json
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError, MissingDataError
from course_lib.methods.space_time_memory import STCN, MemoryConfig, MemorySession
from course_lib.methods.space_time_memory.load import load_stcn
from course_lib.methods.space_time_memory.stm import STM
from course_lib.nn.attention_read import affinity, similarity
from course_lib.vos.aggregate import aggregation_logits, soft_aggregate
from course_lib.vos.padding import pad_to_multiple


def filled(name: str, shape: list[int], factor: float) -> torch.Tensor:
    """The tensor of this name and shape: normal numbers drawn from the name's checksum, scaled by its kind."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    noise = np.random.Generator(np.random.Philox(key=[zlib.crc32(name.encode()), 0])).standard_normal(shape)
    noise = noise.astype(np.float32)
    if name.endswith("running_var"):
        noise = 1.0 + 0.1 * np.abs(noise)
    elif name.endswith("running_mean"):
        noise = 0.1 * noise
    elif len(shape) >= 2:
        noise = noise / np.sqrt(np.prod(shape[1:]))
    else:
        noise = 1.0 + 0.1 * noise if name.endswith("weight") else 0.05 * noise
    return torch.from_numpy(np.asarray(noise, dtype=np.float32) * np.float32(factor))


def picture(shape: tuple[int, ...], number: int) -> np.ndarray:
    """A smooth picture: one plane wave per channel."""
    rng = np.random.Generator(np.random.Philox(key=[7, number]))
    ys, xs = np.meshgrid(*(np.linspace(0, 1, n) for n in shape[-2:]), indexing="ij")
    out = np.zeros(shape, dtype=np.float32)
    for plane in out:
        down, across = rng.uniform(1, 9, 2)
        plane[:] = 0.5 + 0.5 * np.sin(6.28 * (down * ys + across * xs) + rng.uniform(0, 6.28))
    return out


class Golden:
    """Reference numbers of one network, with their tolerances."""

    def __init__(self, folder: Path, name: str) -> None:
        self.about = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        self.arrays = np.load(folder / f"{name}.npz")

    def state(self) -> dict[str, torch.Tensor]:
        weights = self.about["weights"]
        fixed = weights.get("fixed_values", {})
        factors = weights["multipliers"]
        return {
            name: torch.tensor(fixed[name]).view(shape) if name in fixed else filled(name, shape, factors.get(name, 1))
            for name, shape in weights["keys"].items()
        }

    def clip(self, config: dict) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Frames [T, 3, H, W] cut from a moving window, and the masks [K, H, W] of each list of rectangles."""
        (height, width), (dy, dx), length = config["size"], config["shift"], config["frames"]
        canvas = picture((3, height + dy * (length - 1), width + dx * (length - 1)), config["seed"])
        frames = [canvas[:, dy * t : dy * t + height, dx * t : dx * t + width] for t in range(length)]
        lists = config["rects"] if isinstance(config["rects"][0][0], list) else [config["rects"]]
        masks = [torch.zeros(len(rectangles), height, width) for rectangles in lists]
        for mask, rectangles in zip(masks, lists, strict=True):
            for plane, (y0, y1, x0, x1) in zip(mask, rectangles, strict=True):
                plane[y0:y1, x0:x1] = 1
        return torch.from_numpy(np.stack(frames)), masks

    def check(self, name: str, found: torch.Tensor) -> None:
        np.testing.assert_allclose(
            found.numpy(), self.arrays[name], rtol=0, atol=self.about["arrays"][name]["tolerance"]["atol"], err_msg=name
        )

    def check_statistics(self, name: str, found: torch.Tensor) -> None:
        four = torch.stack([found.mean(), found.std(unbiased=False), found.min(), found.max()])
        self.check(name, four)

    def check_run(self, run: str, probs: torch.Tensor) -> None:
        self.check(f"{run}/prob_s2", probs[:, :, ::2, ::2])
        self.check(f"{run}/prob_last", probs[-1])
        wrong = (probs.argmax(dim=1).numpy() != self.arrays[f"{run}/argmax"]).mean()
        assert wrong <= self.about["arrays"][f"{run}/argmax"]["tolerance"]["max_mismatch_fraction"]


@pytest.fixture(scope="module")
def stcn(golden):
    gold = Golden(golden, "stcn")
    return gold, STCN().load_official_state(gold.state())


@pytest.fixture(scope="module")
def stm(golden):
    gold = Golden(golden, "stm")
    return gold, STM().load_official_state(gold.state())


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def test_stcn_has_the_published_parameters(stcn):
    gold, net = stcn
    assert sum(p.numel() for p in net.parameters()) == gold.about["parameters"] == 54_434_180
    assert len(net.state_dict()) == gold.about["state_dict_tensors"]


def test_stcn_modules(stcn):
    gold, net = stcn
    config = gold.about["module"]["config"]
    frames, masks = gold.clip(config)
    features = [net.encode_key(frame[None]) for frame in frames]
    for name, found in zip(("k16", "f16_thin", "f16", "f8", "f4"), features[0], strict=True):
        gold.check_statistics(f"module/{name}_stats", found)
    key, thin, f16, f8, f4 = (x[0] for x in features[0])
    gold.check("module/k16", key)
    gold.check("module/f16_thin", thin)
    gold.check("module/f16_sub", f16[::2])
    gold.check("module/f8_sub", f8[::4, ::2, ::2])
    gold.check("module/f4_sub", f4[::4, ::4, ::4])

    values = [net.encode_value(frames[t, None], features[t], masks[t][None]) for t in (0, 1)]
    gold.check("module/value", values[0][0])
    gold.check_statistics("module/value_stats", values[0])
    alone = net.encode_value(frames[:1], features[0], masks[0][None, :1])
    gold.check("module/value_one_object_sub", alone[0, :, ::4])
    gold.check_statistics("module/value_one_object_stats", alone)

    keys = torch.cat([f.key.flatten(2) for f in features[:2]], dim=2)
    stored = torch.cat([v.flatten(3) for v in values], dim=3)
    gold.check("module/affinity", affinity(similarity(keys, features[2].key.flatten(2)), config["top_k"])[0])
    readout = net.read(keys, stored, features[2].key, top_k=config["top_k"])
    gold.check("module/readout", readout[0])
    logits = net.decode(readout, features[2])
    gold.check("module/logits", logits[0])
    gold.check("module/prob", soft_aggregate(logits[0].sigmoid()))


@pytest.mark.parametrize("run", ["run_a", "run_b", "run_pad"])
def test_stcn_runs(stcn, run):
    gold, net = stcn
    config = gold.about["runs"][run]["config"]
    frames, (masks,) = gold.clip(config)
    probs = net.propagate(frames, masks, config["mem_every"], config["include_last"], config["top_k"])
    gold.check_run(run, probs)
    assert tuple(pad_to_multiple(frames, 16)[1]) == tuple(gold.arrays[f"{run}/pad"])


def test_stcn_run_with_a_late_object(stcn):
    """One memory for all with a date of birth per object equals the reference's one memory per object."""
    gold, net = stcn
    config = gold.about["runs"]["run_late"]["config"]
    frames, (masks,) = gold.clip(config)
    memory = MemoryConfig(mem_every=config["mem_every"], include_last=config["include_last"], top_k=config["top_k"])
    session = MemorySession(net, memory, frames[0], masks[:1], torch.tensor([1]))
    second = config["first_frame"][1]
    probs = [session.probs]
    for t in range(1, len(frames)):
        probs.append(session.step(frames[t]))
        if t == second:
            probs[t] = session.add((2 * masks[1]).to(torch.uint8))
    gold.check_run("run_late", torch.stack([F.pad(p, (0, 0, 0, 0, 0, 3 - len(p))) for p in probs]))
    cells = session.bank.cells
    valid = [int((cells.born[: cells.stored] >= group.birth).sum()) for group in cells.groups]
    assert valid == gold.arrays["run_late/memory_elements"].tolist()


def test_stm_has_the_published_parameters(stm):
    gold, net = stm
    assert sum(p.numel() for p in net.parameters()) == gold.about["parameters"] == 38_925_570


def test_stm_modules(stm):
    gold, net = stm
    frames, masks = gold.clip(gold.about["module"]["config"])
    stems = []

    def keep_stem(module: torch.nn.Module, args: tuple, output: torch.Tensor) -> None:
        stems.append(output.relu())

    hooks = [x.bn1.register_forward_hook(keep_stem) for x in (net.memory_encoder, net.query_encoder)]
    heads = [net.memory_heads, net.query_heads]
    deepest = []
    hooks += [x.register_forward_pre_hook(lambda module, args: deepest.append(args[0])) for x in heads]
    memory = [net.memorize(frames[t, None], masks[t][None]) for t in (0, 1)]
    query = net.encode_query(frames[2:])
    alone = net.memorize(frames[:1], masks[0][None, :1])
    for hook in hooks:
        hook.remove()
    gold.check("module/memory_c1_sub", stems[0][:, ::8, ::8, ::8])
    gold.check_statistics("module/memory_c1_stats", stems[0])
    gold.check("module/query_c1_sub", stems[2][0, ::4, ::8, ::8])
    gold.check("module/memory_r4_sub", deepest[0][:, ::8])
    gold.check_statistics("module/memory_r4_stats", deepest[0])
    gold.check("module/query_r4_sub", deepest[2][0, ::8])
    gold.check("module/query_r3_sub", query.r3[0, ::8, ::2, ::2])
    gold.check("module/query_r2_sub", query.r2[0, ::4, ::4, ::4])
    gold.check("module/query_key", query.key[0])
    gold.check("module/query_value_sub", query.value[0, ::4])
    gold.check("module/memory_key", memory[0][0])
    gold.check("module/memory_value_sub", memory[0][1][:, ::4])
    gold.check_statistics("module/memory_key_frame1_stats", memory[1][0])
    gold.check_statistics("module/memory_value_frame1_stats", memory[1][1])
    gold.check("module/memory_key_one_object", alone[0][0])
    gold.check_statistics("module/memory_value_one_object_stats", alone[1])

    keys, values = (torch.cat([x.flatten(2) for x in pair], dim=2) for pair in zip(*memory, strict=True))
    cells = query.key.flatten(2).expand(2, -1, -1)
    gold.check("module/attention", affinity(similarity(keys, cells, "dot")))
    readout = net.read(keys, values, query.key)
    gold.check("module/readout_sub", readout[:, ::4])
    logits = net.decode(readout, query)
    gold.check("module/decoder_logits", logits)
    objects = logits.softmax(dim=1)[:, 1]
    gold.check("module/object_prob", objects)
    gold.check("module/aggregated_logit", aggregation_logits(objects))
    gold.check("module/prob", soft_aggregate(objects))


@pytest.mark.parametrize("run", ["run_a", "run_b", "run_pad"])
def test_stm_runs(stm, run):
    """Empty channels, of which the reference carries eight or nine along, hold 1e-7 each and are not built here."""
    gold, net = stm
    config = gold.about["runs"][run]["config"]
    frames, (masks,) = gold.clip(config)
    gold.check_run(run, net.propagate(frames, masks, config.get("mem_every", 5), config.get("mem_number")))


def test_a_published_value_encoder_of_four_channels_gets_a_fifth_of_zeros(stcn):
    gold, _ = stcn
    state = gold.state()
    name = "value_encoder.conv1.weight"
    state[name] = state[name][:, :4]
    loaded = STCN().load_official_state(state).value_encoder.trunk.conv1.weight
    torch.testing.assert_close(loaded[:, :4], state[name], rtol=0, atol=0)
    assert not loaded[:, 4].any()


def test_states_that_do_not_fit_name_the_first_tensor_and_change_nothing(stcn, stm):
    gold, net = stcn
    before = net.key_encoder.key.weight.clone()
    state = gold.state()
    del state["key_encoder.res2.1.bn1.weight"]
    state["decoder.pred.weight"] = torch.zeros(1)
    with pytest.raises(InputError, match=r"'key_encoder\.res2\.1\.bn1\.weight' is missing, expected \[64\]"):
        net.load_official_state(state, "stcn.pth")
    state = gold.state()
    state["key_proj.key_proj.weight"] = torch.zeros(64, 1024, 1, 1)
    with pytest.raises(
        InputError, match=r"'key_proj\.key_proj\.weight' is \[64, 1024, 1, 1\], expected \[64, 1024, 3, 3\]"
    ):
        net.load_official_state(state)
    with pytest.raises(InputError, match=r"no place for tensor 'head\.weight'"):
        net.load_official_state(gold.state() | {"head.weight": torch.zeros(1)})
    assert torch.equal(net.key_encoder.key.weight, before)
    with pytest.raises(InputError, match=r"Encoder_M\.mean' is missing"):
        stm[1].load_official_state(gold.state())


def test_stm_takes_names_from_inside_a_parallel_wrapper_and_refuses_other_colours(stm):
    gold, net = stm
    state = {f"module.{name}": tensor for name, tensor in gold.state().items()}
    net.load_official_state(state)
    state["module.Encoder_Q.std"] = torch.ones(1, 3, 1, 1)
    with pytest.raises(InputError, match=r"Encoder_Q\.std is \[1\.0, 1\.0, 1\.0\]"):
        net.load_official_state(state)


class Payload:
    """What a malicious checkpoint would run."""

    def __reduce__(self) -> tuple[Callable, tuple]:
        return partial(print), ("ran",)


def test_checkpoint_files(stcn, tmp_path, capsys):
    gold, net = stcn
    path = tmp_path / "stcn.pth"
    torch.save(gold.state(), path)
    loaded = load_stcn(path, torch.device("cpu"))
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.net.state_dict().values(), net.state_dict().values(), strict=True)
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"stcn\.pth cannot be read as weights"):
        load_stcn(path, torch.device("cpu"))
    torch.save({"key_proj.key_proj.weight": Payload()}, path)
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_stcn(path, torch.device("cpu"))
    assert "ran" not in capsys.readouterr().out
    with pytest.raises(MissingDataError, match=r"--weights stcn\.pth"):
        load_stcn(None, torch.device("cpu"))
