"""A run that is killed or interrupted goes on as if nothing had happened; a run with other settings does not."""

import os
import signal
import time
from dataclasses import replace

import pytest
import torch

from course_lib.errors import InputError
from course_lib.training.checkpoint import list_checkpoints, read_checkpoint
from course_lib.training.run_directory import read_metrics

posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_killed_in_mid_run_and_resumed_is_bit_for_bit_the_unbroken_run(tiny, start_tiny, curve, tmp_path):
    config = replace(tiny.CONFIG, steps=40)
    unbroken = tiny.train(tmp_path / "unbroken", config, dropout=0.1)
    process = start_tiny(tmp_path / "killed", 40, 0.02)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    # Killed between a checkpoint (7, 14) and the next, with rows (15) that lie beyond the checkpoint.
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.is_file() and any(row["step"] >= 15 for row in read_metrics(metrics)):
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    reached = read_checkpoint(list_checkpoints(tmp_path / "killed" / "checkpoints")[-1]).step
    assert 14 <= reached < 40, "the kill came too late to test anything"

    resumed = tiny.train(tmp_path / "killed", config, dropout=0.1)

    assert curve(resumed.rows) == curve(unbroken.rows)
    assert curve(read_metrics(metrics)) == curve(unbroken.rows)
    assert same_weights(resumed.model, unbroken.model)
    assert resumed.best == unbroken.best
    best = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("killed", "unbroken")]
    assert best[0] == best[1]


class Interrupting:
    """A task that raises a signal in this process when a certain sample is drawn."""

    def __init__(self, task, index, number):
        self.task, self.index, self.number = task, index, number
        self.loss = task.loss

    def sample(self, index, step, rng):
        if index == self.index:
            os.kill(os.getpid(), self.number)
        return self.task.sample(index, step, rng)


@posix
@pytest.mark.parametrize(("number", "leaves"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_an_interrupt_saves_the_step_and_says_how_to_go_on(tiny, curve, tmp_path, capfd, number, leaves):
    from course_lib.training import fit

    config = tiny.CONFIG
    unbroken = tiny.train(None)
    before = signal.getsignal(signal.SIGINT)  # a shell may start background jobs with it ignored
    task = Interrupting(tiny.TinyTask(config.steps), 11 * config.batch_size, number)
    with pytest.raises(leaves):
        fit(tiny.network(), task, config, tmp_path, evaluate=tiny.norm_of, device="cpu")
    assert read_checkpoint(list_checkpoints(tmp_path / "checkpoints")[-1]).step == 12  # not a multiple of 7 or 5
    said = capfd.readouterr().err
    assert "stopping after this step" in said
    assert "stopped after step 12 of 24" in said and "Run the same command again" in said
    assert signal.getsignal(signal.SIGINT) is before
    resumed = tiny.train(tmp_path)
    assert curve(resumed.rows) == curve(unbroken.rows)
    assert same_weights(resumed.model, unbroken.model)


def test_what_was_logged_before_the_first_checkpoint_is_written_anew(tiny, tmp_path, curve):
    (tmp_path / "metrics.jsonl").write_text('{"phase": "train", "step": 5, "loss": 9.0}\n{"phase": "tr')
    config = replace(tiny.CONFIG, steps=6)
    assert curve(tiny.train(tmp_path, config).rows) == curve(tiny.train(None, config).rows)


def test_a_finished_run_is_not_trained_again(tiny, tmp_path, curve):
    config = replace(tiny.CONFIG, steps=3)
    first = tiny.train(tmp_path, config)
    again = tiny.train(tmp_path, config)
    assert again.steps == 3 and same_weights(first.model, again.model) and again.rows == first.rows
    assert again.seconds == first.seconds and again.best == first.best


def test_fresh_starts_again(tiny, tmp_path):
    config = replace(tiny.CONFIG, steps=3)
    tiny.train(tmp_path, config)
    again = tiny.train(tmp_path, replace(config, lr=1e-4), fresh=True)
    assert [row["step"] for row in again.rows] == [3, 3]
    assert again.rows[0]["lr"] < 1e-4


def test_other_settings_are_refused_and_named(tiny, tmp_path):
    config = replace(tiny.CONFIG, steps=3)
    tiny.train(tmp_path, config, settings={"model": {"width": 8}})
    before = (tmp_path / "metrics.jsonl").read_bytes()
    other = replace(config, lr=1e-4, schedule=replace(config.schedule, warmup=0.5))
    with pytest.raises(InputError) as error:
        tiny.train(tmp_path, other, settings={"model": {"width": 16}, "data": "more"})
    message = str(error.value)
    for part in ("fit.lr was 0.003, is 0.0001", "fit.schedule.warmup was 0.1, is 0.5", "model.width was 8, is 16"):
        assert part in message
    assert "data was '(not set)', is 'more'" in message and "fresh=True" in message and "batch" not in message
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_settings_that_do_not_touch_the_curve_may_change(tiny, tmp_path):
    config = replace(tiny.CONFIG, steps=3)
    tiny.train(tmp_path, config)
    tiny.train(tmp_path, replace(config, checkpoint_every=2, keep=5, workers=1))


def test_a_truncated_checkpoint_falls_back_to_the_one_before(tiny, tmp_path, curve, capfd):
    from course_lib.training import fit

    unbroken = tiny.train(tmp_path)
    newest = list_checkpoints(tmp_path / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = fit(
        tiny.network(), tiny.TinyTask(24), tiny.CONFIG, tmp_path, evaluate=tiny.norm_of, device="cpu", progress=True
    )
    assert curve(resumed.rows) == curve(unbroken.rows) and same_weights(resumed.model, unbroken.model)
    said = capfd.readouterr().err
    assert newest.name in said and "going on from step 21 instead" in said
    assert newest.with_suffix(".damaged").is_file() and read_checkpoint(newest).step == 24
    assert "going on from step 21" in (tmp_path / "log.txt").read_text()


def test_damaged_checkpoints_only_is_an_error(tiny, tmp_path):
    tiny.train(tmp_path, replace(tiny.CONFIG, steps=3))
    for path in list_checkpoints(tmp_path / "checkpoints"):
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match=r"none of the 1 checkpoints .* fresh=True"):
        tiny.train(tmp_path, replace(tiny.CONFIG, steps=3))


def test_another_network_is_refused_by_the_name_of_its_tensor(tiny, tmp_path):
    from torch import nn

    from course_lib.training import fit

    config = replace(tiny.CONFIG, steps=3)
    tiny.train(tmp_path, config)
    wider = tiny.network()
    wider.head = nn.Conv2d(8, 3, 1)
    with pytest.raises(InputError, match=r"checkpoint after step 3 do not fit .* 'head.weight'"):
        fit(wider, tiny.TinyTask(3), config, tmp_path, evaluate=tiny.norm_of, device="cpu", progress=False)
