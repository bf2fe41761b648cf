"""The Python sources of the machine, on folders made for the purpose."""

import sysconfig

import pytest

import frugal_theory as ft
from frugal_gpu.data import python_sources, text
from frugal_theory.config import Data

DATA = Data(source="python-sources", validation_fraction=0.3)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """``machine(files)``: a standard library and site-packages with these files."""
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {k: str(tmp_path / v) for k, v in PLACES.items()})
    python_sources.sources.cache_clear()

    def write(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    yield write
    python_sources.sources.cache_clear()


PLACES = {"stdlib": "lib", "platstdlib": "lib", "purelib": "env/site-packages", "platlib": "env/site-packages"}
FILES = {
    "lib/a.py": "a = 1\n",
    "lib/pkg/b.py": "b = 2\n",
    "lib/pkg/__init__.py": "",
    "lib/pkg/blank.py": " \n\n",
    "lib/site-packages/of_another.py": "environment = 1\n",
    "lib/latin.py": "é = 1".encode("latin-1"),
    "lib/data.txt": "no source",
    "env/site-packages/c.py": "c = 3\n",
    "env/site-packages/copy_of_a.py": "a = 1\n",
}


def documents():
    return [document for part in text.PARTS for document in text.documents(DATA, 0, part)]


def test_every_source_once(machine):
    machine(FILES)
    assert sorted(documents()) == ["a = 1\n", "b = 2\n", "c = 3\n"]


def test_order_and_name_depend_on_the_content_alone(machine, tmp_path):
    machine({f"lib/{n}.py": f"x = {n}\n" for n in range(40)})
    order, name = documents(), text.fingerprint(DATA)
    for n in range(40):
        (tmp_path / "lib" / f"{n}.py").unlink()
    python_sources.sources.cache_clear()
    machine({f"env/site-packages/{(7 * n) % 40}/m.py": f"x = {n}\n" for n in range(40)})
    assert documents() == order
    assert text.fingerprint(DATA) == name
    assert order != sorted(order)
    machine({"lib/new.py": "y = 1"})
    python_sources.sources.cache_clear()
    assert text.fingerprint(DATA) != name


def test_a_file_that_changes_while_it_is_read_is_refused(machine):
    machine(FILES)
    text.fingerprint(DATA)
    machine({"lib/a.py": "a = 2\n"})
    with pytest.raises(ft.ExperimentError, match=r"a.py has changed while it was read; start again"):
        documents()
