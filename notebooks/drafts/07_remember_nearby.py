# %% [raw] tags=["manifest"]
# lesson: 07
# title: Remember nearby
# promise: Give a network for single frames a small memory of the frames before, let each place look for itself in its neighbourhood, and find out how much of the gain is really the memory's.
# needs: ["06"]
# objectives: [match a place with a window of past frames and say which of the two is shifted, share one softmax over space and time, open and shut a gate place by place, tell what a memory keeps from what reading it costs, separate what a memory adds from longer training and more layers]
# terms: [local attention, attention window, temperature, gated fusion, memory queue, control, ablation]
# source: "M. Paul, PhD thesis, ETH Zurich, 2023, chapter 4 (LMANet: local memory attention); E. Romera et al., T-ITS 2018 (ERFNet); S. Wug Oh et al., ICCV 2019 (space-time memory)"

# %% tags=["parameters"]
PRESET = "cpu"
SEED = 0
DEVICE = "auto"
DATA_ROOT = None

# %%
from time import process_time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from course_lib.lessons import check, lesson, quiz
from course_lib.viz import show, use_course_style

use_course_style()
course = lesson("07", preset=PRESET, seed=SEED, device=DEVICE, data_root=DATA_ROOT)
device = str(course.device)

# %% [markdown]
# ## 1. The problem, seen
#
# Lesson 06 used the past to save time. Here is a case in which a network *needs* the past: a camera that sees badly. Each frame has noise, or patches of glare, and what one frame hides its neighbours may show.
# All networks below label the same frames. The one on the right also remembers the two frames before.

# %%
from dataclasses import replace

from course_lib.data.noisy_drives import NoisyDrivesConfig, render_noisy_drives
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.methods.local_memory.load import load_local_memory
from course_lib.viz import player

names = {
    "single frames": "lmanet-small-frame",
    "its own frame": "lmanet-small-self",
    "memory": "lmanet-small",
}
nets = {name: load_local_memory(file, device=device) for name, file in names.items()}
drives = NoisyDrivesConfig()  # 64 x 128 pixels cut out of a street, panning; noise or glare
film = render_noisy_drives(
    replace(drives, frames=course.pick(smoke=4, cpu=16, gpu=16), windows=1), 1, SEED + 5
)
seen = film.spoilt(0, "glare", np.random.default_rng(SEED))  # [T, 3, H, W] in [0, 1]


@torch.no_grad()
def label_video(net, frames: Tensor, memory_size: int | None = None) -> Tensor:
    """Classes [T, H, W] uint8, frame by frame."""
    video = net.start(memory_size)
    return (
        torch.stack([video.step(frame).max(dim=0).indices for frame in frames.to(device)])
        .to(torch.uint8)
        .cpu()
    )


pictures = (seen * 255).to(torch.uint8)
tracks = {"what it sees": pictures, "the truth": (film.frames[0], film.labels[0])}
tracks |= {name: (pictures, label_video(nets[name], seen)) for name in ("single frames", "memory")}
player(
    tracks,
    fps=6,
    every=course.pick(smoke=2, cpu=2, gpu=2),
    scale=2,
    max_width=200,
    max_kilobytes=60,
    alt="A street behind patches of glare, the truth, and the labels of a network without and with a memory",
)

# %% [markdown]
# The method, **LMANet** (Paul, 2023, chapter 4), takes any network of an encoder and a decoder, and puts a memory between the two. No optical flow, no recurrence. The thesis reports a gain of
# 1.67 points of mIoU for ERFNet at 15 percent more time. We build it, look at what it looks at, and then ask a question that the thesis does not: *whose gain is it?*

# %% [markdown]
# ## 2. One place asks its neighbourhood
#
# In lesson 13 a memory is asked by every place about every place. In a video that is wasteful: what is here now was *near here* a moment ago. So each place looks through a **window** only.
#
# | | made from | says | here |
# |---|---|---|---|
# | **query key** $K_Q$ | the current frame | what am I? | 12 numbers for each cell of 4 × 4 pixels |
# | **memory key** $K_M^t$ | frame $t$, when it was stored | what was here? | 12 numbers |
# | **memory value** $V_M^t$ | the same | what is worth handing on | 24 numbers |
#
# The score of the memory at $(y + dy, x + dx)$ for the query at $(y, x)$ is an inner product:
#
# $$ C_{dy,dx}(y, x) = K_Q(y, x)^\top\, K_M(y + dy,\ x + dx) $$
#
# Mind the order: the *query* stays, the *memory* is looked at around it. (Equation 4.2 of the thesis prints it the other way round, and then reads the memory as here in 4.5. Only one of the two can be meant.)

