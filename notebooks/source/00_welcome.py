# %% [raw] tags=["manifest"]
# lesson: 00
# title: Video object segmentation in ten minutes
# promise: Follow an object through a real video with a method that was never trained, measure how well it does, and see exactly where it breaks.
# needs: []
# objectives: [say what video object segmentation asks for, compute region similarity J and contour accuracy F by hand, carry a mask from frame to frame by optical flow, check a result on a video that has no truth, name the failures that the rest of the course repairs]
# terms: [mask, region similarity, contour accuracy, optical flow, backward warping, drift, occlusion, round trip]
# source: "A. Pourganjalikhan, MSc thesis, Concordia University, 2021, chapter 1 (the task); F. Perazzi et al., CVPR 2016 (the measures)"

# %% tags=["parameters"]
PRESET = "cpu"
SEED = 0
DEVICE = "auto"
DATA_ROOT = None

# %%
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lessons import check, lesson, quiz
from course_lib.viz import use_course_style

use_course_style()
course = lesson("00", preset=PRESET, seed=SEED, device=DEVICE, data_root=DATA_ROOT)

# %% [markdown]
# ## 1. The problem, seen
#
# Someone paints one object in the **first** frame of a video. Your program must paint that object in **every other** frame.
# That is all. No list of categories, no training on this object: whatever the brush touched is what must be followed.
# The task is called *semi-supervised video object segmentation*; the painted pixels are called a **mask**.
#
# Here is a real video, one shot of the film *Big Buck Bunny*. The rabbit in the first frame is the object.
# Play it, or use the arrow keys, and look at what happens to its outline: it bends, turns, grows, and its ears fold away.

# %%
from course_lib.data.packaged import PACKAGED
from course_lib.data.video import read_clip
from course_lib.viz import player

bunny = PACKAGED["bigbuckbunny"]
first = bunny.start  # before that the rabbit is a dark shape in a dark hole
last = first + course.pick(smoke=12, cpu=60, gpu=108)
video = read_clip(
    bunny.path, first, last, max_side=course.pick(smoke=160, cpu=320, gpu=640)
).frames  # [T, 3, H, W] uint8
print(f"{len(video)} frames of {video.shape[3]} x {video.shape[2]} pixels. {bunny.credit}")
player(
    {"the video": video},
    fps=8,
    every=course.pick(smoke=4, cpu=12, gpu=12),
    max_width=200,
    scale=2,
    max_kilobytes=11,
    alt="A large grey rabbit climbs out of a burrow and stretches its arms",
)

# %% [markdown]
# Nobody has painted this rabbit for us, so we have no truth to compare with. To *learn* how to judge a method we need
# clips in which we know every pixel. So let us make some.

# %% [markdown]
# ## 2. A world with the truth inside
#
# `World` renders little films: textured shapes and cut-out photographs that move, turn, bend, pass behind one another, and leave.
# Because we draw them, we know the truth to the pixel: which object each pixel belongs to, where it goes in the next frame
# (the *optical flow*), and whether it will still be visible there.
# Every lesson of the course uses this same world, so that methods can be compared.

# %%
from course_lib.data.synthetic import World, scenario
from course_lib.viz import overlay, show

easy = World(scenario("easy", length=course.pick(smoke=8, cpu=24, gpu=48))).clip(SEED)
print(
    f"frames {list(easy.frames.shape)}   labels {list(easy.labels.shape)}   objects {easy.ids.tolist()}"
)
player(
    {"what the camera sees": easy.frames, "the truth": (easy.frames, easy.labels)},
    fps=8,
    scale=3,
    every=4,
    max_kilobytes=9,
    alt="A synthetic clip beside the same clip with its objects coloured",
)

# %% [markdown]
# Difficulty is a dial. The same world makes films with small objects, look-alikes, crowds, fast motion, and curtains
# to disappear behind. Each named *scenario* turns one dial far up; the course has a lesson for each of them.

# %%
import matplotlib.pyplot as plt

names = ["easy", "small", "occlusion", "lookalikes", "crowded", "fast", "corrupted", "driving"]
fig, axes = plt.subplots(2, 4, figsize=(5.6, 3.2))
for number, (axis, name) in enumerate(zip(axes.flat, names)):
    clip = World(scenario(name, length=12)).clip(SEED + number)
    axis.imshow(overlay(clip.frames[1], clip.labels[1]))
    axis.set_title(name)
    axis.axis("off")
