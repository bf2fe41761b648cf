"""Sweeps from outside: all cores and a Dask cluster give the same bits, and kill -9 loses no finished cell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import frugal_theory as ft
from frugal_theory.commands import verdict_table
from frugal_theory.config.load import ExperimentError
from frugal_theory.evidence.workers import ClusterError
from frugal_theory.premises import check_premises
from frugal_theory.report import html
from frugal_theory.report.figures import Figures
from frugal_theory.results.interrupted import KeptPremises, load_cell, save_cell
from frugal_theory.studies import verify as study
from frugal_theory.verdicts import claims
from frugal_theory.verdicts.claims import Found, claims_of
from frugal_theory.verdicts.verify import gather
from tests.calling import COMMAND, frugal_theory, in_a_process

SWEEP = """
name = "sweep"
seed = 3
[algorithm]
learning_rate = { fraction_of_admissible = 0.5 }
density = 0.5
update_gap = 5
subspace = "coordinates"
state_full = { rule = "sgdm", beta = 0.9 }
state_free = "sgd"
[problem]
kind = "quadratic"
dimension = 8
rotated = true
[noise]
kind = "gaussian"
sigma = 0.1
[simulation]
steps = 40
trials = 70
[verify]
theorems = ["run_length"]
[sweep]
"algorithm.density" = [0.0, 0.2, 0.5, 0.8, 1.0]
"""

EAGER = (
    "from frugal_theory.evidence import workers; workers.WORTH_PROCESSES = 0; "
    "from frugal_theory.commands.main import main; main()"
)
"""Processes even for work that is too small for them."""

CLUSTER = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None, "host": "127.0.0.1"}
"""A cluster on this machine's loopback."""


@pytest.fixture
def folder(experiment_file):
    return experiment_file(SWEEP).parent


def verify(folder, *arguments, program=None):
    command = [sys.executable, "-c", program] if program else COMMAND
    return in_a_process("verify", "sweep.toml", *arguments, cwd=folder, command=command)


def results(folder, out):
    theory = folder / out / "theory"
    return (theory / "evidence.parquet").read_bytes(), (theory / "verdicts.json").read_text()


