"""The token cache: what it is known by, two processes, a kill at any moment, and damage."""

import itertools
import json
import os
import shutil
import signal
import threading
import time
import traceback
from pathlib import Path

import filelock
import numpy as np
import pytest
import tiny

import frugal_theory as ft
from frugal_gpu.data import text, tokens
from frugal_gpu.data.cache import DamagedError, locked, read_entry
from frugal_gpu.data.source import Source, add_source
from frugal_theory.config import Data
from frugal_theory.config.registry import extended


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path):
    return Data(source=str(tiny.write_text(tmp_path)), validation_fraction=0.2)


def prepared(data):
    return tokens.prepare(data, 0, 300, 16, 0)


def streams(corpus):
    return [np.array(part.stream) for part in (corpus.train, corpus.validation)]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(streams(a), streams(b), strict=True))


# --- by content


def test_a_text_that_moved_is_found_again(data, tmp_path, monkeypatch):
    first = prepared(data)
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(data.source, tmp_path / "elsewhere" / "another.jsonl")
    monkeypatch.setattr(tokens, "_made", None)
    assert prepared(data.model_copy(update={"source": str(moved)})).key == first.key


@pytest.mark.parametrize(
    "change", [{"documents": "line"}, {"encoding": "latin-1"}, {"text_field": "other"}, {"bad_rows": "skip"}]
)
def test_how_a_text_is_read_is_part_of_its_key(data, change):
    assert text.fingerprint(data.model_copy(update=change)) != text.fingerprint(data)


def test_another_text_in_the_same_place_is_another_entry(data):
    first = prepared(data)
    with open(data.source, "r+b") as file:
        file.seek(30)
        file.write(b"Q")
    os.utime(data.source, (0, 0))
    assert prepared(data).key != first.key


# --- damage


