# %% [raw] tags=["manifest"]
# lesson: 02
# title: From easy to hard
# promise: Turn a trained agent into a teacher that shows a new classifier easy views first, and find out with a fair experiment whether that helps.
# needs: ["01"]
# objectives: [measure how hard a set of pictures is, write a curriculum as a training distribution that changes over time, compare training schemes at equal numbers of updates, put an error bar on a difference, report a result that does not reproduce]
# terms: [curriculum, mixed batch, incremental difficulty, schedule, paired difference, replication]
# source: "F. Azimi, PhD thesis, RPTU Kaiserslautern-Landau, 2024, section 5.4 (curriculum learning by a sequential spatial transformer); Y. Bengio et al., ICML 2009"

# %% tags=["parameters"]
PRESET = "cpu"
SEED = 0
DEVICE = "auto"
DATA_ROOT = None

# %%
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from course_lib.lessons import check, lesson, quiz
from course_lib.viz import show, use_course_style

use_course_style()
course = lesson("02", preset=PRESET, seed=SEED, device=DEVICE, data_root=DATA_ROOT)
device = str(course.device)

# %% [markdown]
# ## 1. The problem, seen
#
# Lesson 01 ended with an agent that searches a cluttered picture and zooms in. It needs twelve looks, a policy, and a classifier that knows nothing but finished views. Suppose you want
# a **plain** classifier instead: one picture in, one answer out, as fast as it gets. Then the pictures it must read are the hard ones, with the digit somewhere among fragments.
#
# But look at what the agent leaves behind. Each of its episodes is a film from *hard* to *easy*:

# %%
from course_lib.methods.spatial_transformer.actions import ActionSet
from course_lib.methods.spatial_transformer.curriculum_schemes import CurriculumConfig, scheme
from course_lib.methods.spatial_transformer.curriculum_training import make_data
from course_lib.methods.spatial_transformer.digit_weights import load_sstn
from course_lib.methods.spatial_transformer.geometry import view
from course_lib.methods.spatial_transformer.trajectories import OraclePolicy, record, wander

full = CurriculumConfig.preset(course.pick(smoke="smoke", cpu="cpu", gpu="cpu"))
config = replace(
    full,
    train_images=course.pick(smoke=128, cpu=1700, gpu=8000),
    validation_images=course.pick(smoke=40, cpu=500, gpu=1000),
    test_images=course.pick(smoke=40, cpu=2000, gpu=4000),
    longest=12,
    epochs=course.pick(smoke=4, cpu=25, gpu=40),
)
data = make_data(config, SEED)
agent = load_sstn("sstn-digits", device=device)
moves = ActionSet.search(size=40, pixels=3)
films = {
    part: record(agent.agent_policy(), images.images, moves, config.longest, SEED)
    for part, images in (("train", data.train), ("test", data.test))
}
at = [0, 2, 4, 6, 8, 12]
fig, axes = plt.subplots(3, len(at), figsize=(8, 4.2))
for row, strip in enumerate(axes):
    picture = data.train.images[row : row + 1].float() / 255
    for axis, t in zip(strip, at):
        axis.imshow(
            view(picture, films["train"].matrices[row : row + 1, t])[0, 0],
            cmap="gray",
            vmin=0,
            vmax=1,
        )
        axis.axis("off")
        if row == 0:
            axis.set_title(f"after {t} moves" if t else "original", fontsize=9)
show(
    fig,
    alt="Three pictures after 0, 2, 4, 6, 8 and 12 moves of the agent: the digit moves to the centre and grows",
)

# %% [markdown]
# The thesis turns this around: use the agent as a **teacher**. Begin to train a *new* classifier on finished views, go step by step back to the originals, and then throw the agent away. At test time the classifier gets **original pictures
# only**. This is a **curriculum** (Bengio et al., 2009): from easy to hard, as at school.
#
# A beautiful idea, and the thesis reports large gains. This lesson tests it as you would test a colleague's claim: measure every step, compare fairly, and accept what comes out.
#
# ## 2. Is easy really easier?
#
# "Easy" needs a measure. Train a **fresh** classifier on views after $t$ moves only, test it on views after $t$ moves, for several $t$:

# %%
from course_lib.methods.spatial_transformer.curriculum_training import difficulty_by_step

quick = replace(config, epochs=course.pick(smoke=1, cpu=10, gpu=24), evaluations=1)
when = course.pick(smoke=[0, 12], cpu=[0, 4, 8, 12], gpu=[0, 2, 4, 6, 8, 10, 12])
easier = difficulty_by_step(quick, data, films["train"], films["test"], when, SEED, device=device)
fig, axis = plt.subplots(figsize=(6, 2.6))
axis.plot(when, easier, marker="o")
axis.set(xlabel="moves behind the pictures", ylabel="accuracy in %", ylim=(0, 100))
show(fig, alt="Accuracy of fresh classifiers rises with the number of moves behind the pictures")

