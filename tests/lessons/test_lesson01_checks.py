"""The checks of lesson 01 accept right answers however they are written, and name the mistake in wrong ones."""

import functools

import pytest
import torch

from course_lib.lessons.checks import find_exercise, lesson01
from course_lib.lessons.checks import lesson01_gradient as G
from course_lib.lessons.checks import lesson01_rewards as R
from course_lib.lessons.examine import examine
from course_lib.lessons.testing import assert_exercise
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.geometry import compose_sequence, view, view_step_by_step
from course_lib.methods.spatial_transformer.policy_gradient import Episode, PolicyGradientConfig, policy_gradient_losses


def test_every_exercise_is_found_by_its_name():
    names = ["zoom_about", "compose_moves", "three_rewards", "rewards_to_go", "advantages_leave_one_out"]
    names.append("policy_gradient_loss")
    assert [exercise.name for exercise in lesson01.EXERCISES] == names
    for name, exercise in zip(names, lesson01.EXERCISES):
        assert find_exercise(name) is exercise


def test_zoom_about():
    def rows(f, x, y):
        s = 1 / f
        return torch.tensor([[s, 0, x - s * x], [0, s, y - s * y], [0, 0, 1]])

    def by_three_warps(f, x, y):
        there, back, small = torch.eye(3), torch.eye(3), torch.eye(3)
        there[:2, 2] = torch.tensor([x, y])
        back[:2, 2] = -torch.tensor([x, y])
        small[0, 0] = small[1, 1] = 1 / f
        return there @ small @ back

    def by_fixed_point(f, x, y):
        matrix = torch.eye(3)
        matrix[:2, :2] /= f
        point = torch.tensor([x, y])
        matrix[:2, 2] = point - matrix[:2, :2] @ point
        return matrix

    def written(scale, shift_x, shift_y, last=(0, 0, 1)):
        return torch.tensor([[scale, 0, shift_x], [0, scale, shift_y], last], dtype=torch.float32)

    assert_exercise(
        lesson01.ZOOM_ABOUT,
        right=[rows, by_three_warps, by_fixed_point],
        wrong={
            "gets smaller where it should grow": [
                lambda f, x, y: written(f, x - f * x, y - f * y),
                lambda f, x, y: written(f, x, y),
                lambda f, x, y: written(f, 0, 0),
            ],
            "moves to the centre": [lambda f, x, y: written(1 / f, x, y)],
            "drifts outwards": [lambda f, x, y: written(1 / f, 0, 0)],
            "wrong sign": [lambda f, x, y: written(1 / f, x / f - x, y / f - y)],
            "computed with the factor": [lambda f, x, y: written(1 / f, x - f * x, y - f * y)],
            "came before the zoom": [lambda f, x, y: written(1 / f, x / f, y / f)],
            "x and y are exchanged": [lambda f, x, y: rows(f, y, x)],
            "stays 1": [lambda f, x, y: torch.eye(3) / f],
            "last row must be": [lambda f, x, y: rows(f, x, y) + written(0, 0, 0, (0, 0, 1))],
            "not there": [lambda f, x, y: written(1 / f, (1 - 1 / f) / 2 * x, (1 - 1 / f) / 2 * y)],
            "last row (0, 0, 1) is missing": [lambda f, x, y: rows(f, x, y)[:2]],
            "transpose": [lambda f, x, y: rows(f, x, y).T],
            "dtype": [lambda f, x, y: rows(f, x, y).double()],
        },
    )