# %% [markdown]
# **Exercise 1.** Scores of one stored frame. A loop over the window is enough; each turn shifts the whole memory. Places outside of the frame do not exist, and minus infinity is how a softmax is told so.


# %% tags=["exercise", "local_scores"]
def local_scores(query: Tensor, keys: Tensor, window: int) -> Tensor:
    """Inner product of each cell's key with the memory keys in its window.

    query: [D, h, w] of the current frame. keys: [D, h, w] of a stored one. window: its side, odd.
    Returns [window², h, w]; entry (dy + reach) * window + dx + reach is the memory at (y + dy, x + dx),
    where reach = window // 2; -inf where that lies outside.
    """
    ### BEGIN SOLUTION
    reach, (height, width) = window // 2, query.shape[1:]
    wide = torch.nn.functional.pad(keys, (reach,) * 4, value=torch.nan)
    scores = []
    for dy in range(window):  # from -reach to reach, seen from the padded corner
        for dx in range(window):
            scores.append((query * wide[:, dy : dy + height, dx : dx + width]).sum(dim=0))
    return torch.stack(scores).nan_to_num(nan=-torch.inf)
    ### END SOLUTION


# %% tags=["check"]
local_scores = check.local_scores(local_scores)

# %% [markdown]
# <details><summary>Hint 1</summary> Pad the memory by <code>reach</code> on all sides. The cell (y + dy, x + dx) is then a slice that starts at row <code>dy + reach</code> and column <code>dx + reach</code>. </details>
#
# <details><summary>Hint 2</summary> Two loops, rows outside: <code>(query * wide[:, dy : dy + height, dx : dx + width]).sum(dim=0)</code>, with dy and dx from 0 to <code>window - 1</code>. </details>
#
# <details><summary>Hint 3</summary> Pad with NaN and turn NaN into -inf at the end: <code>torch.stack(scores).nan_to_num(nan=-torch.inf)</code>. </details>

# %% [markdown]
# **Exercise 2.** Turn the scores of a frame into weights by a softmax, and ask where they point: the mean offset. Test it on a memory in which everything lies 2 cells to the right. What will it say, (2, 0) or (-2, 0)?


# %% tags=["exercise", "attended_offset"]
def attended_offset(weights: Tensor, window: int) -> Tensor:
    """Where each cell looks, on average: the weighted mean of (dx, dy) over its window.

    weights: [window², h, w], which sum to 1 over axis 0, in the order of `local_scores`.
    Returns [2, h, w] in cells, x first; (0, 0) is the same place.
    """
    ### BEGIN SOLUTION
    steps = torch.arange(window, dtype=torch.float32) - window // 2
    square = weights.unflatten(0, (window, window))  # [dy, dx, h, w]
    x = (square.sum(dim=0) * steps[:, None, None]).sum(dim=0)
    y = (square.sum(dim=1) * steps[:, None, None]).sum(dim=0)
    return torch.stack([x, y])
    ### END SOLUTION


# %% tags=["check"]
attended_offset = check.attended_offset(attended_offset)

# %% [markdown]
# <details><summary>Hint 1</summary> <code>weights.unflatten(0, (window, window))</code> has dy in front, then dx. </details>
#
# <details><summary>Hint 2</summary> Summed over dy, what is left is the weight of each dx. Multiply by -reach … reach and add up. </details>
#
# <details><summary>Hint 3</summary> <code>steps = torch.arange(window) - window // 2</code>; x is <code>(square.sum(dim=0) * steps[:, None, None]).sum(dim=0)</code>, y the same with <code>square.sum(dim=1)</code>. </details>

# %%
generator = course.generator()
key = torch.nn.functional.normalize(torch.randn(12, 16, 32, generator=generator), dim=0) * 6
moved = key.roll((1, 2), (1, 2))  # in the memory everything lies 1 cell lower and 2 to the right
looks = attended_offset(local_scores(key, moved, 7).softmax(dim=0), 7)
wrong_way = attended_offset(local_scores(moved, key, 7).softmax(dim=0), 7)
for name, offset in {
    "the memory is shifted": looks,
    "the query is shifted, as printed in (4.2)": wrong_way,
}.items():
    x, y = offset[:, 4:-4, 4:-4].mean(dim=(1, 2)).tolist()
    print(f"{name:<42} mean offset ({x:+.1f}, {y:+.1f}) cells")

# %% [markdown]
# Look at what this is: for each place of the new frame, where it was in the old one. That is the flow from new to old of lesson 06. Nobody taught it; it falls out of keys that match.
#
# ## 3. Space and time in one softmax
#
# Several frames are stored. Which one should answer? The softmax runs over **all places of all frames together**, so frames compete (equations 4.4 and 4.5):
#
# $$ P^t_{dy,dx} = \frac{\exp C^t_{dy,dx}}{\sum_{t', dy', dx'} \exp C^{t'}_{dy',dx'}}, \qquad R(y, x) = \sum_{t, dy, dx} P^t_{dy,dx}(y, x)\; V^t_M(y + dy, x + dx) $$

