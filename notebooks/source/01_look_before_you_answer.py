# %% [raw] tags=["manifest"]
# lesson: 01
# title: Look before you answer
# promise: Teach an agent to move, zoom and turn its view of a cluttered picture until a simple classifier gets it right, with nothing but a reward.
# needs: ["00"]
# objectives: [say which way a backward warp moves a picture and in which order warps compose, explain why the gradient of a warp sees only neighbouring pixels, write REINFORCE with reward-to-go and a baseline from memory, show that a baseline changes the spread of a gradient and not its mean, read a trained agent's episode]
# terms: [clutter, backward warping, spatial transformer, policy, episode, reward-to-go, baseline, actor-critic]
# source: "F. Azimi, PhD thesis, RPTU Kaiserslautern-Landau, 2024, sections 5.2 and 5.3 (sequential spatial transformers); M. Jaderberg et al., NeurIPS 2015 (STN); R. Williams, 1992 (REINFORCE)"

# %% tags=["parameters"]
PRESET = "cpu"
SEED = 0
DEVICE = "auto"
DATA_ROOT = None

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from course_lib.lessons import check, lesson, quiz
from course_lib.viz import show, use_course_style

use_course_style()
course = lesson("01", preset=PRESET, seed=SEED, device=DEVICE, data_root=DATA_ROOT)
device = str(course.device)

# %% [markdown]
# ## 1. The problem, seen
#
# Here are ten pictures. Each holds **one** digit, somewhere, among pieces that were cut out of *other* digits. Find it.

# %%
from course_lib.data.digits import ClutterConfig, ClutteredDigits

scenes = ClutteredDigits(ClutterConfig())  # 40 x 40 pixels, a digit of 16, eight fragments of 5
batch = scenes.with_split("test").batch(10, seed=SEED)
fig, axes = plt.subplots(2, 5, figsize=(7.5, 3.2))
for axis, image, label in zip(axes.flat, batch.images, batch.labels.tolist()):
    axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"it is a {label}")
    axis.axis("off")
show(fig, alt="Ten pictures of scattered strokes, each with one whole handwritten or printed digit")
print(f"the digit can be in {scenes.positions} places")

# %% [markdown]
# You looked around, found something whole, and looked at *that*. A classifier with two layers cannot look around. It sees 1,600 brightness
# values in fixed places. Train it once on the pictures as they are, and once on the same pictures cut out around the true digit:

# %%
from course_lib.methods.spatial_transformer.digit_config import DigitTrainingConfig, System
from course_lib.methods.spatial_transformer.digit_training import part_of, train_system

live = replace(
    DigitTrainingConfig.preset("cpu"),
    train_images=course.pick(smoke=200, cpu=20_000, gpu=60_000),
    validation_images=course.pick(smoke=50, cpu=500, gpu=1000),
    test_images=course.pick(smoke=50, cpu=2000, gpu=2000),
    steps=course.pick(smoke=4, cpu=900, gpu=4000),
    evaluations=course.pick(smoke=2, cpu=3, gpu=5),
    warm_up=0,
)
trained = {}
for system in (System.plain(), System.truth()):
    trained[system.label] = train_system(system, live, seed=SEED, device=device, progress=False)
for name, result in trained.items():
    print(f"{name:<22} {result.accuracy:6.1%} of new pictures right")

# %% [markdown]
# Same classifier, same pictures, same number of steps. *Where to look* is worth more than anything else here. The thesis prints 54.0 % for such a
# classifier on its larger pictures (Azimi, 2024, Table 5.1).
#
# So let us put something in front of the classifier that chooses where to look, **without anybody telling it where the digit is**.

# %% tags=["hide-input"]
quiz(
    "Why not remove the clutter with a filter (blur, threshold, edges) and keep the simple classifier?",
    {
        "Filters are slow": "A filter is the fastest thing there is. It would not help at any speed.",
        "Each fragment looks, pixel by pixel, exactly like a piece of a digit": "They are pieces of digits. What makes one "
        "thing an object and the others clutter is that it is *whole*, and no small window can see that.",
        "The digits have different sizes": "They all have 16 pixels here. Only the place changes.",
    },
    right="Each fragment looks, pixel by pixel, exactly like a piece of a digit",
)

# %% [markdown]
# ## 2. A view is a matrix, and it works backwards
#
# A **view** is a new picture of the same size, filled by looking up places in the old one. For each pixel $x$ of the view, a matrix $M$ says where in
# the *original* to look:
#
# $$ \text{view}(x) = \text{original}(M\,x) $$
#
# Places run from $-1$ to $1$ from edge to edge. This is **backward warping**, and it is the most common bug of this whole field, because everything seems
# to go the wrong way. See for yourself: $M$ with 0.5 on the diagonal, and $M$ that adds 0.5 to $x$.

