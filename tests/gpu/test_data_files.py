"""Local text: what is read, what is a document, and what is said of the rest."""

import gzip
import json
import os
import socket
import subprocess
import sys

import pandas as pd
import pyarrow
import pytest
import tiny

import frugal_theory as ft
from frugal_gpu.data import text, tokens
from frugal_theory.config import Data
from frugal_theory.config.load import parse

TEXTS = ["first line\nsecond line", "naïve ∇f(x) ≤ 0", "a third"]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path / "cache"))


def everything(data):
    """All documents, whatever their part."""
    return [document for part in text.PARTS for document in text.documents(data, 0, part)]


def data_of(path, **keys):
    return Data(source=str(path), validation_fraction=0.5, **keys)


def write(path, content):
    """Bytes, compressed as the path's ending says."""
    if path.suffix.lower() == ".gz":
        content = gzip.compress(content, mtime=0)
    elif path.suffix.lower() == ".zst":
        with pyarrow.OSFile(str(path), "wb") as file, pyarrow.CompressedOutputStream(file, "zstd") as stream:
            stream.write(content)
        return path
    path.write_bytes(content)
    return path


ROWS = [{"text": t, "n": i} for i, t in enumerate(TEXTS)]
CONTENTS = {
    ".txt": "\n\n".join(TEXTS).encode(),
    ".jsonl": "\n".join(json.dumps(row) for row in ROWS).encode(),
    ".json": json.dumps(ROWS, indent=2).encode(),
}


@pytest.mark.parametrize("compression", ["", ".gz", ".zst", ".GZ"])
@pytest.mark.parametrize("ending", list(CONTENTS))
def test_compressed_and_plain_files_hold_the_same_documents(tmp_path, ending, compression):
    path = write(tmp_path / f"a.b{ending}{compression}", CONTENTS[ending])
    assert sorted(everything(data_of(path))) == sorted(TEXTS)


@pytest.mark.parametrize(
    "content",
    [
        CONTENTS[".jsonl"],  # as C4's shards have it
        b"\n\n" + CONTENTS[".jsonl"] + b"\n",
        json.dumps({"version": "1.0", "data": ROWS}).encode(),
        json.dumps({"version": "1.0", "data": ROWS}, indent=1).encode(),
        json.dumps(TEXTS).encode(),
        "\n".join(json.dumps(text) for text in TEXTS).encode(),
    ],
)
def test_json_holds_a_list_or_an_object_with_one_or_a_row_a_line(tmp_path, content):
    assert sorted(everything(data_of(write(tmp_path / "a.json", content)))) == sorted(TEXTS)


def test_a_first_row_that_is_none_makes_no_other_file_of_json_lines(tmp_path):
    content = b"null\n[1]\n" + CONTENTS[".jsonl"]
    path = write(tmp_path / "a.json", content)
    assert sorted(everything(data_of(path, bad_rows="skip"))) == sorted(TEXTS)
    with pytest.raises(ft.ExperimentError, match=r"a\.json, line 1 is no object but NoneType"):
        everything(data_of(path))


def test_json_of_one_object_is_one_document(tmp_path):
    for indent in (None, 2):
        path = write(tmp_path / "a.json", json.dumps(ROWS[0], indent=indent).encode())
        assert everything(data_of(path)) == TEXTS[:1]


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("paragraph", ["one\n two", "three", "four"]),  # a line of white space is blank
        ("line", ["one", " two", "three", "four"]),
        ("file", ["one\n two\n \t\nthree\n\n\nfour"]),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_a_document_is_in_plain_text(tmp_path, documents, expected, newline):
    content = "one\n two\n \t\nthree\n\n\nfour".replace("\n", newline)
    path = write(tmp_path / "a.txt", content.encode())
    assert sorted(everything(data_of(path, documents=documents))) == sorted(expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".json"])
def test_encodings_and_their_byte_order_marks(tmp_path, encoding, ending):
    texts = ["größer\nals", "naïve", "ça"]
    rows = [{"text": t} for t in texts]
    content = {
        ".txt": "\n\n".join(texts),
        ".jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        ".json": json.dumps(rows, ensure_ascii=False),
    }[ending]
    path = write(tmp_path / f"a{ending}", content.encode(encoding))
    named = "utf-8" if encoding == "utf-8-sig" else encoding
    assert sorted(everything(data_of(path, encoding=named))) == sorted(texts)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".json"])