# %% [markdown]
# **Exercise 3.** Weigh and read. A frame in which a place cannot be seen must be able to get no say at all. Which sums have to be 1?


# %% tags=["exercise", "read_window"]
def read_window(scores: Tensor, values: Tensor, window: int) -> Tensor:
    """Mean of the memory's values by one softmax over frames and places.

    scores: [S, window², h, w], -inf for places outside. values: [S, V, h, w].
    Returns [V, h, w]. The weight of (dy, dx) belongs to the value at (y + dy, x + dx).
    """
    ### BEGIN SOLUTION
    reach, (height, width) = window // 2, scores.shape[2:]
    weights = scores.flatten(0, 1).softmax(dim=0).view_as(scores)
    wide = torch.nn.functional.pad(values, (reach,) * 4)  # weights there are 0
    readout = torch.zeros_like(values[0])
    for r in range(window**2):
        dy, dx = r // window, r % window
        seen = wide[:, :, dy : dy + height, dx : dx + width]  # [S, V, h, w]
        readout = readout + (weights[:, r, None] * seen).sum(dim=0)
    return readout
    ### END SOLUTION


# %% tags=["check"]
read_window = check.read_window(read_window)

# %% [markdown]
# <details><summary>Hint 1</summary> <code>scores.flatten(0, 1).softmax(dim=0).view_as(scores)</code> is one softmax over frames and places. </details>
#
# <details><summary>Hint 2</summary> Shift the values as you shifted the keys, place by place of the window, and add up weight times value over frames. </details>
#
# <details><summary>Hint 3</summary> For entry r, <code>dy, dx = r // window, r % window</code>, and the values are <code>wide[:, :, dy : dy + height, dx : dx + width]</code>. </details>

# %% [markdown]
# Is it right? Three loops, one number at a time, against your two functions, and against the library's kernel, which never writes a window out:

# %% tags=["nbval-check-output"]
from course_lib.methods.local_memory import LocalMemoryNet, local_read
from course_lib.methods.propagation.erfnet import ERFNet

numbers = torch.Generator().manual_seed(0)
q, k = torch.randn(4, 5, 6, generator=numbers), torch.randn(2, 4, 5, 6, generator=numbers)
v = torch.randn(2, 3, 5, 6, generator=numbers)
slow = torch.zeros(3, 5, 6)
for y in range(5):
    for x in range(6):
        near = [(s, i, j) for s in range(2) for i in range(y - 1, y + 2) for j in range(x - 1, x + 2)]
        near = [(s, i, j) for s, i, j in near if 0 <= i < 5 and 0 <= j < 6]
        weight = torch.stack([q[:, y, x] @ k[s, :, i, j] for s, i, j in near]).softmax(dim=0)
        slow[:, y, x] = sum(a * v[s, :, i, j] for a, (s, i, j) in zip(weight, near))
yours = read_window(torch.stack([local_scores(q, one, 3) for one in k]), v, 3)
library = local_read(q[None], k[None], v[None], 3)[0]
print("yours equals three loops:  ", torch.allclose(yours, slow, atol=1e-5))
print("library equals three loops:", torch.allclose(library, slow, atol=1e-5))
backwards = local_read(q[None], k[None].flip(1), v[None].flip(1), 3)[0]
print("memory in another order:   ", torch.allclose(library, backwards, atol=1e-5))
with torch.device("meta"):
    network = LocalMemoryNet(ERFNet(19))
extra = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("segmenter"))
print(f"weights of the memory on ERFNet: {extra:,}")

# %% tags=["hide-input"]
quiz(
    "Frames t - 1 and t - 2 change places in the memory. What happens to the readout?",
    {
        "The nearer frame counts more, so it changes": "Nothing in the score knows how old a frame is. (A network could learn to prefer recent looks, but not by age.)",
        "Nothing": "Sum and softmax do not care about order: the memory is a set of frames. That is also why a trained network can read a memory of any size.",
        "Only the border changes": "The border is masked alike in every frame.",
    },
    right="Nothing",
)

# %% tags=["hide-input"]
quiz(
    "R = 21 in the thesis is called a radius, used as a side, and 'R = 1' is the same place only. Cells are 8 pixels. How far back can a thing be found that moves 30 pixels a frame?",
    {
        "21 frames": "The window reaches 80 pixels whichever frame it is laid on.",
        "2 frames": "A side of 21 reaches 10 cells, 80 pixels, each way. After two frames the thing is 60 pixels away, after three 90: outside. Older frames need more reach, and get none.",
        "5 frames, because 21 · 8 = 168": "That counts the whole side. From the middle it is half.",
    },
    right="2 frames",
)

