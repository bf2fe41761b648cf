"""The tables of the paper as studies: what they train, how they are tuned, what they share, and what decides."""

import math

import pandas as pd
import pytest

from frugal_gpu.commands import study as command
from frugal_gpu.model.llama import SHAPES, Shape
from frugal_gpu.studies.tables import bank as banks
from frugal_gpu.studies.tables import recipes
from frugal_gpu.studies.tables.bank import Bank, OutOfTimeError, Plan
from frugal_gpu.studies.tables.others import MemoryBySize, Rates, TimeBySize
from frugal_gpu.studies.tables.pages import page
from frugal_gpu.studies.tables.recipes import FACTORS, FEWER, SETTINGS, SIZES, Setting, Size, experiment
from frugal_gpu.studies.tables.study import PaperTable, compared, tuned
from frugal_gpu.studies.tables.tables import TABLES, Claim, Table
from frugal_theory.config.load import ExperimentError
from frugal_theory.studies.runner import carry_out
from frugal_theory.studies.study import ALONE


@pytest.mark.parametrize("size", SIZES)
def test_every_setting_is_an_experiment_of_the_same_tokens(size):
    for setting in SETTINGS.values():
        choice = setting.choices[0] if setting.choices else {}
        made = experiment(setting, SIZES[size], 1, choice, 0.01)
        training = made.training
        tokens = training.steps * training.batch_size * training.sequence_length
        assert tokens == pytest.approx(
            SIZES[size].tokens * (4 / 9 if setting.name.endswith(FEWER) else 1), rel=0.5 / training.steps
        )
        assert tokens <= made.data.tokens
        assert (made.seed, training.batch_size * training.sequence_length) == (1, tokens / training.steps)
        assert size == "gpu" or tokens <= 300_000


def test_the_small_model_is_small():
    model = experiment(SETTINGS["AdamW"], SIZES["cpu"], 0, {}, 0.01).model
    width, inner, layers = model.hidden_size, model.intermediate_size, model.layers
    assert layers * (4 * width**2 + 3 * width * inner + 2 * width) + width < 1e6


def test_every_table_names_settings_that_there_are():
    used = set()
    for table in TABLES.values():
        named = {*table.rows, *(name for claim in table.claims for name in (claim.first, claim.second))}
        assert named <= set(SETTINGS), table.name
        assert {name for claim in table.claims for name in (claim.first, claim.second)} <= set(table.rows)
        used |= named
    assert {"AdamW, angles", "signSGD"} == set(SETTINGS) - used  # of figure 2 and of the learning rates


class Told:
    """Runs whose loss is a function of the experiment."""

    def __init__(self, loss):
        self.loss, self.asked = loss, []

    def get(self, made, name):
        self.asked.append(made)
        loss = self.loss(made, name)
        return {"loss": loss, "state_bytes": 2048, "tokens": 64, "seconds": 1.0, "losses": [], "angles": []}


def test_the_best_rate_of_the_first_seed_is_every_seeds_and_an_end_is_said():
    runs = Told(lambda made, _: abs(math.log(made.algorithm.learning_rate / 3e-3)))
    best = tuned(SETTINGS["AdamW"], SIZES["cpu"], runs)
    assert (best.rate, best.edge) == (pytest.approx(3e-3), False)
    assert [made.algorithm.learning_rate for made in runs.asked] == pytest.approx([1e-3 * f for f in FACTORS])
    assert {made.seed for made in runs.asked} == {0}
    low = tuned(SETTINGS["AdamW"], SIZES["cpu"], Told(lambda made, _: made.algorithm.learning_rate))
    assert low.edge
    broken = tuned(SETTINGS["AdamW"], SIZES["cpu"], Told(lambda made, _: None if made.algorithm.learning_rate > 2e-3 else 9.0))
    assert broken.rate == 1e-3  # what diverged is nobody's best


