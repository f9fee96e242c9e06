"""The search for a good view: moves per second of the batched environment, against one image at a time in Python.

Run `python benchmarks/spatial_transformer_env.py`. Both sides play the same moves on the same cluttered digits, judged
by the same classifier, and must be paid alike; they take turns, one thread, processor time (wall time on the GPU), and
the best of several rounds counts for each. A third side is the environment with one image, as a Gymnasium agent steps
it. `--gpu` measures on a GPU too.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _machine import machine_description
from torch import Tensor, nn

from course_lib.data.digits import ClutterConfig, ClutteredDigits, DigitBatch
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.environment import EnvironmentConfig, SpatialTransformerEnv
from course_lib.methods.spatial_transformer.geometry import identity, view
from course_lib.methods.spatial_transformer.gym_env import ImagePool, SpatialTransformEnv
from course_lib.methods.spatial_transformer.networks import BodyConfig, ConvNet, Mlp

ROUNDS, STEPS, BATCH, SIDE = 5, 4, 256, 40


def in_a_batch(env: SpatialTransformerEnv, data: DigitBatch, moves: Tensor) -> Tensor:
    """Rewards [T, B] of the batched environment."""
    env.reset(data.images, data.labels)
    return torch.stack([env.step(actions).rewards for actions in moves])


@torch.no_grad()
def one_by_one(actions: ActionSet, classifier: nn.Module, data: DigitBatch, moves: Tensor) -> Tensor:
    """The same in the obvious way: for each image, for each move, a view, a loss, and Python numbers."""
    rewards = torch.zeros(moves.shape)
    for i in range(len(data.images)):
        image, label, matrix = data.images[i : i + 1], data.labels[i : i + 1], identity(1)
        before = nn.functional.cross_entropy(classifier(image), label).item()
        for t in range(len(moves)):
            matrix = matrix @ actions.matrices[int(moves[t, i])]
            after = nn.functional.cross_entropy(classifier(view(image, matrix)), label).item()
            rewards[t, i] = before - after
            before = after
    return rewards


def in_gymnasium(env: SpatialTransformEnv, moves: Tensor) -> None:
    """Single episodes, one image after the other."""
    for i in range(moves.shape[1]):
        env.reset(options={"index": i})
        for action in moves[:, i].tolist():
            env.step(action)


def seconds(play: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Time that one call takes; processor time does not mind what else the machine is doing."""
    began = clock()
    play()
    return clock() - began


def measure(classifier: nn.Module, data: DigitBatch, moves: Tensor) -> dict[str, float]:
    """Moves per second of the three sides on the CPU, and how many times faster the batch is."""
    config = EnvironmentConfig(ActionSet.search(SIDE), STEPS)
    env = SpatialTransformerEnv(config, classifier)
    pool = ImagePool(data.images, data.labels)
    single = SpatialTransformEnv(pool, config, classifier)
    paid, expected = in_a_batch(env, data, moves), one_by_one(config.actions, classifier, data, moves)
    if not torch.allclose(paid, expected, atol=1e-3):
        raise SystemExit(f"the two sides are paid differently, by up to {(paid - expected).abs().max():.3g}")
    batched, slow, gym = [], [], []
    for _ in range(ROUNDS):
        batched.append(moves.numel() / seconds(lambda: in_a_batch(env, data, moves)))
        slow.append(moves.numel() / seconds(lambda: one_by_one(config.actions, classifier, data, moves)))
        gym.append(moves.numel() / seconds(lambda: in_gymnasium(single, moves)))
    return {
        "moves_per_second": round(max(batched)),
        "obvious_moves_per_second": round(max(slow)),
        "gymnasium_moves_per_second": round(max(gym)),
        "ratio": round(max(batched) / max(slow), 1),
    }


def measure_gpu(classifier: nn.Module, data: DigitBatch, moves: Tensor) -> dict[str, float]:
    """Moves per second on a GPU, waited for at the end of each episode only."""
    env = SpatialTransformerEnv(EnvironmentConfig(ActionSet.search(SIDE), STEPS), classifier.cuda())
    on_gpu, there = DigitBatch(*(part.cuda() for part in data)), moves.cuda()

    def play() -> None:
        in_a_batch(env, on_gpu, there)
        torch.cuda.synchronize()

    play()
    return {"moves_per_second": round(moves.numel() / min(seconds(play, time.perf_counter) for _ in range(ROUNDS)))}


def main() -> None:
    """Measure, print, and write benchmarks/results/spatial_transformer_env.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="also measure on a CUDA GPU")
    on_gpu = parser.parse_args().gpu
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = ClutteredDigits(ClutterConfig(canvas=SIDE)).batch(BATCH)
    moves = torch.randint(10, (STEPS, BATCH))
    classifiers: dict[str, nn.Module] = {
        "judged by the MLP": Mlp((1, SIDE, SIDE)),
        "judged by a small LeNet": ConvNet(BodyConfig.lenet("small"), (1, SIDE, SIDE)),
    }
    found: dict[str, dict[str, float]] = {}
    for name, classifier in classifiers.items():
        found[name] = measure(classifier, data, moves)
        print(
            f"{name}: {found[name]['moves_per_second']:,} moves/s, {found[name]['ratio']} times one image at a time; "
            f"through Gymnasium {found[name]['gymnasium_moves_per_second']:,}"
        )
        if on_gpu:
            found[f"{name}, GPU"] = measure_gpu(classifier, data, moves)
            print(f"{name}, GPU: {found[f'{name}, GPU']['moves_per_second']:,} moves/s")
    results = Path(__file__).parent / "results" / "spatial_transformer_env.json"
    results.parent.mkdir(exist_ok=True)
    setting = {"batch": BATCH, "side": SIDE, "moves_per_episode": STEPS, "threads": 1}
    text = json.dumps({"machine": machine_description(), **setting, "results": found}, indent=1)
    results.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