# %% [markdown]
# ## 4. What does it look at?
#
# Point at a cell of the current frame: the frames before show where it looks. The cross is where the thing at this cell *really* was, which our world knows.
#
# * Find an edge and an even patch of road. Where is the network sure, where does it spread?
# * Make the window smaller than the motion. Then make it as large as the frame: who answers now?
# * Cool it down (temperature 0.1): one cell answers. Warm it up: the mean of the window.

# %%
from course_lib.data.noisy_drives import pan_path, spoil
from course_lib.data.synthetic import World, scenario
from course_lib.methods.propagation.label_warp import compose
from course_lib.viz.widgets import WindowExplorer

kept = 3  # stored frames
street = World(scenario("driving", image_size=drives.street, length=kept + 1, stereo=False)).clip(SEED + 8)
panning = replace(drives, pan=(6.0, 6.0))  # pixels per frame: after three frames 4.5 cells
path = pan_path(panning, kept + 1, np.random.default_rng(SEED + 3))  # [T, 2] row and column of the window
height, width = drives.size


def cut(maps: Tensor, t: int) -> Tensor:
    """The part of [..., H, W] that the window shows in frame t."""
    row, column = (int(corner) for corner in path[t])
    return maps[..., row : row + height, column : column + width]


clean = torch.stack([cut(street.frames[t], t) for t in range(kept + 1)]).float() / 255
noisy = spoil(clean, "glare", drives, np.random.default_rng(SEED))
origins, way = [], None  # from the last frame to each one before, newest first
for t in range(kept - 1, -1, -1):
    step = street.backward_flow[t][None]
    way = step if way is None else compose(way, step)
    pan = torch.tensor([path[kept][1] - path[t][1], path[kept][0] - path[t][0]]).view(2, 1, 1)
    origins.append(cut(way[0], kept) + pan)  # [2, H, W] in pixels
origins = torch.stack(origins[::-1])
net = nets["memory"]
cells = net.segmenter.features_stride
with torch.no_grad():
    features = net.segmenter.encode(noisy.to(device))
    memory_keys, memory_values = net.memory_heads(features[:-1])
    query_key, query_value = net.query_heads(features[-1:])
scale = float(net.scale)
WindowExplorer(
    noisy,
    (scale * query_key[0]).cpu(),
    memory_keys.cpu(),
    stride=cells,
    window=net.config.window,
    origins=torch.nn.functional.avg_pool2d(origins, cells),
    max_kilobytes=75,
    alt="A street behind glare, and in the three frames before it the cells that one of its cells looks at",
)

# %% [markdown]
# Is attention a flow, then? Let the camera pan over other streets, at any speed up to 12 pixels a frame, and compare where the network looks, on average over a frame, with where the picture was:

# %%
window = net.config.window
pans = render_noisy_drives(
    replace(drives, frames=2, pan=(0.0, 12.0)), course.pick(smoke=2, cpu=12, gpu=60), SEED + 30
)
true_way = (pans.corners[:, 1] - pans.corners[:, 0]).flip(1) / cells  # [clips, 2] in cells, x first
found_way = []
with torch.no_grad():
    for i in range(len(pans)):
        features = net.segmenter.encode(pans.spoilt(i, "glare", np.random.default_rng(i)).to(device))
        one_query, one_memory = net.query_heads(features[1:])[0][0], net.memory_heads(features[:1])[0][0]
        weights = local_scores((scale * one_query).cpu(), one_memory.cpu(), window).softmax(dim=0)
        found_way.append(
            attended_offset(weights, window)[:, 3:-3, 3:-3].mean(dim=(1, 2))
        )  # away from the border
found_way = torch.stack(found_way)
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2))
for axis, name, true, found in zip(axes, ("columns (x)", "rows (y)"), true_way.T, found_way.T):
    axis.plot([-3, 3], [-3, 3], color="#888888", linewidth=1)
    axis.plot(true, found, "o", markersize=5, alpha=0.7)
    axis.set(
        title=name,
        xlabel="where the picture was (cells)",
        ylabel="where it looks (cells)",
        xlim=(-3.3, 3.3),
        ylim=(-3.3, 3.3),
    )
show(
    fig,
    alt="Where attention looks on average against where the picture was, one point for each clip; the line is a perfect flow",
)
print(
    f"correlation in x {np.corrcoef(true_way[:, 0], found_way[:, 0])[0, 1]:.2f}, in y {np.corrcoef(true_way[:, 1], found_way[:, 1])[0, 1]:.2f}"
)