# %%
from course_lib.methods.spatial_transformer.drawing import draw_views
from course_lib.methods.spatial_transformer.geometry import view

picture = batch.images[:1]  # [1, 1, H, W]
half = torch.diag(torch.tensor([0.5, 0.5, 1.0]))
shifted = torch.eye(3)
shifted[0, 2] = 0.5
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3))
for axis, (name, matrix) in zip(axes, {"0.5 on the diagonal": half, "+0.5 in x": shifted}.items()):
    axis.imshow(
        draw_views(picture[0], view(picture, matrix[None])[0], matrix), interpolation="antialiased"
    )
    axis.set_title(f"{name}: where it looks | what it sees", fontsize=9)
    axis.axis("off")
show(
    fig,
    alt="A matrix with 0.5 on the diagonal enlarges; a matrix that adds 0.5 to x moves the content left",
)

# %% [markdown]
# Half the range is looked at, so things become **twice as large**. The window goes to the *right*, so what is in it goes to the **left**.
# Remember the window: it moves and shrinks as $M$ says, and the content does the opposite.
#
# **Exercise 1.** Write the matrix that enlarges around a place, so that this place stays where it is.


# %% tags=["exercise", "zoom_about"]
def zoom_about(factor: float, x: float, y: float) -> Tensor:
    """Matrix of a view that shows everything `factor` times as large; the point (x, y) stays in place.

    x, y: from -1 to 1 between the outer edges of the image, x to the right, y down.
    Returns [3, 3], backward: it sends a point (x, y, 1) of the view to the original.
    """
    ### BEGIN SOLUTION
    scale = 1 / factor  # to see things larger, look at less
    return torch.tensor([[scale, 0.0, x - scale * x], [0.0, scale, y - scale * y], [0.0, 0.0, 1.0]])
    ### END SOLUTION


# %% tags=["check"]
zoom_about = check.zoom_about(zoom_about)

# %% [markdown]
# <details><summary>Hint 1</summary> Twice as large means that the view shows half of the width. So how long is the way in the original when you cross the view? </details>
#
# <details><summary>Hint 2</summary> The scale is <code>s = 1 / factor</code>. The point stays if the view looks there from its own place: <code>s * x + shift = x</code>. </details>
#
# <details><summary>Hint 3</summary> The first row is <code>[s, 0, x - s * x]</code>, the second <code>[0, s, y - s * y]</code>, the third <code>[0, 0, 1]</code>. </details>

# %% tags=["hide-input"]
quiz(
    "The matrix of a view is diag(0.8, 0.8, 1) with the shift 0.1 in x. What do you see, compared with the untouched image?",
    {
        "Everything smaller, moved to the right": "Both would be true if the matrix moved the image. It moves the view: "
        "the view looks at less of the image, and further to the right.",
        "Everything larger, moved to the right": "Larger is right: the view covers 0.8 of the image. But a view that moves "
        "to the right sees things slide to the left.",
        "Everything larger, moved to the left": "The view covers 0.8 of the width, so things are 1.25 times as large, and "
        "its centre looks at 0.1 to the right of the middle, so things slide to the left.",
    },
    right="Everything larger, moved to the left",
)

# %% [markdown]
# ## 3. One learnt view: the spatial transformer
#
# Let a small network look at the picture and return the six numbers of $M$; sample the view; classify it; and send the gradient of the
# classification loss all the way back through the sampling. That is the **spatial transformer network** (STN, Jaderberg et al., 2015). No one says where the
# digit is. It starts with $M$ = identity, which is important: a random start often looks away, and from black pixels there is no way back.

# %%
trained["STN"] = train_system(System.stn(), live, seed=SEED, device=device, progress=False)
print(f"MLP + STN: {trained['STN'].accuracy:.1%} of new pictures right, after {live.steps} steps")

stn = trained["STN"].network
with torch.no_grad():
    matrices = stn.localiser(batch.images.to(device)).cpu()
if course.preset != "smoke":
    fig, axes = plt.subplots(2, 2, figsize=(8, 4.2))
    for axis, image, matrix in zip(axes.flat, batch.images, matrices):
        axis.imshow(
            draw_views(image, view(image[None], matrix[None])[0], matrix),
            interpolation="antialiased",
        )
        axis.axis("off")
    show(fig, alt="Four pictures with the frame of the STN's view, and what it sees")

