# %% [raw] tags=["manifest"]
# lesson: 13
# title: Adaptive memory
# promise: Give a tracker a memory it can look things up in, find an object again after it was hidden, and follow it through a long video with the memory of two frames.
# needs: ["00"]
# objectives: [read a memory by similarity and say what a key and a value are, explain why a space-time memory grows with the video, build a least-frequently-used memory bank, predict speed from three costs, name what a bounded memory forgets and the cheap cure]
# terms: [key, value, affinity, read-out, top-k, memory bank, eviction, least frequently used]
# source: "A. Pourganjalikhan, MSc thesis, Concordia University, 2021, chapters 3 and 4 (adaptive memory, attention regularisers); H. K. Cheng et al., NeurIPS 2021 (STCN); S. Wug Oh et al., ICCV 2019 (STM)"

# %% tags=["parameters"]
PRESET = "cpu"
SEED = 0
DEVICE = "auto"
DATA_ROOT = None

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from course_lib.lessons import check, lesson, quiz
from course_lib.viz import use_course_style

use_course_style()
course = lesson("13", preset=PRESET, seed=SEED, device=DEVICE, data_root=DATA_ROOT)

# %% [markdown]
# ## 1. The problem, seen
#
# Lesson 00 ended behind a curtain: an object passes behind a panel, the mask that was carried by optical flow shrinks to nothing,
# and nothing can bring it back. Flow knows one thing only, the frame before this one.
#
# Here is the same kind of film once more, with flow in the middle. On the right runs a network that does something else. It
# **remembers** frames together with their masks, and looks up every pixel of a new frame in that memory:
# *where have I seen something like this, and what was I told about it?*

# %%
from course_lib import load_model
from course_lib.data.synthetic import World, scenario
from course_lib.methods.space_time_memory import MemoryConfig, SpaceTimeSegmenter
from course_lib.viz import player
from course_lib.vos.engine import segment

side = course.pick(smoke=96, cpu=192, gpu=192)  # pixels; 192 are 12 cells of 16 pixels
top_k = 4  # how many memory cells may answer; section 3 explains it
device = str(course.device)
flow = load_model("flow", device="cpu")
net = load_model("stcn-small", device=device).net


def remembering(policy: str = "every_k", capacity: float = 2.0) -> SpaceTimeSegmenter:
    """The course's small network with one way of keeping its memory."""
    return SpaceTimeSegmenter(
        net, MemoryConfig(policy, capacity=capacity, top_k=top_k, reaggregate=False)
    )


def label_clip(model, clip) -> Tensor:
    """Follow all objects of a clip from its first labels. Returns [T, H, W] uint8."""
    run = segment(model, clip.frames, clip.labels[0])
    return torch.stack([run.labels(probs) for probs in run])


hidden = World(
    scenario("occlusion", image_size=side, length=course.pick(smoke=16, cpu=40, gpu=60))
).clip(SEED + 3)
by_flow, by_memory = label_clip(flow, hidden), label_clip(remembering(), hidden)
player(
    {
        "the truth": (hidden.frames, hidden.labels),
        "flow": (hidden.frames, by_flow),
        "memory": (hidden.frames, by_memory),
    },
    fps=8,
    every=course.pick(smoke=4, cpu=7, gpu=7),
    max_width=130,
    scale=2,
    max_kilobytes=8,
    alt="An object passes behind a panel. Flow loses it for good, the network with a memory finds it again",
)

# %%
from course_lib.metrics import evaluate_labels
from course_lib.viz import plot_over_time, show

gone = hidden.visible[:, 0] == 0
j = {
    name: evaluate_labels(masks, hidden.labels, ids=[1]).J[0]
    for name, masks in {"memory": by_memory, "flow": by_flow}.items()
}
fig = plot_over_time(j, hidden=gone, title="The object that passes behind the panel")
show(
    fig,
    alt="J over time: flow falls to 0 after the occlusion, memory returns to a high value",
)

# %% [markdown]
# This lesson builds that memory. Then it finds the price of it, *memory that grows with every second of video*, and a remedy:
# throw away what nobody asks for. At the end you will see what the remedy costs.

# %% [markdown]
# ## 2. Keys and values: a memory you can search
#
# Think of a library. To find a book you do not read all books; you compare your question with the **labels on the spines**. What
# you take home is the **content**. A space-time memory keeps the same two things for every cell of 16 × 16 pixels of a stored frame:
#
# | | comes from | says | size per cell |
# |---|---|---|---|
# | **key** | the image alone | what does it look like here? | 64 numbers |
# | **value** | the image *and its mask* | what was said about this place: object, its rim, something else | 128 numbers (512 in the published network) |
#
# A new frame has no mask yet, but it has keys. They are the questions. Two encoders, because the two jobs differ: a key must be
# the same wherever the same thing is seen, a value must tell the object from its neighbour.

# %%
frames = hidden.frames.to(device).float() / 255  # [T, 3, H, W] in [0, 1]
first_mask = (hidden.labels[0] == 1).float().to(device)  # [H, W], object 1
with torch.no_grad():
    features = net.encode_key(frames[:1])
    value = net.encode_value(frames[:1], features, first_mask[None, None])
print(f"frame  {list(frames[0].shape)}")
print(f"key    {list(features.key.shape)}      one key per cell, whatever the number of objects")
print(f"value  {list(value.shape)}  one value per cell and object")

# %% tags=["hide-input"]
quiz(
    "The network is about to segment frame 30. Which masks does it need to compute the keys of frame 30?",
    {
        "The mask of frame 29": "That is how flow works. A key depends on the image alone, so the previous mask "
        "is not needed, and a mistake in it does not reach the question.",
        "None": "Keys come from the image alone. Only stored frames need a mask, because only they have values.",
        "The mask of frame 0": "The mask of frame 0 is in the memory, inside the values of frame 0. "
        "The question itself does not need it.",
    },
    right="None",
)