# %% [markdown]
# On the line it would be a flow. Nobody has told these keys where things move; they were trained to help *labels*, and what helps to name a thing also helps to find it again. But only on average: for a single cell on an even road
# any road will do, as the explorer shows. To a label all road is alike.

# %% [markdown]
# ## 5. Whom to believe
#
# The readout $R$ is a second opinion. At a disocclusion it is wrong, under glare it is all there is. So let the network decide place by place, channel by channel (equation 4.6):
#
# $$ F = \sigma\big(A_Q(V_Q, R)\big) \odot E_Q(V_Q) + \sigma\big(A_M(V_Q, R)\big) \odot E_M(R) $$
#
# $E$ look at one side, the gates $A$ look at both. $F$ has the width of the encoder's features, so the decoder that was there before fits unchanged.

# %% [markdown]
# **Exercise 4.** Fuse the two. Do the gates have to share?


# %% tags=["exercise", "gated_fusion"]
def gated_fusion(
    query: Tensor, readout: Tensor, gate_query, gate_memory, embed_query, embed_memory
) -> Tensor:
    """Present and past, each let through by a gate of its own.

    query, readout: [B, V, h, w]. gate_query, gate_memory: map [B, 2V, h, w], query first, to scores of
    the gates. embed_query, embed_memory: map one side. Returns the sum, as wide as the embeddings.
    """
    ### BEGIN SOLUTION
    both = torch.cat([query, readout], dim=1)
    present = gate_query(both).sigmoid() * embed_query(query)
    past = gate_memory(both).sigmoid() * embed_memory(readout)
    return present + past
    ### END SOLUTION


# %% tags=["check"]
gated_fusion = check.gated_fusion(gated_fusion)

# %% [markdown]
# <details><summary>Hint 1</summary> <code>torch.cat([query, readout], dim=1)</code> goes into both gates. </details>
#
# <details><summary>Hint 2</summary> A sigmoid on each gate; they need not add up to 1. </details>
#
# <details><summary>Hint 3</summary> <code>gate_query(both).sigmoid() * embed_query(query)</code>, plus the same for the memory. </details>

# %% [markdown]
# Cover a part of the current frame with glare and watch the two gates (mean over channels):

# %%
covered = noisy.clone()
covered[-1, :, 18:46, 40:76] = 0.95
opened = {}
with torch.no_grad():
    for name, frames in {"as it is": noisy, "with glare": covered}.items():
        key, value = net.query_heads(net.segmenter.encode(frames[-1:].to(device)))
        readout = local_read(scale * key, memory_keys[None], memory_values[None], window)  # of the same past
        opened[name] = [gate.mean(dim=1)[0].cpu() for gate in net.fusion.gates(value, readout)]
fig, axes = plt.subplots(2, 3, figsize=(9, 3.6))
for row, (name, (present, past)), frame in zip(axes, opened.items(), (noisy[-1], covered[-1])):
    for axis, picture, title in zip(
        row, (frame.permute(1, 2, 0), present, past), (name, "gate of the present", "gate of the past")
    ):
        axis.imshow(picture, cmap="magma", vmin=0, vmax=1)
        axis.set(title=title, xticks=[], yticks=[])
        axis.grid(visible=False)
show(fig, alt="The current frame without and with glare, and how far the gates of present and past are open")
for name, (present, past) in opened.items():
    patch = (slice(5, 11), slice(11, 18))
    print(
        f"{name:<10} under the patch: present {present[patch].mean():.2f}, past {past[patch].mean():.2f}; elsewhere past {past.mean():.2f}"
    )

# %% tags=["hide-input"]
quiz(
    "A gate of the memory is shut everywhere (its scores are minus infinity). Does the output still depend on the past?",
    {
        "No": "Look at A_Q: which inputs does it have?",
        "Yes, through the other gate": "A_Q looks at both sides, so the readout still decides how far the present is let through. Only with both gates blind to the memory is it gone.",
        "Yes, through the decoder": "The decoder sees nothing but F.",
    },
    right="Yes, through the other gate",
)

# %% [markdown]
# ## 6. What it costs
#
# Two different questions: what is *kept*, and what *reading* takes.

# %% [markdown]
# **Exercise 5.** What is kept? A key and a value for every cell of every stored frame, four bytes a number.


