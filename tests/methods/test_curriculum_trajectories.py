"""Episodes kept as moves and matrices: the same as the environment's, and an oracle that does what it is told to."""

import pytest
import torch
from safetensors.torch import save_file

from course_lib.errors import InputError, MissingDataError
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.environment import EnvironmentConfig, SpatialTransformerEnv
from course_lib.methods.spatial_transformer.geometry import compose_sequence, identity, transport_boxes, true_iou, view
from course_lib.methods.spatial_transformer.networks import BodyConfig
from course_lib.methods.spatial_transformer.policies import AgentConfig, Policy
from course_lib.methods.spatial_transformer.trajectories import (
    OraclePolicy,
    Trajectories,
    record,
    views_at,
    wander,
)

SIDE = 20
ACTIONS = ActionSet.curriculum(SIDE)


def random_boxes(n, side=8, seed=0):
    corner = torch.randint(SIDE - side + 1, (n, 2), generator=torch.Generator().manual_seed(seed)).float()
    return torch.cat([corner, corner + side], dim=1)


def images(n, seed=0):
    pixels = torch.randint(256, (n, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    return pixels.to(torch.uint8)


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(3)
    policy = Policy(AgentConfig(BodyConfig((4,), (3,), 2, 1, 8), memory=8), (1, SIDE, SIDE), len(ACTIONS))
    with torch.no_grad():
        policy.head.weight.mul_(30)  # decided, but by what it sees
    return policy


def test_matrices_compose_the_moves():
    moves = torch.randint(8, (5, 6), generator=torch.Generator().manual_seed(0))
    episodes = Trajectories.from_moves(moves, ACTIONS)
    assert (len(episodes), episodes.longest, episodes.moves.dtype) == (5, 6, torch.uint8)
    assert torch.equal(episodes.after(0), identity(5))
    for t in range(7):
        assert torch.allclose(episodes.after(t), compose_sequence(ACTIONS.matrices[moves[:, :t]]), atol=1e-6)
    with pytest.raises(InputError, match=r"0 … 6 moves, asked for the view after 7"):
        episodes.after(7)


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        (torch.zeros(3), "whole numbers"),
        (torch.zeros(0, 2, dtype=torch.long), "whole numbers"),
        (torch.full((2, 2), 8), r"numbered 0 … 7, got 8 … 8"),
    ],
)
def test_other_moves_are_refused(moves, message):
    with pytest.raises(InputError, match=message):
        Trajectories.from_moves(moves, ACTIONS)


def test_views_at_shows_each_image_after_its_own_number_of_moves():
    pixels, episodes = images(6), wander(6, ACTIONS, 5)
    steps = torch.tensor([0, 1, 2, 3, 5, 0])
    seen = views_at(pixels, episodes.matrices, steps)
    floats = pixels.float() / 255
    for i, t in enumerate(steps.tolist()):
        one = view(floats[i : i + 1], compose_sequence(ACTIONS.matrices[episodes.moves[i : i + 1, :t].long()]))
        assert torch.allclose(seen[i : i + 1], one, atol=1e-5)
    assert torch.allclose(seen[0], floats[0], atol=1e-5), "no move shows the original"
    assert torch.allclose(views_at(floats, episodes.matrices, steps), seen)
    with pytest.raises(InputError, match="steps"):
        views_at(pixels, episodes.matrices, steps[:3])


def test_recorded_episodes_are_those_of_the_environment(policy):
    """The environment, judged by a constant, is the independent implementation."""
    pixels, boxes = images(40), random_boxes(40)
    env = SpatialTransformerEnv(EnvironmentConfig(ACTIONS, 5, "share_growth"))
    observation = env.reset(pixels.float() / 255, boxes=boxes)
    moves, memory = [], None
    with torch.no_grad():
        for _ in range(5):
            logits, memory = policy(*observation, memory)
            moves.append(logits.argmax(dim=1))
            observation = env.step(moves[-1]).observation
    episodes = record(policy, pixels, ACTIONS, 5, greedy=True)
    assert torch.equal(episodes.moves.long(), torch.stack(moves, dim=1))
    assert torch.allclose(episodes.after(5), env.matrices)
    assert len(episodes.moves.unique()) > 2, "a policy that always does the same tests little"


def test_recording_repeats_itself_and_leaves_the_policy_alone(policy):
    policy.train()
    one, again = (record(policy, images(30), ACTIONS, 4, seed=1) for _ in range(2))
    assert policy.training
    policy.eval()
    assert torch.equal(one.moves, again.moves)
    assert not torch.equal(one.moves, record(policy, images(30), ACTIONS, 4, seed=2).moves)
    greedy = record(policy, images(30), ACTIONS, 4, greedy=True)
    assert torch.equal(greedy.moves, record(policy, images(30), ACTIONS, 4, greedy=True, batch_size=7).moves)
    assert not one.matrices.requires_grad