# %% [markdown]
# Now the look-up. Cell $j$ of the new frame has the key $q_j$, memory cell $i$ has the key $k_i$. How well do they fit? The
# network takes the squared distance, and turns distances into **weights** that sum to 1 over the memory. This table of weights is the **affinity**:
#
# $$ d_{ij} = -\frac{\lVert k_i - q_j \rVert^2}{\sqrt{C_k}}, \qquad a_{ij} = \frac{e^{d_{ij}}}{\sum_{i'} e^{d_{i'j}}} $$
#
# $C_k = 64$ is the length of a key. Mind the direction of the sum: each *question* gets one unit of attention and spends it on the *memory*.
#
# **Exercise 1.** Write it. Keys are stored as columns.


# %% tags=["exercise", "l2_affinity"]
def l2_affinity(memory_keys: Tensor, query_keys: Tensor) -> Tensor:
    """How much each query cell attends to each memory cell.

    memory_keys: [Ck, N], query_keys: [Ck, Q].
    Returns [N, Q]; every column sums to 1.
    """
    ### BEGIN SOLUTION
    difference = memory_keys[:, :, None] - query_keys[:, None, :]  # [Ck, N, Q]
    distance = difference.square().sum(dim=0)  # [N, Q]
    return (-distance / math.sqrt(len(memory_keys))).softmax(dim=0)
    ### END SOLUTION


# %% tags=["check"]
l2_affinity = check.l2_affinity(l2_affinity)

# %% [markdown]
# <details><summary>Hint 1</summary> <code>memory_keys[:, :, None]</code> is [Ck, N, 1] and <code>query_keys[:, None, :]</code> is [Ck, 1, Q]. Their difference has every pair. </details>
#
# <details><summary>Hint 2</summary> Sum the squares over the first axis, divide by the square root of Ck, and put a minus in front: near means large. </details>
#
# <details><summary>Hint 3</summary> <code>(-distance / math.sqrt(len(memory_keys))).softmax(dim=0)</code>: axis 0 is the memory. </details>

# %% [markdown]
# Why a distance and not the scalar product that every transformer uses? Take two stored keys, $(3, 0)$ and $(1, 0)$, and ask with $(1, 0)$,
# exactly the second one:

# %% tags=["nbval-check-output"]
stored, question = torch.tensor([[3.0, 1.0], [0.0, 0.0]]), torch.tensor([[1.0], [0.0]])
dot = (stored.T @ question / math.sqrt(2)).softmax(dim=0)
print(
    "scalar product:",
    [f"{w:.2f}" for w in dot[:, 0]],
    "-> the long key wins, although it is another one",
)
print(
    "distance:      ",
    [f"{w:.2f}" for w in l2_affinity(stored, question)[:, 0]],
    "-> the equal key wins",
)

# %% [markdown]
# A long key wins *every* question under the scalar product. With distances nobody can win by shouting. This is the step from STM, the first
# space-time memory network (Wug Oh et al., 2019), to STCN (Cheng et al., 2021).
#
# Click into the right picture, or move the cell with the arrow keys: the pictures on the left are the memory, and light up where it answers.
# Try a cell on an object, on its rim, on the background; then switch to the scalar product.

# %%
from course_lib.viz.widgets import AffinityExplorer

remembered = [0, 10]
asked = course.pick(smoke=14, cpu=34, gpu=50)  # after the occlusion
pictures = frames[[*remembered, asked]]
with torch.no_grad():
    explorer_keys = net.encode_key(pictures).key  # [3, Ck, h, w]
truth = (hidden.labels[remembered] == 1).float()  # [2, H, W], what the memory was told
masks = torch.nn.functional.avg_pool2d(truth[:, None], 16)[:, 0]  # [2, h, w]
AffinityExplorer(
    pictures.cpu(),
    explorer_keys.cpu(),
    masks=masks,
    top_k=top_k,
    names=[f"frame {t}" for t in (*remembered, asked)],
    max_kilobytes=27,
    alt="A frame asks; over two stored frames the cells that answer light up on the same object",
)

# %% [markdown]
# ## 3. Only the best may answer
#
# Fifteen stored frames are 2,160 cells here, 24,300 at the size of a DAVIS video. Nearly all of them have nothing to do with the
# question. How much say do they have? Sort the cells of each question by weight, and add up:

# %%
with torch.no_grad():
    past = torch.arange(0, course.pick(smoke=12, cpu=30, gpu=50), 2)
    many_keys = net.encode_key(frames[past]).key.transpose(0, 1).flatten(1)  # [Ck, N]
    query_keys = net.encode_key(frames[asked : asked + 1]).key[0].flatten(1)  # [Ck, Q]
    affinities = {
        "distance": l2_affinity(many_keys, query_keys),  # [N, Q]
        "scalar product": (many_keys.T @ query_keys / math.sqrt(len(many_keys))).softmax(dim=0),
    }
fig, axis = plt.subplots(figsize=(7, 3))
for (name, weights), style in zip(affinities.items(), ("-", "--")):
    share = weights.sort(dim=0, descending=True).values.cumsum(dim=0)  # [N, Q]
    axis.plot(range(1, len(share) + 1), share.quantile(0.1, dim=1).cpu(), style, label=name)
axis.axvline(top_k, color="gray", linestyle=":")
axis.annotate(f"the best {top_k}", (top_k * 1.2, 0.05), color="gray")
axis.set(xscale="log", xlabel="memory cells, best first", ylabel="share of attention")
axis.set(ylim=(0, 1.02), title="Attention of the most undecided tenth of the questions")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(fig, alt="Share of attention that the best cells hold, for distances and for scalar products")

# %% [markdown]
# Our small network is a decided one: a handful of cells holds nearly everything, so letting only the best `top_k` answer changes its
# answers little. (A network with softer attention gains accuracy when the long tail is cut off, which is why Cheng et al., 2021, introduced it.)
# What it changes is the *bill*, as we shall see. And it gives us something to **count**: which cells are asked at all. Section 6 lives on that.
#
# So at test time only the `top_k` closest cells of each question may answer, and share its unit of attention among them:
#
# $$ a_{ij} = \frac{e^{d_{ij}}}{\sum_{i' \in \mathrm{top}_k(j)} e^{d_{i'j}}} \ \text{ for } i \in \mathrm{top}_k(j), \quad 0 \text{ otherwise}; \qquad r_j = \sum_i a_{ij} v_i $$
#
# $r_j$, the **read-out**, is the answer that cell $j$ takes home: a mixture of values.
#
# **Exercise 2.** Write the read. (Training uses all cells: a cell that *should* have answered and did not must feel the gradient.)