# %% [markdown]
# ### What the gradient can see
#
# After so short a training it is only a little better than nothing; after 8,000 steps it answers 79 % rightly (the table in section 7). Whether it
# finds the way at all is a matter of luck: of three runs for the board below, one never left its start. There is a
# reason. Bilinear sampling mixes the four pixels around a place, so the gradient with respect to $M$ knows **only those
# neighbours**. Does a digit ten pixels away pull? Move the view over a picture and watch the loss of the classifier that has learnt from true boxes:

# %%
from course_lib.methods.spatial_transformer.digit_task import box_matrices

judge = trained[System.truth().label].network.classifier.cpu().eval()
which = course.pick(smoke=0, cpu=3, gpu=3)
image, label = batch.images[which : which + 1], batch.labels[which : which + 1]
right_view = box_matrices(batch.boxes[which : which + 1], (40, 40))  # [1, 3, 3]
offsets = torch.linspace(-15, 15, course.pick(smoke=11, cpu=121, gpu=121))  # pixels of the original
moved = right_view.repeat(len(offsets), 1, 1)
moved[:, 0, 2] += offsets * 2 / 40
moved.requires_grad_()
logits = judge(view(image.expand(len(offsets), -1, -1, -1), moved))
losses = torch.nn.functional.cross_entropy(logits, label.expand(len(offsets)), reduction="none")
pull = -torch.autograd.grad(losses.sum(), moved)[0][:, 0, 2]  # downhill direction in x
fig, axis = plt.subplots(figsize=(7, 2.8))
axis.plot(offsets, losses.detach(), color="#444444")
towards = (pull * offsets) < 0  # does a small step downhill lead to the digit?
for good, colour, name in (
    (True, "#009E73", "downhill leads to the digit"),
    (False, "#D55E00", "downhill leads away"),
):
    chosen = (towards == good) & (offsets.abs() > 0.5)
    axis.plot(offsets[chosen], losses.detach()[chosen], ".", color=colour, label=name)
axis.axvline(0, color="gray", linestyle=":")
axis.set(xlabel="how far the view is off, in pixels", ylabel="loss of the classifier")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="Loss against offset: a valley at 0, and hills and valleys around it whose slope often leads away",
)

# %% [markdown]
# Far from the digit the slope points this way and that: it follows fragments. The loss itself, though, *does* say who is right, if only one tries: at offset 0
# it is lowest. So an alternative to following slopes is **trying**: move, look, keep what helped. Nothing then needs a derivative, neither the moves nor the goal.
#
# ## 4. Ten moves
#
# The agent gets ten **moves**: shift the view by three pixels in four directions, zoom to 0.8 (in $x$, in $y$, in both), turn by ten degrees either way, and *stay*.
# There is no way to zoom out again. An **episode** is a fixed number of moves; an agent that is content stays.
#
# After several moves the view shows $\text{original}(A_0 A_1 A_2 \cdots x)$. Why is the first move on the *left*? Because the newest move acts on coordinates of the newest view:
# $\text{view}_{t+1}(x) = \text{view}_t(A_t x) = \text{original}(M_t A_t x)$.
#
# **Exercise 2.** Compose a list of moves.


# %% tags=["exercise", "compose_moves"]
def compose_moves(matrices: list[Tensor]) -> Tensor:
    """One matrix for a whole sequence of moves.

    matrices: [3, 3] each, the first move first; maybe none at all.
    Returns [3, 3]: the view after all moves is the original seen through it.
    """
    ### BEGIN SOLUTION
    view_to_original = torch.eye(3)
    for matrix in matrices:
        view_to_original = view_to_original @ matrix  # a new move goes on the right
    return view_to_original
    ### END SOLUTION


# %% tags=["check"]
compose_moves = check.compose_moves(compose_moves)

# %% [markdown]
# <details><summary>Hint 1</summary> Start from the view of an untouched image, <code>torch.eye(3)</code>, and go through the list. </details>
#
# <details><summary>Hint 2</summary> The pixel meets the newest matrix first. In a product the matrix that is met first stands next to the point, on the right. </details>
#
# <details><summary>Hint 3</summary> <code>M = M @ matrix</code> for each matrix of the list. </details>

# %% [markdown]
# With a single matrix the original is sampled **once**. The printed algorithm warps the warped picture again and again instead. What is the difference?

# %%
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.geometry import view_step_by_step