def test_recording_refuses_what_does_not_fit(policy):
    with pytest.raises(InputError, match="chooses among 8 moves, the set has 10"):
        record(policy, images(2), ActionSet.search(SIDE), 3)
    with pytest.raises(InputError, match="expected images, moves"):
        record(policy, images(2), ACTIONS, 0)


def test_shares_of_moves_add_up():
    shares = wander(4000, ACTIONS, 3, seed=5).move_shares()
    assert shares.shape == (3, 8)
    assert torch.allclose(shares.sum(dim=1), torch.ones(3))
    assert float((shares - 1 / 8).abs().max()) < 0.03  # five standard errors
    assert Trajectories.from_moves(torch.tensor([[0, 7], [0, 1]]), ACTIONS).move_shares()[1, 7] == 0.5


def test_oracle_goes_where_the_object_is():
    oracle = OraclePolicy(ACTIONS, (SIDE, SIDE))
    places = {"left": (0, 6), "right": (12, 6), "up": (6, 0), "down": (6, 12), "zoom": (6, 6)}
    boxes = torch.tensor([[x, y, x + 8, y + 8] for x, y in places.values()]).float()
    chosen = [ACTIONS.names[a] for a in oracle(boxes, identity(5)).tolist()]
    assert chosen == list(places)


def test_oracle_centres_every_object_then_fills_the_view_then_stays():
    """Worst case: six pixels on each axis in shifts of one, then 8 / 20 to 0.9 in zooms of 1.2, recentring between."""
    boxes = random_boxes(300)
    oracle = OraclePolicy(ACTIONS, (SIDE, SIDE))
    episodes = oracle.record(boxes, 24)
    shown = transport_boxes(boxes, episodes.after(24), (SIDE, SIDE))
    centre = (shown[:, :2] + shown[:, 2:]) / 2 - SIDE / 2
    assert float(centre.abs().max()) <= 0.5 + 1e-4, "half a shift"
    side = (shown[:, 2] - shown[:, 0]) / SIDE
    assert float(side.min()) > 0.9 / 1.2 and float(side.max()) <= 0.9
    stay = ACTIONS.index("stay")
    assert bool((episodes.moves[:, -1] == stay).all())
    turns = [ACTIONS.index("turn left"), ACTIONS.index("turn right")]
    assert not torch.isin(episodes.moves, torch.tensor(turns, dtype=torch.uint8)).any()
    share = torch.stack(
        [true_iou(transport_boxes(boxes, episodes.after(t), (SIDE, SIDE)), (SIDE, SIDE)) for t in range(25)]
    )
    assert float((share[1:] - share[:-1]).min()) > -1e-5, "the object is never left behind"


def test_oracle_needs_its_moves():
    with pytest.raises(InputError, match="fill"):
        OraclePolicy(ACTIONS, (SIDE, SIDE), fill=1.5)
    with pytest.raises(InputError, match="no action is called 'right'"):
        OraclePolicy(ActionSet(("stay",), torch.eye(3)[None]), (SIDE, SIDE))
    with pytest.raises(InputError, match="at least one move"):
        OraclePolicy(ACTIONS, (SIDE, SIDE)).record(random_boxes(2), 0)


def test_files_hold_a_byte_per_move_and_give_back_the_same(tmp_path):
    episodes = wander(1000, ACTIONS, 12)
    path = tmp_path / "deep" / "episodes.safetensors"
    episodes.save(path)
    assert path.stat().st_size < 1000 * 12 + 1000
    loaded = Trajectories.load(path)
    assert torch.equal(loaded.matrices, episodes.matrices)
    assert torch.equal(loaded.moves, episodes.moves)
    assert loaded.actions.names == ACTIONS.names


def test_other_files_are_refused(tmp_path):
    with pytest.raises(MissingDataError, match="no trajectories"):
        Trajectories.load(tmp_path / "none.safetensors")
    path = tmp_path / "half.safetensors"
    wander(100, ACTIONS, 3).save(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="cannot be read as trajectories"):
        Trajectories.load(path)
    save_file({"moves": torch.zeros(2, 2)}, path)
    with pytest.raises(InputError, match="expected 'trajectories 1'"):
        Trajectories.load(path)
    with pytest.raises(InputError, match=r"written as \.safetensors"):
        wander(2, ACTIONS, 1).save(tmp_path / "episodes.pt")
