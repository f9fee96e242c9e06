"""A check accepts what is right, names what is wrong, and survives whatever a learner's function does."""

import contextlib
import random
import signal
import time

import numpy as np
import pytest
import torch

from course_lib.errors import CheckFailed, InputError
from course_lib.lessons.checking import Checks, run_check, verdict_html
from course_lib.lessons.examine import examine
from course_lib.lessons.exercise import Case, Exercise, Misconception
from course_lib.lessons.testing import assert_exercise, examine_unwritten


def normalise(scores: torch.Tensor) -> torch.Tensor:
    """Softmax over memory cells. scores: [N, Q]."""
    weights = (scores - scores.max(dim=0).values).exp()
    return weights / weights.sum(dim=0)


SOFTMAX = Exercise(
    "normalise",
    normalise,
    cases=(
        Case((torch.arange(6.0).view(3, 2),), "three memory cells, two queries"),
        Case((torch.eye(3),), "a square of scores"),
        Case((torch.tensor([[500.0], [0.0]]),), "large scores"),
        Case((torch.tensor([[0.3, -1.0], [2.0, 0.5]]),), "gradients", gradient=True),
    ),
    misconceptions=(
        Misconception(lambda s: s.softmax(1), "Normalised over queries: each query must read a whole memory."),
        Misconception(
            lambda s: s.exp() / s.exp().sum(0), "exp of a large score overflows: subtract the maximum first."
        ),
    ),
)


def test_right_and_wrong_answers():
    assert_exercise(
        SOFTMAX,
        right=[lambda s: s.softmax(dim=0), lambda s: (s - s.logsumexp(0)).exp()],
        wrong={
            "over queries": [lambda s: torch.nn.functional.softmax(s, dim=-1)],
            "overflows": [lambda s: torch.exp(s) / torch.exp(s).sum(dim=0, keepdim=True)],
            "No gradient reaches": [
                lambda s: s.detach().softmax(0),
                lambda s: torch.from_numpy(s.detach().numpy()).softmax(0),
            ],
            "return": [lambda s: None],
            "changes its input": [
                lambda s: torch.softmax(s.data.sub_(1.0) + 0 * s, 0) if not s.requires_grad else s.softmax(0)
            ],
        },
    )


def test_the_test_helper_catches_a_check_that_says_yes_to_everything():
    blind = Exercise("blind", lambda x: 0 * x, (Case((1.0,)),))
    answers = [lambda x: 0.0, lambda x: x - x]
    with pytest.raises(AssertionError, match="was accepted"):
        assert_exercise(blind, answers, {"": [lambda x: 0.0 if x == 1 else 7.0] * 4})
    with pytest.raises(AssertionError, match="told something else"):
        assert_exercise(blind, answers, {"not this": [lambda x: 5.0] * 4})
    with pytest.raises(AssertionError, match="at least four"):
        assert_exercise(blind, answers, {"": [lambda x: 5.0]})
    vague = Exercise("vague", lambda x: 0 * x, (Case((1.0,)),), (Misconception(lambda x: 0.0, "the same"),))
    with pytest.raises(AssertionError, match="no case tells this misconception"):
        assert_exercise(vague, answers, {"": [lambda x: 5.0] * 4})


def double(x):
    return 2 * x


def simple(*inputs, **options) -> Exercise:
    return Exercise("double", double, tuple(Case((value,)) for value in inputs or (2.0, 3.0)), **options)


def test_a_verdict_says_what_was_tried_expected_and_got():
    verdict = examine(simple(2.0, 3.0), lambda x: x**2)
    assert (verdict.status, verdict.passed, verdict.total) == ("wrong", 1, 2)
    assert verdict.tried == "double(3)" and verdict.expected == "6" and verdict.got == "9"
    text = verdict.text()
    assert "double is not right yet: 1 of 2 tries agree" in text
    assert "tried:" in text and "expected:" in text and "got:" in text


def test_unwritten_answers_are_not_wrong():
    verdict = examine_unwritten(simple())
    assert verdict.status == "not attempted"
    assert verdict.text() == "double: not attempted yet — the lesson goes on with the reference."

    def half_written(x):
        if x > 2:
            raise NotImplementedError("double: part 2 of 2, large numbers")
        return 2 * x

    verdict = examine(simple(), half_written)
    assert verdict.status == "not attempted" and verdict.cause == "still to write: part 2 of 2, large numbers"

    def asks_too_much(x):  # as PyTorch does for `1 - flags`
        raise NotImplementedError("Subtraction, the `-` operator, with a bool tensor is not supported.")

    verdict = examine(simple(), asks_too_much)
    assert verdict.status == "wrong" and "bool tensor is not supported" in verdict.text()