def test_a_byte_order_mark_is_no_text_in_an_encoding_that_keeps_it(tmp_path, encoding, ending):
    """An encoding that says the order of its bytes leaves a mark where it is; an editor may have written one all the same."""
    content = {".txt": "größer\n\nals", ".jsonl": '"größer"\n"als"', ".json": '["größer",\n"als"]'}[ending]
    path = write(tmp_path / f"a{ending}", f"\ufeff{content}".encode(encoding))
    assert sorted(everything(data_of(path, encoding=encoding))) == ["als", "größer"]


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "", "a\0b"])
def test_an_encoding_that_is_none_is_refused(encoding):
    with pytest.raises(ft.ExperimentError, match=r"data.encoding") as caught:
        parse({"name": "a", "data": {"encoding": encoding}})
    assert "\n" not in str(caught.value)


def test_a_folder_is_read_in_order_without_what_is_hidden_and_in_any_case(tmp_path):
    folder = tmp_path / "corpus"
    for name in ("b.TXT", "a.txt", "sub/c.txt.gz", ".hidden.txt", ".ipynb_checkpoints/a-checkpoint.txt", "note.md"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, name.encode())
    assert everything(data_of(folder)) == sorted(everything(data_of(folder)), key=["a.txt", "b.TXT", "sub/c.txt.gz"].index)
    assert sorted(everything(data_of(folder))) == ["a.txt", "b.TXT", "sub/c.txt.gz"]


@pytest.mark.parametrize("name", ["corpus[1]", "a*b", "zip::http", "q?", "~", "$HOME"])
def test_a_path_is_literal(tmp_path, name, monkeypatch):
    (tmp_path / "corpus1").mkdir()
    write(tmp_path / "corpus1" / "a.txt", b"the wrong text")
    (tmp_path / name).mkdir()
    write(tmp_path / name / "a.txt", b"the right text")
    monkeypatch.chdir(tmp_path)
    for source in (f"{name}/a.txt", name):
        assert everything(data_of(source)) == ["the right text"]


# --- bad rows

GOOD = [f"row {n}" for n in range(200)]