moves = ActionSet.search(size=40, pixels=3)
print(", ".join(f"{number} {name}" for number, name in enumerate(moves.names)))
tour = ["right", "turn right", "down", "turn left", "left", "up"] * 2
matrices = [moves.matrices[moves.index(name)] for name in tour]
once = view(picture, compose_moves(matrices)[None])
often = view_step_by_step(picture, torch.stack(matrices)[None])
fig, axes = plt.subplots(1, 3, figsize=(7, 2.5))
for axis, (name, shown) in zip(
    axes,
    {"original": picture, "composed, sampled once": once, "warped twelve times": often}.items(),
):
    axis.imshow(shown[0, 0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(name, fontsize=9)
    axis.axis("off")
show(
    fig,
    alt="The same tour of twelve moves: composed it stays sharp, warped step by step it blurs and loses its edges",
)

# %% [markdown]
# Twelve samplings blur, and what has left the frame is black for ever. We compose; the literal way is `EnvironmentConfig(sampling="resample")`.
#
# ## 5. What is a move worth?
#
# The classifier is the judge. Let $\ell_t$ be its loss on the view after $t$ moves. The thesis tries three rewards for the move that leads from $t$ to $t + 1$:
#
# $$ r_1 = \mathbb 1[\text{right at } t+1] - \mathbb 1[\text{right at } t], \qquad r_2 = -\ell_{t+1}, \qquad r_3 = \ell_t - \ell_{t+1} $$
#
# **Exercise 3.** Write all three for a whole episode.


# %% tags=["exercise", "three_rewards"]
def three_rewards(losses: Tensor, correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three rewards of each move of one episode.

    losses: [T + 1], the classifier's loss on each view, the untouched image first.
    correct: [T + 1], 1.0 where its answer was right, else 0.0.
    Returns r1, r2, r3, [T] each.
    """
    ### BEGIN SOLUTION
    change = correct[1:] - correct[:-1]
    return change, -losses[1:], losses[:-1] - losses[1:]
    ### END SOLUTION


# %% tags=["check"]
three_rewards = check.three_rewards(three_rewards)

# %% [markdown]
# <details><summary>Hint 1</summary> "Before" is every view but the last, <code>losses[:-1]</code>; "after" is every view but the first. </details>
#
# <details><summary>Hint 2</summary> With 0 and 1 for wrong and right, after minus before is +1, 0 or -1. </details>
#
# <details><summary>Hint 3</summary> <code>correct[1:] - correct[:-1]</code>, <code>-losses[1:]</code>, <code>losses[:-1] - losses[1:]</code>. </details>

# %% tags=["nbval-check-output"]
r1, r2, r3 = three_rewards(torch.tensor([2.3, 2.0, 2.1, 1.2]), torch.tensor([0.0, 1.0, 0.0, 1.0]))
print("r1", r1.tolist(), " sum", f"{r1.sum():.1f}", "= right at the end - right at the start")
print("r3", [f"{r:.1f}" for r in r3], " sum", f"{r3.sum():.1f}", "= 2.3 - 1.2")
print("r2", [f"{r:.1f}" for r in r2], " sum", f"{r2.sum():.1f}", "= it depends on the way")

# %% [markdown]
# Two of the three have a pretty property. Add $r_3$ over an episode: everything in the middle cancels, $\ell_0 - \ell_T$ is left. An agent cannot earn anything by going in
# circles. The same is true for $r_1$. The second, $r_2$, pays for being good *early*, and ignores what the move changed.

# %% tags=["hide-input"]
quiz(
    "An agent with reward r3 walks away from the digit (loss 1.0 to 3.0) and back again (3.0 to 1.0). What has it earned in total?",
    {
        "Nothing": "Minus 2 and plus 2. What adds up to 'last minus first' cannot be milked by going in circles.",
        "Plus 2, for the way back": "And minus 2 for the way out.",
        "Minus 2": "The way back pays what the way out cost.",
    },
    right="Nothing",
)

# %% [markdown]
# ## 6. Learning from reward alone
#
# The agent is a network, the **policy** $\pi_\theta(a \mid s)$: it sees the view (and its previous move) and gives every move a probability. We want a high total reward on average,
#
# $$ J(\theta) = \mathbb E_{\pi_\theta} \Big[ \sum_t r_t \Big]. $$
#
# The reward comes out of a sampled move and a judge that we may not differentiate. How can there be a gradient? One line of calculus, $\nabla p = p \, \nabla \log p$, and the derivative
# moves to the only thing that depends on $\theta$:
#
# $$ \nabla_\theta J = \mathbb E \Big[ \sum_t \nabla_\theta \log \pi_\theta(a_t \mid s_t) \; G_t \Big], \qquad G_t = r_t + \gamma r_{t+1} + \gamma^2 r_{t+2} + \cdots $$
#
# Make what you did more likely, in proportion to what came *after* it. This is **REINFORCE** (Williams, 1992). $G_t$ is the **reward-to-go**: a move is not to be thanked for what
# happened before it. The discount $\gamma$ says how far ahead it is held responsible.
#
# **Exercise 4.** The rewards-to-go of a batch of episodes.


# %% tags=["exercise", "rewards_to_go"]
def rewards_to_go(rewards: Tensor, gamma: float) -> Tensor:
    """What each action is credited with.

    rewards: [B, T], one row per episode; r_t follows the action of step t. gamma: discount in [0, 1].
    Returns [B, T].
    """
    ### BEGIN SOLUTION
    ahead = torch.zeros_like(rewards[:, 0])  # [B]
    to_go = []
    for reward in reversed(rewards.unbind(dim=1)):  # from the last step to the first
        ahead = reward + gamma * ahead
        to_go.append(ahead)
    return torch.stack(to_go[::-1], dim=1)
    ### END SOLUTION


# %% tags=["check"]
rewards_to_go = check.rewards_to_go(rewards_to_go)

# %% [markdown]
# <details><summary>Hint 1</summary> What does the last action get? And the one before it, if you know that already? </details>
#
# <details><summary>Hint 2</summary> Go backwards: G_t = r_t + gamma · G_(t+1), and after the last step there is nothing. </details>
#
# <details><summary>Hint 3</summary> <code>for reward in reversed(rewards.unbind(dim=1)): ahead = reward + gamma * ahead</code>. Collect <code>ahead</code>, turn the list around, stack it along dim 1. </details>

# %% tags=["hide-input"]
quiz(
    "By which way does the classifier's judgement reach the policy?",
    {
        "By the gradient of its loss through the warped image": "That is how the spatial transformer network learns. Here the "
        "reward has no gradient at all; it could come from a person.",
        "As a number that weighs log pi of the actions taken": "Only log pi is differentiated. That is why actions may be "
        "discrete and the reward as rough as right or wrong.",
        "Not at all, the policy only sees the image": "It sees the image when it chooses. What was worth choosing it learns "
        "from the reward, and the reward comes from the classifier.",
    },
    right="As a number that weighs log pi of the actions taken",
)

# %% [markdown]
# The algorithm as printed in the thesis weights the reward at step $t$ by $\gamma^{T-t}$, which makes the *last* reward count most, whichever move it is for. Both agree only for $\gamma = 1$;
# we take it for a slip and use the usual form.
#
# ### Less noise for free: the baseline
#
# Two slot machines pay 10 and 11. Pull one: whichever it is, the reward is large and positive, so REINFORCE makes it *more* likely. It is right on average only, and the average takes long. Now
# subtract 10.5 from every reward: 10 becomes a disappointment, 11 a success. Any number $b$ that does not depend on the move may be subtracted,
# because $\mathbb E[\nabla \log \pi] = 0$: the mean stays, the **spread** shrinks. Turn the dials. Where is the spread smallest? Make one arm rare: is it still at the expected reward?

# %%
from course_lib.viz.widgets import BanditExplorer

BanditExplorer(rewards=(10.0, 11.0), probability=0.5, baseline=8.0)

# %% [markdown]
# The best baseline is *not* the expected reward unless the arms are equally likely: it leans towards the reward of the **rare** arm, since that is the one which would throw the gradient farthest.
#
# Where does a baseline come from when nobody knows the rewards? Here are two answers:
#
# * the **mean of the other pictures** in the batch (leave one out), step by step;
# * a second network, the **critic** $V(s_t)$, which learns to predict the reward-to-go from what it sees. Policy and critic together are called **actor-critic**.
#
# Why the mean of the *others*? A mean that includes your own reward depends on your own move.
#
# **Exercise 5.** Advantages with the leave-one-out baseline.


# %% tags=["exercise", "advantages_leave_one_out"]
def advantages_leave_one_out(returns: Tensor) -> Tensor:
    """How much better each step went than the same step of the other episodes.

    returns: [B, T], one row per episode, B >= 2.
    Returns [B, T].
    """
    ### BEGIN SOLUTION
    others = (returns.sum(dim=0) - returns) / (len(returns) - 1)  # mean of the others, [B, T]
    return returns - others
    ### END SOLUTION


# %% tags=["check"]
advantages_leave_one_out = check.advantages_leave_one_out(advantages_leave_one_out)

# %% [markdown]
# <details><summary>Hint 1</summary> The sum of the others is the sum of all minus your own. No loop is needed. </details>
#
# <details><summary>Hint 2</summary> <code>returns.sum(dim=0)</code> is [T], one sum per step; subtracting <code>returns</code> gives [B, T]. How many others are there? </details>
#
# <details><summary>Hint 3</summary> <code>others = (returns.sum(dim=0) - returns) / (len(returns) - 1)</code>; the advantage is <code>returns - others</code>. </details>

# %% [markdown]
# **Exercise 6.** The loss to *minimise*, so that its gradient climbs. Three traps: the sign, what may carry a gradient, and the mean.


# %% tags=["exercise", "policy_gradient_loss"]
def policy_gradient_loss(log_probs: Tensor, returns: Tensor, baseline: Tensor) -> Tensor:
    """The loss whose gradient makes actions that went better than usual more likely.

    log_probs: [B, T], log pi of the actions taken, carries the gradient.
    returns, baseline: [B, T], what followed each action and what was to be expected.
    Returns one number, a mean over episodes and steps; only log_probs receive a gradient from it.
    """
    ### BEGIN SOLUTION
    advantage = (returns - baseline).detach()
    return -(log_probs * advantage).mean()
    ### END SOLUTION


# %% tags=["check"]
policy_gradient_loss = check.policy_gradient_loss(policy_gradient_loss)

# %% [markdown]
# <details><summary>Hint 1</summary> The advantage is the return minus the baseline. Should a step on the loss make log pi of a good action larger or smaller? </details>
#
# <details><summary>Hint 2</summary> The baseline may come from a network. <code>.detach()</code> makes a plain number of the advantage, so that the actor's loss does not train the critic. </details>
#
# <details><summary>Hint 3</summary> <code>-(log_probs * (returns - baseline).detach()).mean()</code> </details>

# %% [markdown]
# ### A test that has an answer
#
# Whether a policy gradient is right cannot be seen from a learning curve; wrong ones learn too, only worse. So test it where the answer is known: a chain of states small enough to be solved exactly.

# %%
from course_lib.methods.spatial_transformer import chain as corridor

walk = corridor.make_chain(
    length=5, slip=0.1
)  # a small prize one step to the left, a large one three to the right
logits = torch.zeros(5, 2, dtype=torch.float64, requires_grad=True)  # a policy that knows nothing
exact = corridor.exact_policy_gradient(walk, logits, horizon=8)
generator = torch.Generator().manual_seed(SEED)
estimates = {"no baseline": [], "leave one out": []}
for _ in range(course.pick(smoke=5, cpu=150, gpu=400)):
    episodes = corridor.rollout(walk, logits, batch=32, horizon=8, generator=generator).episode
    returns = rewards_to_go(episodes.rewards, 1.0)
    for name, gain in (
        ("no baseline", returns),
        ("leave one out", advantages_leave_one_out(returns)),
    ):
        loss = policy_gradient_loss(episodes.log_probs, gain, torch.zeros_like(gain))
        estimates[name].append(-8 * torch.autograd.grad(loss, logits, retain_graph=True)[0])
fig, axis = plt.subplots(figsize=(7, 2.6))
for row, (name, samples) in enumerate(estimates.items()):
    samples = torch.stack(samples)[:, 2, 1]  # the logit of "right" in the middle of the corridor
    axis.plot(
        samples, np.full(len(samples), row) + np.linspace(-0.2, 0.2, len(samples)), ".", alpha=0.5
    )
    axis.plot(
        samples.mean(), row, "k|", markersize=22, label="mean of the samples" if row == 0 else None
    )
axis.axvline(float(exact[2, 1]), color="#D55E00", linestyle="--", label="exact gradient")
axis.set(
    yticks=[0, 1],
    yticklabels=list(estimates),
    xlabel="estimated gradient of one logit, 32 episodes each",
)
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="Samples of a gradient with and without baseline: equal means at the exact value, less spread with baseline",
)

# %% [markdown]
# Both clouds are centred on the exact gradient, the one with a baseline is narrower. (The factor 8 undoes the mean over the eight steps.) Your loss has passed a test that no learning curve can give.
#
# ## 7. The agent at work
#
# Here is the whole algorithm. The policy is two convolutions, then a small recurrent layer (an LSTM, which remembers the episode); the critic is another such network; the classifier is the one of
# section 1. In every update 64 pictures play an episode of twelve moves, and three things are learnt, each from its own loss, **with no gradient from one into the other**:
#
# | who | learns from |
# |---|---|
# | policy | your loss, with advantages $G_t - V(s_t)$ |
# | critic | squared error of $V(s_t)$ against $G_t$ |
# | classifier | cross-entropy on the **last** view |
#
# At the beginning nothing works: the classifier knows nothing, so its reward says nothing, so the policy wanders, so the classifier sees nonsense. After some hundred updates the knot comes undone. This takes
# minutes, so the agent of the course comes trained; its card says how. Watch it. Then press *play* and make the moves yourself: can you beat it?

# %%
from course_lib.methods.spatial_transformer.digit_weights import load_sstn
from course_lib.methods.spatial_transformer.rollout import rollout
from course_lib.viz.widgets import EpisodePlayer, EpisodeRecord

agent = load_sstn("sstn-digits", device=device)
env = agent.environment()
test = part_of(agent.config, "test", SEED)
images, labels, boxes = (
    part.to(device) for part in test.take(slice(0, course.pick(smoke=64, cpu=1000, gpu=2000)))
)
generator = torch.Generator(device).manual_seed(SEED)
with torch.no_grad():
    played = rollout(env, agent.agent_policy(), images, labels, boxes, generator=generator)
shown = [i for i in range(60) if not played.correct[i, 0] and played.correct[i, -1]][:3] or [
    0,
    1,
    2,
]
record = EpisodeRecord(
    images[shown].cpu(),
    played.actions[shown].cpu(),
    moves.names,
    moves.matrices,
    probabilities=played.logits[shown].softmax(dim=-1).cpu(),
    losses=played.losses[shown].cpu(),
    rewards=played.episode.rewards[shown].cpu(),
    boxes=boxes[shown].cpu(),
    labels=labels[shown].tolist(),
)
EpisodePlayer(
    record, alt="Three episodes: the agent centres a digit and zooms in on it, step by step"
)

# %% [markdown]
# ### Do its moves help?

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), width_ratios=(3, 4))
left.plot(played.correct.float().mean(dim=0).cpu(), marker="o")
left.set(xlabel="moves made", ylabel="classifier right", ylim=(0, 1))
counts = torch.nn.functional.one_hot(played.actions, len(moves)).float().mean(dim=0).cpu()  # [T, A]
bottom = np.zeros(len(counts))
for number, name in enumerate(moves.names):
    colour = plt.get_cmap("tab10")(number)
    right.bar(range(1, len(counts) + 1), counts[:, number], bottom=bottom, label=name, color=colour)
    bottom += counts[:, number].numpy()
right.set(xlabel="move number", ylabel="share of the pictures", ylim=(0, 1))
right.legend(loc="upper left", bbox_to_anchor=(1, 1.05), fontsize=8)
show(fig, alt="Left, accuracy rises with every move; right, which moves are made at which step")

# %% [markdown]
# Read the right picture from left to right: what does the agent do first, what last? And the left one: its classifier is at the level of **guessing** before the first move. It has never learnt to read raw pictures, only
# finished views. The two are a team; neither is worth anything alone.

# %% tags=["hide-input"]
quiz(
    "The agent's moves are drawn from its probabilities, at test time too. Is that a mistake?",
    {
        "Yes, one must take the likeliest move": "One may. Both are fair as long as you say which; the card of these weights has both numbers.",
        "No, but it should be said, and the other number as well": "A drawn episode is one sample: it costs a little accuracy, and allows "
        "averaging over several. The likeliest moves are deterministic.",
        "Yes, drawing is only needed for exploration": "It is needed for exploration, and harmless afterwards.",
    },
    right="No, but it should be said, and the other number as well",
)

# %% tags=["hide-input"]
quiz(
    "There is no move that zooms out. An agent with T = 40 moves has found a good view after 18. What must it have learnt?",
    {
        "Nothing, the episode ends there": "Every episode has T moves, so that a batch stays rectangular. 22 are left.",
        "To stay": "The move that changes nothing earns 0 with r1 and r3, and anything else would spoil the view: one more zoom "
        "is for good.",
        "To undo its zooms": "It cannot: shifts and turns can be undone, a zoom cannot. Forty zooms would leave "
        "0.00013 of the width.",
    },
    right="To stay",
)

# %% [markdown]
# ### Beside the published table
#
# The thesis uses 80 × 80 pictures, half a million of them, and 40 moves; ours are a quarter of the area, with twelve moves. What can be compared is the **order** of the rows.

# %%
from course_lib.methods.spatial_transformer.digit_weights import shipped_card

published = {
    "MLP": (54.01, 30.74),
    "MLP + STN": (94.49, 62.54),
    "SSTN, image only, PG": (91.04, 58.70),
    "SSTN, image + move + LSTM, PG": (95.88, 70.27),
    "SSTN, image + move + LSTM, AC": (96.83, 71.61),
}
print(f"{'Azimi (2024), Table 5.1, in %':<34}{'digits':>8}{'fashion':>9}")
for name, row in published.items():
    print(f"{name:<34}{row[0]:>8.2f}{row[1]:>9.2f}")
print("\nours, from the card of the weights, in %")
for name, value in shipped_card("sstn-digits").metrics.items():
    if name.startswith("accuracy"):
        print(f"{value:8.1f}  {name}")

# %% [markdown]
# Each published number is from a single run. The board at the end says which of the differences we could confirm with several random seeds.
#
# ### Train it a little
#
# A few more updates from the shipped weights, on **another** kind of picture: garments instead of digits. The search transfers, the classifier has to learn anew.

# %%
other = replace(
    live,
    steps=course.pick(smoke=3, cpu=150, gpu=2000),
    evaluations=course.pick(smoke=1, cpu=3, gpu=10),
)
other = other.with_source("garments")
runs = {}
for name, start in (("from the shipped agent", agent), ("from nothing", None)):
    result = train_system(
        agent.system, other, seed=SEED, start=start, device=device, progress=False
    )
    runs[name] = result.fit.curve("accuracy", phase="eval")
fig, axis = plt.subplots(figsize=(6, 2.6))
for (name, (at, accuracy)), style in zip(runs.items(), ("-", "--")):
    axis.plot(at, accuracy, style, marker="o", label=name)
axis.axhline(0.1, color="gray", linestyle=":")
axis.set(xlabel="update", ylabel="accuracy on garments", ylim=(0, 1))
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="Accuracy on garments over updates: fine-tuning rises at once, training from nothing stays at guessing",
)

# %% [markdown]
# ## 8. Break it
#
# The agent has learnt on eight fragments and one size of digit. Change the world under its feet: more clutter, smaller or larger digits. Which hurts more, and why?

# %%
clutter = course.pick(smoke=[0, 8], cpu=[0, 4, 8, 16, 24], gpu=[0, 4, 8, 12, 16, 24, 32])
sizes = course.pick(smoke=[16], cpu=[10, 13, 16, 20, 24], gpu=[8, 10, 13, 16, 20, 24, 28])


def accuracy_on(**changes) -> float:
    """Share of right answers at the end of the episode, on pictures made otherwise."""
    scenes = replace(agent.config.clutter, split="test", **changes)
    made = ClutteredDigits(scenes).batch(
        course.pick(smoke=32, cpu=400, gpu=2000), seed=SEED + 1, device=device
    )
    with torch.no_grad():
        done = rollout(env, agent.agent_policy(), made.images, made.labels, generator=generator)
    return float(done.correct[:, -1].float().mean())


fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True)
left.plot(clutter, [accuracy_on(n_clutter=n) for n in clutter], marker="o")
left.axvline(8, color="gray", linestyle=":")
left.set(xlabel="fragments in the picture", ylabel="accuracy", ylim=(0, 1))
right.plot(sizes, [accuracy_on(sprite=s) for s in sizes], marker="o", color="#D55E00")
right.axvline(16, color="gray", linestyle=":")
right.set(xlabel="side of the digit in pixels")
show(
    fig,
    alt="Accuracy falls slowly with more clutter, and fast when digits become smaller; dotted lines mark the training values",
)

# %% [markdown]
# The dotted lines are what it was trained on. More fragments make the task harder for anyone. Smaller digits need more zooms than twelve moves allow, after as many shifts as before. Larger ones cost less, until they
# are too large: there is no way to zoom out. An agent's *set of moves* is a promise about the world.
#
# Look once more at the moves in section 7. Of the three zooms the agent uses only one. Why should it bother with the others, if its classifier has learnt to read what that one shows? Agent and classifier have invented a
# way of looking together, and it need not be ours.
#
# ## 9. The claims board
#
# What the thesis says about these systems, and what we measured with several random seeds, by rules fixed before the measurement.

# %%
from IPython.display import HTML

from course_lib.claims import board_html, load_board

HTML(board_html(load_board(lesson="01"), lesson="01"))

# %% [markdown]
# ## 10. On your own
#
# * The environment is a Gymnasium environment too: `SpatialTransformEnv` in `course_lib.methods.spatial_transformer.gym_env` takes any agent you like to bring.
# * `DigitTrainingConfig.preset("gpu")` is the published size: 80 × 80, half a million pictures, 40 moves.
# * `System.previous_move()` is the row that the thesis leaves out: the previous move is seen, but nothing is remembered. Is it the memory that helps, or the move?
#
# **What next.** A trained agent turns every picture into a *sequence* from hard to easy. Lesson 02 uses it as a teacher. Lesson 03 lets an agent zoom in on the salient object of a scene, with values instead of probabilities.
#
# **Further reading.** M. Jaderberg et al., *Spatial transformer networks*, NeurIPS 2015. V. Mnih et al., *Recurrent models of visual attention*, NeurIPS 2014. R. Sutton and A. Barto, *Reinforcement learning: an introduction*, chapter 13.
# F. Azimi, PhD thesis, RPTU Kaiserslautern-Landau, 2024.