show(fig, alt=f"One frame of each of eight scenarios, objects coloured: {', '.join(names)}")

# %% [markdown]
# ## 3. How good is a mask? Count pixels
#
# Say the truth has 100 pixels and your mask covers 90 of them plus 10 pixels of grass. Is that good?
# **Region similarity** $J$ divides what both agree on by what either of them claims:
#
# $$ J = \frac{|\text{prediction} \cap \text{truth}|}{|\text{prediction} \cup \text{truth}|} $$
#
# Here $90 / 110 \approx 0.82$. $J$ is 1 for a perfect mask and 0 for a mask that misses entirely.
#
# **Exercise 1.** Write it. One case needs a decision: the object has left the picture and your mask, rightly, is empty.
# Then the formula says $0/0$. What *should* a method get that correctly reports "it is not here"?


# %% tags=["exercise", "region_similarity"]
def region_similarity(prediction: np.ndarray, truth: np.ndarray) -> float:
    """J of two masks.

    prediction, truth: [H, W] bool. Returns a float in [0, 1]; two empty masks agree perfectly.
    """
    ### BEGIN SOLUTION
    union = np.logical_or(prediction, truth).sum()
    if union == 0:
        return 1.0
    return float(np.logical_and(prediction, truth).sum() / union)
    ### END SOLUTION


# %% tags=["check"]
region_similarity = check.region_similarity(region_similarity)

# %% [markdown]
# <details><summary>Hint 1</summary> <code>prediction &amp; truth</code> is the overlap, <code>prediction | truth</code> the union; <code>.sum()</code> counts. </details>
#
# <details><summary>Hint 2</summary> Both masks empty means the union has no pixel. Look at the union before you divide. </details>
#
# <details><summary>Hint 3</summary> <code>union = (prediction | truth).sum()</code>, then <code>return 1.0 if union == 0 else (prediction &amp; truth).sum() / union</code>. </details>

# %% [markdown]
# The example from above: ten rows of truth, a mask that is one row too low.

# %% tags=["nbval-check-output"]
ten_rows = np.zeros((12, 10), bool)
ten_rows[1:11] = True  # 100 pixels
one_too_low = np.roll(ten_rows, 1, axis=0)  # 90 of them, and 10 others
print(f"J = {region_similarity(one_too_low, ten_rows):.4f}")

# %% [markdown]
# And a mask of a real shape that slides off its object, pixel by pixel:

# %%
truth = easy.labels[0].numpy() == easy.ids[0].item()  # [H, W] bool
shifts = np.arange(0, 25)
scores = [region_similarity(np.roll(truth, shift, axis=1), truth) for shift in shifts]
fig, axis = plt.subplots(figsize=(6, 3))
axis.plot(shifts, scores, marker="o", markersize=3)
axis.set(xlabel="shift of the mask to the right (pixels)", ylabel="J", ylim=(0, 1.02))
axis.set_title("J falls fast: a small shift costs a lot")
show(fig, alt="J falls steeply from 1 as a mask is shifted away from the truth")

# %% [markdown]
# ## 4. How good is an outline? Walk along it
#
# $J$ counts area, so a big smooth blob can score well although its outline is wrong everywhere. A person who cuts the object
# out of the film sees the outline first. **Contour accuracy** $F$ looks at nothing else.
#
# First we need the outline. A pixel is on the boundary if its neighbour to the **right**, **below**, or **diagonally below-right**
# carries another value. Neighbours outside the picture do not exist, so they never make a boundary.
#
# **Exercise 2.** Find the boundary. Mind that the rule marks only *one* side of the outline.