def bad_file(tmp_path, kind):
    """200 good rows, and one that is none at place 100."""
    path = tmp_path / kind.replace(" ", ".", 1).split()[0]
    lines = [json.dumps({"text": t}) for t in GOOD]
    bad = {
        "null": '{"text": null}',
        "number": '{"text": 7}',
        "missing": '{"body": "x"}',
        "array": "[1]",
        "cut": '{"text": "x',
        "deep": "[" * 100_000,
        "surrogate": '{"text": "\\ud800"}',
    }
    what = kind.split()[1]
    if kind.startswith("parquet"):
        path = tmp_path / "a.parquet"
        pd.DataFrame({"text": [*GOOD[:100], None, *GOOD[100:]]}).to_parquet(path)
    elif kind.startswith("txt"):
        path = tmp_path / "a.txt"
        path.write_bytes("\n\n".join([*GOOD[:100], "X", *GOOD[100:]]).encode().replace(b"X", b"caf\xe9"))
    elif kind.startswith("jsonl"):
        path = tmp_path / "a.jsonl"
        path.write_text("\n".join([*lines[:100], bad[what], *lines[100:]]), encoding="utf-8")
    else:
        path = tmp_path / "a.json"
        path.write_text("[" + ",".join([*lines[:100], bad[what], *lines[100:]]) + "]", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("jsonl null", r'line 101 "text" is null'),
        ("jsonl number", r'line 101 "text" is of type int'),
        ("jsonl missing", r'line 101 has no "text" \(data.text_field\); fields that hold text: "body"'),
        ("jsonl array", r"line 101 is no object but list"),
        ("jsonl cut", r"line 101 cannot be read as json"),
        ("jsonl deep", r"line 101 cannot be read as json"),
        ("jsonl surrogate", r"line 101 holds half a surrogate pair"),
        ("json null", r'row 101 "text" is null'),
        ("parquet null", r'row 101 "text" is null'),
        ("txt bytes", r'line 201 is not utf-8 \(data.encoding = "utf-8"\)'),
    ],
)
def test_one_bad_row_among_many_is_refused_by_name_or_left_out_by_choice(tmp_path, kind, words):
    path = bad_file(tmp_path, kind)
    with pytest.raises(ft.ExperimentError, match=rf'data.bad_rows = "refuse": .*{words}.*"skip" leaves') as caught:
        everything(data_of(path))
    assert "\n" not in str(caught.value)
    assert sorted(everything(data_of(path, bad_rows="skip"))) == sorted(GOOD)
    corpus = tokens.prepare(data_of(path, bad_rows="skip"), 0, 300, 16, 0)
    assert (corpus.documents, corpus.skipped) == (200, 1)
    assert tokens.prepare(data_of(path, bad_rows="skip"), 0, 300, 16, 0).skipped == 1  # also from the cache


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt.gz", gzip.compress(b"some text " * 1000, mtime=0)[:-30], r"a.txt.gz cannot be read as txt"),
        ("a.txt.gz", b"not gzip", r"a.txt.gz cannot be read as txt"),
        ("a.json.zst", b"not zstd", r"a.json.zst cannot be read as json"),
        ("a.json", b"[1, 2", r"a.json cannot be read as json"),
        ("a.parquet", None, r'has no column "text" \(data.text_field\); columns that hold text: "body"'),
        ("a.parquet.gz", b"", r"compressed on the outside"),
        ("a", b"text", r"found no ending; allowed: files of one kind, .txt"),
    ],
)
@pytest.mark.parametrize("bad_rows", ["refuse", "skip"])
def test_a_file_that_breaks_is_one_line_that_names_it(tmp_path, name, content, words, bad_rows):
    path = tmp_path / name
    if content is None:
        pd.DataFrame({"body": TEXTS, "n": [1, 2, 3]}).to_parquet(path)
    else:
        path.write_bytes(content)
    with pytest.raises(ft.ExperimentError, match=words) as caught:
        tokens.prepare(data_of(path, bad_rows=bad_rows), 0, 300, 16, 0)
    assert str(caught.value).startswith(f'data.source = "{path}"')
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(ft.ExperimentError, match="is no regular file"):
        everything(data_of(tmp_path / "a.txt"))


# --- a validation text


def test_a_validation_file_is_the_validation_and_the_source_the_training(tmp_path):
    train, held_out = write(tmp_path / "a.txt", CONTENTS[".txt"]), write(tmp_path / "b.jsonl", b'{"text": "held out"}')
    data = Data(source=str(train), validation=str(held_out))
    assert list(text.documents(data, 0, "train")) == TEXTS
    assert list(text.documents(data, 0, "validation")) == ["held out"]
    first = tokens.prepare(data, 0, 300, 4, 0)
    assert tokens.prepare(data, 1, 300, 4, 0).key == first.key  # nothing is split, so no seed counts
    write(held_out, b'{"text": "another"}')
    assert tokens.prepare(data, 0, 300, 4, 0).key != first.key


def test_a_validation_file_that_is_missing_is_named(tmp_path):
    data = Data(source=str(write(tmp_path / "a.txt", b"a")), validation=str(tmp_path / "b.txt"))
    with pytest.raises(ft.ExperimentError, match=r'data.validation = ".*b.txt": no such file; allowed: a path ending in .txt'):
        text.check_source(data)


# --- no network


def test_local_text_is_tokenised_without_a_connection(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert tokens.prepare(data_of(tiny.write_text(tmp_path)), 0, 300, 16, 0).documents == 120


@pytest.mark.ecosystem
def test_training_on_local_text_asks_no_network_and_leaves_nothing_elsewhere(tmp_path):
    """Every connection and name look-up ends the process; the home folder is empty afterwards."""
    (tmp_path / "home").mkdir()
    source = tiny.write_text(tmp_path)
    (tmp_path / "a.toml").write_text(tiny.EXPERIMENT.replace("SOURCE", str(source)), encoding="utf-8")
    code = (
        "import os, socket, sys\n"
        "def refuse(*a, **k): print('network', a, file=sys.stderr); os._exit(77)\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
        "sys.argv = ['frugal-gpu', 'train', 'a.toml', '--set', 'training.steps=2', '--set', 'training.warmup_steps=0']\n"
        "from frugal_gpu.commands.main import main\n"
        "main()\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    left = {path.name for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert not {name for name in left if "lock" in name}, left