# %% [markdown]
# So the axis is real: the more moves, the easier. Why a fresh classifier for each point, and not the one that was trained with the agent? That one has seen finished views only and fails on anything else, so it would call the
# originals harder than they are.

# %% tags=["hide-input"]
quiz(
    "The classifier is trained on views of the agent. Which pictures does it get in the test?",
    {
        "Views of the agent, as in training": "Then we would still need the agent, and all its looks, for every picture.",
        "The originals": "The agent is a teacher: present in class, absent at the exam. Inference costs nothing extra.",
        "Half and half": "A test set is what the classifier will meet in use: originals.",
    },
    right="The originals",
)

# %% [markdown]
# ## 3. A curriculum is a distribution that changes
#
# Three schemes of the thesis, from simple to complete. All use batches of 64 pictures.
#
# **Mixed batch.** Each batch has $k$ finished views, and $64 - k$ originals. Always.
#
# **Exercise 1.** Build such a batch: every picture has its film; take from each the view that is asked for.


# %% tags=["exercise", "mixed_batch"]
def mixed_batch(views: Tensor, steps: Tensor) -> Tensor:
    """One view of each image.

    views: [B, T + 1, C, H, W]; views[:, 0] are the originals. steps: [B] long, from 0 to T.
    Returns [B, C, H, W]: image b after steps[b] moves.
    """
    ### BEGIN SOLUTION
    images = torch.arange(len(views), device=views.device)
    return views[images, steps]
    ### END SOLUTION


# %% tags=["check"]
mixed_batch = check.mixed_batch(mixed_batch)

# %% [markdown]
# <details><summary>Hint 1</summary> Try <code>views[:, steps].shape</code>. How many pictures are that, and why? </details>
#
# <details><summary>Hint 2</summary> Two lists of indices are read in pairs: <code>x[[0, 1], [2, 0]]</code> takes x[0, 2] and x[1, 0]. </details>
#
# <details><summary>Hint 3</summary> <code>views[torch.arange(len(views)), steps]</code> </details>

# %% [markdown]
# **Dynamic mixed batch.** Begin with finished views alone, and replace one of them by an original in every epoch.
#
# **Exercise 2.** How many of the batch are finished views?


# %% tags=["exercise", "dynamic_share"]
def dynamic_share(epoch: int, batch: int) -> int:
    """How many images of a batch are processed; the others are originals.

    epoch: from 0. batch: images in a batch.
    Returns a whole number from 0 to `batch`.
    """
    ### BEGIN SOLUTION
    return max(0, batch - epoch)
    ### END SOLUTION


# %% tags=["check"]
dynamic_share = check.dynamic_share(dynamic_share)

# %% [markdown]
# <details><summary>Hint 1</summary> Epoch 0: all. Epoch 1: all but one. Epoch 10? </details>
#
# <details><summary>Hint 2</summary> What does your formula give in epoch 200, with batches of 64? </details>
#
# <details><summary>Hint 3</summary> <code>max(0, batch - epoch)</code> </details>

# %% [markdown]
# **Incremental difficulty.** All pictures of a batch are at the *same* point of their films, after $\tau(e)$ moves, and $\tau$ goes down from $T$ to 0 as the epochs $e$ pass. The thesis tries three shapes.
# Two of them are printed without the factor $T$, and would be 1, then 0, then $-1$. With the factor, and with a horizon $E$ that lets all three arrive at about the same time:
#
# $$ \begin{aligned}
# \tau_{\text{linear}} &= \max\Big(0,\; T - \big\lfloor \tfrac{e}{5} \big\rfloor\Big) \\
# \tau_{\cos} &= \Big\lfloor T \cos \frac{\pi e}{2E} \Big\rfloor, \quad E = 5T \\
# \tau_{\exp} &= \big\lfloor T e^{-e / 30} \big\rfloor
# \end{aligned} $$
#
# **Exercise 3.** Write all three.