def test_zoom_about_enlarges_and_keeps_the_point():
    pixels = torch.zeros(1, 1, 41, 41)
    pixels[..., 26:29, 11:14] = 1  # a square of 3 x 3 around the pixel (12, 27)
    x, y = (2 * 12 + 1) / 41 - 1, (2 * 27 + 1) / 41 - 1
    larger = view(pixels, lesson01.zoom_about(3.0, x, y)[None])[0, 0]
    rows, columns = torch.nonzero(larger > 0.5, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (23, 31, 8, 16), "9 x 9 around the same pixel"


def test_compose_moves():
    def loop(matrices):
        view_to_image = torch.eye(3)
        for matrix in matrices:
            view_to_image = view_to_image @ matrix
        return view_to_image

    def by_recursion(matrices):
        return matrices[0] @ by_recursion(matrices[1:]) if matrices else torch.eye(3)

    def from_the_back(matrices):
        return functools.reduce(lambda done, matrix: torch.matmul(matrix, done), reversed(matrices), torch.eye(3))

    def left(matrices):
        return functools.reduce(lambda done, matrix: matrix @ done, matrices, torch.eye(3))

    def eats_the_list(matrices):
        done = torch.eye(3)
        while matrices:
            done = done @ matrices.pop(0)
        return done

    assert_exercise(
        lesson01.COMPOSE_MOVES,
        right=[loop, by_recursion, from_the_back],
        wrong={
            "wrong order": [left],
            "number by number": [lambda m: functools.reduce(lambda done, matrix: done * matrix, m, torch.eye(3))],
            "added up": [lambda m: sum(m, torch.eye(3)) - len(m) * torch.eye(3)],
            "This is the inverse": [lambda m: torch.linalg.inv(loop(m))],
            "Only the last move": [lambda m: m[-1] if m else torch.eye(3)],
            "first move is missing": [lambda m: loop(m[1:])],
            "last move is missing": [lambda m: loop(m[:-1])],
            "counts twice": [lambda m: loop([m[0], *m]) if m else torch.eye(3)],
            "empty list": [
                lambda m: functools.reduce(lambda a, b: a @ b, m),
                lambda m: loop([m[0], *m[1:]]),
                lambda m: torch.linalg.multi_dot(m) if len(m) > 1 else torch.stack(m)[0],
            ],
            "transpose": [lambda m: loop(m).T],
            "changes its input": [eats_the_list],
        },
    )


def test_composition_is_what_step_by_step_warping_does():
    actions = ActionSet.search(96)
    moves = [actions.matrices[a] for a in (0, 6, 7, 2)]
    y, x = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 96), indexing="ij")
    smooth = torch.exp(-20 * ((x - 0.2) ** 2 + (y + 0.1) ** 2))[None, None]
    stepwise = view_step_by_step(smooth, torch.stack(moves)[None])
    right = view(smooth, lesson01.compose_moves(moves)[None])
    left = view(smooth, lesson01.compose_moves(moves[::-1])[None])
    assert (right - stepwise).abs().max() < 0.01 < (left - stepwise).abs().max()
    torch.testing.assert_close(lesson01.compose_moves(moves), compose_sequence(torch.stack(moves)))


def test_three_rewards():
    def by_difference(losses, correct):
        return correct.diff(), -losses[1:], -losses.diff()

    def by_words(losses, correct):
        mended = (correct[:-1] == 0) & (correct[1:] == 1)
        broken = (correct[:-1] == 1) & (correct[1:] == 0)
        return mended.float() - broken.float(), 0 - losses[1:], losses[:-1] - losses[1:]

    def by_loop(losses, correct):
        steps = range(len(losses) - 1)
        return [
            torch.tensor([float(correct[t + 1] - correct[t]) for t in steps]),
            torch.tensor([-float(losses[t + 1]) for t in steps]),
            torch.tensor([float(losses[t] - losses[t + 1]) for t in steps]),
        ]

    def answer(r1=None, r2=None, r3=None):
        def wrong(losses, correct):
            return tuple(
                right if idea is None else idea(losses, correct)
                for idea, right in zip((r1, r2, r3), by_words(losses, correct))
            )

        return wrong

    assert_exercise(
        R.THREE_REWARDS,
        right=[by_difference, by_words, by_loop],
        wrong={
            "every right answer": [answer(lambda q, c: c[1:])],
            "for any change": [answer(lambda q, c: (c[1:] != c[:-1]).float())],
            "does not punish": [answer(lambda q, c: (c[1:] > c[:-1]).float())],
            "r1 has the wrong sign": [
                answer(lambda q, c: c[:-1] - c[1:]),
                answer(lambda q, c: c[:-1] - c[1:], lambda q, c: q),
            ],
            "answer after the move only": [answer(lambda q, c: torch.where(c[1:] > 0, 1.0, -1.0))],
            "loss before the move": [answer(r2=lambda q, c: -q[:-1])],
            "for a high loss": [answer(r2=lambda q, c: q[1:])],
            "T + 1 values": [answer(r2=lambda q, c: -q)],
            "r3 has the wrong sign": [answer(r3=lambda q, c: q[1:] - q[:-1])],
            "untouched image": [answer(r3=lambda q, c: q[:1] - q[1:])],
            "divided by the loss": [answer(r3=lambda q, c: (q[:-1] - q[1:]) / q[:-1])],
            "in the order r1, r2, r3": [lambda q, c: by_words(q, c)[2], lambda q, c: None],
            "order is reversed": [lambda q, c: by_words(q, c)[::-1]],
        },
    )


def test_changes_add_up_to_last_minus_first():
    losses, correct = torch.rand(41), (torch.rand(41) > 0.5).float()
    r1, _, r3 = R.three_rewards(losses, correct)
    torch.testing.assert_close(r1.sum(), correct[-1] - correct[0])
    torch.testing.assert_close(r3.sum(), losses[0] - losses[-1])