# %% tags=["exercise", "memory_bytes"]
def memory_bytes(
    height: int, width: int, stride: int, frames: int, key_channels: int, value_channels: int
) -> int:
    """Bytes that a memory of float32 numbers holds.

    height, width: of a frame in pixels; sides that the stride does not divide are padded to whole cells.
    frames: how many are stored.
    """
    ### BEGIN SOLUTION
    rows, columns = -(-height // stride), -(-width // stride)  # rounded up
    return 4 * frames * rows * columns * (key_channels + value_channels)
    ### END SOLUTION


# %% tags=["check"]
memory_bytes = check.memory_bytes(memory_bytes)

# %% [markdown]
# <details><summary>Hint 1</summary> How many cells has a frame? Both sides are divided by the stride, rounded up. </details>
#
# <details><summary>Hint 2</summary> Each cell keeps <code>key_channels + value_channels</code> numbers. </details>
#
# <details><summary>Hint 3</summary> <code>4 * frames * rows * columns * (key_channels + value_channels)</code> </details>

# %%
kept_bytes = memory_bytes(512, 1024, 8, 4, 16, 64)
rows, columns = 512 // 8, 1024 // 8
print(f"kept, four frames at the published size:            {kept_bytes / 1e6:8.1f} MB")
print(f"reading, every window of 21 x 21 written out:       {21**2 * kept_bytes / 1e6:8.1f} MB")
print(f"reading, scores of all places with all places:      {4 * 4 * (rows * columns) ** 2 / 1e6:8.1f} MB")
print(f"reading, scores of all places with a window each:   {4 * 4 * rows * columns * 21**2 / 1e6:8.1f} MB")

# %% [markdown]
# What is kept is small. The obvious way to read (`unfold` every window, then multiply) needs 441 times as much for a moment. The library's kernel cuts the frame into small tiles, multiplies each with the rectangle that its cells can see,
# and masks the rest: it never holds more than a few megabytes. Fewer products, and less time? Measure, as frames grow:

# %%
from course_lib.methods.local_memory import global_read
from course_lib.methods.local_memory.local_read import unfold_read

sizes = course.pick(
    smoke=[(8, 16)], cpu=[(8, 16), (16, 32), (24, 48), (32, 64)], gpu=[(16, 32), (32, 64), (64, 128)]
)
readers = {
    "window of 11": lambda q, k, v: local_read(q, k, v, 11),
    "window of 11, written out": lambda q, k, v: unfold_read(q, k, v, 11),
    "all places": global_read,
}
times = {name: [] for name in readers}
for h, w in sizes:
    q = torch.randn(1, 16, h, w, generator=generator)
    k, v = torch.randn(1, 3, 16, h, w, generator=generator), torch.randn(1, 3, 64, h, w, generator=generator)
    for name, read in readers.items():
        read(q, k, v)
        began = process_time()
        read(q, k, v)
        times[name].append(1000 * (process_time() - began))
fig, axis = plt.subplots(figsize=(7, 3))
for (name, ms), style in zip(times.items(), ("o-", "s--", "^:")):
    axis.plot([h * w for h, w in sizes], ms, style, label=name)
axis.set(xscale="log", yscale="log", xlabel="cells of a frame", ylabel="milliseconds of a read")
axis.set_xticks([h * w for h, w in sizes], [f"{h} × {w}" for h, w in sizes])
axis.minorticks_off()
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="Time of a read against the size of a frame: a window grows with the cells, all places grow with their square",
)

# %% tags=["hide-input"]
quiz(
    "Table 4.4: a window of 41 needs a fifth of the products of looking everywhere, and is SLOWER (114 s against 96.8 s). How can that be?",
    {
        "A misprint": "It can be measured again: it depends on the kernel.",
        "One large matrix product is what hardware does best": "Fewer multiplications are not less time. A window touches memory in small pieces; all-to-all is one product of two matrices. Whoever counts operations only will be surprised.",
        "The softmax is larger": "It is smaller, by the same factor of five.",
    },
    right="One large matrix product is what hardware does best",
)

# %% [markdown]
# ## 7. Experiment: whose gain is it?
#
# Training has three stages: the network alone, on single frames; then only the new layers (which would otherwise wreck a decoder that works); then these and the decoder. The encoder stays as it was. Train it yourself first, briefly:

# %%
from tempfile import TemporaryDirectory

from course_lib.methods.local_memory.experiment import train_row
from course_lib.methods.local_memory.train_config import LocalMemoryTraining, Stage

short = LocalMemoryTraining.preset(course.pick(smoke="smoke", cpu="cpu", gpu="cpu"))
steps = course.pick(smoke=(2, 2, 2), cpu=(150, 60, 80), gpu=(2000, 500, 1000))
short = replace(
    short,
    frame=replace(short.frame, steps=steps[0]),
    memory=replace(short.memory, steps=steps[1]),
    decoder=replace(short.decoder, steps=steps[2]),
    train_drives=course.pick(smoke=2, cpu=30, gpu=500),
    test_drives=course.pick(smoke=1, cpu=10, gpu=100),
    test_frames=course.pick(smoke=3, cpu=5, gpu=13),
)
with TemporaryDirectory() as folder:
    for row in ("frame", "decoder", "memory"):
        mine = train_row(row, short, folder, seed=SEED, device=device, progress=False)
        for name, value in mine.card.metrics.items():
            if name.startswith("mIoU"):
                print(f"{row:<7} {value:5.1f}  {name}")