class Nasty:
    """Cannot be printed, compared, or counted."""

    def __repr__(self):
        raise ValueError("no")

    __eq__ = __len__ = __float__ = __repr__


def recurse(x):
    return recurse(x)


@pytest.mark.parametrize(
    ("answer", "fragment"),
    [
        (lambda x: Nasty(), ""),
        (lambda x: torch.eye(2).to_sparse(), ""),
        (lambda x: 1 / 0, "division by zero"),
        (lambda x, y: x, "The arguments were changed: (x) is expected, not (x, y)"),
        (lambda x: undefined_name, "A name is not defined"),
        (recurse, "calls itself without end"),
        (lambda x: exit(), "ends the program"),
        (lambda x: "text", ""),
        (lambda x: -2 * x, "The sign is wrong"),
        (lambda x: 1 - 2 * x, "one minus the right one"),
        (None, "Give the function itself: check.double(double)"),
        (4.0, "Give the function itself"),
    ],
)
def test_whatever_happens_nothing_is_raised(answer, fragment):
    verdict = examine(simple(), answer)
    assert verdict.status == "wrong" and fragment in verdict.cause


PICTURE = torch.arange(12.0).view(3, 4)


@pytest.mark.parametrize(
    ("answer", "fragment"),
    [
        (lambda x: (2 * x).to_sparse(), ""),
        (lambda x: (2 * x).T, "Rows and columns are swapped"),
        (lambda x: (2 * x).roll(1, 1), "Off by one along axis 1: the values sit one place too late"),
        (lambda x: (2 * x).roll(-1, 0), "Off by one along axis 0: the values sit one place too early"),
        (lambda x: (2 * x).flip(0), "order along axis 0 is reversed"),
        (lambda x: 2 * x / 255, "Every value is 0.003922 times the right one"),
        (lambda x: (2 * x).int(), "`.to(torch.float32)`"),
        (lambda x: 2 * x / (x - x), "NaN or infinity"),
        (lambda x: (2 * x)[None], "arrangement"),
        (lambda x: (2 * x).sum(0), "An axis is missing"),
        (lambda x: (2 * x)[:, :2], "print shapes"),
        (lambda x: x + torch.ones(7), "shapes that do not fit"),
    ],
)
def test_common_causes_are_guessed(answer, fragment):
    verdict = examine(simple(PICTURE), answer)
    assert verdict.status == "wrong" and fragment in verdict.cause


def test_a_misconception_on_the_failing_cases_is_enough():
    """The learner guards the empty case and still divides by the wrong thing."""
    exercise = Exercise(
        "mean",
        lambda x: sum(x) / len(x) if x else 0.0,
        (Case(([],)), Case(([1, 2],))),
        (Misconception(lambda x: sum(x) / (len(x) - 1), "Divide by the number of values, not one less."),),
    )
    verdict = examine(exercise, lambda x: sum(x) / (len(x) - 1) if x else 0.0)
    assert verdict.cause == "Divide by the number of values, not one less."


def test_inputs_changed_in_place_are_noticed_and_do_no_harm():
    shared = torch.ones(3)

    def rude(x):
        x *= 2
        return x

    verdict = examine(simple(shared), rude)
    assert verdict.status == "wrong" and "work on a copy" in verdict.cause
    assert torch.equal(shared, torch.ones(3)), "the exercise's own inputs are safe"


def test_prints_are_repeated_and_kept_short(capsys):
    def chatty(x):
        print("x is", x)
        return 2 * x

    verdict = examine(simple(), chatty)
    assert verdict.status == "right" and verdict.printed == "x is 2.0\nx is 3.0"
    assert capsys.readouterr().out == ""
    assert len(examine(simple(), lambda x: print("y" * 5000)).printed) < 500


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm clock on this system")
def test_an_endless_loop_ends():
    def endless(x):
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.01)

    start = time.monotonic()
    verdict = examine(simple(seconds=0.2), endless)
    assert time.monotonic() - start < 2
    assert verdict.got == "no result after 0.2 s" and "may never end" in verdict.cause


def test_random_numbers_below_a_check_do_not_depend_on_it():
    def noisy(x):
        return 2 * x + 0 * torch.rand(()).item() + 0 * random.random() + 0 * np.random.rand()

    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    plain = torch.rand(()).item(), random.random(), np.random.rand()
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    examine(simple(), noisy)
    assert (torch.rand(()).item(), random.random(), np.random.rand()) == plain


def test_random_answers_are_compared_on_equal_random_numbers():
    exercise = Exercise("draw", lambda n: torch.rand(n), (Case((4,)), Case((5,))))
    assert examine(exercise, lambda n: torch.rand((n,))).status == "right"
    assert examine(exercise, lambda n: torch.randn(n)).status == "wrong"


