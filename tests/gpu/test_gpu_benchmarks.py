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
from frugal_gpu.data import python_sources
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


@pytest.mark.ecosystem
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


@pytest.mark.ecosystem
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
    trials = list(methods.trials_of(number))
    assert len(trials) == len(piece.methods) * len(piece.factors) * len(piece.seeds) * len(piece.compiled)
    made = [experiment(trial, tiny=False) for trial in trials]
    assert len({each.training.model_copy(update={"compile": False}).model_dump_json() for each in made}) == 1
    assert len({each.model.model_dump_json() for each in made}) == 1
    assert {each.data.model_dump_json() for each in made} == {made[0].data.model_dump_json()}
    distinct = len(piece.methods) * len(piece.factors) * len(piece.seeds)
    assert len({each.algorithm.model_dump_json() for each in made}) == distinct


def test_the_comparison_is_that_of_the_paper():
    """60M, 400 steps of 65,536 tokens in bf16, each system at its own rate, a text that is read once, probes on."""
    made = {trial.method: experiment(trial, tiny=False) for number in (1, 2) for trial in methods.trials_of(number)}
    assert set(made) == set(METHODS)
    for each in made.values():
        training = each.training
        assert (training.batch_size * training.sequence_length, training.steps) == (65_536, 400)
        assert each.data.tokens == 400 * 65_536
        assert (each.model.preset, training.precision, each.probes.cost) == ("llama-60m", "bf16", 0.05)
        assert each.algorithm.update_gap in (50, 200)  # 200: of what has no periods
    rates = {method: each.algorithm.learning_rate for method, each in made.items()}
    assert rates == {**dict.fromkeys(METHODS, 1e-3), "GaLore": 0.01, "signSGD": 1e-4}
    more = Trial(4, "GaLore", 3.0)
    assert experiment(more, tiny=False).algorithm.learning_rate == pytest.approx(0.03)


@pytest.fixture
def short_text(tmp_path, monkeypatch):
    """Sixty small files in the place of the machine's sources, and a cache of their own."""
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))
    found = []
    for i in range(60):
        path = tmp_path / f"{i}.py"
        path.write_text(f"# {i}\n" + "the cat sees the moon\n" * (9 + i % 5), encoding="utf-8")
        found.append((python_sources._name(path.read_text(encoding="utf-8")), path))
    monkeypatch.setattr(python_sources, "sources", lambda: tuple(sorted(found)))