# %% tags=["exercise", "scheduled_steps"]
def scheduled_steps(epoch: int, steps: int, shape: str) -> int:
    """How many steps each image is processed in an epoch.

    epoch: from 0. steps: T, those of epoch 0. shape: "linear", "cosine" or "exponential".
    Returns a whole number from 0 to T.
    """
    ### BEGIN SOLUTION
    if shape == "linear":
        return max(0, steps - epoch // 5)
    if shape == "cosine":
        progress = min(1.0, epoch / (5 * steps))
        return math.floor(steps * math.cos(0.5 * math.pi * progress))
    return math.floor(steps * math.exp(-epoch / 30))
    ### END SOLUTION


# %% tags=["check"]
scheduled_steps = check.scheduled_steps(scheduled_steps)

# %% [markdown]
# <details><summary>Hint 1</summary> Write one shape after the other; the check says which one is wrong. What happens after the end, at epoch 1000? </details>
#
# <details><summary>Hint 2</summary> Whole fives of epochs are <code>epoch // 5</code>, and <code>max(0, …)</code> keeps a number from falling below 0. For the cosine stop the clock: <code>min(1.0, epoch / (5 * steps))</code>. </details>
#
# <details><summary>Hint 3</summary> <code>max(0, steps - epoch // 5)</code>; <code>math.floor(steps * math.cos(0.5 * math.pi * progress))</code>; <code>math.floor(steps * math.exp(-epoch / 30))</code> </details>

# %%
T = 20
epochs = range(121)
fig, axis = plt.subplots(figsize=(6.5, 2.6))
for shape, style in zip(("linear", "cosine", "exponential"), ("-", "--", ":")):
    axis.step(
        epochs, [scheduled_steps(e, T, shape) for e in epochs], style, where="post", label=shape
    )
axis.set(xlabel="epoch", ylabel="moves behind each picture", title="The published pace, T = 20")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="Three schedules from 20 moves to 0: linear, cosine which stays long at easy, exponential which leaves it early",
)

# %% [markdown]
# What does each scheme spend its time on? Every column of these maps is an epoch, and the brightness says how much of it is spent at which difficulty:

# %%
from course_lib.methods.spatial_transformer.curriculum import difficulty_histogram

rows = ["mixed 16", "dynamic", "linear", "cosine", "exponential"]
fig, axes = plt.subplots(1, len(rows), figsize=(10, 2.2), sharey=True)
for axis, name in zip(axes, rows):
    spent = difficulty_histogram(
        scheme(name, config).curriculum, config.epochs, longest=config.longest
    )
    axis.imshow(spent.T, origin="lower", aspect="auto", cmap="viridis", vmin=0, vmax=1)
    axis.set(title=name, xlabel="epoch")
axes[0].set_ylabel("moves behind\nthe pictures")
show(
    fig,
    alt="Five maps of difficulty against epoch: mixed never changes, the others end on originals, at 0 moves",
)

# %% [markdown]
# The bottom row is the originals, what the test is made of. "Mixed" never gets there with all of its pictures. Remember that.
#
# ## 4. A fair comparison
#
# Here is a trap. A linear schedule with $T = 40$ sees its first original after 200 epochs. A baseline that was stopped after 100 "because it had converged" has had half the updates. Whoever wins, you have learnt nothing.
#
# **Exercise 4.** How many updates does a schedule make in all, and how many of them on originals?


# %% tags=["exercise", "updates_on_originals"]
def updates_on_originals(schedule: list[int], images: int, batch: int) -> tuple[int, int]:
    """How much training a curriculum gives, and how much of it on originals only.

    schedule: steps of every epoch; 0 means originals. images: in the training set. batch: images in a batch.
    Returns updates in all, and updates in epochs of originals.
    """
    ### BEGIN SOLUTION
    per_epoch = math.ceil(images / batch)
    return len(schedule) * per_epoch, schedule.count(0) * per_epoch
    ### END SOLUTION


# %% tags=["check"]
updates_on_originals = check.updates_on_originals(updates_on_originals)

# %% [markdown]
# <details><summary>Hint 1</summary> How many batches has an epoch of 100 images, 64 in a batch? </details>
#
# <details><summary>Hint 2</summary> <code>math.ceil(images / batch)</code> updates per epoch. All epochs count for the first number, epochs with 0 steps for the second. </details>
#
# <details><summary>Hint 3</summary> <code>schedule.count(0) * per_epoch</code> is the second number. </details>

# %% tags=["nbval-check-output"]
for epochs in (150, 240):
    linear = [scheduled_steps(epoch, 40, "linear") for epoch in range(epochs)]
    total, originals = updates_on_originals(linear, images=6000, batch=64)
    print(f"linear, T = 40, {epochs} epochs: {total} updates, {originals} of them on originals")

# %% [markdown]
# So every scheme here gets **the same pictures, the same first weights, the same number of updates**, and is tested on the same originals. One row is there as a control:
# finished views *only*. (Preset `gpu` has more rows, among them **augmentation** by random small shifts, zooms and turns, the cheapest way to use more pictures.)

