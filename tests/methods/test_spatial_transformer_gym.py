"""The Gymnasium faces of the environment: the checker, one against many, seeding, rendering, a stranger's agent."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from course_lib.data.digits import ClutterConfig, ClutteredDigits
from course_lib.errors import InputError
from course_lib.methods.spatial_transformer.actions import ActionSet, translation
from course_lib.methods.spatial_transformer.drawing import draw_views
from course_lib.methods.spatial_transformer.environment import EnvironmentConfig
from course_lib.methods.spatial_transformer.gym_env import ImagePool, SpatialTransformEnv, SpatialTransformVectorEnv
from course_lib.methods.spatial_transformer.networks import Mlp

SIDE, T = 40, 6


@pytest.fixture(scope="module")
def pool():
    digits = ClutteredDigits(ClutterConfig(canvas=SIDE, n_clutter=2)).batch(32)
    return ImagePool(digits.images, digits.labels, digits.boxes)


def config(**changes):
    return EnvironmentConfig(**{"actions": ActionSet.search(SIDE), "episode_length": T, **changes})


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return Mlp((1, SIDE, SIDE))


@pytest.mark.parametrize("observe", ["image", "image_action"])
@pytest.mark.parametrize("pixels", ["uint8", "float32"])
def test_passes_gymnasiums_own_checker(pool, classifier, observe, pixels):
    env = SpatialTransformEnv(pool, config(), classifier, observe, pixels, render_mode="rgb_array")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(env)
    rest = [str(w.message) for w in said if "spec" not in str(w.message)]  # it is not registered, on purpose
    assert not rest


def test_passes_the_checker_as_a_registered_environment(pool, classifier):
    name = "course-test/SpatialTransform-v0"
    gymnasium.register(
        id=name,
        entry_point=SpatialTransformEnv,
        kwargs={"pool": pool, "config": config(), "classifier": classifier},
    )
    try:
        env = gymnasium.make(name, render_mode="rgb_array")
        check_env(env.unwrapped)
        observation, _ = env.reset(seed=1)
        assert env.observation_space.contains(observation)
    finally:
        gymnasium.registry.pop(name)


def test_an_episode_is_the_batched_one(pool, classifier):
    env = SpatialTransformEnv(pool, config(), classifier, "image_action", "float32")
    observation, info = env.reset(options={"index": 7})
    assert np.array_equal(observation["image"], pool.images[7].numpy()) and info["index"] == 7
    assert not observation["previous_action"].any() and np.array_equal(info["matrix"], np.eye(3))
    losses, total = [info["loss"]], 0.0
    for t in range(T):
        action = (3 * t) % 10
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation["previous_action"].argmax() == action
        assert isinstance(reward, float) and reward == pytest.approx(losses[-1] - info["loss"], abs=1e-5)
        assert terminated is (t == T - 1) and truncated is False
        losses.append(info["loss"])
        total += reward
    assert total == pytest.approx(losses[0] - losses[-1], abs=1e-4)
    assert 0 <= info["share"] <= 1 and info["correct"] in (True, False)


def test_seeds_repeat_and_differ(pool, classifier):
    env = SpatialTransformEnv(pool, config(), classifier)
    drawn = [[env.reset(seed=s)[1]["index"] for _ in range(1)] + [env.reset()[1]["index"] for _ in range(8)]
             for s in (3, 3, 4)]  # fmt: skip
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("observe", ["image", "image_action"])
def test_many_at_once_equal_one_at_a_time(pool, classifier, observe):
    index = np.array([4, 9, 1])
    many = SpatialTransformVectorEnv(3, pool, config(), classifier, observe)
    singles = [SpatialTransformEnv(pool, config(), classifier, observe) for _ in index]
    rng = np.random.default_rng(0)
    together, infos = many.reset(options={"index": index})
    alone = [env.reset(options={"index": i}) for env, i in zip(singles, index, strict=True)]
    for t in range(T + 1):
        assert many.observation_space.contains(together)
        for i, (observation, info) in enumerate(alone):
            for name in ("loss", "matrix", "share", "correct", "index"):
                assert np.allclose(infos[name][i], info[name], atol=1e-5) and infos[f"_{name}"][i]
            if observe == "image":
                assert np.abs(together[i].astype(int) - observation.astype(int)).max() <= 1
            else:
                assert np.array_equal(together["previous_action"][i], observation["previous_action"])
        if t == T:
            break
        actions = rng.integers(10, size=3)
        together, rewards, terminated, truncated, infos = many.step(actions)
        stepped = [env.step(a) for env, a in zip(singles, actions, strict=True)]
        assert np.allclose(rewards, [s[1] for s in stepped], atol=1e-5)
        assert terminated.tolist() == [s[2] for s in stepped] and not truncated.any()
        alone = [(s[0], s[4]) for s in stepped]


def test_after_the_end_the_next_step_begins_anew(pool, classifier):
    env = SpatialTransformVectorEnv(4, pool, config(), classifier, pixels="float32")
    env.reset(seed=0)
    actions = np.zeros(4, dtype=np.int64)
    for _ in range(T):
        *_, terminated, _, _ = env.step(actions)
    assert terminated.all()
    observation, rewards, terminated, truncated, infos = env.step(actions)
    assert not rewards.any() and not terminated.any() and not truncated.any()
    assert np.array_equal(observation, pool.images[torch.from_numpy(infos["index"])].numpy())
    assert np.array_equal(infos["matrix"], np.tile(np.eye(3), (4, 1, 1)))
    for t in range(T):
        *_, terminated, _, _ = env.step(actions)
        assert terminated.all() == (t == T - 1)


def test_gymnasiums_statistics_wrapper_understands_it(pool, classifier):
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(SpatialTransformVectorEnv(4, pool, config(), classifier))
    env.reset(seed=0)
    total = np.zeros(4)
    for _ in range(T):
        _, rewards, terminated, _, infos = env.step(env.action_space.sample())
        total += rewards
    assert terminated.all() and np.allclose(infos["episode"]["r"], total, atol=1e-5)
    assert (infos["episode"]["l"] == T).all()


def test_rendering_shows_the_frame_on_the_original(pool):
    picture = SpatialTransformEnv(pool, config(reward="share_sign"), render_mode="rgb_array")
    picture.reset(options={"index": 0})
    still = picture.render()
    picture.step(picture.batched.actions.index("zoom"))
    zoomed = picture.render()
    assert still.shape == zoomed.shape and still.dtype == np.uint8 and still.shape[2] == 3
    assert not np.array_equal(still, zoomed)
    assert SpatialTransformEnv(pool, config(reward="share_sign")).render() is None
    many = SpatialTransformVectorEnv(2, pool, config(reward="share_sign"), render_mode="rgb_array")
    many.reset(options={"index": [0, 1]})
    assert len(many.render()) == 2 and np.array_equal(many.render()[0], still)


def test_the_drawn_frame_is_where_the_view_is():
    """A view shifted right by a quarter of the image: its frame begins there in the original."""
    black = torch.zeros(1, 40, 40)
    picture = draw_views(black, black, translation(0.5, 0))
    side, scale, margin = 240, 4, 40  # 40 pixels enlarged to 160, a quarter of that on either side
    assert picture.shape == (side, 2 * side, 3)
    colour = np.array([230, 159, 0])
    rows, columns = np.nonzero((picture == colour).all(axis=2))
    assert abs(columns.min() - (margin + 10 * scale)) <= 2 and abs(columns.max() - (margin + 50 * scale)) <= 3
    assert abs(rows.min() - margin) <= 2 and abs(rows.max() - (margin + 40 * scale)) <= 3
    assert (picture[100, side + margin + 5] == 0).all()  # the view, on the right, is black


def test_errors_say_what_was_expected(pool, classifier):
    with pytest.raises(InputError, match="observe must be 'image' or 'image_action'"):
        SpatialTransformEnv(pool, config(), classifier, observe="all")
    with pytest.raises(InputError, match="render_mode must be None or 'rgb_array', got 'human'"):
        SpatialTransformEnv(pool, config(), classifier, render_mode="human")
    with pytest.raises(InputError, match="numbers from 0 to 31, got 32"):
        SpatialTransformEnv(pool, config(), classifier).reset(options={"index": 32})
    with pytest.raises(InputError, match="3 numbers"):
        SpatialTransformVectorEnv(3, pool, config(), classifier).reset(options={"index": [1]})
    with pytest.raises(InputError, match="num_envs must be at least 1"):
        SpatialTransformVectorEnv(0, pool, config(), classifier)
    with pytest.raises(InputError, match="labels must be as many as images, 32; got 3"):
        ImagePool(pool.images, pool.labels[:3])
    with pytest.raises(InputError, match="asks a classifier"):
        SpatialTransformEnv(pool, config())
    with pytest.raises(InputError, match="original and view must be"):
        draw_views(torch.zeros(2, 8, 8), torch.zeros(2, 8, 8), torch.eye(3))


def zoom_task():
    """One bright square in the middle, paid by its share: zooming pays, a few times."""
    images = torch.zeros(4, 1, SIDE, SIDE)
    images[:, :, 14:26, 14:26] = 1
    pool = ImagePool(images, boxes=torch.tensor([[14.0, 14, 26, 26]]).expand(4, 4))
    return pool, EnvironmentConfig(ActionSet.salient(SIDE), episode_length=4, reward="share_growth")


@pytest.mark.parametrize("observe", ["image", "image_action"])
def test_an_agent_of_stable_baselines3_learns_on_it(observe, tmp_path):
    """PPO from another library, a few hundred steps: it learns to zoom in on a square, which pays best."""
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env as check_for_sb3
    from stable_baselines3.common.logger import configure

    task, cfg = zoom_task()
    check_for_sb3(SpatialTransformEnv(task, cfg, observe=observe), warn=False)
    env = SpatialTransformEnv(task, cfg, observe=observe, pixels="float32")
    agent = sb3.PPO(
        "MlpPolicy" if observe == "image" else "MultiInputPolicy",
        env, n_steps=64, batch_size=64, learning_rate=3e-3, gamma=0.9, seed=0, device="cpu",
    )  # fmt: skip

    def earned(policy):
        observation, _ = env.reset(seed=0)
        total, over = 0.0, False
        while not over:
            observation, reward, over, _, _ = env.step(policy(observation))
            total += reward
        return total

    rng = np.random.default_rng(0)
    random = np.mean([earned(lambda _: int(rng.integers(6))) for _ in range(50)])
    agent.set_logger(configure(str(tmp_path), ["log"]))  # its own would stay behind in the machine's folder
    agent.learn(640)
    learnt = earned(lambda seen: int(agent.predict(seen, deterministic=True)[0]))
    assert learnt > 2 * random, (learnt, random)


def test_a_convolutional_agent_of_stable_baselines3_takes_its_images(tmp_path):
    """DQN with its own network for images of bytes, for as long as it takes to update it."""
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.logger import configure

    task, cfg = zoom_task()
    agent = sb3.DQN(
        "CnnPolicy", SpatialTransformEnv(task, cfg), buffer_size=200, learning_starts=50, batch_size=8,
        train_freq=16, seed=0, device="cpu",
    )  # fmt: skip
    before = [p.clone() for p in agent.policy.parameters()]
    agent.set_logger(configure(str(tmp_path), ["log"]))
    agent.learn(200)
    assert any(not torch.equal(p, q) for p, q in zip(agent.policy.parameters(), before, strict=True))
    assert all(p.isfinite().all() for p in agent.policy.parameters())