# %% tags=["exercise", "boundary_map"]
def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Pixels whose right, lower, or lower-right neighbour differs.

    mask: [H, W] bool. Returns [H, W] bool.
    """
    ### BEGIN SOLUTION
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1, :] |= mask[:-1, :] ^ mask[1:, :]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge
    ### END SOLUTION


# %% tags=["check"]
boundary_map = check.boundary_map(boundary_map)

# %% [markdown]
# <details><summary>Hint 1</summary> Two booleans differ when <code>a ^ b</code> is true. </details>
#
# <details><summary>Hint 2</summary> <code>mask[:, :-1]</code> are all pixels that have a right neighbour, and <code>mask[:, 1:]</code> are those neighbours. </details>
#
# <details><summary>Hint 3</summary> Start from <code>edge = np.zeros_like(mask)</code> and add the three comparisons with <code>|=</code>, each on the slice of pixels that has that neighbour. </details>

# %% [markdown]
# Two outlines drawn by two careful people differ by a pixel here and there; nobody should be punished for that. So a boundary pixel counts
# as *found* if the other boundary passes within $r$ pixels of it. At the usual $r = \lceil 0.008 \cdot \text{diagonal} \rceil$
# that is 8 pixels in a 854 × 480 video and 2 in our small clips.
#
# $$ P = \frac{\text{predicted boundary pixels with truth within } r}{\text{predicted boundary pixels}}, \qquad
#    R = \frac{\text{true boundary pixels with prediction within } r}{\text{true boundary pixels}}, \qquad
#    F = \frac{2PR}{P + R} $$
#
# `grow(edge, r)` marks everything within $r$ pixels of an outline:

# %%
import cv2


def grow(edge: np.ndarray, r: int) -> np.ndarray:
    """All pixels within r pixels of a marked one. edge: [H, W] bool. Returns [H, W] bool."""
    y, x = np.ogrid[-r : r + 1, -r : r + 1]
    disk = (x**2 + y**2 <= r**2).astype(np.uint8)
    return cv2.dilate(edge.astype(np.uint8), disk) > 0


edge = boundary_map(truth)
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2))
pictures = {"mask": truth, "its boundary": edge, "within 2 pixels of it": grow(edge, 2)}
for axis, (title, picture) in zip(axes, pictures.items()):
    axis.imshow(picture, cmap="gray")
    axis.set_title(title)
    axis.axis("off")
show(fig, alt="A mask, its one-pixel outline, and the outline grown by two pixels to a band")

# %% [markdown]
# **Exercise 3.** Put the formula into code.
# If neither mask has an outline, they agree: $F = 1$. If only one has, $F = 0$.


# %% tags=["exercise", "contour_accuracy"]
def contour_accuracy(predicted_edge: np.ndarray, true_edge: np.ndarray, r: int) -> float:
    """F of two outlines.

    predicted_edge, true_edge: [H, W] bool, boundary pixels. r: tolerance in pixels.
    Returns a float in [0, 1].
    """
    ### BEGIN SOLUTION
    if not predicted_edge.any() and not true_edge.any():
        return 1.0
    if not predicted_edge.any() or not true_edge.any():
        return 0.0
    precision = (predicted_edge & grow(true_edge, r)).sum() / predicted_edge.sum()
    recall = (true_edge & grow(predicted_edge, r)).sum() / true_edge.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall > 0 else 0.0
    ### END SOLUTION


# %% tags=["check"]
contour_accuracy = check.contour_accuracy(contour_accuracy)

# %% [markdown]
# <details><summary>Hint 1</summary> A predicted boundary pixel is found if it lies inside <code>grow(true_edge, r)</code>. </details>
#
# <details><summary>Hint 2</summary> Precision divides by the number of <em>predicted</em> boundary pixels, recall by the number of <em>true</em> ones. Growing happens to the other one only. </details>
#
# <details><summary>Hint 3</summary> Settle the empty outlines first. Then <code>precision = (predicted_edge &amp; grow(true_edge, r)).sum() / predicted_edge.sum()</code>, recall likewise, and guard against <code>precision + recall == 0</code>. </details>

# %% [markdown]
# Now play: drag the mask over the truth, make it fatter or thinner, punch a hole, and watch both numbers.
# The band around the outline is the tolerance.

# %%
from course_lib.viz.widgets import MetricMicroscope

MetricMicroscope(truth, frame=easy.frames[0])

# %% [markdown]
# **Exercise 4.** The two measures can disagree. Return a mask that $J$ likes ($J \ge 0.8$) and $F$ does not ($F \le 0.4$).
# Work from the truth and use `grow` if you like. What does a mask look like that is right about the area and wrong about the outline?


# %% tags=["exercise", "fool_j"]
def fool_j(truth: np.ndarray) -> np.ndarray:
    """A mask with high region similarity and low contour accuracy.

    truth: [H, W] bool, one large object.
    Returns [H, W] bool with J >= 0.8 and F <= 0.4 at a tolerance of 2 pixels.
    """
    ### BEGIN SOLUTION
    return grow(truth, 3)
    ### END SOLUTION


# %% tags=["check"]
fool_j = check.fool_j(fool_j)

# %% [markdown]
# <details><summary>Hint 1</summary> A hole in the middle leaves the outer outline right, so F stays fair. Leave the middle alone; what is left to spoil? </details>
#
# <details><summary>Hint 2</summary> Every outline pixel should be just out of reach of the truth. The tolerance is 2 pixels. </details>
#
# <details><summary>Hint 3</summary> A mask that is 3 pixels too fat all around: <code>grow(truth, 3)</code>. A large object hardly notices in J. </details>

# %%
from course_lib.metrics import contour_accuracy as library_f
from course_lib.metrics import region_similarity as library_j

rows, columns = np.mgrid[:96, :96]
disk = (rows - 48) ** 2 + (columns - 48) ** 2 <= 36**2
candidates = {
    "the truth": disk,
    "three pixels too fat": grow(disk, 3),
    "six pixels to the right": np.roll(disk, 6, axis=1),
    "a ragged rim": disk & ~(boundary_map(disk) & (columns % 2 == 0)),
}
fig, axes = plt.subplots(1, 4, figsize=(8.6, 2.8))
for axis, (name, mask) in zip(axes, candidates.items()):
    axis.imshow(overlay(np.full((3, 96, 96), 235, np.uint8), mask.astype(np.uint8)))
    axis.contour(disk, levels=[0.5], colors="black", linewidths=1, linestyles="dashed")
    axis.set_title(
        f"{name}\nJ = {library_j(mask, disk):.2f}   F = {library_f(mask, disk):.2f}", fontsize=8
    )
    axis.axis("off")
show(fig, alt="Four masks of one disk with J and F: the truth, too fat, shifted, with a ragged rim")

# %% [markdown]
# The ragged rim is the surprise: it *looks* wrong and both measures forgive it, because every bite stays within the tolerance.
# The mask that is three pixels too fat looks fine and loses four fifths of $F$.

# %% tags=["hide-input"]
quiz(
    "A method loses one leg of a dog, 2 % of its area. Which measure complains more?",
    {
        "J": "J sees 2 % of the area missing and drops by about 0.02.",
        "F": "A thin leg is almost all outline. Its boundary is missing from the prediction, "
        "so recall falls by much more than 2 %.",
        "Both the same": "J counts area, F counts outline, and a leg has little of the one "
        "and much of the other.",
    },
    right="F",
)

# %% [markdown]
# The field reports $J\&F$, the mean of the two, averaged over frames and objects. From here on the library computes it
# (`course_lib.metrics`): the same numbers as yours, some ten times faster than the well-known evaluation code, and tested against it to the last digit.

# %% [markdown]
# ## 5. A method without training: let the pixels carry the mask
#
# Between two frames most pixels only move a little. **Optical flow** estimates for each pixel where it went. If we know that,
# we can move the mask along with the pixels it covers.
#
# There is a right and a wrong way round. We want a value for **every pixel $x$ of the new frame**, so we ask each of them:
# *where were you one frame ago?* The flow from the new frame back to the old one, $w(x)$, answers, and we look the mask up there:
#
# $$ m_{t+1}(x) = m_t\big(x + w(x)\big) $$
#
# This is **backward warping**. (The other way round, pushing old pixels forward, leaves holes where nobody lands.)
# $x + w(x)$ falls between pixels, so the mask is interpolated.
#
# **Exercise 5.** Write the lookup with `F.grid_sample`. It wants sampling positions as (x, y) with $-1$ at the centre of the first pixel and
# $+1$ at the centre of the last (`align_corners=True`), and says 0 outside the picture.


# %% tags=["exercise", "carry_mask"]
def carry_mask(mask: Tensor, backward_flow: Tensor) -> Tensor:
    """The mask one frame later.

    mask: [H, W] float in [0, 1], frame t.
    backward_flow: [2, H, W] float, pixels (x, y), from frame t+1 to frame t.
    Returns [H, W] float: the mask in frame t+1, bilinear, 0 where it is looked up outside.
    """
    ### BEGIN SOLUTION
    height, width = mask.shape
    y, x = torch.meshgrid(
        torch.arange(height, dtype=mask.dtype), torch.arange(width, dtype=mask.dtype), indexing="ij"
    )
    x = 2 * (x + backward_flow[0]) / (width - 1) - 1
    y = 2 * (y + backward_flow[1]) / (height - 1) - 1
    grid = torch.stack([x, y], dim=-1)[None]  # [1, H, W, 2]
    return F.grid_sample(mask[None, None], grid, align_corners=True)[0, 0]
    ### END SOLUTION


# %% tags=["check"]
carry_mask = check.carry_mask(carry_mask)

# %% [markdown]
# <details><summary>Hint 1</summary> First build <code>x</code> and <code>y</code>, the pixel coordinates of every pixel, with <code>torch.meshgrid(..., indexing="ij")</code>. </details>
#
# <details><summary>Hint 2</summary> <code>backward_flow[0]</code> belongs to x and runs along the width; <code>backward_flow[1]</code> belongs to y. Pixel 0 becomes −1 and pixel W − 1 becomes +1: <code>2 * x / (width - 1) - 1</code>. </details>
#
# <details><summary>Hint 3</summary> <code>grid = torch.stack([x, y], dim=-1)[None]</code> has shape [1, H, W, 2]; the result is <code>F.grid_sample(mask[None, None], grid, align_corners=True)[0, 0]</code>. </details>

# %% [markdown]
# A first try with the **exact** flow that the synthetic world hands out. What could go wrong?


# %%
def follow(clip, flows: Tensor, uncovered: Tensor | None = None) -> Tensor:
    """Carry the first mask of the first object through a clip.

    flows: [T-1, 2, H, W], from t+1 to t. uncovered: [T-1, H, W] bool, pixels whose mask becomes 0.
    Returns [T, H, W] bool.
    """
    mask = (clip.labels[0] == clip.ids[0]).float()
    masks = [mask]
    for t, backward_flow in enumerate(flows):
        mask = carry_mask(mask, backward_flow)
        if uncovered is not None:
            mask = mask * ~uncovered[t]
        masks.append(mask)
    return torch.stack(masks) > 0.5


def j_per_frame(masks: Tensor, clip) -> list[float]:
    """J of every frame for the first object."""
    truth = clip.labels == clip.ids[0]
    return [library_j(m.numpy(), t.numpy()) for m, t in zip(masks, truth)]


exact = follow(easy, easy.backward_flow)
moments = [0, len(easy) // 4, len(easy) - 1]
fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.6))
for axis, t in zip(axes, moments):
    axis.imshow(overlay(easy.frames[t], exact[t].to(torch.uint8), scale=3))
    axis.set_title(f"frame {t}: J = {j_per_frame(exact, easy)[t]:.2f}")
    axis.axis("off")
show(
    fig,
    alt="The mask carried by exact flow leaves a trail: it covers all places the object has been",
)

# %% [markdown]
# Perfect flow, terrible mask: it smears. Look at a piece of background that the object has **just uncovered**. Asked
# "where were you one frame ago?" it answers truthfully: "right here, *behind* the object". And at that place the old mask says *object*.
#
# So only pixels that could be seen one frame ago may be asked. The world knows which ones could not (`occluded_backward`);
# set those to 0 and the trail is gone:

# %%
careful = follow(easy, easy.backward_flow, uncovered=easy.occluded_backward)
print(f"J in the last frame: exact flow {j_per_frame(exact, easy)[-1]:.2f},", end=" ")
print(f"without the uncovered pixels {j_per_frame(careful, easy)[-1]:.2f}")

# %% [markdown]
# In a real video nobody hands out the flow, and nobody says what was uncovered. OpenCV's *DIS* estimates flow from two grey pictures
# in a few milliseconds. Colour is direction, strength is speed:

# %%
from course_lib.methods.propagation.flow import optical_flow
from course_lib.viz import flow_to_color

pairs = zip(easy.frames[:-1], easy.frames[1:])
estimated = torch.stack(
    [optical_flow(new, old, preset="medium") for old, new in pairs]
)  # [T-1, 2, H, W]
endpoint_error = (estimated - easy.backward_flow).norm(dim=1).mean().item()

pictures = {
    "frame 1": easy.frames[1].permute(1, 2, 0),
    "exact flow to frame 0": flow_to_color(easy.backward_flow[0]),
    f"DIS: {endpoint_error:.2f} px off": flow_to_color(estimated[0]),
}
fig, axes = plt.subplots(1, 3, figsize=(6.6, 2.6))
for axis, (title, picture) in zip(axes, pictures.items()):
    axis.imshow(picture)
    axis.set_title(title)
    axis.axis("off")
show(
    fig,
    alt="A frame, the exact flow to the frame before, and what DIS estimates: blurred",
)

# %% [markdown]
# DIS smears the motion beyond the outline. That is an error, and a lucky one: background next to the object is dragged
# along with it, so nothing stays behind as a trail and the rim of the mask is not torn.

# %%
naive = follow(easy, estimated)
still = (easy.labels[0] == easy.ids[0]).expand(len(easy), -1, -1)
fig, axis = plt.subplots(figsize=(7, 3.2))
axis.plot(j_per_frame(careful, easy), "-", label="exact flow, uncovered pixels set to 0")
axis.plot(j_per_frame(naive, easy), "--", label="DIS flow")
axis.plot(j_per_frame(exact, easy), "-.", label="exact flow")
axis.plot(j_per_frame(still, easy), ":", color="gray", label="first mask, never moved")
axis.set(xlabel="frame", ylabel="J", ylim=(0, 1.02), title="Small errors add up: the mask drifts")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="J over time: DIS flow and careful exact flow sink slowly, bare exact flow falls fast, "
    "an unmoved mask is lost at once",
)

# %% [markdown]
# Even exact flow without the uncovered pixels loses something at every step: at the rim, bilinear interpolation mixes object and
# background, and what falls below one half is gone. Every step inherits the losses of the step before. That is **drift**,
# and it is the price of looking only at the last frame.

# %% [markdown]
# ## 6. See it die
#
# `MaskFlow` in the library is this method with two safety belts. It does not know what was uncovered, so it estimates flow both ways
# and distrusts pixels that do not come back to where they started. And it keeps the colours of the first frame, object and
# surroundings, and lets them vote near the outline, so that errors do not pile up. Like every method of the course it keeps one small contract,
# `start` and `step`, so whatever you learn to call here works for all of them. Let it follow an object behind a curtain.

# %%
from course_lib import load_model
from course_lib.vos.engine import segment

flow_model = load_model("flow", device="cpu")


def label_clip(model, clip) -> Tensor:
    """Run a segmenter over a clip, starting from its first labels. Returns [T, H, W] uint8."""
    run = segment(model, clip.frames, clip.labels[0])
    return torch.stack([run.labels(probs) for probs in run])


hidden = World(scenario("occlusion", length=course.pick(smoke=24, cpu=40, gpu=60))).clip(SEED)
predicted = label_clip(flow_model, hidden)
player(
    {"the truth": (hidden.frames, hidden.labels), "flow": (hidden.frames, predicted)},
    fps=8,
    scale=3,
    every=course.pick(smoke=3, cpu=4, gpu=4),
    max_kilobytes=12,
    alt="An object passes behind a curtain; the mask carried by flow does not come back with it",
)

# %%
target = hidden.ids[0]
visible = hidden.visible[:, 0].numpy()
j = j_per_frame(predicted == target, hidden)
fig, axis = plt.subplots(figsize=(7, 3))
gone = visible == 0
axis.fill_between(range(len(j)), 0, 1, where=gone, color="0.85", step="mid", label="fully hidden")
axis.plot(visible, color="gray", linestyle="dotted", label="visible fraction")
axis.plot(j, label="J of flow")
axis.set(xlabel="frame", ylabel="J", ylim=(0, 1.02))
axis.set_title("Behind the curtain the mask has nothing left to hold on to")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="J over time: high before the object is hidden, 1 while it is hidden, 0 after it is back",
)

# %% [markdown]
# While the object is hidden, an empty mask is the right answer and $J = 1$: the case you decided in exercise 1.
# Then the object comes back, the mask does not, and $J = 0$ to the end.

# %% tags=["hide-input"]
quiz(
    "Why can the mask not come back when the object does?",
    {
        "The flow is too inaccurate": "Even perfect flow would not help: the pixels of the hidden "
        "object have no place in the new frame to flow to.",
        "An empty mask stays empty when it is warped": "While the object is hidden its mask is empty. "
        "The colours of the first frame only correct an outline, and there is none left. To find the "
        "object again a method must search the whole picture for what it remembers: that is what "
        "memory, matching and re-detection add.",
        "The object looks different when it comes back": "It may, but here it looks the same. "
        "A method that searches for its look would find it.",
    },
    right="An empty mask stays empty when it is warped",
)

# %% [markdown]
# ## 7. A real video, and a check that needs no truth
#
# Back to the rabbit. `course track` asks you for a box around the object; inside it, GrabCut separates object from background by colour.
# We do the same here and let the flow carry the mask.

# %%
from course_lib.vos.start_mask import grabcut_labels

scale = video.shape[3] / bunny.size[1]  # the box is given in pixels of the full-size video
start_box = [round(edge * scale) for edge in bunny.box]
start = grabcut_labels(video[0], start_box)  # [H, W] uint8, 1 where the object is
run = segment(flow_model, video, start)
rabbit = torch.stack([run.labels(probs) for probs in run])
player(
    {"the rabbit, carried by flow": (video, rabbit)},
    fps=8,
    every=course.pick(smoke=4, cpu=10, gpu=10),
    max_width=200,
    scale=2,
    max_kilobytes=18,
    alt="The rabbit, coloured by a mask that follows it as it stands up and stretches",
)

# %% [markdown]
# It looks decent, and it loses parts: watch the ears and the arms. How much? Without truth we cannot compute $J$. But we can ask for **consistency**:
# follow the mask forward to the last frame, then take *that* mask and follow it backward to the first. If nothing was lost, we arrive
# where we started. The overlap with the start mask is the **round-trip** score.
#
# It is a necessary condition, not proof: a method that returns the first mask unchanged makes a perfect round trip.

# %%
from course_lib.vos.round_trip import round_trip

lengths = course.pick(smoke=[4, 8], cpu=[5, 10, 20, 40, 60], gpu=[5, 10, 20, 40, 80, 108])
models = {"flow": flow_model, "first mask, never moved": load_model("copy", device="cpu")}
fig, axis = plt.subplots(figsize=(7, 3))
for (name, model), style in zip(models.items(), ("o-", "s:")):
    axis.plot(
        lengths, [round_trip(model, video[:n], start).mean for n in lengths], style, label=name
    )
axis.set(xlabel="frames there and back", ylabel="round-trip overlap", ylim=(0, 1.05))
axis.set_title("The longer the trip, the more gets lost")
axis.legend()
show(
    fig,
    alt="Round-trip overlap of flow falls with the length; the unmoved mask keeps 1, still wrong",
)

# %% [markdown]
# ## 8. Experiment: the same method on every scenario
#
# One clip proves nothing. Here are several clips of each scenario; the thin lines are 95 % intervals over clips (bootstrap).
# The grey bar is the most stubborn baseline there is: the first mask, never moved.

# %%
from course_lib.vos.evaluation import evaluate
from course_lib.viz import interval_bars

n_clips = course.pick(smoke=1, cpu=4, gpu=32)
clip_length = course.pick(smoke=14, cpu=24, gpu=60)
kinds = ["easy", "small", "occlusion", "lookalikes", "crowded", "fast", "corrupted"]
scores = {name: [] for name in models}
for kind in kinds:
    clips = World(scenario(kind, length=clip_length)).dataset(n_clips, SEED + 100)
    for name, model in models.items():
        report = evaluate(model, clips, progress=False)
        scores[name].append([sequence.JF for sequence in report.sequences])
fig = interval_bars(kinds, scores, ylabel="J&F")
show(fig, alt="J&F of flow and of the unmoved first mask for seven scenarios, with intervals")

# %% [markdown]
# And on real films with masks drawn by hand? DAVIS is the benchmark of the field. It may be used freely for study but not passed on,
# so it is not in this box. If you have it, the next cell finds it.

# %%
from course_lib.data.davis import DavisDataset
from course_lib.data.roots import data_root

davis = data_root("davis2016", course.data_root)
if davis is None:
    print("DAVIS is not here; `python data_scripts/download.py davis2016 --root DATA` fetches it.")
    print(
        "Measured elsewhere, 27 of its training sequences at 240p (benchmarks/results/mask_flow.json):"
    )
    print("J&F 0.68 for flow, 0.29 for the first mask, never moved.")
else:
    names = DavisDataset(davis).names[: course.pick(smoke=1, cpu=3, gpu=None)]
    for name, model in models.items():
        report = evaluate(model, DavisDataset(davis, sequences=names), progress=False)
        print(f"J&F {report.JF:.2f} for {name}, on {', '.join(names)}")

# %% [markdown]
# ## 9. Break it yourself
#
# Turn the dials and watch the number. Which dial hurts most? Can you find a film on which *not moving the mask at all* wins?

# %%
from course_lib.viz.widgets import DifficultyDials


def j_of_flow(clip) -> tuple[Tensor, float]:
    """What the dials show: the masks of flow, and the mean J of the first object."""
    labels = label_clip(flow_model, clip)
    return labels, float(np.mean(j_per_frame(labels == clip.ids[0], clip)))


DifficultyDials(j_of_flow, length=course.pick(smoke=6, cpu=8, gpu=24), seed=SEED)

# %% [markdown]
# ## 10. Your own video
#
# Put the path of a video and a box around the object into this cell; `None` keeps it quiet. On the command line the same thing is
# `course track my_video.mp4 --box x0 y0 x1 y1`.

# %%
MY_VIDEO = None  # for example "holiday.mp4"
MY_BOX = (100, 100, 300, 300)  # x0, y0, x1, y1 in pixels of the first frame

if MY_VIDEO is not None:
    from course_lib.vos.track import track

    print(track(MY_VIDEO, model=flow_model, box=MY_BOX, out="my_overlay.mp4"))

# %% [markdown]
# ## 11. The claims board
#
# A course should test what it says. Each headline claim of the theses behind this course has a row on a board: what is claimed,
# what we measured, and a verdict decided by a rule that was fixed before the measurement. These rows belong to this lesson.

# %%
from IPython.display import HTML

from course_lib.claims import board_html, load_board

HTML(board_html(load_board(lesson="00"), lesson="00"))

# %% [markdown]
# ## 12. The map of the course
#
# Every failure you just saw has a remedy, and every remedy has a price.
#
# | what goes wrong | what helps | lesson |
# |---|---|---|
# | clutter hides the object in a single image | learn where to look | 01 – 03 spatial transformers by reinforcement |
# | the method forgets | a recurrent memory with skip connections | 04 skip-memory |
# | drift over time | match with the first frame as well | 05 hybrid matching |
# | a network on every frame is too slow | run it rarely, let flow carry the rest | 06 flow propagation |
# | frames are judged one by one | look around in the last frames | 07 local memory attention |
# | a box tracker has no outline | learn a segmenter from the first frame | 08 tracking by segmentation |
# | nobody labelled the training videos | let videos supervise themselves | 09 self-supervised correspondence |
# | the test world looks different | adapt while watching | 10 test-time adaptation |
# | many objects, no identities given | learn to associate | 11 multi-object tracking |
# | masks are too expensive to draw | learn from boxes | 12 box supervision |
# | memory grows with the video | keep what is used, forget the rest | 13 adaptive memory |
# | look-alikes | rank what matches | 14 ranking attention |
# | another city, another camera | align the domains | 15 domain adaptation |
#
# **What next.** Lesson 13 gives the method a memory and sends it behind the same curtain. If you would rather start with still images and clutter, take lesson 01.
#
# **Further reading.** F. Perazzi et al., *A benchmark dataset and evaluation methodology for video object segmentation*, CVPR 2016, defines $J$ and $F$.
# T. Kroeger et al., *Fast optical flow using dense inverse search*, ECCV 2016, is DIS.
# F. Azimi, *Towards image and video understanding in challenging scenarios*, PhD thesis, RPTU Kaiserslautern-Landau, 2024, chapter 6, and
# A. Pourganjalikhan, *Adaptive memory management in video object segmentation*, MSc thesis, Concordia University, 2021, chapter 1, set out the task and its failures.
