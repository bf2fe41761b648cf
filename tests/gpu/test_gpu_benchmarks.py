"""What is measured on a GPU, tried on the CPU: the arithmetic of the tables, and that nothing stops on the way."""

import json
import math
import re
import time

import pytest
import torch

from benchmarks.gpu import check, memory, methods, steps, study, study_report, tests
from benchmarks.gpu.methods import METHODS, PIECES, Piece, Trial, experiment
from benchmarks.gpu.optimizers import FUSED
from benchmarks.gpu.place import markdown
from frugal_gpu.data import python_docs
from frugal_gpu.model.llama import SHAPES, Shape, meta_model
from frugal_theory.config.load import ExperimentError

SMALL = Shape(16, 24, 1, 2, vocabulary=50)


@pytest.fixture
def small(monkeypatch):
    """A model so small that its steps take no time; (numbers, tensors) of its parameters."""
    monkeypatch.setitem(SHAPES, "llama-tiny", SMALL)
    parameters = list(meta_model(SMALL).parameters())
    return sum(parameter.numel() for parameter in parameters), len(parameters)


def test_steps_are_compared_with_the_fused_adamw_of_their_run(small, monkeypatch):
    monkeypatch.setattr(steps, "copied_bytes_a_second", lambda place: 1e9)  # noqa: ARG005
    size, tensors = small
    rows = {row["optimizer"]: row for row in steps.step_times("llama-tiny", rounds=40, gap=5, seconds=0)}
    state = {FUSED: 8 * size + 4 * tensors, "signSGD everywhere": 0}  # a step count of four bytes a tensor
    for name, held in state.items():
        assert rows[name]["floor ms"] == pytest.approx((12 * size + 2 * held) / 1e6)
    for name, row in rows.items():
        assert row["alone ratio"] == row["alone ms"] / rows[FUSED]["alone ms"]
        assert row["steps"] == (3 if torch.cuda.is_available() else 5)  # 0 to 3 warm up, 5 enters a period, 9 was the last
        periods = name in {
            f"FRUGAL {kind}" for kind in ("blocks", "columns", "coordinates", "randk", "random", "svd", "blocks, foreach")
        }
        assert (row["entering ms"] is not None) == periods
        expected = (199 * row["alone ms"] + row["entering ms"]) / 200 if periods else row["alone ms"]
        assert row["amortised ms"] == pytest.approx(expected)


class Event:
    """A CUDA event by the host's clock."""

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return 1e3 * (end.at - self.at)


def test_steps_on_a_gpu_are_timed_alone_and_queued(small, monkeypatch):  # noqa: ARG001
    """The same code with the clock of the host; which steps are which follows from their numbers."""
    monkeypatch.setattr(steps, "on_gpu", lambda place: True)  # noqa: ARG005
    monkeypatch.setattr(steps, "copied_bytes_a_second", lambda place: 1e9)  # noqa: ARG005
    monkeypatch.setattr(steps, "SIDE", 32)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    rows = steps.step_times("llama-tiny", rounds=13, gap=6, seconds=60)
    assert {row["steps"] for row in rows} == {3}  # 4, 8 and 10; 6 and 12 enter periods
    assert all(row["queued ratio"] == row["queued ms"] / rows[0]["queued ms"] for row in rows)
    assert all(0 < row["queued ms"] < 1e3 for row in rows)


def test_memory_is_that_of_the_formulas(small):
    size, tensors = small
    rows = {row["optimizer"]: row for row in memory.memory("llama-tiny", 60)}
    assert rows[FUSED]["state bytes"] == 8 * size + 4 * tensors
    assert rows["FRUGAL ρ = 1"]["state bytes"] == 8 * size
    assert rows["signSGD everywhere"]["state bytes"] == 0
    embeddings_output_norms = 2 * 50 * 16 + 3 * 16
    assert rows["FRUGAL ρ = 0"]["state bytes"] == 8 * embeddings_output_norms


def test_the_check_counts_outcomes_and_goes_on_after_a_part_that_fails(tmp_path, monkeypatch, capsys):
    text = """
        import pytest
        @pytest.fixture
        def broken(): raise OSError
        def test_passes(): pass
        def test_fails(): assert 1 == 2
        def test_errs(broken): pass
        def test_skips(): pytest.skip()
    """
    (tmp_path / "test_four.py").write_text(re.sub(r"^ {8}", "", text, flags=re.M), encoding="utf-8")
    monkeypatch.setattr(tests, "SUITES", {"on the CPU": "not cuda"})
    monkeypatch.setattr(check.os, "cpu_count", lambda: 1)

    def fails(*_):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(steps, "step_times", fails)
    monkeypatch.setattr(memory, "memory", lambda preset, seconds: [{"model": preset, "optimizer": "x"}])  # noqa: ARG005
    assert check.check(tmp_path, 100, tiny=True, tests_in=[str(tmp_path / "test_four.py")]) == 1
    found = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    (counts,) = found["tests"]
    assert [counts[outcome] for outcome in ("passed", "failed", "error", "skipped")] == [1, 1, 1, 1]
    assert found["memory"]
    assert "no such kernel" in found["errors"][0]["what"]
    assert "assert 1 == 2" in capsys.readouterr().out