# %% [markdown]
# So short a training says little. New layers have to be learnt first, and row "decoder", which was trained as long *without* a memory, may well be ahead. Keep that row in mind.
#
# The shipped table was trained long enough: every row three times with different random seeds, all equally long, the budget fixed before the first run. First the comparison that the thesis makes (table 4.1; other data, so compare differences, not levels):

# %%
from course_lib.methods.local_memory.measured import load_summary

summary = load_summary()
rows = {
    "frame": "single frames",
    "size-1": "memory of 1 frame",
    "memory": "memory of 2",
    "size-4": "memory of 4",
}
printed = {"frame": 72.05, "size-1": 73.34, "memory": 73.41, "size-4": 73.72}  # S = 0, 1, 2, 4 of table 4.1
print(summary.table(rows, published=printed))

# %% [markdown]
# A clear gain. But *three* things have changed between the first row and the others: the decoder was trained further; there are more layers; and the past is seen. Two controls take them apart:
#
# * **trained longer**: no memory, the decoder trained for as many steps;
# * **own frame**: all the layers of the memory, but the *current* frame is stored in the place of the past. It cannot see another frame.

# %% [markdown]
# **Exercise 6.** How much is the memory's own? Choose the two runs, and compare them *seed by seed*: runs of one seed share their first weights, and so their luck.


# %% tags=["exercise", "memory_effect"]
def memory_effect(runs: dict[str, list[float]]) -> tuple[float, float]:
    """What seeing past frames adds, in points: mean over seeds, and standard deviation of the differences.

    runs: "single frames", "trained longer", "own frame", "past"; each a list of mIoU, one per seed,
    in the same order of seeds.
    """
    ### BEGIN SOLUTION
    gains = [past - own for past, own in zip(runs["past"], runs["own frame"])]
    return float(np.mean(gains)), float(np.std(gains, ddof=1))
    ### END SOLUTION


# %% tags=["check"]
memory_effect = check.memory_effect(memory_effect)

# %% [markdown]
# <details><summary>Hint 1</summary> Two runs that differ in one thing only: whether another frame is seen. </details>
#
# <details><summary>Hint 2</summary> Subtract pair by pair with <code>zip</code>, and only then take mean and spread. </details>
#
# <details><summary>Hint 3</summary> <code>gains = [past - own for past, own in zip(runs["past"], runs["own frame"])]</code>, then <code>np.mean(gains)</code> and <code>np.std(gains, ddof=1)</code>. </details>

# %%
runs_of = {"single frames": "frame", "trained longer": "decoder", "own frame": "self", "past": "memory"}
fig, axis = plt.subplots(figsize=(7.5, 2.6))
parts = {
    "longer training": ("decoder", "frame"),
    "more layers": ("self", "decoder"),
    "the past": ("memory", "self"),
}
for kind, height_ in zip(("noise", "glare"), (1, 0)):
    runs = {name: summary.of(row, kind=kind).tolist() for name, row in runs_of.items()}
    mean, spread = memory_effect(runs)
    print(
        f"{kind:<6} whole gain {np.subtract(runs['past'], runs['single frames']).mean():+.1f} points, of which the past gives {mean:+.1f} ± {spread:.1f}"
    )
    left = 0.0
    for (name, (one, other)), colour, hatch in zip(
        parts.items(), ("#BDBDBD", "#56B4E9", "#0072B2"), ("", "///", "")
    ):
        share = summary.difference(one, other, kind=kind).mean
        axis.barh(
            height_,
            share,
            left=left,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=name if kind == "noise" else None,
        )
        left += share
axis.set_yticks([1, 0], ["noise", "glare"])
axis.set(xlabel="points of mIoU over single frames")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="The gain over single frames, split into longer training, more layers and the past, for noise and for glare",
)

# %% tags=["hide-input"]
quiz(
    "The thesis compares with the published network, which was not trained further, and prints one run per row. Which of its statements does that leave open?",
    {
        "That the video network is better than the published one": "It is: 73.72 against 72.05. The number itself is not in doubt.",
        "That the memory is why": "Layers and training changed as well, and nothing in table 4.1 tells them apart. That does not refute it; it leaves it open.",
        "That four frames are better than two": "Also open: 73.72 against 73.41 from one run each, and five frames give 73.46.",
    },
    right=("That the memory is why", "That four frames are better than two"),
)

