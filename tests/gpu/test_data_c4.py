"""C4 through ``datasets`` from a hub on loopback: whole, broken in the middle, broken for good, and taken up again."""

import json
import os
import subprocess
import sys

import hub
import pytest

import frugal_theory as ft
from frugal_gpu.data import c4

PREPARE = """
import json, sys, time
import datasets
from frugal_gpu.data import c4, text, tokenizer, tokens
from frugal_theory.config import Data
from frugal_theory.config.load import ExperimentError

c4.WAITS = (0.01, 0.02, 0.03)
tokens.CHUNK, tokens.WINDOW, tokenizer.TOKENIZER_DOCUMENTS = 16, 512, 40
datasets.config.STREAMING_READ_MAX_RETRIES = 1
datasets.config.STREAMING_READ_RETRY_INTERVAL = 0
wait = time.sleep
time.sleep = lambda seconds: wait(min(seconds, 0.01))  # the hub's client waits 8 s for an answer that will not come
try:
    corpus = tokens.prepare(Data(source="c4"), int(sys.argv[2]), 400, 16, int(sys.argv[1]))
except ExperimentError as error:
    print(error, file=sys.stderr)
    raise SystemExit(2)
known = corpus.train.stream.tolist()
from tokenizers import Tokenizer
read = Tokenizer.from_file(str(corpus.tokenizer))
ends = [k for k, token in enumerate(known) if token == 0]
texts = [read.decode(known[a + 1 : b]) for a, b in zip(ends, ends[1:])]
print(json.dumps({"key": corpus.key, "texts": texts, "validation": len(corpus.validation.stream), "tokens": len(known)}))
"""

EVERYTHING = [hub.document("train", shard, row) for shard in range(hub.SHARDS) for row in range(hub.ROWS)]
SECOND = "en/c4-train.00001-of-00004.json.gz"


@pytest.fixture
def prepare(tmp_path):
    """``prepare(hub, needed)``: the corpus made in a process of its own."""

    def call(server, needed, cache="cache", seed=0):
        names = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "hf"),
            "FRUGAL_LAB_CACHE": str(tmp_path / cache),
            "NO_PROXY": "127.0.0.1",
        }
        kept = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
        return subprocess.run(
            [sys.executable, "-c", PREPARE, str(needed), str(seed)],
            check=False,
            env={**kept, **names},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call


@pytest.mark.ecosystem
def test_a_stream_that_breaks_is_taken_up_again_and_loses_nothing(prepare):
    """One life of a cache: a little is read; more breaks for good; then twice, and recovers. Each document is there once."""
    with hub.running() as server:
        first = prepare(server, 1500)
        assert first.returncode == 0, first.stderr
        little = json.loads(first.stdout)
        whole = little["texts"]
        assert whole == EVERYTHING[: len(whole)]
        assert len(whole) < hub.ROWS  # as far as is needed
        assert server.served[SECOND] == 0
        assert little["validation"] > hub.ROWS

        server.breaks[SECOND] = 1000
        broken = prepare(server, 10**5)
        assert broken.returncode == 2
        *notices, last = [line for line in broken.stderr.splitlines() if "stream broke" in line]
        assert [f"attempt {k} of 3 in" in line for k, line in enumerate(notices, 1)] == [True] * 3
        assert f'data.source = "c4": the train stream broke after {hub.ROWS} documents, and 3 more attempts failed' in last
        assert "what was tokenised is kept, and the same command goes on from there" in last

        requests = (1000 - server.breaks[SECOND]) // 4  # datasets and the hub's client ask more than once themselves
        server.breaks[SECOND] = 2 * requests
        server.served.clear()
        again = prepare(server, 10**5)
        assert again.returncode == 0, again.stderr
        found = json.loads(again.stdout)
        assert found["texts"] == EVERYTHING
        assert found["key"] == little["key"]
        assert sum("attempt" in line for line in again.stderr.splitlines()) == 2

        third = prepare(server, 1500, seed=1)  # no seed splits C4: it is read once for all
        assert json.loads(third.stdout) == little


@pytest.mark.ecosystem
def test_no_network_at_the_beginning_is_one_line_at_once(prepare):
    with hub.running() as server:
        server.refused = True
        refused = prepare(server, 1500)
    assert refused.returncode == 2
    (line,) = [line for line in refused.stderr.splitlines() if "data.source" in line]
    assert "it needs a network; allowed without one" in line
    assert "attempt" not in refused.stderr


class Rows:
    """Rows of a split that break at some places, each once; the state is as that of ``datasets``."""

    def __init__(self, breaks, total=40):
        self.breaks, self.total, self.at = breaks, total, 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]

    def __iter__(self):
        while self.at < self.total:
            if self.at in self.breaks:
                self.breaks.remove(self.at)
                raise ConnectionError(f"cut\nat {self.at}")
            self.at += 1
            yield {"text": f"document {self.at}" if self.at != 13 else None, "url": "x"}


@pytest.mark.parametrize("every", [1, 7, 100])
def test_every_document_once_wherever_the_stream_breaks(monkeypatch, capsys, every):
    import datasets

    breaks, slept = [3, 4, 12, 13, 25, 39], []
    monkeypatch.setattr(c4.time, "sleep", slept.append)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Rows(breaks))
    stream, found = c4.SOURCE.reader(None, "train", None), []
    for number, text in enumerate(stream, 1):
        found.append(text)
        if number % every == 0:
            stream.state()
    assert found[:12] + found[13:] == [f"document {n}" for n in range(1, 41) if n != 13]
    assert 'row 13 of train "text" is null' in found[12].reason
    assert slept == [1] * 6
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[0] == "c4: the train stream broke after 3 documents (ConnectionError: cut at 3); attempt 1 of 6 in 1 s"


def test_attempts_wait_longer_each_time_and_end_in_one_line(monkeypatch):
    import datasets

    slept = []
    monkeypatch.setattr(c4.time, "sleep", slept.append)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Rows([5] * 7))
    stream = c4.SOURCE.reader(None, "train", None)
    assert len([next(stream) for _ in range(5)]) == 5
    with pytest.raises(ft.ExperimentError, match=r"after 5 documents, and 6 more attempts failed") as caught:
        next(stream)
    assert slept == list(c4.WAITS)
    assert "\n" not in str(caught.value)