def test_what_has_no_choices_has_the_rate_of_its_system():
    runs = Told(lambda made, _: abs(math.log(made.algorithm.learning_rate / 1e-2)))
    table = PaperTable(TABLES["table-11"], SIZES["cpu"], runs).measure(None, ALONE)
    assert table["learning_rate"].to_numpy() == pytest.approx(1e-2)
    scales = tuned(SETTINGS["ρ = ¼, SGD off it"], SIZES["cpu"], runs)
    assert scales.rate == pytest.approx(1e-2)
    assert runs.asked[-1].algorithm.state_free.lr_scale == 1000.0


def frame(**losses):
    return pd.DataFrame(
        [{"setting": name, "seed": seed, "loss": x} for name, each in losses.items() for seed, x in enumerate(each)]
    )


def test_the_interval_decides():
    """Differences within seeds 1.0, 1.1, 1.2: 1.1 ± 4.303·0.1/√3."""
    said, status = compared(frame(a=[1.0, 2.0, 3.0], b=[2.0, 3.1, 4.2]), Claim("a", "b", "words"))
    assert status == "yes"
    assert "+1.100 nats, 95 % interval +0.852 to +1.348, 3 seeds (reported: words)" in said
    assert compared(frame(a=[2.0, 3.1, 4.2], b=[1.0, 2.0, 3.0]), Claim("a", "b", ""))[1] == "no"
    assert compared(frame(a=[1.0, 2.0, 3.0], b=[1.5, 1.9, 3.0]), Claim("a", "b", ""))[1] == "open"
    said, status = compared(frame(a=[1.0], b=[9.0]), Claim("a", "b", ""))
    assert (status, "open, by +8.000 nats on one seed" in said) == ("open", True)
    said, status = compared(frame(a=[1.0], b=[math.nan]), Claim("a", "b", ""))
    assert (status, "a run diverged" in said) == ("open", True)


def test_a_table_is_yes_only_if_all_its_orderings_are():
    rows = ("AdamW", "GaLore", "BAdam")
    table = Table("t", "T", "Q?", rows, (Claim("AdamW", "GaLore", ""), Claim("GaLore", "BAdam", "")), seeds=3)
    measured = frame(AdamW=[1.0, 2.0, 3.0], GaLore=[2.0, 3.0, 4.0], BAdam=[3.0, 4.1, 5.0])
    assert PaperTable(table, SIZES["cpu"], Told(None)).answer(measured).status == "yes"
    measured.loc[measured["setting"] == "BAdam", "loss"] = [2.5, 2.5, 4.1]
    assert PaperTable(table, SIZES["cpu"], Told(None)).answer(measured).status == "open"
    measured.loc[measured["setting"] == "BAdam", "loss"] = [1.0, 2.0, 3.1]
    assert PaperTable(table, SIZES["cpu"], Told(None)).answer(measured).status == "no"


@pytest.fixture
def tiny(monkeypatch, source, own_cache, one_thread):  # noqa: ARG001
    """A size of a few steps, and two systems."""
    model = {"preset": "llama-tiny", **{"vocabulary": 300, "hidden_size": 16, "intermediate_size": 24, "layers": 1, "heads": 2}}
    training = {"batch_size": 4, "sequence_length": 16, "device": "cpu", "keep_best": False, "evaluation_tokens": 200}
    size = Size("tiny", 4, model, {"source": str(source), "validation_fraction": 0.2}, {**training, "evaluate_every": 9})
    monkeypatch.setitem(SIZES, "tiny", size)
    monkeypatch.setitem(SIZES, "cpu", size)
    two = tuple({"learning_rate": rate} for rate in (1e-3, 1e-2))
    for name in ("AdamW", "FRUGAL ρ = ¼"):
        monkeypatch.setitem(SETTINGS, name, Setting(name, SETTINGS[name].algorithm, choices=two))
    first = Table("table-2", "T", "Q?", ("AdamW", "FRUGAL ρ = ¼"), (Claim("AdamW", "FRUGAL ρ = ¼", "x"),), seeds=2)
    monkeypatch.setitem(TABLES, "table-2", first)
    monkeypatch.setitem(TABLES, "table-15", Table("table-15", "T", "Q?", ("AdamW", "FRUGAL ρ = ½")))
    return size