def processes_of(session):
    """The processes of a session that are still there, by number."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(session)], capture_output=True, text=True, check=False).stdout
    return [line.split()[0] for line in listed.splitlines() if not line.split()[1].startswith("Z")]


@pytest.mark.ecosystem
def test_same_bits_for_any_number_of_processes(folder):
    for jobs, program in ((1, None), (2, EAGER), (3, EAGER)):
        done = verify(folder, "--jobs", jobs, "--out", f"{jobs}{program is None}", program=program)
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("[") and "added" not in line]
        assert [line[:5] for line in lines] == [f"[{i}/5]" for i in range(1, 6)]
    whole = results(folder, "1True")
    assert results(folder, "2False") == whole
    assert results(folder, "3False") == whole


@pytest.mark.ecosystem
def test_kill_9_loses_no_finished_cell(folder):
    """Killed after the second cell; the same command then finishes the rest, and does not do those cells again."""
    slow = ["--jobs", "2", "--set", "simulation.steps=2000"]
    command = [sys.executable, "-c", EAGER, "verify", "sweep.toml", *slow, "--out", "out"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    cells = folder / "out" / "theory" / "cells"
    deadline = time.monotonic() + 120
    while len(list(cells.glob("[!.]*.npz"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    while ours := processes_of(process.pid):
        assert time.monotonic() < deadline, f"the killed process left {ours} behind"
        time.sleep(0.1)
    assert process.returncode == -signal.SIGKILL
    kept = {path.name: os.stat(path).st_mtime_ns for path in cells.glob("[!.]*.npz")}
    assert 2 <= len(kept) < 5
    assert not (folder / "out" / "theory" / "verdicts.json").exists()

    done = verify(folder, *slow, "--out", "out")
    assert done.returncode == 0, done.stderr
    again = [line for line in done.stderr.splitlines() if line.startswith("[") and "added" not in line]
    assert len(again) == 5 - len(kept), "only the missing cells are simulated"
    assert verify(folder, *slow[:1], 1, *slow[2:], "--out", "whole").returncode == 0
    assert results(folder, "out") == results(folder, "whole")
    assert not list((folder / "out").rglob("*.part")), "what the killed process left half written is gone"


def test_premises_that_were_tested_are_not_tested_again_after_an_interruption(folder, monkeypatch):
    """Ctrl-C while the fourth cell's are tested, then a line that a kill cut short: both say what is kept."""
    tested = []

    def counted(instance, **how):
        tested.append(instance)
        if len(tested) == 4:
            raise KeyboardInterrupt
        return check_premises(instance, **how)

    monkeypatch.setattr(claims, "check_premises", counted)
    order = ["verify", "sweep.toml", "--jobs", 1, "--out"]
    broken = frugal_theory(*order, "out", cwd=folder)
    assert broken.returncode == 130
    told = "interrupted: the premises of 3 of 5 cells are kept in out; the same command continues with the rest\n"
    assert broken.stderr == told
    (kept,) = (folder / "out" / "theory" / "cells").iterdir()
    kept.write_bytes(kept.read_bytes()[:-30])
    done = frugal_theory(*order, "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len(tested) == 4 + 3, "the two whole lines are read"
    assert not kept.parent.exists()
    assert frugal_theory(*order, "whole", cwd=folder).returncode == 0
    assert results(folder, "out") == results(folder, "whole")


def test_premises_are_read_back_to_the_bit_and_only_of_the_same_experiment(quadratic, tmp_path):
    experiment = quadratic({"sweep": {"algorithm.update_gap": [1, 2, 5]}})
    whole = claims_of(experiment, kept=KeptPremises(tmp_path, experiment))
    assert len(KeptPremises(tmp_path, experiment)) == 3
    assert claims_of(experiment, kept=KeptPremises(tmp_path, experiment))[2].premises == whole[2].premises
    assert [c.noise for c in claims_of(experiment, kept=KeptPremises(tmp_path, experiment))] == [c.noise for c in whole]
    (path,) = (tmp_path / "theory" / "cells").iterdir()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:40]]))
    assert len(KeptPremises(tmp_path, experiment)) == 1
    flipped = bytearray(path.read_bytes())
    flipped[len(lines[0]) // 2] ^= 1
    path.write_bytes(flipped)
    assert len(KeptPremises(tmp_path, experiment)) == 0, "every line has its checksum"
    path.write_text("\n".join([lines[0], lines[1][:40]]))
    again = KeptPremises(tmp_path, experiment)
    assert claims_of(experiment, kept=again)[1].premises == whole[1].premises
    assert len(KeptPremises(tmp_path, experiment)) == 3, "a new line begins after one that was cut short"
    for other in ({"seed": 8}, {"verify.confidence": 0.9}, {"sweep": {"algorithm.update_gap": [1, 2]}}):
        assert len(KeptPremises(tmp_path, quadratic({"sweep": {"algorithm.update_gap": [1, 2, 5]}} | other))) == 0


def test_an_experiment_that_cannot_be_run_leaves_nothing(folder, monkeypatch):
    """Nor does one whose cluster does not answer, once all premises have been tested."""
    tested = []

    def refused(instance, **how):
        tested.append(instance)
        if len(tested) == 2:
            raise ExperimentError("no")
        return check_premises(instance, **how)

    monkeypatch.setattr(claims, "check_premises", refused)
    done = frugal_theory("verify", "sweep.toml", "--out", "new/out", cwd=folder)
    assert (done.returncode, done.stderr) == (2, "no\n")
    assert not (folder / "new").exists()

    def nobody(*_, **__):
        raise ClusterError("nobody answers")

    monkeypatch.setattr(study, "gather_all", nobody)
    done = frugal_theory("verify", "sweep.toml", "--out", "new/out", cwd=folder)
    assert (done.returncode, done.stderr) == (2, "nobody answers\n")
    assert not (folder / "new").exists()


def test_cells_of_other_data_are_not_taken_for_these(tmp_path):
    """The user mends the table under the same name, and gives the same command again."""
    table = tmp_path / "mine.csv"
    keys = {"kind": "logistic", "dataset": str(table)}
    algorithm = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 0.1}
    simulation = {"steps": 5, "trials": 8}
    table.write_text("x,y,label\n1,2,0\n3,-1,1\n2,2,1\n")
    experiment = ft.parse({"name": "mine", "algorithm": algorithm, "problem": keys, "simulation": simulation})
    (ready,) = claims_of(experiment)
    save_cell(tmp_path, ready, gather(ready))
    assert load_cell(tmp_path, ready) is not None
    table.write_text("x,y,label\n1,2,0\n3,-1,1\n2,2,0\n")
    assert load_cell(tmp_path, claims_of(experiment)[0]) is None


