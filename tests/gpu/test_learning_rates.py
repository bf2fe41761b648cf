"""Schedules of the learning rate against their formulas, step by step, and budgets in steps, tokens and epochs."""

import itertools
import math

import pytest
from tolerances import ROUNDING

import frugal_theory as ft
from frugal_gpu.train.schedule import Whole, add_schedule, learning_rate_factor
from frugal_theory.config import Training
from frugal_theory.config.load import dump, parse

TABLE = {"name": "t", "model": {"preset": "llama-tiny"}, "algorithm": {}}


def shares(**keys):
    training = Training(**keys)
    return [learning_rate_factor(training, step) for step in range(1, training.steps + 1)]


def theirs(step, warmup, cycle, least):
    """The cyclical cosine of the code of GaLore and FRUGAL, with their count of steps from 0."""
    into = step % cycle
    if into < warmup:
        return 1e-7 if step != into and into < 2 else into / warmup
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * (into - warmup) / (cycle - warmup)))


def test_linear_ends_at_its_share_of_the_peak():
    found = shares(steps=110, warmup_steps=10, schedule="linear", final_learning_rate=0.2)
    assert found[9:] == pytest.approx([1 - 0.8 * k / 100 for k in range(101)], rel=ROUNDING)


def test_wsd_is_stable_and_then_decays():
    found = shares(steps=100, warmup_steps=10, schedule="wsd", decay_steps=20, final_learning_rate=0.0)
    assert found[:10] == pytest.approx([k / 10 for k in range(1, 11)], rel=ROUNDING)
    assert found[10:80] == [1.0] * 70
    assert found[80:] == pytest.approx([1 - k / 20 for k in range(1, 21)], rel=ROUNDING, abs=ROUNDING)


def test_the_stable_part_of_wsd_does_not_depend_on_the_end():
    short, long = (shares(steps=steps, warmup_steps=5, schedule="wsd", decay_steps=10) for steps in (50, 90))
    assert short[:40] == long[:40]


def test_cosine_cycles_are_those_of_the_published_code():
    found = shares(steps=100, warmup_steps=8, schedule="cosine-cycles", cycle_steps=40)
    assert found == pytest.approx([theirs(k, 8, 40, 0.1) for k in range(100)], rel=ROUNDING)
    assert (found[0], found[40], found[48]) == (0.0, 1e-7, 1.0)


def test_a_cycle_warms_up_for_a_tenth_of_itself():
    assert Training(steps=100, schedule="cosine-cycles", cycle_steps=40).warmup == 4


def test_the_jagged_cosine_falls_to_nothing_at_each_restart_and_joins_the_cosine_again():
    keys = {"steps": 120, "warmup_steps": 10, "restart_every": 40, "restart_warmup_steps": 5}
    found = shares(schedule="jagged-cosine", **keys)
    smooth = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (k - 10) / 110)) for k in range(120)]
    assert found[:10] == pytest.approx([k / 10 for k in range(10)], rel=ROUNDING)
    for start in (40, 80):
        assert found[start : start + 5] == pytest.approx([j / 5 * smooth[start + 5] for j in range(5)], rel=ROUNDING)
    rest = [k for k in range(10, 120) if not any(start <= k < start + 5 for start in (40, 80))]
    assert [found[k] for k in rest] == pytest.approx([smooth[k] for k in rest], rel=ROUNDING)


@pytest.mark.parametrize("schedule", ["cosine", "constant", "linear", "wsd", "cosine-cycles", "jagged-cosine"])
def test_every_share_lies_between_nothing_and_the_peak_for_runs_of_any_length(schedule):
    for steps, warmup in itertools.product((1, 2, 3, 7, 50), (None, 0, 1)):
        keys = {"restart_every": 10, "restart_warmup_steps": 3} if schedule == "jagged-cosine" else {}
        if schedule == "wsd" and warmup == steps:
            continue
        found = shares(steps=steps, warmup_steps=warmup, schedule=schedule, **keys)
        assert all(0 <= share <= 1 for share in found)


def test_an_added_schedule_may_say_the_warmup_itself():
    with ft.extended():
        add_schedule("mine", Whole(lambda training, step: 1 / step))  # noqa: ARG005
        add_schedule("after", lambda training, step: 0.5)  # noqa: ARG005
        assert shares(steps=4, warmup_steps=2, schedule="mine") == [1, 1 / 2, 1 / 3, 1 / 4]
        assert shares(steps=4, warmup_steps=2, schedule="after") == [0.5, 1.0, 0.5, 0.5]


# --- budgets


@pytest.mark.parametrize(("tokens", "steps"), [(1, 1), (2048, 1), (2049, 2), (1_000_000, 489)])
def test_tokens_are_rounded_up_to_whole_steps(tokens, steps):
    assert Training(tokens=tokens, batch_size=16, sequence_length=128).steps == steps


@pytest.mark.parametrize("length", [{"steps": 7}, {"tokens": 10_000}, {"epochs": 1.5}])
def test_the_length_is_written_as_it_was_given(length):
    experiment = parse({**TABLE, "training": length})
    again = parse(dump(experiment))
    assert again == experiment
    table = dump(experiment).partition("[training]")[2].partition("\n[")[0]
    said = [line for line in table.splitlines() if line.split(" ")[0] in ("steps", "tokens", "epochs")]
    assert said == [f"{key} = {value}" for key, value in length.items()]


@pytest.mark.parametrize("two", [{"steps": 5, "tokens": 10}, {"tokens": 10, "epochs": 1.0}, {"steps": 5, "epochs": 2.0}])
def test_two_lengths_are_refused(two):
    with pytest.raises(ft.ExperimentError, match="are both given; one of them is allowed"):
        parse({**TABLE, "training": two})


@pytest.mark.parametrize(("epochs", "sequences", "steps"), [(1, 32, 2), (1, 33, 3), (0.5, 32, 1), (3, 100, 19), (1e-9, 32, 1)])
def test_epochs_are_rounded_up_to_whole_steps(epochs, sequences, steps):
    assert Training(epochs=float(epochs), batch_size=16).of_epochs(sequences).steps == steps


def test_a_warmup_is_compared_with_epochs_when_those_are_known():
    with pytest.raises(ValueError, match="warmup_steps is 50, steps is 2"):
        Training(epochs=1.0, warmup_steps=50, batch_size=16).of_epochs(32)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"schedule": "wsd", "steps": 10, "warmup_steps": 6, "decay_steps": 5}, "is 11, steps is 10"),
        ({"schedule": "jagged-cosine"}, "restart_every is missing"),
        ({"schedule": "jagged-cosine", "restart_every": 50}, "restart_every is 50, a warm-up has 100 steps"),
        ({"schedule": "cosine", "cycle_steps": 50}, 'cycle_steps is of schedule = "cosine-cycles"; schedule is "cosine"'),
        ({"schedule": "cosine-cycles", "cycle_steps": 5, "warmup_steps": 6}, "cycle_steps is 5"),
    ],
)
def test_schedules_whose_parts_do_not_fit_are_one_line(keys, words):
    with pytest.raises(ft.ExperimentError, match=words) as caught:
        parse({**TABLE, "training": keys})
    assert "\n" not in str(caught.value)