def test_tests_that_have_no_time_are_said_to_be_stopped(tmp_path):
    (tmp_path / "test_long.py").write_text("import time\ndef test_long(): time.sleep(100)\n", encoding="utf-8")
    found = tests.run_suite("on the CPU", tmp_path, 0.1, 1, (str(tmp_path),))
    assert (found["complete"], found["passed"]) == ("no: stopped", 0)


def test_a_markdown_table():
    rows = [{"a": "x", "b": 1234.5}, {"a": "y", "b": 0.012345, "c": 3}, {"a": "z", "b": None}]
    lines = markdown(rows, {"a": "A", "b": "B", "c": "C"}).splitlines()
    assert lines == ["| A | B | C |", "| --- | ---: | ---: |", "| x | 1234 | – |", "| y | 0.0123 | 3 |", "| z | – | – |"]


# --- the study --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", PIECES)
def test_every_run_of_a_piece_reads_the_same_tokens(number):
    piece = PIECES[number]
    made = [experiment(Trial(number, method, 1e-3, 0), tiny=False, gpu=True) for method in METHODS]
    assert len({each.training.model_dump_json() for each in made}) == 1
    assert made[0].training.steps == piece.steps
    assert len({each.model.model_dump_json() for each in made}) == 1
    assert len({each.algorithm.model_dump_json() for each in made}) == len(METHODS)


def test_the_study_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))
    documents = tuple(f"{i}. {'the cat sees the moon ' * (3 + i % 5)}" for i in range(60))
    monkeypatch.setattr(python_docs, "python_docs", lambda: documents)
    for method in set(METHODS) - {"AdamW", "FRUGAL columns"}:
        monkeypatch.delitem(METHODS, method)
    monkeypatch.setitem(PIECES, 1, Piece("llama-9m", 400, rates=(1e-3, 1e-2)))
    monkeypatch.setitem(PIECES, 2, Piece("llama-9m", 400, seeds=(1, 2), best_of=1))

    with pytest.raises(ExperimentError, match="run piece 1 first"):
        study.study(tmp_path, 2, tiny=True)
    study.study(tmp_path, 1, seconds=1e-9, tiny=True)  # time for one run only
    assert len(study.rows_of(tmp_path / "tiny")) == 1
    for piece in (1, 2):
        study.study(tmp_path, piece, tiny=True)
    rows = study.rows_of(tmp_path / "tiny")
    assert [(row["piece"], row["method"], row["rate"], row["seed"]) for row in rows] == [
        *((1, method, rate, 0) for method in METHODS for rate in (1e-3, 1e-2)),
        *((2, method, 1e-2, seed) for method in METHODS for seed in (1, 2)),  # the larger rate is better in six steps
    ]
    assert {row["tokens"] for row in rows} == {6 * 4 * 32}

    def trains(*_):
        raise AssertionError("a run that is done is not repeated")

    monkeypatch.setattr(study, "train", trains)
    study.study(tmp_path, 2, tiny=True)


def row(method, loss, seed=0, rate=1e-3):
    trained = not math.isnan(loss)
    return {
        **{"piece": 1, "preset": "p", "method": method, "rate": rate, "seed": seed, "tokens": 64, "outcome": "trained"},
        **{"validation": {"0": 9.0, "6": loss}, "validation loss": loss, "training loss": loss, "state bytes": 2**20},
        **{"tokens a second": 10, "peak MiB": None, "machine": {"device": "d", "torch": "t", "cuda": None, "python": "p"}},
        **({} if trained else {"outcome": "diverged", "validation": {"0": 9.0}, "validation loss": None}),
    }


def test_several_seeds_are_shown_by_their_mean_and_beside_adamw_seed_by_seed():
    rows = [row("AdamW", 3.0, 1), row("AdamW", 4.0, 2), row("signSGD", 3.5, 1), row("signSGD", 4.1, 2)]
    text = study_report.report(rows)
    assert "| signSGD | 0.001 | 9.000 | 3.800 | 3.800 | 1 | 10 | – | +0.100 to +0.500 (2 seeds) |" in text
    assert "| signSGD | 3.500 | 4.100 |" in text


def test_what_diverged_is_shown_and_is_nobodys_best():
    rows = [row("AdamW", 3.0), row("AdamW", math.nan, rate=1e-2), row("AdamW", 3.5, rate=1e-4), row("signSGD", math.nan)]
    assert study_report.best_rows(rows) == {"AdamW": rows[0]}
    text = study_report.report(rows)
    assert "| AdamW | 0.001 | 9.000 | 3.000 | 3.000 | 1 | 10 | – |  |" in text
    assert "| AdamW | 3.500 | 3.000 | diverged |" in text
    assert "at the edge" in study_report.report(rows[::2])


def test_a_run_that_diverges_is_a_result(tmp_path, monkeypatch):
    def diverges(_, folder):
        folder.mkdir(parents=True)
        lines = [{"step": 0, "validation_loss": 5.0}, {"step": 1, "loss": 9.0, "tokens": 8, "seconds": 0.1}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        raise ExperimentError("training.learning_rate: the run diverged, loss nan at step 2")

    monkeypatch.setattr(study, "train", diverges)
    found = study.run(methods.Trial(1, "signSGD", 1.0, 0), tmp_path / "run", tiny=True)
    assert (found["outcome"], found["validation loss"], found["steps"]) == ("diverged", None, 1)
