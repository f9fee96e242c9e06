"""The table: a folder that several processes fill, numbers that can be held against each other, and its summary."""

import json
import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from course_lib.data.noisy_drives import TROUBLES
from course_lib.data.synthetic import STREET_CLASSES
from course_lib.errors import InputError, MissingDataError
from course_lib.methods.local_memory import ablation
from course_lib.methods.local_memory.ablation import collect, run_ablation
from course_lib.methods.local_memory.experiment import SCORES, SETTINGS
from course_lib.methods.local_memory.measured import COLUMNS, load_summary, write_summary
from course_lib.methods.local_memory.scoring import class_iou, clip_iou, mean_iou, save_counts
from course_lib.methods.local_memory.train_config import LocalMemoryTraining
from course_lib.metrics.bootstrap import paired_bootstrap
from course_lib.training.run_directory import keep_settings
from course_lib.training.turns import take_turn

SMOKE = LocalMemoryTraining.preset("smoke")
CLASSES = len(STREET_CLASSES)
SIZES = {"frame": (0,), "self": (0,), "memory": (1, 2, 4), "size-4": (2, 4)}


def made_up(folder, rows=SIZES, seeds=(0, 1, 2), clips=6):
    """A folder as `run_ablation` leaves it, with random counts; `cyclist` is nowhere."""
    keep_settings(folder / SETTINGS, SMOKE)
    rng = np.random.default_rng(0)
    for row, sizes in rows.items():
        for seed in seeds[row] if isinstance(seeds, dict) else seeds:
            counts = {}
            for trouble in TROUBLES:
                shared = rng.integers(1, 50, (len(sizes), clips, CLASSES))
                wrong = rng.integers(0, 30, (len(sizes), clips, CLASSES, 2))
                pixels = np.stack([shared, shared + wrong[..., 0], shared + wrong[..., 1]], axis=-1)
                pixels[:, :, -1] = 0
                counts[trouble] = dict(zip(sizes, pixels))
            (folder / row / str(seed)).mkdir(parents=True)
            save_counts(counts, folder / row / str(seed) / SCORES)
    return folder


