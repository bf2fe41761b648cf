"""A hub on loopback that serves a small C4, or other data, as the real one does to ``datasets``, and breaks on request."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

COMMIT = "a" * 40
CARD = b"""---
configs:
- config_name: en
  data_files:
  - split: train
    path: en/c4-train.*.json.gz
  - split: validation
    path: en/c4-validation.*.json.gz
---
"""
SHARDS, ROWS = 4, 120


def document(split: str, shard: int, row: int) -> str:
    """The text of one row: no two are equal."""
    return f"document {row} in shard {shard} of the {split} split, {row * row % 97} apples and {shard * row % 89} pears"


def _shard(split: str, shard: int) -> bytes:
    rows = [{"text": document(split, shard, row), "timestamp": "2019-04-25T12:57:54Z", "url": "u"} for row in range(ROWS)]
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)


FILES = {"README.md": CARD, "en/c4-validation.00000-of-00001.json.gz": _shard("validation", 0)}
FILES |= {f"en/c4-train.{n:05d}-of-{SHARDS:05d}.json.gz": _shard("train", n) for n in range(SHARDS)}


class Hub(http.server.ThreadingHTTPServer):
    """``breaks[name]``: so many times that file is cut off in the middle. ``served`` counts what was sent whole."""

    daemon_threads = True

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.name, self.files = name, files
        self.breaks: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.refused = False


class _Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, _, query = urllib.parse.unquote(self.path).partition("?")
        at = f"/datasets/{self.server.name}/resolve/"
        api = f"/api/datasets/{self.server.name}"
        if self.server.refused:
            self.close_connection = True
        elif path.startswith(at):
            self._file(path.removeprefix(at).partition("/")[2])
        elif path.startswith(f"{api}/tree/{COMMIT}"):
            self._json(
                _tree(
                    self.server.files, path.removeprefix(f"{api}/tree/{COMMIT}").strip("/"), "recursive=true" in query.lower()
                )
            )
        elif path == api or path.startswith(f"{api}/revision/"):
            self._json({"id": self.server.name, "sha": COMMIT, "private": False, "tags": [], "siblings": []})
        else:
            self._send(404, b"", {})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str) -> None:
        if name not in self.server.files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        content = self.server.files[name]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        status, wanted = 200, self.headers.get("Range")
        if wanted:
            begin, _, end = wanted.removeprefix("bytes=").partition("-")
            last = min(int(end), len(content) - 1) if end else len(content) - 1
            headers["Content-Range"] = f"bytes {begin}-{last}/{len(content)}"
            status, content = 206, content[int(begin) : last + 1]
        if self.command == "GET" and self.server.breaks[name] > 0:
            self.server.breaks[name] -= 1
            self._send(status, content[: len(content) // 2], {**headers, "Content-Length": str(len(content))})
            self.close_connection = True
            return
        self.server.served[name] += self.command == "GET"
        self._send(status, content, headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def _tree(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, object]]:
    """What the hub says of a folder."""
    found: dict[str, dict[str, object]] = {}
    for name, content in files.items():
        if folder and not name.startswith(f"{folder}/"):
            continue
        below = name[len(folder) + 1 if folder else 0 :]
        if "/" in below and not recursive:
            child = f"{folder}/{below}".strip("/").rpartition("/")[0]
            found[child] = {"type": "directory", "path": child, "oid": "0" * 40}
        else:
            found[name] = {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    return list(found.values())


@contextmanager
def running(name: str = "allenai/c4", files: dict[str, bytes] = FILES) -> Iterator[Hub]:
    """A hub that serves until the end."""
    hub = Hub(name, files)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