# %% [markdown]
# Now the window, and the size of the memory at reading time. The reader sees a set of cells, so a network that was trained with two frames can be given twelve.

# %%
rows = {
    "window-1": "same place",
    "window-3": "window of 3",
    "memory": "window of 7",
    "window-11": "window of 11",
    "window-all": "all places",
    "concat": "window of 7, no gates",
}
print(summary.table(rows))
fig, axis = plt.subplots(figsize=(7, 3))
for (row, name), style in zip(
    {"memory": "trained with 2 frames", "size-4": "trained with 4"}.items(), ("o-", "s--")
):
    by_size = summary.by_memory_size(row)
    mean = np.array([values.mean() for values in by_size.values()])
    spread = np.array([values.std(ddof=1) for values in by_size.values()])
    axis.errorbar(list(by_size), mean, spread, fmt=style, capsize=3, label=name)
axis.set(xlabel="frames in the memory when it is read", ylabel="mIoU (%)")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(fig, alt="mIoU against the number of frames that a trained network reads")

# %% [markdown]
# And by class: who gains from the past?

# %%
gain = np.array([summary.difference("memory", "self", column=name).mean for name in STREET_CLASSES])
base = np.array([summary.of("frame", column=name).mean() for name in STREET_CLASSES])
order = [i for i in np.argsort(-gain) if np.isfinite(gain[i])]
fig, axis = plt.subplots(figsize=(7.5, 3.2))
axis.barh([f"{STREET_CLASSES[i]} ({base[i]:.0f})" for i in order], gain[order], color="#0072B2")
axis.invert_yaxis()
axis.set(xlabel="points that the past adds; in brackets: IoU of single frames")
show(fig, alt="Points of IoU that the past adds for each class, with the class's IoU for single frames")

# %% [markdown]
# ## 8. Break it
#
# A window is a promise: *nothing moves farther than this between frames*. Break it. The camera pans faster and faster; the window reaches 3 cells, 12 pixels, to each side.

# %%
speeds = course.pick(
    smoke=[4.0], cpu=[0.0, 4.0, 8.0, 12.0, 18.0, 26.0], gpu=[0.0, 4.0, 8.0, 12.0, 18.0, 26.0]
)
clips = course.pick(smoke=1, cpu=12, gpu=60)
curves = {name: [] for name in nets}
for speed in speeds:
    fast = render_noisy_drives(replace(drives, frames=3, pan=(speed, speed)), clips, SEED + 20)
    right = {name: [] for name in nets}
    for i in range(len(fast)):
        frames = fast.spoilt(i, "noise", np.random.default_rng(i))
        for name, one in nets.items():
            found = label_video(one, frames)[-1]
            right[name].append((found == fast.labels[i, -1]).float().mean().item())
    for name in nets:
        curves[name].append(100 * np.mean(right[name]))
fig, axis = plt.subplots(figsize=(7, 3))
for (name, curve), style in zip(curves.items(), ("^:", "s--", "o-")):
    axis.plot(speeds, curve, style, label=name)
axis.axvline(window // 2 * cells, color="#888888", linewidth=1)
axis.set(xlabel="pixels per frame", ylabel="right pixels (%)")
axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
show(
    fig,
    alt="Right pixels against the speed of the camera for single frames, the control and the memory; a line marks the reach of the window",
)

# %% [markdown]
# Right of the line nothing is found where it is looked for. What is read then belongs to something else, and the gates let it in: in training the camera never panned by more than 6 pixels, so they have never learnt to doubt. The control,
# which only ever sees its own frame, does not even notice.

# %% [markdown]
# ## 9. The claims board

# %%
from IPython.display import HTML

from course_lib.claims import board_html, load_board

HTML(board_html(load_board(lesson="07"), lesson="07"))

# %% [markdown]
# ## 10. What next
#
# * Two lessons, one redundancy: frames of a video resemble each other. Lesson 06 turned that into speed, and its mistakes travel; here it becomes accuracy, and a mistake in one frame cannot hurt the next, because what is stored are views, not answers.
# * Lesson 13 stores *answers* beside the views, and then the memory can follow one object among many.
# * A memory of a set of frames has no sense of order. What would you add so that it can prefer the recent past? How would you test that it helped, and that it was that which helped?
# * Further reading: M. Paul, M. Danelljan, L. Van Gool, R. Timofte, *Local Memory Attention for Fast Video Semantic Segmentation*, IROS 2021. S. Wug Oh et al., *Video Object Segmentation using Space-Time Memory Networks*, ICCV 2019. E. Romera et al., *ERFNet*, IEEE T-ITS 2018. M. Paul, PhD thesis, 2023, chapter 4.