# %% tags=["exercise", "top_k_read"]
def top_k_read(scores: Tensor, values: Tensor, k: int) -> Tensor:
    """Mix the values of the k best memory cells of every query.

    scores: [N, Q], larger is better. values: [Cv, N].
    Returns [Cv, Q].
    """
    ### BEGIN SOLUTION
    best, cells = scores.topk(k, dim=0)  # [k, Q] each
    weights = best.softmax(dim=0)
    return (values[:, cells] * weights).sum(dim=1)  # [Cv, k, Q] -> [Cv, Q]
    ### END SOLUTION


# %% tags=["check"]
top_k_read = check.top_k_read(top_k_read)

# %% [markdown]
# <details><summary>Hint 1</summary> <code>scores.topk(k, dim=0)</code> gives the k best scores of every column, and which cells they belong to. </details>
#
# <details><summary>Hint 2</summary> The softmax comes after the choice, over those k scores, so that the weights sum to 1. </details>
#
# <details><summary>Hint 3</summary> <code>values[:, cells]</code> is [Cv, k, Q]. Multiply by the weights and sum over the middle axis. </details>

# %% [markdown]
# Gathering k values is also *faster* than a product with a matrix of zeros: five to ten times at 60 stored frames of 480 × 854 (`benchmarks/memory_read.py`).
#
# That was the whole idea. Three generations differ in one line each:
#
# | | score of memory cell $i$ for question $j$ | who answers | one affinity per |
# |---|---|---|---|
# | STM (2019) | $k_i \cdot q_j / \sqrt{C_k}$ | all cells | object |
# | STCN (2021) | $-\lVert k_i - q_j\rVert^2 / \sqrt{C_k}$ | all cells in training | frame |
# | with top-k | the same | the best few, at test time | frame |
#
# ## 4. A tracker in fifteen lines
#
# Encode, ask, decode, remember every fifth frame. The decoder turns the read-out into a mask at full size, and for that it also looks at
# the current frame. `soft_aggregate` lets object and background compete for each pixel.

# %%
from course_lib.vos.aggregate import soft_aggregate


class GrowingMemory:
    """Keeps every cell it is given."""

    def __init__(self) -> None:
        self.keys = self.values = None
        self.hits = self.born = torch.zeros(0)  # [N] each: how often asked, frame of writing
        self.place = torch.zeros(0, dtype=torch.long)  # [N]: which cell of that frame
        self.history = []  # (born, place) at every read, to look at later

    def read(self, query: Tensor) -> Tensor:
        """Values for query keys [Ck, Q]; counts how often each cell was among the best. Returns [Cv, Q]."""
        distance = torch.cdist(self.keys.T, query.T).square()  # [N, Q]
        scores = -distance / math.sqrt(len(query))
        asked = scores.topk(top_k, dim=0).indices.flatten()
        self.hits = self.hits + asked.bincount(minlength=len(self.hits)).cpu()
        self.history.append((self.born, self.place))
        return top_k_read(scores, self.values, top_k)

    def write(self, key: Tensor, value: Tensor, t: int) -> None:
        """Add the cells of frame t: key [Ck, n], value [Cv, n]."""
        if self.keys is None:
            self.keys, self.values = key[:, :0], value[:, :0]
        n = key.shape[1]
        self.keys, self.values = torch.cat([self.keys, key], 1), torch.cat([self.values, value], 1)
        self.hits = torch.cat([self.hits, torch.zeros(n)])
        self.born = torch.cat([self.born, torch.full((n,), float(t))])
        self.place = torch.cat([self.place, torch.arange(n)])


@torch.no_grad()
def follow(frames: Tensor, mask: Tensor, memory: GrowingMemory, every: int = 5) -> Tensor:
    """Follow one object. frames: [T, 3, H, W]; mask: [H, W] of frame 0. Returns its probability [T, H, W]."""
    answer = [soft_aggregate(mask[None])[1]]
    for t, frame in enumerate(frames):
        features = net.encode_key(frame[None])
        key = features.key[0].flatten(1)  # [Ck, h*w]
        if t > 0:
            readout = memory.read(key).unflatten(1, features.key.shape[2:])  # [Cv, h, w]
            logits = net.decode(readout[None, None], features)  # [1, 1, H, W]
            answer.append(soft_aggregate(logits[0].sigmoid())[1])
        if t % every == 0:
            value = net.encode_value(frame[None], features, answer[-1][None, None])
            memory.write(key, value[0, 0].flatten(1), t)
    return torch.stack(answer)


growing = GrowingMemory()
ours = follow(frames, first_mask, growing)
library = net.propagate(frames, first_mask[None], top_k=top_k)[:, 1]
same = ((ours > 0.5) == (library > 0.5)).float().mean().item()
print(f"your tracker and the library's agree on {same:.2%} of all pixels")

# %% [markdown]
# ## 5. Why it cannot last
#
# Look at the line `torch.cat`. Every fifth frame adds its cells and nothing is ever removed. At the size of a DAVIS video
# (480 × 854, a grid of 30 × 54 = 1,620 cells, published widths) one stored frame of two objects takes
#
# $$ 1620 \cdot (64 + 2 \cdot 512) \cdot 4 \text{ bytes} \approx 7 \text{ MB}, $$
#
# and the table of similarities another 10 MB per stored frame while it is read. The thesis reports a card of 8 GB full after about a hundred stored
# frames: **fifteen seconds of video** (Pourganjalikhan, 2021, chapter 3). And every read takes longer than the one before.

# %%
from course_lib.viz import plot_memory

