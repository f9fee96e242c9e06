"""Claims of lesson 07 about what a memory costs: time and bytes, of a window and of looking everywhere.

M. Paul (2023), section 4.4.3. Measured with random weights, which do not matter; windows cover the share of the frame
that they cover in the thesis. `lesson07.py` lists all claims.
"""

from course_lib.claims.claim import Claim, Published, Source
from course_lib.claims.families import local_memory_cost

_COST = "4.4.3"
_READ = "three frames of 32x64 cells, 16 channels matched and 64 transported, one thread, in turns"
_TABLE = (("time added, R = 21", 14, "%"), ("global", 55, "%"))

COST = (
    local_memory_cost(
        "07-local-bytes",
        "Reading a window takes much less memory than reading everywhere.",
        f"most bytes held while reading a window of 11 cells over those of reading all places; {_READ}",
        ("window", "none"),
        "comparison_cost:window_share_of_global_bytes",
        0.1,
        _COST,
        table="4.4",
        unit="of global",
        threshold=0.15,
        less=True,
        published=(("memory added, R = 21", 13, "%"), ("global", 166, "%")),
        note="By table 4.4 the share is 0.076; twice that counts as much less. A trial gave 0.11; all seeds agree.",
    ),
    local_memory_cost(
        "07-written-out-bytes",
        "It is the way of reading, not the window: a window that is written out first takes more than everything.",
        f"MiB held while reading a window of 11 cells that is unfolded minus while reading all places; {_READ}",
        ("unfolded window", "global"),
        "comparison_cost:written_out_and_global_mib",
        0.1,
        _COST,
        kind="control",
        unit="MiB",
        note="Every cell stands in 121 windows, so its key and value are copied 121 times.",
    ),
    local_memory_cost(
        "07-local-time",
        "Reading a window is faster than reading everywhere.",
        f"milliseconds of reading a window of 11 cells minus those of reading all places; {_READ}",
        ("window", "global"),
        "comparison_cost:window_and_global_ms",
        0.1,
        _COST,
        table="4.4",
        unit="ms",
        less=True,
        published=_TABLE,
    ),
    local_memory_cost(
        "07-wide-time",
        "Fewer products need not mean less time: a wide window takes longer than reading everywhere.",
        "milliseconds of reading a window of 21 cells, a fifth of the frame, minus those of reading all places; "
        f"{_READ}",
        ("wide window", "global"),
        "comparison_cost:wide_window_and_global_ms",
        0.1,
        _COST,
        table="4.4",
        unit="ms",
        published=(("time added, R = 41", 83, "%"), ("global", 55, "%")),
        note="It depends on the kernel, not on the method: here windows are read in tiles by dense products. In a "
        "trial the wide window took 65 ms, everything 77.",
    ),
    local_memory_cost(
        "07-written-out-time",
        "Fewer products need not mean less time: a window that is written out takes longer than reading everywhere.",
        f"milliseconds of reading a window of 11 cells that is unfolded minus those of reading all places; {_READ}",
        ("unfolded window", "global"),
        "comparison_cost:written_out_and_global_ms",
        0.2,
        _COST,
        kind="control",
        unit="ms",
        note="A window of 11 cells makes a seventeenth of the products.",
    ),
    local_memory_cost(
        "07-added-time",
        "A local memory adds little time.",
        "processor time of a frame of ERFNet with a full memory of four frames over that without, minus 1; 256x512, "
        "windows of 21 cells, one thread, in turns",
        ("added", "none"),
        "comparison_cost:added_time",
        0.3,
        _COST,
        table="4.5",
        unit="of a frame",
        threshold=0.3,
        less=True,
        published=(("ms added", 1.5, "ms"), ("ERFNet", 10.1, "ms")),
        note="Twice the printed 15 % counts as little. Keys, values and gates add 36 % to the products of ERFNet, "
        "which a graphics card hides. In a trial 72 % were added.",
    ),
    Claim(
        id="07-gpu-memory",
        lesson="07",
        method="LMANet",
        source=Source("M. Paul", 2023, _COST, "4.4"),
        statement="The whole network with a local memory needs 13 % more memory of the graphics card than without.",
        effect="bytes of the GPU with a memory of three frames over those without, minus 1, ERFNet, 512x1024",
        unit="of the network",
        conditions=("added", "none"),
        threshold=0.26,
        direction="less",
        published=(Published("memory added, R = 21", 13, "%"), Published("global", 166, "%")),
        untestable="Needs a GPU, whose allocator is asked. `benchmarks/local_attention.py` counts the bytes of "
        "reading.",
    ),
)