def test_rewards_to_go():
    def from_the_back(rewards, gamma):
        to_go, ahead = torch.empty_like(rewards), 0
        for t in range(rewards.shape[1] - 1, -1, -1):
            ahead = rewards[:, t] + gamma * ahead
            to_go[:, t] = ahead
        return to_go

    def by_matrix(rewards, gamma):
        steps = range(rewards.shape[1])
        weights = torch.tensor([[gamma ** (k - t) if k >= t else 0.0 for t in steps] for k in steps])
        return rewards @ weights

    def by_definition(rewards, gamma):
        steps = rewards.shape[1]
        columns = [sum(gamma ** (k - t) * rewards[:, k] for k in range(t, steps)) for t in range(steps)]
        return torch.stack(columns, dim=1)

    def forward(rewards, gamma):
        so_far, ahead = [], 0
        for reward in rewards.unbind(1):
            ahead = reward + gamma * ahead
            so_far.append(ahead)
        return torch.stack(so_far, 1)

    def rest(rewards):
        return rewards.sum(1, keepdim=True) - rewards.cumsum(1) + rewards

    def in_place(rewards, gamma):
        for t in range(rewards.shape[1] - 2, -1, -1):
            rewards[:, t] += gamma * rewards[:, t + 1]
        return rewards

    powers = lambda r, g: torch.tensor([g**t for t in range(r.shape[1])])  # noqa: E731

    assert_exercise(
        R.REWARDS_TO_GO,
        right=[from_the_back, by_matrix, by_definition],
        wrong={
            "as the algorithm is printed": [lambda r, g: rest(r * g * powers(r, g).flip(0))],
            "last reward has weight 1": [lambda r, g: rest(r * powers(r, g).flip(0))],
            "return of the whole episode": [
                lambda r, g: from_the_back(r, g)[:, :1].repeat(1, r.shape[1]),
                lambda r, g: r.sum(1)[:, None].repeat(1, r.shape[1]),
            ],
            "rewards that came before": [forward, lambda r, g: r.cumsum(1)],
            "own reward is missing": [lambda r, g: from_the_back(r, g) - r],
            "starts with the reward of the next step": [
                lambda r, g: torch.cat([from_the_back(r, g)[:, 1:], torch.zeros(len(r), 1)], 1) if g else r.roll(-1, 1)
            ],
            "gamma is not used": [lambda r, g: rest(r)],
            "from the start of the episode": [lambda r, g: rest(r * powers(r, g))],
            "discounted too": [lambda r, g: g * by_definition(r, g)],
            "over the episodes": [lambda r, g: from_the_back(r.T.clone(), g).T],
            "not a mean": [lambda r, g: from_the_back(r, g) / (r.shape[1] - torch.arange(r.shape[1]))],
            "NaN": [lambda r, g: (r * powers(r, g)).flip(1).cumsum(1).flip(1) / powers(r, g)],
            "changes its input": [in_place],
        },
    )


def test_advantages_leave_one_out():
    def by_loop(returns):
        rows = []
        for b in range(len(returns)):
            others = torch.cat([returns[:b], returns[b + 1 :]])
            rows.append(returns[b] - others.mean(0))
        return torch.stack(rows)

    def rescaled_mean(returns):
        return (returns - returns.mean(0)) * len(returns) / (len(returns) - 1)

    def by_matrix(returns):
        n = len(returns)
        weights = (torch.ones(n, n) - torch.eye(n)) / (n - 1)
        return returns - weights @ returns

    assert_exercise(
        G.ADVANTAGES_LEAVE_ONE_OUT,
        right=[by_loop, rescaled_mean, by_matrix],
        wrong={
            "shrinks by (B - 1) / B": [lambda g: g - g.mean(dim=0, keepdim=True)],
            "not B": [lambda g: g - (g.sum(0) - g) / g.shape[0]],
            "still holds the episode's own": [lambda g: g - g.sum(0, keepdim=True) / (g.shape[0] - 1)],
            "over the steps of one episode": [lambda g: g - g.sum(1)[:, None] / g.shape[1], lambda g: by_loop(g.T).T],
            "One mean for the whole batch": [lambda g: g - g.sum() / g.numel()],
            "whatever their step": [lambda g: g - (g.sum() - g) / (g.numel() - 1)],
            "This is the baseline": [lambda g: g - by_loop(g)],
            "sign is wrong": [lambda g: -by_matrix(g)],
            "divided by their deviation": [lambda g: (g - g.mean(0)) / (g.std(dim=0) + 1e-8)],
        },
    )


