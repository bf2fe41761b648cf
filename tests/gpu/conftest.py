"""What the tests of a training run share: a text, a cache of their own, and one thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.gpu import tiny


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that are the ecosystem's as a whole are not imported where it is left out: their libraries take ten seconds."""
    return True if collection_path.name.startswith("test_ecosystem_") and "not ecosystem" in config.option.markexpr else None


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of short sentences."""
    return tiny.write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token cache that is gone with the tests."""
    monkeypatch.setenv("FRUGAL_LAB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads on a busy machine wait for each other far longer than such a small model computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