def test_results_are_those_of_the_counts(tmp_path):
    results = collect(made_up(tmp_path))
    assert results.rows == ("frame", "self", "memory", "size-4") and results.seeds("memory") == (0, 1, 2)
    assert results.own_sizes == {"frame": 0, "self": 0, "memory": 2, "size-4": 4}
    for row in results.rows:
        size = results.own_sizes[row]
        for place, seed in enumerate(results.seeds(row)):
            parts = [results.counts[row][seed][trouble][size] for trouble in TROUBLES]
            both = np.concatenate(parts)
            assert results.mean_iou(row)[place] == mean_iou(both)
            assert results.mean_iou(row, "glare")[place] == mean_iou(parts[1])
            np.testing.assert_array_equal(results.class_iou(row)[place], class_iou(both))
            np.testing.assert_array_equal(results.clip_iou(row)[place], clip_iou(both))
    assert not np.array_equal(results.mean_iou("memory", size=4), results.mean_iou("memory"))
    effect = paired_bootstrap(results.clip_iou("memory") - results.clip_iou("self"))
    assert effect.low < effect.high  # rows pair, clip by clip
    assert "size-4" in str(results) and "±" in str(results)
    for call, message in (
        (lambda: results.mean_iou("best"), "no results of row 'best'; there are frame"),
        (lambda: results.mean_iou("memory", "fog"), "no trouble 'fog'; there are all, noise, glare"),
        (lambda: results.mean_iou("memory", size=3), r"not tested with a memory of 3, only with \(1, 2, 4\)"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_what_cannot_be_collected(tmp_path):
    with pytest.raises(MissingDataError, match="holds no finished run"):
        collect(tmp_path)
    made_up(tmp_path, {"frame": (0,)})
    made_up(tmp_path, {"self": (0,)}, clips=5)
    with pytest.raises(InputError, match="tested on different clips"):
        collect(tmp_path)


def fill(folder, barrier=None):
    if barrier is not None:
        barrier.wait()
    run_ablation(SMOKE, folder, ("decoder",), (0, 1), device="cpu", progress=False)


def test_two_processes_share_a_table_and_a_finished_one_is_read(tmp_path):
    """Each run is trained once, by either; what one process alone gives is the same."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    together = [context.Process(target=fill, args=(tmp_path / "two", barrier)) for _ in range(2)]
    for process in together:
        process.start()
    for process in together:
        process.join()
    assert [process.exitcode for process in together] == [0, 0]
    fill(tmp_path / "one")
    runs = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").glob("*/*/*.safetensors"))
    assert [str(run.parent) for run in runs if run.parts[0] != "drives"] == [
        "decoder/0", "decoder/1", "frame/0", "frame/1",
    ]  # fmt: skip
    for run in runs:
        assert (tmp_path / "one" / run).read_bytes() == (tmp_path / "two" / run).read_bytes()
    sessions = list((tmp_path / "two").glob("*/*/*/environment.json"))
    assert len(sessions) == 4  # one each: nobody trained what another had
    assert all(len(json.loads(path.read_text())) == 1 for path in sessions)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob(SCORES)}
    results = run_ablation(SMOKE, tmp_path / "one", ("decoder",), (0, 1), device="cpu", progress=False)
    assert results.rows == ("frame", "decoder") and len(before) == 4
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob(SCORES)}
    with pytest.raises(InputError, match="other settings"):
        run_ablation(replace(SMOKE, batch_size=4), tmp_path / "one", ("self",), (0,), progress=False)


def test_work_goes_around_what_others_are_at_and_begins_with_segmenters(tmp_path, monkeypatch):
    order = []

    def train(name, config, folder, seed, **rest):
        order.append((name, seed))
        (folder / name / str(seed)).mkdir(parents=True, exist_ok=True)
        (folder / name / str(seed) / SCORES).write_text("")

    monkeypatch.setattr(ablation, "train_row", train)
    monkeypatch.setattr(ablation, "TableData", lambda *_: None)
    monkeypatch.setattr(ablation, "collect", lambda folder: None)
    with take_turn(tmp_path / "frame" / "1", wait=False):
        run_ablation(SMOKE, tmp_path, ("pyramid-memory", "self"), (0, 1), progress=False)
    assert order == [
        ("pyramid-frame", 0), ("pyramid-frame", 1), ("frame", 0),
        ("pyramid-memory", 0), ("self", 0), ("pyramid-memory", 1), ("self", 1), ("frame", 1),
    ]  # fmt: skip
    with pytest.raises(InputError, match="unknown row 'best'"):
        run_ablation(SMOKE, tmp_path, ("best",))


def test_the_summary_holds_what_the_table_holds(tmp_path):
    results = collect(made_up(tmp_path / "table"))
    path = write_summary(tmp_path / "table", tmp_path / "summary.json")
    summary = load_summary(path)
    assert summary.rows == results.rows and summary.seeds == (0, 1, 2) and summary.columns == COLUMNS
    assert summary.clips == {"all": 12, "noise": 6, "glare": 6}
    for row in summary.rows:
        for kind in ("all", *TROUBLES):
            np.testing.assert_allclose(summary.of(row, kind=kind), 100 * results.mean_iou(row, kind), atol=0.006)
            found = np.stack([summary.of(row, name, kind) for name in STREET_CLASSES], axis=1)
            np.testing.assert_allclose(found, 100 * results.class_iou(row, kind), atol=0.006)
    assert np.isnan(summary.of("memory", "cyclist")).all()
    difference = summary.difference("memory", "self", "pole", "noise")
    np.testing.assert_allclose(
        difference.values, summary.of("memory", "pole", "noise") - summary.of("self", "pole", "noise")
    )
    reads = summary.by_memory_size("memory", "glare")
    assert list(reads) == [1, 2, 4]
    np.testing.assert_allclose(reads[4], 100 * results.mean_iou("memory", "glare", 4), atol=0.006)
    np.testing.assert_array_equal(reads[2], summary.of("memory", kind="glare"))
    assert path.stat().st_size < 20_000


def test_the_summary_prints_tables(tmp_path):
    made_up(tmp_path / "table")
    summary = load_summary(write_summary(tmp_path / "table", tmp_path / "s.json"))
    text = summary.table({"frame": "ERFNet", "memory": "with memory"}, published={"frame": 72.05})
    head, columns, first, second = text.splitlines()
    assert head == "percent, last frame of 12 test clips, mean ± standard deviation over 3 random seeds"
    assert columns.split() == ["all", "noise", "glare", "published"]
    values = summary.of("frame")
    assert f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" in first and first.endswith("72.05")
    assert second.startswith("with memory") and second.count("±") == 3
    assert "-" in summary.table(["memory"], ("cyclist",), ("all",)).splitlines()[-1]
    with pytest.raises(InputError, match="does not show: size-4"):
        summary.table(["frame"], published={"size-4": 73.72})
    for call, message in (
        (lambda: summary.of("best"), "no row 'best' in the summary; there are frame, self"),
        (lambda: summary.of("frame", "tree"), "no column 'tree'"),
        (lambda: summary.of("frame", kind="fog"), "no kind of clip 'fog'"),
        (lambda: summary.by_memory_size("frame"), "rows tested with several memory sizes are memory, size-4"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_summaries_that_cannot_be_written_or_read(tmp_path):
    made_up(tmp_path / "uneven", seeds={"frame": (0, 1), "self": (0,), "memory": (0, 1), "size-4": (0, 1)})
    with pytest.raises(InputError, match="different random seeds"):
        write_summary(tmp_path / "uneven", tmp_path / "s.json")
    with pytest.raises(MissingDataError, match="the summary of the table is not here"):
        load_summary(tmp_path / "none.json")
    made_up(tmp_path / "table")
    path = write_summary(tmp_path / "table", tmp_path / "s.json")
    whole = json.loads(path.read_text())
    for broken in ({**whole, "format": 0}, {**whole, "columns": ["mIoU"]}, {"format": 1}, []):
        path.write_text(json.dumps(broken))
        with pytest.raises(InputError, match="does not hold a summary of a table"):
            load_summary(path)