@pytest.mark.ecosystem
def test_the_study_goes_on_where_it_stopped(tmp_path, monkeypatch, short_text, capsys):  # noqa: ARG001
    monkeypatch.setitem(PIECES, 1, Piece("llama-60m", 400, ("AdamW", "signSGD")))
    monkeypatch.setitem(PIECES, 6, Piece("llama-60m", 400, ("signSGD",), seeds=(1,), probes=False))
    study.study(tmp_path, 1, seconds=1e-9, tiny=True)  # time for one run only
    assert "1 of 2 runs are done. The same command goes on." in capsys.readouterr().out
    for piece in (1, 6):
        study.study(tmp_path, piece, tiny=True)
    rows = study.rows_of(tmp_path / "tiny")
    assert [(row["piece"], row["method"], row["seed"]) for row in rows] == [
        *((1, method, 0) for method in ("AdamW", "signSGD")),
        (6, "signSGD", 1),
    ]
    assert len({row["tokens"] for row in rows if row["piece"] == 1}) == 1
    assert all(len(row["losses"]) == row["steps"] == 6 for row in rows)
    assert all(0 < row["probe share"] < 1 and sum(row["verdict counts"].values()) > 20 for row in rows if row["piece"] == 1)
    assert not any("probe share" in row for row in rows if row["piece"] == 6)
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == [
        *("curves.csv", "curves.png", "study.csv", "study.json", "study.md"),
    ]
    lines = (tmp_path / "tiny" / "curves.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 3 * 7  # the evaluation before the first step, too

    def trains(*_):
        raise AssertionError("a run that is done is not repeated")

    monkeypatch.setattr(study, "train", trains)
    study.study(tmp_path, 6, tiny=True)


def test_speed_is_that_of_ordinary_steps():
    """Ten steps settle; probes are taken off: 20 steps of 64 tokens in 10 s are 128 tokens a second."""
    steps, seconds = [], 0.0
    for step in range(1, 31):
        seconds += 5.0 if step <= 10 else 0.5
        probes = {"probe_seconds": 3.0} if step in (4, 20) else {}
        seconds += probes.get("probe_seconds", 0.0)
        steps.append({"step": step, "tokens": 64 * step, "seconds": seconds, **probes})
    assert study._speed(steps) == 128
    assert study._speed(steps[:1]) is None


def row(method, loss, seed=0, factor=1.0, **more):
    trained = not math.isnan(loss)
    return {
        **{"name": f"{method} {seed} {factor}", "piece": 1, "preset": "p", "method": method, "rate": 1e-3, "factor": factor},
        **{"seed": seed, "compiled": False, "tokens": 64, "outcome": "trained", "steps": 2, "losses": [9.0, 8.0]},
        **{"validation": {"0": 9.0, "6": loss}, "validation loss": loss, "training loss": loss, "state bytes": 2**20},
        **{"tokens a second": 10, "mfu": None, "peak MiB": None},
        **{"machine": {"device": "d", "torch": "t", "cuda": None, "python": "p"}},
        **({} if trained else {"outcome": "diverged", "validation": {"0": 9.0}, "validation loss": None}),
        **more,
    }


def test_several_seeds_are_shown_beside_adamw_seed_by_seed():
    rows = [row("AdamW", 3.0, 1), row("AdamW", 4.0, 2), row("signSGD", 3.5, 1), row("signSGD", 4.1, 2)]
    text = study_report.report(rows)
    assert "| AdamW | 3.000 | 4.000 | – |" in text
    assert "| signSGD | 3.500 | 4.100 | +0.300 (+0.100 to +0.500) |" in text


def test_other_rates_stand_beside_the_systems_own_and_none_is_picked():
    rows = [row("AdamW", 3.0), row("AdamW", math.nan, factor=3.0), row("AdamW", 2.5, factor=1 / 3), row("signSGD", math.nan)]
    text = study_report.report(rows)
    assert "| last validation loss | learning rate × 0.333 | learning rate × 1 | learning rate × 3 |" in text
    assert "| AdamW | 2.500 | 3.000 | diverged |" in text
    assert "| signSGD | – | diverged | – |" in text
    assert "| AdamW | 0.001 | 9.000 | 3.000 | 3.000 | 1 | 10 | – | – | – |" in text  # the comparison: its own rate alone


def test_what_was_compiled_has_a_line_of_its_own_and_its_share_of_the_peak():
    text = study_report.report([row("AdamW", 3.0, mfu=0.1234), row("AdamW", 3.0, compiled=True, mfu=0.41)])
    assert "| AdamW | 0.001 | 9.000 | 3.000 | 3.000 | 1 | 10 | 12.3 | – | – |" in text
    assert "| AdamW, compiled | 0.001 | 9.000 | 3.000 | 3.000 | 1 | 10 | 41.0 | – | – |" in text


@pytest.mark.ecosystem
def test_a_run_that_diverges_is_a_result_and_one_that_breaks_is_tried_again(tmp_path, monkeypatch, short_text):  # noqa: ARG001
    def diverges(_, folder):
        folder.mkdir(parents=True)
        lines = [{"step": 0, "validation_loss": 5.0}, {"step": 1, "loss": 9.0, "tokens": 8, "seconds": 0.1}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        raise ExperimentError("training.learning_rate: the run diverged, loss nan at step 2")

    def breaks(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(PIECES, 1, Piece("llama-60m", 400, ("AdamW",)))
    monkeypatch.setattr(study, "train", breaks)
    study.study(tmp_path, 1, tiny=True)
    (found,) = study.rows_of(tmp_path / "tiny")
    assert found["outcome"] == "failed"
    assert "CUDA out of memory" in (tmp_path / "tiny" / "study.md").read_text(encoding="utf-8")
    monkeypatch.setattr(study, "train", diverges)
    study.study(tmp_path, 1, tiny=True)
    (found,) = study.rows_of(tmp_path / "tiny")
    assert (found["outcome"], found["validation loss"], found["steps"]) == ("diverged", None, 1)
