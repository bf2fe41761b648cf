"""What a release is judged by: one version, a citation that tools can read, templates and a workflow that a forge can run."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from frugal_theory.config.version import installed
from tests.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

CITATION_KEYS = {
    *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license"),
    *("license-url", "message", "preferred-citation", "references", "repository", "repository-artifact", "repository-code"),
    *("title", "type", "url", "version"),
}
"""Keys of the Citation File Format 1.2.0; four of them are required."""

PERSON_KEYS = {"family-names", "given-names", "name-particle", "name-suffix", "affiliation", "orcid", "email", "website"}
REFERENCE_TYPES = {"article", "conference-paper", "proceedings", "software", "report", "unpublished"}


def workflow(name):
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


def test_the_version_stands_in_one_place():
    """pyproject.toml; the citation, which tools read as it is, repeats it."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["version"])
    assert installed() in (PROJECT["version"], "unknown")
    assert CITATION["version"] == PROJECT["version"]
    code = [*(ROOT / "frugal_theory").rglob("*.py"), *(ROOT / "frugal_gpu").rglob("*.py")]
    assert not [path for path in code if f'"{PROJECT["version"]}"' in path.read_text(encoding="utf-8")]


def test_the_citation_is_one():
    assert set(CITATION) <= CITATION_KEYS
    assert {"cff-version", "message", "title", "authors"} <= set(CITATION)
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert CITATION["license"] == PROJECT["license"]
    (paper,) = CITATION["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert paper["type"] in REFERENCE_TYPES
    for author in (*CITATION["authors"], *paper["authors"]):
        assert set(author) == {"name"} or set(author) <= PERSON_KEYS


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_a_template_is_a_form(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title", "assignees"}
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names) > 0
    for field in form["body"]:
        assert field["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        assert field["attributes"]["label"]


def test_the_workflow_runs_every_python_and_only_what_is_there():
    jobs = workflow("ci.yml")["jobs"]
    versions = jobs["tests"]["strategy"]["matrix"]["python"]
    assert set(versions) == {match[1] for line in PROJECT["classifiers"] if (match := re.search(r"Python :: (3\.\d+)$", line))}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for job in jobs.values():
        for step in job["steps"]:
            for command in step.get("run", "").splitlines():
                program, *rest = command.split()
                assert (program == "make" and set(rest) <= targets) or (ROOT / program).exists(), command


def test_security_says_where_to_report():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "Report" in text
    assert "not trusted" in text


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_ecosystem_*.py")), ids=lambda path: path.stem)
def test_files_of_the_ecosystem_are_marked_as_a_whole(path):
    """`make test` does not import them (tests/gpu/conftest.py): a test without the mark would run nowhere."""
    assert re.search(r"^pytestmark = (\[\s*)?pytest\.mark\.ecosystem\b", path.read_text(encoding="utf-8"), re.MULTILINE)