# %%
from course_lib.methods.spatial_transformer.curriculum_training import train_scheme

names = course.pick(
    smoke=["originals", "mixed 32", "linear"],
    cpu=["originals", "mixed 32", "dynamic", "linear", "processed"],
    gpu=[
        "originals",
        "augmented",
        "mixed 4",
        "mixed 16",
        "mixed 32",
        "dynamic",
        "linear",
        "cosine",
        "exponential",
        "processed",
    ],
)
seeds = [SEED + i for i in range(course.pick(smoke=2, cpu=2, gpu=5))]
runs = {
    name: [
        train_scheme(scheme(name, config), config, data, (films["train"],), seed, device=device)
        for seed in seeds
    ]
    for name in names
}
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), width_ratios=(3, 2))
for number, (name, results) in enumerate(runs.items()):
    curves = np.array([result.curve for result in results])
    left.plot(results[0].epochs, curves.mean(axis=0), "-" if number < 5 else "--", label=name)
    right.plot(
        [result.accuracy for result in results], [number] * len(results), "o", color="#444444"
    )
left.set(xlabel="epoch", ylabel="accuracy on originals in %")
left.legend(fontsize=8, loc="upper left")
right.set(yticks=range(len(names)), yticklabels=names, xlabel="test accuracy in %, one dot per run")
right.invert_yaxis()
show(
    fig,
    alt="Left, learning curves of all schemes on original pictures; right, their test accuracies, one dot per random seed",
)

# %% [markdown]
# And the published numbers (Azimi, 2024, Tables 5.3, 5.4 and 5.6, accuracy in %):

# %%
published = {
    "originals": (87.9, 72.6), "augmented": (91.2, 83.6), "mixed 4": (89.9, 82.9), "mixed 16": (88.6, 83.5), "mixed 32": (86.0, 82.9),
    "dynamic": (94.7, 83.7), "linear": (94.8, 84.9), "cosine": (93.7, 83.1), "exponential": (94.7, 84.7),
}  # fmt: skip
print(
    f"{'':<14}{'printed, digits':>16}{'printed, fashion':>18}{'here, digits':>14}{'runs from … to':>18}"
)
for name, results in runs.items():
    scores = [result.accuracy for result in results]
    digits, fashion = published.get(name, ("-", "-"))
    print(
        f"{name:<14}{digits:>16}{fashion:>18}{np.mean(scores):>14.1f}{min(scores):>10.1f} … {max(scores):.1f}"
    )

# %% [markdown]
# Look at three things.
#
# * **processed**: trained on finished views alone, tested on originals. Close to guessing. Easy pictures teach nothing about hard ones by themselves.
# * **mixed 32**: half of every batch is finished views, for ever. Part of the classifier's effort goes into pictures that it will never meet.
# * **dynamic, linear** against **originals**: the claim of the thesis. Does it hold here?
#
# ### An error bar for a difference
#
# Two runs with the same random seed share their first weights and the order of their pictures, so they are *pairs*. The question is not whether two clouds overlap, but whether the **difference** of a pair is reliably away from zero.
#
# **Exercise 5.** Mean difference and its standard error.


# %% tags=["exercise", "paired_difference"]
def paired_difference(first: Tensor, second: Tensor) -> tuple[float, float]:
    """By how much one scheme is better, and how sure that is.

    first, second: [S], accuracies of S >= 2 random seeds, in the same order.
    Returns the mean of first minus second, and its standard error.
    """
    ### BEGIN SOLUTION
    difference = first - second
    error = difference.std() / math.sqrt(len(difference))  # std divides by S - 1
    return difference.mean().item(), error.item()
    ### END SOLUTION


# %% tags=["check"]
paired_difference = check.paired_difference(paired_difference)

# %% [markdown]
# <details><summary>Hint 1</summary> Subtract first, seed by seed. What both runs of a seed share is gone then. </details>
#
# <details><summary>Hint 2</summary> The standard error of a mean of S numbers is their standard deviation divided by the square root of S. </details>
#
# <details><summary>Hint 3</summary> <code>difference.std() / math.sqrt(len(difference))</code>; torch's <code>std</code> divides by S - 1, as it should for a sample. </details>

# %%
base = torch.tensor([result.accuracy for result in runs["originals"]])
for name in names[1:]:
    other = torch.tensor([result.accuracy for result in runs[name]])
    difference, error = paired_difference(other, base)
    print(f"{name:<12} minus originals: {difference:+6.1f} points, standard error {error:.1f}")