def test_data_that_change_during_the_run_do_not_lend_their_name_to_what_was_made_of_the_old_ones(tmp_path):
    table = tmp_path / "mine.csv"
    keys = {"kind": "logistic", "dataset": str(table)}
    algorithm = {"density": 0.0, "state_full": "sgdm", "state_free": "sgd", "learning_rate": 0.1}
    table.write_text("x,y,label\n1,2,0\n3,-1,1\n2,2,1\n")
    experiment = ft.parse({"name": "mine", "algorithm": algorithm, "problem": keys, "simulation": {"steps": 5, "trials": 8}})
    kept = KeptPremises(tmp_path, experiment)
    (ready,) = claims_of(experiment)
    table.write_text("x,y,label\n1,2,0\n3,-1,1\n2,2,0\n")
    kept.save(0, ready.instance, Found(ready.premises, ready.noise))
    save_cell(tmp_path, ready, gather(ready))
    (now,) = claims_of(experiment)
    assert load_cell(tmp_path, now) is None
    assert kept.load(0, ready.instance) is not None
    assert kept.load(0, now.instance) is None


MINE = """
import sys
import numpy as np
from typing import Literal
import frugal_theory as ft
from frugal_theory.config import Part

class Table(Part):
    kind: Literal["mine"] = "mine"

class Mine:
    def variance(self, problem):
        return {{name: np.full(shape, {sigma}**2) for name, shape in problem.shapes.items()}}

    def sample(self, rng, problem, x, gradient):
        return {{name: g + {sigma} * rng.choice([-1.0, 1.0], g.shape) for name, g in gradient.items()}}

ft.add_noise(Table, lambda table: Mine())
"""


@pytest.mark.ecosystem
def test_cells_of_other_code_are_not_taken_for_these(tmp_path):
    """The user mends a noise of their own after Ctrl-C, and gives the same command again."""
    text = SWEEP.replace('kind = "gaussian"\nsigma = 0.1', 'kind = "mine"').replace("[0.0, 0.2, 0.5, 0.8, 1.0]", "[0.5, 0.8]")
    (tmp_path / "sweep.toml").write_text(text)
    stop = """
from frugal_theory.studies import verify
save, saved = verify.save_cell, []
def once(*cell):
    if saved:
        raise KeyboardInterrupt
    saved.append(save(*cell))
verify.save_cell = once
"""
    start = "import additions\n{stop}\nfrom frugal_theory.commands.main import main\nmain()\n"
    order = ("verify", "sweep.toml", "--jobs", "1", "--out")
    (tmp_path / "additions.py").write_text(MINE.format(sigma=0.1))
    broken = in_a_process(*order, "out", cwd=tmp_path, command=[sys.executable, "-c", start.format(stop=stop)])
    assert "1 of 2 cells are kept" in broken.stderr
    (tmp_path / "additions.py").write_text(MINE.format(sigma=2.0))
    for out in ("out", "whole"):
        done = in_a_process(*order, out, cwd=tmp_path, command=[sys.executable, "-c", start.format(stop="")])
        assert done.returncode == 0, done.stderr
        assert "of an interrupted run" not in done.stderr
    assert results(tmp_path, "out") == results(tmp_path, "whole")


def test_cells_of_another_experiment_are_not_counted(folder, quadratic, monkeypatch):
    """They lie in the same folder; of this experiment nothing is kept but what was tested."""
    ready = claims_of(quadratic({"sweep": {"algorithm.update_gap": [1, 2, 3, 4, 5, 6]}}))
    for cell in ready:
        save_cell(folder / "out", cell, gather(cell))

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(claims, "check_premises", stopped)
    broken = frugal_theory("verify", "sweep.toml", "--jobs", 1, "--out", "out", cwd=folder)
    assert broken.returncode == 130
    assert broken.stderr == "interrupted: nothing is kept; the same command begins again\n"


def test_of_many_cells_theorems_are_counted_and_urgent_cells_shown(folder, monkeypatch):
    """Tens of thousands of lines tell nobody anything; with few trials some cells stay open."""
    order = [
        "verify",
        "sweep.toml",
        "--jobs",
        1,
        "--set",
        "simulation.trials=2",
        "--set",
        "simulation.max_trials=2",
        "--out",
        "out",
    ]
    monkeypatch.setattr(verdict_table, "MOST", 1)
    few = frugal_theory(*order, cwd=folder)
    records = json.loads((folder / "out" / "theory" / "verdicts.json").read_text())
    urgent = [record for record in records if record["status"] == "inconclusive"]
    assert 2 <= len(urgent) < len(records) == 5
    told = few.stdout.splitlines()
    assert "5 cells" in told
    (row,) = [line.split() for line in told if line.startswith("  run_length ")][:1]
    assert row[1:5] == ["?", str(len(urgent)), "✓", str(5 - len(urgent))]
    assert f"The first 1 of {len(urgent)} cells with a verdict that is violated or open:" in told
    shown = [line for line in told if line.startswith("density = ")]
    assert shown == [urgent[0]["label"]]
    monkeypatch.setattr(html, "draw", lambda *_: Figures([], [], None, [], []))
    page = frugal_theory("report", "out", cwd=folder)
    assert page.returncode == 0
    assert f"The first 1 of {len(urgent)} cells with" in page.stdout
    assert [line.split()[2] for line in page.stdout.splitlines() if line.startswith("density = ")] == [
        urgent[0]["label"].split()[-1]
    ]