def test_advantages_of_two_episodes_are_opposite():
    first, second = G.advantages_leave_one_out(torch.randn(2, 7))
    torch.testing.assert_close(first, -second)


def test_policy_gradient_loss():
    def by_loop(log_probs, returns, baseline):
        total = 0
        for p, g, b in zip(log_probs.flatten(), returns.flatten().tolist(), baseline.flatten().tolist()):
            total = total - p * (g - b)
        return total / log_probs.numel()

    def by_sum(log_probs, returns, baseline):
        with torch.no_grad():
            weight = (baseline - returns) / returns.numel()
        return (weight * log_probs).sum()

    def two_means(log_probs, returns, baseline):
        return torch.mean(torch.mean(-log_probs * (returns.detach() - baseline.detach()), dim=1), dim=0)

    def advantage(returns, baseline):
        return (returns - baseline).detach()

    assert_exercise(
        G.POLICY_GRADIENT_LOSS,
        right=[by_loop, by_sum, two_means],
        wrong={
            "less likely": [
                lambda p, g, b: (p * advantage(g, b)).mean(),
                lambda p, g, b: -(p * (b - g).detach()).mean(),
            ],
            "grow with the batch": [lambda p, g, b: -(p * advantage(g, b)).sum()],
            "T times too large": [lambda p, g, b: -(p * advantage(g, b)).sum() / len(p)],
            "baseline is not used": [lambda p, g, b: -torch.mean(g.detach() * p)],
            "was added": [lambda p, g, b: -torch.mean((b.detach() + g.detach()) * p)],
            "likely actions count twice": [lambda p, g, b: -(torch.exp(p) * advantage(g, b)).mean()],
            "taken separately": [lambda p, g, b: -p.mean() * advantage(g, b).mean()],
            "credited with all steps": [lambda p, g, b: -(p.sum(1) * advantage(g, b).sum(1)).mean() / p.shape[1]],
            "biased": [lambda p, g, b: -(p * advantage(g, b) / (advantage(g, b).std(correction=0) + 1e-8)).mean()],
            "are not used": [lambda p, g, b: -p.sum() / p.numel()],
            "reaches the baseline": [lambda p, g, b: -((g.detach() - b) * p).mean()],
            "reaches the returns and the baseline": [lambda p, g, b: -((g - b) * p).mean()],
            "wrong factor was detached": [lambda p, g, b: -((g - b) * p.detach()).mean()],
            "One number per action": [lambda p, g, b: -p * advantage(g, b)],
            "carries no gradient": [lambda p, g, b: -(p * advantage(g, b)).mean().item()],
            "graph": [lambda p, g, b: by_sum(p, g, b).detach()],
        },
    )


def test_the_exercises_together_are_the_library_s_losses():
    log_probs, rewards = torch.rand(5, 6).log(), torch.randn(5, 6)
    config = PolicyGradientConfig(gamma=0.9, baseline="leave_one_out")
    library = policy_gradient_losses(Episode(log_probs, rewards), config)
    to_go = R.rewards_to_go(rewards, 0.9)
    advantage = G.advantages_leave_one_out(to_go)
    torch.testing.assert_close(to_go, library.returns)
    torch.testing.assert_close(advantage, library.advantages)
    torch.testing.assert_close(G.policy_gradient_loss(log_probs, advantage, torch.zeros(5, 6)), library.actor)


def test_the_loss_teaches_a_policy_the_arm_that_pays():
    logits = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    draws = torch.Generator().manual_seed(0)
    for _ in range(200):
        log_pi = logits.log_softmax(0)
        actions = (torch.rand(64, 1, generator=draws) < log_pi[1].exp()).long()
        loss = G.policy_gradient_loss(log_pi[actions], actions.float(), torch.zeros(64, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert logits.softmax(0)[1] > 0.95


def test_a_learner_sees_the_worked_numbers():
    verdict = examine(R.REWARDS_TO_GO, lambda rewards, gamma: rewards.cumsum(1))
    assert "0.939" in verdict.expected and verdict.status == "wrong"
    verdict = examine(R.THREE_REWARDS, lambda losses, correct: (correct[1:], -losses[1:], -losses.diff()))
    assert verdict.passed == 0 and "every right answer" in verdict.cause


@pytest.mark.parametrize("gamma", [0.5, 0.95, 1.0])
def test_reward_to_go_is_the_discounted_sum(gamma):
    rewards = torch.randn(3, 12)
    direct = [sum(gamma ** (k - t) * rewards[:, k] for k in range(t, 12)) for t in range(12)]
    torch.testing.assert_close(R.rewards_to_go(rewards, gamma), torch.stack(direct, 1), atol=1e-5, rtol=1e-5)