stream = World(
    scenario(
        "long", image_size=side, length=course.pick(smoke=12, cpu=60, gpu=1000), dense_truth=False
    )
).clip(SEED + 1)


def watch(model, clip) -> tuple[Tensor, list[int], float]:
    """Follow a clip: its labels, bytes of the memory after each frame, frames per second."""
    run = segment(model, clip.frames, clip.labels[0])
    labels, used = [], []
    for probs in run:
        labels.append(run.labels(probs))
        used.append(run.session.bank.used_bytes())
    return torch.stack(labels), used, len(labels) / run.seconds


policies = {
    "every fifth frame": remembering("every_k"),
    "first and latest": remembering("first_and_latest"),
    "adaptive, 2 frames": remembering("adaptive", 2),
}
seen = {name: watch(model, stream) for name, model in policies.items()}
fig = plot_memory(
    {name: used for name, (_, used, _) in seen.items()}, title="What the memory holds"
)
show(
    fig, alt="Bytes over frames: every fifth frame climbs like a staircase, the other two stay flat"
)

# %% [markdown]
# Three ways to keep a memory, in three lines of this figure. **Every fifth frame** is the climbing staircase. The obvious remedy keeps the **first and
# the latest** frame: the first is the truth, the latest is most alike. All between is lost, and it is not cheap: the value
# encoder now runs on *every* frame. The third line is what we build next.
#
# ## 6. A memory that forgets well
#
# Deciding what to keep is an old problem: a cache. A *request* is a question of the new frame, a *hit* is a cell among its `top_k` best, a
# *miss* is an answer that we have thrown away. A classic rule is **least frequently used**: what nobody asked for can go.
#
# Counting alone is unfair: a cell that has been here for a minute had a minute to collect hits. So we divide by its **age**:
#
# $$ \mathrm{LFU}_i = \frac{\text{hits}_i}{\text{age}_i}, \qquad \text{hits}_i = \text{number of questions, over all frames, with } i \in \mathrm{top}_k $$
#
# Note what is kept: **cells, not frames**. A memory of "two frames" holds pieces of many.
#
# **Exercise 3.** Write the score. One case needs thought: a cell written in this very frame has had no time at all.


# %% tags=["exercise", "lfu_scores"]
def lfu_scores(hits: Tensor, age: Tensor) -> Tensor:
    """Worth of each memory cell: hits per frame of life.

    hits, age: [N]; age counts frames since the cell was written, 0 for a new one.
    Returns [N]; a new cell must survive whatever the others are worth.
    """
    ### BEGIN SOLUTION
    return torch.where(age > 0, hits / age.clamp(min=1), torch.inf)
    ### END SOLUTION


# %% tags=["check"]
lfu_scores = check.lfu_scores(lfu_scores)

# %% [markdown]
# <details><summary>Hint 1</summary> Where the age is positive it is a plain division. What is larger than every number? </details>
#
# <details><summary>Hint 2</summary> <code>torch.where(condition, a, b)</code> computes both sides, so keep the division away from zero with <code>age.clamp(min=1)</code>. </details>
#
# <details><summary>Hint 3</summary> <code>torch.where(age &gt; 0, hits / age.clamp(min=1), torch.inf)</code> </details>

# %% [markdown]
# **Exercise 4.** Now choose. The memory is full and `n_evict` cells must go: those with the lowest scores; of two equal ones the older.
# Cells are stored in the order of time, oldest first, and must stay so.


# %% tags=["exercise", "cells_to_keep"]
def cells_to_keep(scores: Tensor, n_evict: int) -> Tensor:
    """Indices of the cells that stay.

    scores: [N], oldest cell first. Of equal scores the older cell goes first.
    Returns [N - n_evict] long, ascending.
    """
    ### BEGIN SOLUTION
    order = scores.argsort(stable=True)  # worst first; stable keeps the older of equals in front
    return order[n_evict:].sort().values
    ### END SOLUTION


# %% tags=["check"]
cells_to_keep = check.cells_to_keep(cells_to_keep)

# %% [markdown]
# <details><summary>Hint 1</summary> <code>scores.argsort()</code> lists cells from worst to best. Drop the first <code>n_evict</code> of that list. </details>
#
# <details><summary>Hint 2</summary> Equal scores: <code>stable=True</code> keeps their order, the older one first, so it is dropped first. </details>
#
# <details><summary>Hint 3</summary> What remains is ordered by worth; <code>.sort().values</code> puts it back in the order of time. </details>

# %% tags=["nbval-check-output"]
hits = torch.tensor([30.0, 4.0, 10.0, 2.0])  # cells A, B were written at frame 0; C, D at frame 5
age = 10 - torch.tensor([0, 0, 5, 5])  # now it is frame 10
print("scores", [round(s, 2) for s in lfu_scores(hits, age).tolist()])
print(
    "two cells must go; these stay:", ["ABCD"[i] for i in cells_to_keep(lfu_scores(hits, age), 2)]
)

# %% [markdown]
# B was asked for twice as often as D and goes all the same: it had twice the time. Put into the memory of section 4, that is five lines:


# %%
class AdaptiveMemory(GrowingMemory):
    """Keeps at most `capacity` cells: those that are asked for most often in their time."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity

    def write(self, key: Tensor, value: Tensor, t: int) -> None:
        n_evict = len(self.hits) + key.shape[1] - self.capacity
        if n_evict > 0:
            keep = cells_to_keep(self.worth(t), n_evict)
            self.hits, self.born, self.place = self.hits[keep], self.born[keep], self.place[keep]
            keep = keep.to(key.device)
            self.keys, self.values = self.keys[:, keep], self.values[:, keep]
        super().write(key, value, t)

    def worth(self, t: int) -> Tensor:
        """Score of each cell at frame t, [N]."""
        return lfu_scores(self.hits, t - self.born)


cells = features.key.shape[2] * features.key.shape[3]  # of one frame
adaptive = AdaptiveMemory(capacity=2 * cells)
ours = follow(frames, first_mask, adaptive)
two_frames = MemoryConfig("adaptive", capacity=2, top_k=top_k)
library = net.propagate(frames, first_mask[None], memory=two_frames)[:, 1]
same = ((ours > 0.5) == (library > 0.5)).float().mean().item()
print(f"{len(growing.hits)} cells in the growing memory, {len(adaptive.hits)} in the adaptive one")
print(f"your memory and the library's agree on {same:.2%} of all pixels")
print(
    "cells by the frame they come from:",
    dict(zip(*[x.int().tolist() for x in adaptive.born.unique(return_counts=True)])),
)

# %% tags=["hide-input"]
quiz(
    "Two cells are both 100 frames old. E held 95 % of a question's weight for the first 20 frames and was never asked again. "
    "F was among the best in every frame, with 2 % of the weight. What if the score added up weights instead of counting hits?",
    {
        "The same cell goes": "Weights: E has 20 x 0.95 / 100 = 0.19, F has 100 x 0.02 / 100 = 0.02, so F would go. "
        "Hits: E has 0.2, F has 1, so E goes.",
        "F would go, a cell that is still in use": "0.02 against 0.19: the former star outlives the steady helper. The thesis "
        "measured both (Table 4): counts 84.4 J&F, weights 83.0 on DAVIS-2017.",
        "E would go": "By counts it does. By weights its 20 great frames still shine 80 frames later.",
    },
    right="F would go, a cell that is still in use",
)

# %% [markdown]
# ## 7. Experiment: three memories on long videos
#
# Films in which objects change their look, leave, and come back. All memories use the **same weights**; a policy needs no training.
# The thin lines are 95 % intervals over clips.

# %%
from course_lib.viz import interval_bars
from course_lib.vos.evaluation import evaluate

n_clips = course.pick(smoke=1, cpu=3, gpu=32)
kinds = {
    "occlusion": World(
        scenario(
            "occlusion",
            image_size=side,
            length=course.pick(smoke=10, cpu=36, gpu=60),
            dense_truth=False,
        )
    ).dataset(n_clips, SEED + 100),
    "long": World(
        scenario(
            "long",
            image_size=side,
            length=course.pick(smoke=10, cpu=40, gpu=1000),
            dense_truth=False,
        )
    ).dataset(n_clips, SEED + 100),
}
reports = {
    name: [evaluate(model, clips, progress=False) for clips in kinds.values()]
    for name, model in policies.items()
}
scores = {
    name: [[s.JF for s in report.sequences] for report in rows] for name, rows in reports.items()
}
fig = interval_bars(list(kinds), scores)
show(fig, alt="J&F of three memories on occlusion and long clips, with intervals")

# %%
stored = {"every fifth frame": "grows", "first and latest": "2", "adaptive, 2 frames": "2"}
print(f"{'':<20}{'J&F occlusion':>15}{'J&F long':>10}{'frames/s, long':>16}{'stored frames':>15}")
for name, (occlusion, long) in reports.items():
    print(f"{name:<20}{occlusion.JF:>15.3f}{long.JF:>10.3f}{long.fps:>16.1f}{stored[name]:>15}")

# %% [markdown]
# The thesis measured the published network on real videos (Pourganjalikhan, 2021, Tables 1 – 3; mean J&F in per cent):
#
# | memory | DAVIS-2016 | DAVIS-2017 | YouTube-VOS | frames per second | frames in memory |
# |---|---|---|---|---|---|
# | every fifth frame | 91.7 | 85.3 | 84.1 | 6.3 | 7 (mean) |
# | first and latest | 89.5 | 82.5 | 80.5 | 8.4 | 2 |
# | adaptive | 90.9 | 84.4 | 81.1 | 11.4 | 2 |
#
# Close to the growing memory on the short clips of DAVIS, three points behind on the longer ones of YouTube-VOS, and the fastest of the three.
# Do our small clips say the same? One run with a few clips proves little; section 12 has the careful version with many clips and a verdict.
#
# ### How large should a memory be?
#
# The thesis draws accuracy against capacity (Fig. 11): from two to four frames J&F rises by two points, then it levels off. Here:

# %%
capacities = course.pick(smoke=[1, 2], cpu=[1, 2, 4], gpu=[1, 2, 3, 4, 6, 8])
measured = {2: scores["adaptive, 2 frames"][1]}  # J&F of each clip, by capacity
for capacity in capacities:
    if capacity not in measured:
        report = evaluate(remembering("adaptive", capacity), kinds["long"], progress=False)
        measured[capacity] = [s.JF for s in report.sequences]
curve = [measured[capacity] for capacity in capacities]
fig, axis = plt.subplots(figsize=(6.5, 3))
axis.plot(capacities, np.array(curve), color="#BDBDBD", linewidth=1)
axis.plot(capacities, np.mean(curve, axis=1), marker="o", label="adaptive")
axis.axhline(
    np.mean(scores["every fifth frame"][1]),
    linestyle="--",
    color="#D55E00",
    label="every fifth frame",
)
axis.set(xlabel="capacity (frames' worth of cells)", ylabel="J&F on long clips")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="J&F against capacity of the adaptive memory, with the growing memory as a line",
)

# %% [markdown]
# ### When flow is the better choice
#
# None of this says that a memory is always right. Where nothing hides for long and nothing changes its look, the mask that flow carries is exact to
# the pixel, while a memory of 16 × 16 cells has to redraw the rim of every object in every frame. The card of the weights says what both score on six
# short clips of our world (20 frames, one clip of each kind) that training never saw:

# %%
from course_lib.methods.space_time_memory.load import SMALL_WEIGHTS
from course_lib.training.cards import load_card

card = load_card(SMALL_WEIGHTS).metrics
for what, number in card.items():
    if what.startswith("J&F") and "world" in what:
        print(f"{number:6.1f}  {what}")

# %% [markdown]
# Ask what is hard about *your* video before you choose.
#
# ### On real film
#
# The network was trained on synthetic films and on 21 sequences of DAVIS. Six sequences were kept out of training and chose the checkpoint:

# %%
from dataclasses import replace

from course_lib.data.davis import DavisDataset
from course_lib.data.roots import data_root
from course_lib.methods.space_time_memory.train_data import KEPT_OUT

davis = data_root("davis2016", course.data_root)
if davis is None:
    print("DAVIS is not here; `python data_scripts/download.py davis2016 --root DATA` fetches it.")
    print("The network's card says what was measured on all six, at 240p on one CPU core:")
    for what, number in card.items():
        if "DAVIS" in what:
            print(f"{number:6.1f}  {what}")
else:
    some = list(KEPT_OUT[: course.pick(smoke=1, cpu=1, gpu=6)])
    real = DavisDataset(davis, year=2016, sequences=some)
    if few := course.pick(smoke=6, cpu=None, gpu=None):  # frames: enough to see that it runs
        real = [replace(c, frames=c.frames[:few], labels=c.labels[:few]) for c in real]
    for name, model in {"memory": load_model("stcn-small", device=device), "flow": flow}.items():
        report = evaluate(model, real, progress=False)
        print(f"J&F {report.JF:.3f} for {name}, {report.fps:.0f} frames per second")

# %% [markdown]
# ## 8. Where the time goes
#
# Three things take time in a frame: a fixed part (key encoder and decoder), a value encoding for every frame that is *written*, and
# the read, which grows with the frames that are *stored*:
#
# $$ \text{milliseconds} = c_{\text{fix}} + w \cdot c_{\text{val}} + m \cdot c_{\text{read}} $$
#
# with $w$ value encodings per frame and $m$ frames in memory. Table 3 of the thesis gives three speeds, so three equations:
#
# | memory | $w$ | $m$ | frames per second |
# |---|---|---|---|
# | every fifth frame | 0.2 | 7 | 6.3 |
# | first and latest | 1 | 2 | 8.4 |
# | adaptive | 0.2 | 2 | 11.4 |
#
# **Exercise 5.** Solve them. Mind the unit: frames per second is not a time.


# %% tags=["exercise", "solve_costs"]
def solve_costs(rows: Tensor, milliseconds: Tensor) -> Tensor:
    """The three costs of a frame.

    rows: [3, 3] float64, one line (1, w, m) per memory. milliseconds: [3] float64 per frame.
    Returns [3]: fixed cost, cost of a value encoding, cost of reading one stored frame; all in milliseconds.
    """
    ### BEGIN SOLUTION
    return torch.linalg.solve(rows, milliseconds)
    ### END SOLUTION


# %% tags=["check"]
solve_costs = check.solve_costs(solve_costs)

# %% [markdown]
# <details><summary>Hint 1</summary> Three lines times three unknowns equal three times: a system of linear equations. </details>
#
# <details><summary>Hint 2</summary> Subtract the third equation from the first: the fixed cost and the value encoding cancel, five reads remain. </details>
#
# <details><summary>Hint 3</summary> <code>torch.linalg.solve(rows, milliseconds)</code> </details>

# %%
rows = torch.tensor([[1, 0.2, 7], [1, 1, 2], [1, 0.2, 2]], dtype=torch.float64)
speeds = torch.tensor([6.3, 8.4, 11.4], dtype=torch.float64)
costs = solve_costs(rows, 1000 / speeds)
parts = rows * costs  # [memory, part] in ms
fig, axis = plt.subplots(figsize=(7, 2.8))
left = torch.zeros(3, dtype=torch.float64)
for part, name, colour in zip(
    parts.T, ("fixed", "value encodings", "reads"), ("#BDBDBD", "#E69F00", "#0072B2")
):
    axis.barh(
        ["every fifth", "first and latest", "adaptive"], part, left=left, color=colour, label=name
    )
    left = left + part
axis.invert_yaxis()
axis.set(xlabel="milliseconds per frame (recomputed from Table 3)")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="Three costs for three memories: reads dominate every fifth, values first and latest",
)
print(
    "with the memory of four frames:",
    f"{1000 / (costs @ torch.tensor([1, 0.2, 4], dtype=torch.float64)):.1f} frames per second",
)
print(
    "every fifth, 100 stored frames:",
    f"{1000 / (costs @ torch.tensor([1, 0.2, 100], dtype=torch.float64)):.2f} frames per second",
)

# %% [markdown]
# So the adaptive memory beats "first and latest" *only* by encoding fewer values, and "every fifth" *only* by reading less. With four frames it is no
# faster than "first and latest" any more. A model of three numbers, and it tells you which experiment is worth running.

# %% [markdown]
# ## 9. Should attention be spread? A negative result
#
# A few cells hold most of the attention (section 3). Chapter 4 of the thesis tries to force the network to use more of them, hoping for
# robustness: **dropout** switches connections off at random in training, **reallocation** hands weight from the most asked cells to the least asked.
#
# **Exercise 6.** Write dropout on an affinity. The trap: our scores are *negative distances*. What does a score of **zero** mean?


# %% tags=["exercise", "mask_inf_dropout"]
def mask_inf_dropout(scores: Tensor, dropped: Tensor) -> Tensor:
    """Weights when some connections are switched off.

    scores: [N, Q] negative distances. dropped: [N, Q] bool, True where the connection is off.
    Returns [N, Q]; dropped ones weigh 0, every column sums to 1.
    A query that would lose all its cells keeps its best one.
    """
    ### BEGIN SOLUTION
    best = torch.zeros_like(dropped).scatter(0, scores.argmax(dim=0, keepdim=True), True)
    rescued = best & dropped.all(dim=0)
    return scores.masked_fill(dropped & ~rescued, -torch.inf).softmax(dim=0)
    ### END SOLUTION


# %% tags=["check"]
mask_inf_dropout = check.mask_inf_dropout(mask_inf_dropout)

# %% [markdown]
# <details><summary>Hint 1</summary> Zero is the best score there is: distance 0. Which score gets weight 0 from a softmax? </details>
#
# <details><summary>Hint 2</summary> <code>scores.masked_fill(dropped, -torch.inf).softmax(dim=0)</code> is right for every column that keeps a cell. </details>
#
# <details><summary>Hint 3</summary> For the others un-drop the cell <code>scores.argmax(dim=0)</code> before you fill. </details>

# %%
distances = torch.tensor([[-0.5], [-8.0], [-20.0], [-30.0]])  # one question, four cells
third = torch.tensor([[False], [False], [True], [False]])
bars = {
    "no dropout": distances.softmax(dim=0),
    "cell 3 set to zero\n(a stock dropout layer)": distances.masked_fill(third, 0).softmax(dim=0),
    "cell 3 set to minus infinity": mask_inf_dropout(distances, third),
}
fig, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True)
for axis, (name, weight) in zip(axes, bars.items()):
    axis.bar(["1", "2", "3", "4"], weight[:, 0], color=["#0072B2", "#0072B2", "#D55E00", "#0072B2"])
    axis.set(title=name, xlabel="memory cell", ylim=(0, 1.05))
    axis.title.set_fontsize(9)
axes[0].set_ylabel("weight")
show(
    fig,
    alt="Weights of four cells. A stock dropout layer promotes the dropped cell 3 to the winner",
)

# %% [markdown]
# A stock dropout layer, put before this softmax, makes the dropped cell the *winner*. Regularising attention needs knowing the sign and the zero of your scores.
#
# And done right? It does not help. The thesis trained each variant in full: J&F on DAVIS-2017 falls from 85.3 to 82.3 with dropout and to 81.4 with reallocation
# (Table 5; the first is printed as 81.6, which is not the mean of its own J and F). Looked at object by object, nearly all of the loss comes from **four of 61 objects**, where look-alikes were
# exchanged. A mean can be moved by a handful: plot the distribution. And sharp attention can be right: copying a label wants *one* good match.
# Our own trial is on the claims board below.

# %% [markdown]
# ## 10. Break it
#
# A cell that has had time and was never asked is not worth keeping. That sentence is the strength of the method, and its flaw. **A hidden object asks for nothing.**
# While it is behind the panel its cells collect no hits and their age runs on. Here are the cells of the memory that show the object,
# frame by frame:

# %%
from course_lib.methods.space_time_memory.comparison_clips import ComparisonConfig, hidden_clips
from course_lib.viz.plots import shade_spans

config = ComparisonConfig.preset(course.pick(smoke="smoke", cpu="cpu", gpu="gpu"))
patient = hidden_clips(replace(config, clips_hidden=1), SEED + 3)[0]  # hidden for 30 frames
is_target = (patient.labels == 1).float()  # [T, H, W]
shows = torch.nn.functional.max_pool2d(is_target[:, None], 16).flatten(1) > 0  # [T, cells]
patient_frames = patient.frames.to(device).float() / 255


def cells_of_target(memory: GrowingMemory) -> list[int]:
    """At every read, how many cells in memory show the object."""
    return [int(shows[born.long(), place].sum()) for born, place in memory.history]


class PinnedMemory(AdaptiveMemory):
    """The same, but what the user painted in frame 0 stays."""

    def worth(self, t: int) -> Tensor:
        return torch.where(self.born == 0, torch.inf, super().worth(t))


memories = {
    "every fifth frame": GrowingMemory(),
    "adaptive, 2 frames": AdaptiveMemory(2 * cells),
    "2 frames, first one pinned": PinnedMemory(2 * cells),
}
first_of_target = is_target[0].to(device)
found = {name: follow(patient_frames, first_of_target, memory) for name, memory in memories.items()}
fig, (above, below) = plt.subplots(2, 1, figsize=(7, 4.4), sharex=True)
for (name, memory), style in zip(memories.items(), ("--", "-", "-.")):
    above.plot(range(1, len(patient_frames)), cells_of_target(memory), style, label=name)
    masks = (found[name] > 0.5).to(torch.uint8).cpu()
    below.plot(evaluate_labels(masks, is_target.to(torch.uint8)).J[0], style, label=name)
for axis in (above, below):
    shade_spans(axis, patient.visible[:, 0] == 0)
above.set(ylabel="cells of the object", yscale="symlog", ylim=(0, None))
below.set(xlabel="frame", ylabel="J", ylim=(0, 1.02))
above.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="Cells of the hidden object over time, and J: the adaptive memory loses them",
)

# %% [markdown]
# While the object is hidden, one write after the other throws out cells that nobody asks for, until none of the object is left. When it comes
# back there is nothing to recognise it by. The growing memory has kept everything and finds it within a few frames.
#
# The cheap cure is to **pin** the first frame: its cells never go, the rest compete as before. It costs one of the two frames. The thesis
# describes the failure (section 3.5.5) and leaves frame 0 unprotected; the cure is ours, and the board below says what it is worth.
#
# Now turn the dials. Which is the smallest memory that survives the long occlusion without a pin? What does the strip in the middle look like when
# the object is lost?

# %%
from course_lib.methods.space_time_memory.explore import record_run
from course_lib.viz.widgets import MemoryExplorer

films = [hidden, patient]  # hidden briefly, and for long
runs = []
for film in films[: course.pick(smoke=1, cpu=2, gpu=2)]:
    behind = int((film.visible[:, 0] == 0).sum())  # frames for which the object is hidden
    for policy in ("every_k", "first_and_latest"):
        runs.append(record_run(remembering(policy), film, policy=policy, hidden=behind))
    for policy in ("adaptive", "pinned"):
        for capacity in course.pick(smoke=(2,), cpu=(2, 4), gpu=(2, 3, 4, 6)):
            model = remembering(policy, capacity)
            runs.append(record_run(model, film, policy=policy, capacity=capacity, hidden=behind))
MemoryExplorer(
    runs,
    {"policy": "memory", "capacity": "capacity (frames)", "hidden": "frames hidden"},
    start={"policy": "adaptive"},
    bins=11,
    alt="Accuracy of a hidden object, what the memory holds and how large it is, frame by frame",
)

# %% tags=["hide-input"]
quiz(
    "Why does dividing by age hurt exactly here?",
    {
        "Young cells have too few hits": "New cells have five frames to earn votes before the next write, and they do.",
        "The hidden object's cells grow older and are asked nothing": "Their hits stand still while their age runs on, so "
        "their score sinks below that of any background cell that is asked now and then. Ageing is what makes a cache "
        "forget the past, and a hidden object looks like the past.",
        "Old cells can never be evicted": "That is what happens without ageing: a cell with many early hits would stay for ever.",
    },
    right="The hidden object's cells grow older and are asked nothing",
)

# %% [markdown]
# ## 11. Where the weights come from
#
# Nobody told the network what a key should be. It learns from triples of frames: remember frame 0 with its true mask, segment frame 1, **remember
# that answer**, with its mistakes, and segment frame 2 from both. Two masks are compared with the truth, and whatever the keys and values must be
# for that to work, they become.

# %%
from course_lib.methods.space_time_memory import SMALL, STCN
from course_lib.methods.space_time_memory.train_config import TrainingConfig
from course_lib.methods.space_time_memory.train_data import training_data
from course_lib.methods.space_time_memory.train_task import SpaceTimeTask
from course_lib.training import FitConfig, fit
from course_lib.viz import frame_strip

settings = replace(
    TrainingConfig.preset("smoke"),
    size=course.pick(smoke=64, cpu=96, gpu=384),
    world_size=128,
    world_clips=6,
)
steps = course.pick(smoke=2, cpu=20, gpu=3000)
stage = replace(settings.stages[0], steps=steps, mining=(1.0, 2.0))  # all pixels count
data = training_data(settings, davis=None, seed=SEED)
task = SpaceTimeTask(stage, data.stills, data.clips)
sample = task.sample(1, 0, np.random.default_rng(SEED))
fig = frame_strip(
    sample["frames"],
    sample["labels"],
    ["frame 0: given", "frame 1: predicted,\nthen remembered", "frame 2: predicted"],
    scale=2,
)
fig.set_size_inches(4.2, 1.9)
show(fig, alt="Three frames of a training sample with their objects coloured")

# %% [markdown]
# A few steps, from a network whose key encoder has only seen ImageNet and the rest of which is random, and from the network that ships with the
# course:

# %%
networks = {
    "from ImageNet": STCN(SMALL, imagenet=True),
    "from the course's weights": load_model("stcn-small", device=device).net,
}
fig, axis = plt.subplots(figsize=(6.5, 3))
for (name, network), style in zip(networks.items(), ("-", "--")):
    plan = FitConfig(steps=steps, batch_size=2, lr=3e-4, clip_norm=1.0, log_every=1, seed=SEED)
    fitted = fit(network, task, plan, device=device, progress=False)
    at, loss = fitted.curve("loss")
    window = min(5, len(loss))
    smooth = np.convolve(loss, np.ones(window) / window, mode="valid")
    axis.plot(at[window - 1 :], smooth, style, label=name)
axis.set(xlabel="training step", ylabel="loss (mean of 5 steps)", ylim=(0, None))
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="Training loss of a fresh network falls within some steps, that of the shipped one stays low",
)

# %% [markdown]
# The shipped weights took 11,500 such steps (`course train stcn-small --preset cpu`): first triples made from one still image by random
# warps, which teach matching, then real triples whose gap widens and narrows again, which teach that things change their look.
# The card beside the weights says on what data, at what cost, and how the checkpoint was chosen.

# %% [markdown]
# ## 12. The claims board
#
# Each row: what is claimed, what we measured with many clips and random seeds, and a verdict by a rule that was fixed before the measurement.
# An adaptive memory should beat *random* eviction before anybody praises its rule; the thesis does not have that control, so we added it.

# %%
from IPython.display import HTML

from course_lib.claims import board_html, load_board

HTML(board_html(load_board(lesson="13"), lesson="13"))

# %% [markdown]
# ## 13. On film, and on your own
#
# The rabbit of lesson 00 has no true masks, so we ask for consistency again: follow it forward, then follow the last mask back, and see how
# much of the start comes home.

# %%
from course_lib.data.packaged import PACKAGED
from course_lib.data.video import read_clip
from course_lib.vos.round_trip import round_trip
from course_lib.vos.start_mask import grabcut_labels

bunny = PACKAGED["bigbuckbunny"]
video = read_clip(
    bunny.path,
    bunny.start,
    bunny.start + course.pick(smoke=6, cpu=30, gpu=108),
    max_side=course.pick(smoke=160, cpu=320, gpu=640),
).frames
zoom = video.shape[3] / bunny.size[1]
start = grabcut_labels(video[0], [round(edge * zoom) for edge in bunny.box])
tracker = load_model("stcn-small", device=device)
trips = {
    name: round_trip(model, video, start).mean
    for name, model in {"memory": tracker, "flow": flow}.items()
}
print(
    f"round trip over {len(video)} frames:",
    ", ".join(f"{name} {overlap:.2f}" for name, overlap in trips.items()),
)
run = segment(tracker, video, start)
player(
    {"the rabbit, remembered": (video, torch.stack([run.labels(probs) for probs in run]))},
    fps=8,
    every=course.pick(smoke=3, cpu=15, gpu=18),
    max_width=180,
    scale=2,
    max_kilobytes=9,
    alt="The rabbit, coloured by the mask of the network with a memory",
)

# %% [markdown]
# `course track my_video.mp4 --box x0 y0 x1 y1 --model stcn-small` does the same for a video of yours. With the authors' checkpoint,
# `--model stcn --weights stcn.pth` runs the published network.
#
# **What next.** Lesson 14 ranks what a memory matches, so that look-alikes are told apart. Lesson 04 takes the other road: a recurrent network,
# whose memory has one size for ever and no addresses.
#
# **Further reading.** S. Wug Oh et al., *Video object segmentation using space-time memory networks*, ICCV 2019. H. K. Cheng et al., *Rethinking
# space-time networks*, NeurIPS 2021. Y. Liang et al., *Adaptive feature bank*, NeurIPS 2020. A. Pourganjalikhan, MSc thesis, Concordia, 2021.