# %% [markdown]
# With two runs an error bar is itself a guess. The board at the end is for more random seeds and longer training.
#
# ## 5. Why might it not reproduce?
#
# Longer runs for the board below (three random seeds, equal updates) gave 52.0 % for originals only, 54.4 % for the linear curriculum, and 57.4 % for a linear curriculum made of **random moves**, which was ahead of the
# agent's in all three. So a gain alone would not prove that the agent is a good teacher. There are honest suspects, and some can be put to the test:
#
# 1. **The agent is not good enough.** Then perfect views should help. We can make them: an **oracle** that knows the box uses the same moves.
# 2. **Any variety helps.** Then a **wanderer** that moves at random should help as well.
# 3. **Finished views are all centred.** A fully connected layer that has seen the centre only has to learn all other places anew.
# 4. **More training.** If the curricula in print were trained for longer than their baseline, part of the gain is due to that.

# %%
teachers = {
    "the agent": films["train"],
    "an oracle": OraclePolicy(moves, (40, 40)).record(data.train.boxes, config.longest),
    "a wanderer": wander(len(data.train), moves, config.longest, SEED),
}
taught = {
    name: [
        train_scheme(scheme("linear", config), config, data, (film,), seed, device=device).accuracy
        for seed in seeds[:1]
    ]
    for name, film in teachers.items()
    if name != "the agent"
}
taught = {"the agent": [r.accuracy for r in runs["linear"]], **taught, "no teacher": base.tolist()}
fig, axis = plt.subplots(figsize=(6, 2.2))
for number, (name, scores) in enumerate(taught.items()):
    axis.plot(scores, [number] * len(scores), "o", color="#0072B2")
axis.set(
    yticks=range(len(taught)),
    yticklabels=list(taught),
    xlabel="test accuracy in %, linear curriculum",
    ylim=(3.5, -0.5),
)
show(
    fig,
    alt="Test accuracy of the linear curriculum with views of the agent, an oracle, and a wanderer, and without curriculum",
)

# %% tags=["hide-input"]
quiz(
    "Suppose the oracle's curriculum is no better than the agent's. Which suspect is ruled out as the main reason?",
    {
        "The agent is not good enough": "Perfect views with the same schedule bring no more, so better views are not what is missing.",
        "Finished views are all centred": "The oracle centres even better than the agent, so this suspect stays.",
        "More training": "The oracle had as many updates as the others. That says nothing about longer training.",
    },
    right="The agent is not good enough",
)

# %% [markdown]
# ## 6. Break it: draw your own schedule
#
# Drag the points. The strips below show what the classifier would see in each epoch. The thin curves are the accuracies of the schemes you have just trained. `editor.schedule` is what you have drawn, and
# `GivenSteps` trains with it.

# %%
from course_lib.viz.widgets import ScheduleEditor

drawn = {}
for name in ("linear", "cosine", "exponential"):
    curriculum = scheme(name, config).curriculum
    drawn[name] = [int(curriculum.steps(epoch, 64)[0]) for epoch in range(config.epochs)]
dynamic = scheme("dynamic", config).curriculum
editor = ScheduleEditor(
    data.train.images[:2],
    films["train"].matrices[:2],
    drawn,
    {"dynamic": [dynamic.processed(epoch) for epoch in range(config.epochs)]},
    accuracy={name: np.array([r.curve for r in results]) / 100 for name, results in runs.items()},
    accuracy_epochs=np.array(runs["originals"][0].epochs).clip(max=config.epochs - 1),
    points=min(7, config.epochs),
)
editor

# %% [markdown]
# Try the *opposite* curriculum: begin with originals, and end on finished views. What would the test accuracy be? Which of the figures above has told you already?
#
# ## 7. The claims board

# %%
from IPython.display import HTML

from course_lib.claims import board_html, load_board

HTML(board_html(load_board(lesson="02"), lesson="02"))

# %% [markdown]
# ## 8. What to take home
#
# A curriculum is a training distribution that changes over time. What matters most is **where it ends**: on what the test is made of. Whether an easy beginning helps depends on more than one likes, and the only way to know is a comparison at equal
# numbers of updates, with error bars. A result that does not reproduce is a result.
#
# **What next.** Lesson 03 keeps the agent at test time, lets it choose by *values* instead of probabilities, and asks what happens when the proxy it is paid for is not what you want.
#
# **Further reading.** Y. Bengio et al., *Curriculum learning*, ICML 2009. A. Graves et al., *Automated curriculum learning for neural networks*, ICML 2017. X. Wu et al., *When do curricula work?*, ICLR 2021. F. Azimi, PhD thesis, 2024, section 5.4.