@pytest.mark.ecosystem
def test_tables_share_runs_and_go_on_where_they_stopped(tmp_path, monkeypatch, tiny, capsys):
    command.study(["table-2", "table-15"], size="cpu", out=tmp_path, dry_run=True)
    said = capsys.readouterr().out
    assert "table-2             6 runs are missing" in said
    assert "table-15            1 runs are missing" in said
    assert not (tmp_path / "cpu").exists()
    with pytest.raises(OutOfTimeError):
        PaperTable(TABLES["table-2"], tiny, Bank(tmp_path / "cpu" / "runs", 0.0)).measure(None, ALONE)
    command.study(["table-2"], size="cpu", out=tmp_path)
    runs = list((tmp_path / "cpu" / "runs").glob("*.json"))
    assert len(runs) == 6  # two rates each on the first seed, the best again on the second
    monkeypatch.setattr(banks, "_trained", lambda made: pytest.fail(f"{made.algorithm.density} is trained again"))
    target = tmp_path / "docs" / "page.md"
    target.parent.mkdir()
    target.write_text("Before.\n\n## The tables\n\nOld.\n", encoding="utf-8")
    command.study(["table-2"], size="cpu", out=tmp_path, page=target)
    published = target.read_text(encoding="utf-8")
    assert published.startswith("Before.\n\n## The tables\n\n6 runs on cpu (")
    assert "Old." not in published
    assert "| FRUGAL ρ = ¼ | 0.01 (end of the grid) |" in published
    assert "![T](images/studies/table-2.png)" in published
    assert (target.parent / "images" / "studies" / "table-2.png").is_file()
    plan = Plan(Bank(tmp_path / "cpu" / "runs"))
    PaperTable(TABLES["table-15"], tiny, plan).measure(None, ALONE)
    assert (plan.missing, len(plan.asked)) == (1, 5)


def test_what_has_no_time_ends_in_good_order(tmp_path, monkeypatch, tiny, capsys):  # noqa: ARG001
    monkeypatch.setattr(Bank, "over", property(lambda _: True))
    with pytest.raises(command.typer.Exit) as ended:
        command.study(["table-2"], size="cpu", out=tmp_path, seconds=1.0)
    assert ended.value.exit_code == 0
    assert "the same command goes on" in capsys.readouterr().out


def test_learning_rates_and_memory_are_drawn_and_answered(tmp_path):
    def loss(made, name):
        return None if name == "signSGD" and made.algorithm.learning_rate > 2e-3 else 3.0 + made.algorithm.learning_rate

    rates = carry_out(Rates(SIZES["cpu"], Told(loss)), None, tmp_path / "learning-rates")
    assert "AdamW 0.002 (best at × 1, at an end of the grid)" in rates.answer.sentence
    memory = carry_out(MemoryBySize(), None, tmp_path / "table-5-prime")
    assert memory.answer.status == "yes"
    text = page(tmp_path).read_text(encoding="utf-8")
    assert "| llama-1b | AdamW | 9.98 | 9.98 |" in text
    assert "| AdamW | 3.001 | 3.003 | 3.010 | 3.030 |" in text


def test_bad_names_are_one_line(tmp_path):
    with pytest.raises(ExperimentError, match='did you mean "table-2"'):
        command.study(["table2"], out=tmp_path)
    with pytest.raises(ExperimentError, match="--size big: is none; allowed: cpu, gpu"):
        command.study(["table-2"], size="big", out=tmp_path)
    assert recipes.PERIODS == 16


def test_time_by_size_is_measured_and_answered(tmp_path, monkeypatch):
    monkeypatch.setitem(SHAPES, "llama-tiny", Shape(16, 24, 1, 2, vocabulary=50))
    found = carry_out(TimeBySize(("llama-tiny",), rounds=1), None, tmp_path / "table-7-prime")
    assert found.answer.status in ("yes", "no")
    assert "| GaLore (svd, none) |" in page(tmp_path).read_text(encoding="utf-8")