def damages(folder):
    for name in ("train.bin", "validation.bin", "tokenizer.json", "corpus.json"):
        yield f"flip {name}", lambda p=folder / name: flip(p, p.stat().st_size // 2)
        yield f"first {name}", lambda p=folder / name: flip(p, 0)
        yield f"last {name}", lambda p=folder / name: flip(p, p.stat().st_size - 1)
        yield f"cut {name}", lambda p=folder / name: os.truncate(p, p.stat().st_size // 2)
        yield f"empty {name}", lambda p=folder / name: os.truncate(p, 0)
        yield f"gone {name}", lambda p=folder / name: p.unlink()
    yield "swapped", lambda: swap(folder / "train.bin", folder / "validation.bin")
    yield "[]", lambda: (folder / "corpus.json").write_text("[]")
    yield "no folder", lambda: (shutil.rmtree(folder), folder.write_text("a file"))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def swap(a, b):
    c = a.with_suffix(".c")
    for old, new in ((a, c), (b, a), (c, b)):
        os.replace(old, new)


@pytest.mark.ecosystem
def test_whatever_is_damaged_is_said_in_one_line_and_made_anew(data, cache, capsys):
    first = prepared(data)
    before = streams(first)
    names = [name for name, _ in damages(cache / first.key)]
    for name, damage in damages(cache / first.key):
        damage()
        again = prepared(data)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, (name, lines)
        assert str(cache / first.key) in lines[0], name
        assert "tokenised anew" in lines[0], name
        assert all(np.array_equal(a, b) for a, b in zip(before, streams(again), strict=True)), name
        assert prepared(data).key == first.key
        assert capsys.readouterr().err == "", name
    assert len(names) == 27


def test_a_number_that_was_altered_in_the_description_is_damage(data, cache):
    """Whole JSON with another vocabulary: nothing but its own checksum can tell."""
    folder = cache / prepared(data).key
    written = json.loads((folder / "corpus.json").read_text())
    written["entry"]["vocabulary"] += 1
    (folder / "corpus.json").write_text(json.dumps(written))
    with pytest.raises(DamagedError, match=r"corpus\.json: its checksum differs"):
        read_entry(folder)


# --- kills and two processes


def in_a_fork(action):
    """Run it in a process of its own, a copy of this one; returns the exit status as ``os.waitstatus_to_exitcode`` has it."""
    process = os.fork()
    if not process:
        try:
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.fixture
def small_steps(monkeypatch):
    """Many commits, and tokenizers without threads, which a fork does not have."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setattr(tokens, "CHUNK", 40)
    monkeypatch.setattr(tokens, "COMMIT", 1500)


def killed(data, cache, die_at):
    """Build, and die by SIGKILL before the ``die_at``-th of the calls that write; returns how many calls there were."""
    os.environ["FRUGAL_LAB_CACHE"] = str(cache)
    count = itertools.count(1)

    def watched(owner, name):
        real = getattr(owner, name)

        def call(*positional, **named):
            if next(count) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*positional, **named)

        setattr(owner, name, call)

    for owner, name in ((os, "replace"), (os, "fsync"), (tokens.Growing, "append"), (tokens, "create"), (Path, "write_text")):
        watched(owner, name)
    prepared(data)
    (cache / "calls").write_bytes(str(next(count) - 1).encode())


@pytest.mark.usefixtures("small_steps")
@pytest.mark.ecosystem
def test_a_kill_at_any_moment_leaves_nothing_wrong(data, tmp_path, monkeypatch, capsys):
    """The next process makes the same corpus from what is left, without a word and without leavings."""
    expected = prepared(data)
    assert in_a_fork(lambda: killed(data, tmp_path / "whole", 0)) == 0
    calls = int((tmp_path / "whole" / "calls").read_text())
    assert calls >= 15
    for die_at in range(1, calls + 1):
        place = tmp_path / f"killed-{die_at}"
        assert in_a_fork(lambda n=die_at, p=place: killed(data, p, n)) == -signal.SIGKILL
        monkeypatch.setenv("FRUGAL_LAB_CACHE", str(place))
        assert same(prepared(data), expected), die_at
        assert not [path for path in place.rglob("*partial*") if path.is_dir()], die_at
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("small_steps")
def test_processes_that_start_together_make_one_entry(data, tmp_path):
    """One of them writes, the others wait for it: the text is tokenised once."""
    (tmp_path / "made").mkdir()

    def build():
        real = tokens.create

        def create(*arguments):
            (tmp_path / "made" / str(os.getpid())).touch()
            time.sleep(0.2)
            return real(*arguments)

        tokens.create = create
        prepared(data)

    processes = [threading.Thread(target=lambda: codes.append(in_a_fork(build))) for _ in range(3)]
    codes = []
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert codes == [0, 0, 0]
    assert len(list((tmp_path / "made").iterdir())) == 1
    assert prepared(data).documents == 120


def test_who_waits_for_the_lock_says_so(cache, capsys, monkeypatch):
    real = filelock.FileLock.acquire
    monkeypatch.setattr(
        filelock.FileLock, "acquire", lambda self, timeout=None, **k: real(self, timeout=0.05 if timeout == 2 else timeout, **k)
    )
    folder, inside = cache / "key", threading.Event()

    def hold():
        with locked(folder):
            inside.set()
            time.sleep(0.4)
            held.append(time.monotonic())

    held = []
    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    with locked(folder):
        released = time.monotonic()
    holder.join()
    assert held[0] <= released
    assert "another process tokenises the same text into" in capsys.readouterr().err


# --- growth


def test_a_stream_that_stops_goes_on_where_it_was(cache, monkeypatch):
    """An error in the middle of an endless text keeps what was tokenised: the next attempt reads each document once."""
    monkeypatch.setattr(tokens, "CHUNK", 8)
    monkeypatch.setattr(tokens, "WINDOW", 64)
    breaks = [100]

    def documents(_, part):
        for n in range(10_000 if part == "train" else 20):
            if part == "train" and n == breaks[0]:
                raise ft.ExperimentError("the stream broke")
            yield f"document {n} of the {part}ing"

    with extended():
        add_source("broken", Source(documents, lambda _: "broken 1", validation=True, endless=True))
        endless = Data(source="broken")
        with pytest.raises(ft.ExperimentError, match="the stream broke"):
            tokens.prepare(endless, 0, 280, 16, 4000)
        breaks[0] = 70  # for the tokenizer: it is not trained again, and what was read is not kept in a wrong place
        with pytest.raises(ft.ExperimentError, match="the stream broke"):
            tokens.prepare(endless, 0, 280, 16, 4000)
        breaks[0] = -1
        corpus = tokens.prepare(endless, 0, 280, 16, 4000)
        found = np.array(corpus.train.stream)
        shutil.rmtree(cache)
        assert np.array_equal(found, tokens.prepare(endless, 0, 280, 16, 4000).train.stream)