def test_generators_come_from_a_function():
    exercise = Exercise(
        "draw",
        lambda g: torch.rand(3, generator=g),
        (Case(lambda: (torch.Generator().manual_seed(1),), "a generator"),),
    )
    assert examine(exercise, lambda g: torch.rand((3,), generator=g)).status == "right"


class Bank:
    """A memory that keeps its last two values."""

    def __init__(self):
        self.values = []

    def write(self, value):
        self.values = [*self.values, value][-2:]


def test_classes_and_properties_are_used_as_the_case_says():
    def scenario(bank_class, values):
        bank = bank_class()
        for value in values:
            bank.write(value)
        return bank.values

    exercise = Exercise("Bank", Bank, (Case(([1, 2, 3],), "three writes", use=scenario, expected=([2, 3],)),))

    class Greedy(Bank):
        def write(self, value):
            self.values.append(value)

    assert examine(exercise, Bank).status == "right"
    verdict = examine(exercise, Greedy)
    assert verdict.tried == "Bank on three writes" and "2 values were expected, not 3" in verdict.got


def test_expected_by_hand_overrules_the_reference():
    exercise = Exercise("one", lambda x: 1.0, (Case((0,), expected=(2.0,)),))
    assert examine(exercise, lambda x: 1.0).status == "wrong"
    assert examine(exercise, lambda x: 2.0).status == "right"


def test_inputs_that_must_be_refused():
    def careful(x):
        if x < 0:
            raise ValueError("negative")
        return 2 * x

    exercise = Exercise("double", careful, (Case((1,)), Case((-1,))))
    assert examine(exercise, careful).status == "right"
    assert "refused with ValueError" in examine(exercise, double).cause


def test_diagnose_has_the_last_word_before_guesses():
    exercise = simple(diagnose=lambda case, got, expected: f"{got - expected:g} too much" if got > expected else None)
    assert examine(exercise, lambda x: 2 * x + 1).cause == "1 too much"


# -- what a notebook sees ---------------------------------------------------------------------------------------------


def test_check_returns_something_that_works(capsys, monkeypatch):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    check = Checks([simple()])

    def mine(x):
        return x + x

    assert check.double(mine) is mine
    assert "✔ double is right: 2 of 2 tries agree." in capsys.readouterr().out
    assert check.double(lambda x: x) is double
    assert "goes on with the reference" in capsys.readouterr().out


def test_strict_mode_raises(monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(CheckFailed, match="double is not right yet"):
        run_check(simple(), lambda x: x)

    def unwritten(x):
        raise NotImplementedError("double: your code here")

    with pytest.raises(CheckFailed, match="not attempted"):
        run_check(simple(), unwritten)
    assert run_check(simple(), double) is double


def test_names_are_found_or_suggested():
    check = Checks([simple()])
    assert dir(check) == ["double"]
    with pytest.raises(AttributeError, match=r"no exercise named duoble; did you mean check.double\?"):
        _ = check.duoble
    assert not hasattr(check, "_repr_html_")
    assert not hasattr(check, "__wrapped__")


def test_banner_is_told_apart_without_colour_and_escapes():
    wrong = verdict_html(examine(simple(), lambda x: "<script>alert(1)</script>"))
    assert "<script>" not in wrong and "&lt;script&gt;" in wrong
    assert "✘" in wrong and "not right yet" in wrong and 'role="status"' in wrong
    assert "✔" in verdict_html(examine(simple(), double))
    assert "○" in verdict_html(examine_unwritten(simple()))


def test_exercises_are_well_formed():
    with pytest.raises(InputError, match="has the name of the function"):
        Exercise("not a name", double, (Case((1,)),))
    with pytest.raises(InputError, match="no cases"):
        examine(Exercise("double", double, ()), double)


def test_the_library_s_exercises_have_unique_names():
    from course_lib.lessons.checks import all_exercises, find_exercise

    for name, exercise in all_exercises().items():
        assert find_exercise(name) is exercise
    assert find_exercise("no_such_exercise") is None


def test_solved_exercises_are_remembered_in_my(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    monkeypatch.chdir(tmp_path)
    run_check(simple(), double)
    assert list(tmp_path.iterdir()) == [], "nothing is written outside my/"
    (tmp_path / "my").mkdir()
    monkeypatch.chdir(tmp_path / "my")
    run_check(simple(), double), run_check(simple(), double)
    from course_lib.lessons.progress import solved_exercises

    assert solved_exercises(tmp_path / "my" / "progress.json") == ["double"]