def test_a_damaged_cell_is_done_again(quadratic, tmp_path):
    """Cut at any length, as by a full disk or a power cut; whole it is read back to the bit."""
    (ready,) = claims_of(quadratic())
    evidence = gather(ready)
    save_cell(tmp_path, ready, evidence)
    (path,) = (tmp_path / "theory" / "cells").iterdir()
    whole = path.read_bytes()
    for metric, found in load_cell(tmp_path, ready).items():
        np.testing.assert_array_equal(found.mean, evidence[metric].mean)
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert load_cell(tmp_path, ready) is None
    for place in range(1, len(whole), len(whole) // 20):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        read = load_cell(tmp_path, ready)  # a bit that no reader looks at changes nothing
        for metric, found in (read or {}).items():
            np.testing.assert_array_equal(found.mean, evidence[metric].mean)
            np.testing.assert_array_equal(found.values, evidence[metric].values)
    path.write_bytes(whole.replace(evidence["squared_gradient_norm"].mean[:2].tobytes(), b"\1" * 16, 1))
    assert load_cell(tmp_path, ready) is None, "every number has its checksum"
    path.unlink()
    assert load_cell(tmp_path, ready) is None


@pytest.mark.ecosystem
def test_a_real_dask_cluster_gives_the_same_bits(folder):
    distributed = pytest.importorskip("distributed")
    assert verify(folder, "--jobs", 1, "--out", "here").returncode == 0
    with distributed.LocalCluster(**CLUSTER) as cluster, distributed.Client(cluster) as client:
        done = verify(folder, "--cluster", cluster.scheduler_address, "--out", "there")
        assert done.returncode == 0, done.stderr
        ran = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
        assert ran > 0, "the cluster did the work"
    assert results(folder, "there") == results(folder, "here")


@pytest.mark.ecosystem
def test_a_cluster_that_ends_at_work_is_one_line_and_the_rest_goes_on_here(folder):
    """Exit status 2: 1 would say that a theorem is violated."""
    distributed = pytest.importorskip("distributed")
    slow = ["--set", "simulation.steps=2000"]
    with distributed.LocalCluster(**CLUSTER) as cluster:
        command = [*COMMAND, "verify", "sweep.toml", *slow, "--out", "out", "--cluster", cluster.scheduler_address]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        cells = folder / "out" / "theory" / "cells"
        deadline = time.monotonic() + 120
        while not list(cells.glob("[!.]*.npz")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        cluster.close()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    (line,) = [line for line in said.splitlines() if line and not line.startswith("[")]
    assert line.startswith(f"{cluster.scheduler_address}: the Dask cluster failed at work")
    kept = len(list(cells.glob("[!.]*.npz")))
    done = verify(folder, *slow, "--jobs", 1, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("[") and "added" not in line]) == 5 - kept


def other_version() -> None:
    from frugal_theory.evidence import workers

    workers.version = "0.{}".format


def no_package() -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("frugal_theory")]:
        del sys.modules[name]
    sys.modules["frugal_theory"] = None


@pytest.mark.ecosystem
@pytest.mark.parametrize(
    ("change", "says"), [(other_version, "has 0.frugal-lab, and here"), (no_package, "a worker cannot run frugal-lab")]
)
def test_a_worker_of_another_version_is_refused(folder, change, says):
    """Another NumPy may draw or round otherwise, and the results would depend on who did the work."""
    distributed = pytest.importorskip("distributed")
    change.__module__ = "__main__"  # pickled by value: workers do not know this file
    with distributed.LocalCluster(**{**CLUSTER, "n_workers": 1}) as cluster, distributed.Client(cluster) as client:
        client.run(change)
        done = verify(folder, "--cluster", cluster.scheduler_address, "--out", "out")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert says in done.stderr


@pytest.mark.ecosystem
def test_a_cluster_that_is_not_there_is_one_line(folder):
    pytest.importorskip("distributed")
    program = "from frugal_theory.evidence import workers; workers.TIMEOUT = 0.5\n" + COMMAND[-1]
    done = verify(folder, "--cluster", "tcp://127.0.0.1:9", program=program)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "tcp://127.0.0.1:9" in done.stderr


def test_without_dask_the_line_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = frugal_theory("verify", "sweep.toml", "--cluster", "tcp://127.0.0.1:9", cwd=folder)
    assert done.returncode == 2
    assert "frugal-lab[dask]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
