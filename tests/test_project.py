"""The project's own files: one version, a valid citation, a changelog in its format, paths that exist."""

import json
import re
import subprocess
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api.openapi import ANY_MODEL, RECORDED

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
REQUIRED = {"cff-version", "message", "title", "authors"}
"""Keys that Citation File Format 1.2.0 requires; of each reference: `REQUIRED_OF_REFERENCES`."""
REQUIRED_OF_REFERENCES = {"authors", "title", "type"}
RELEASE = re.compile(r"^## \[(?P<version>[^]]+)\](?: - (?P<date>\S+))?$", re.MULTILINE)
CATEGORIES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
"""Those of Keep a Changelog 1.1."""
TEXT_SUFFIXES = {"", ".cff", ".html", ".ipynb", ".js", ".json", ".md", ".toml", ".yaml", ".yml"}
SEARCHED = ("*", "deploy/**/*", "docs/*", "examples/*", "app/**/*", ".ci/*")
COVERAGE = ".coverage"
"""What an earlier `make test` has left: a database without a suffix."""
NAMED_VERSION = re.compile(r"\blrpserve(?:\[\w+\])?(?:==|[:@/ ]v?| version )(\d+\.\d+\.\d+)", re.IGNORECASE)
"""Such as in ``lrpserve:0.1.0``, ``lrpserve==0.1.0`` and ``LRPServe 0.1.0``."""


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text()


def releases() -> list[tuple[str, str | None]]:
    return [(found["version"], found["date"]) for found in RELEASE.finditer(changelog())]


def kubernetes_image() -> str:
    documents = yaml.safe_load_all((ROOT / "deploy" / "base" / "kubernetes.yaml").read_text())
    (deployment,) = [one for one in documents if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def recorded_version() -> str:
    return str(json.loads(RECORDED.read_text())[ANY_MODEL]["GET /v2"]["version"])


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(lambda: version("lrpserve"), id="installed"),
        pytest.param(lambda: CITATION["version"], id="CITATION.cff"),
        pytest.param(lambda: releases()[1][0], id="CHANGELOG.md"),
        pytest.param(lambda: kubernetes_image().partition(":")[2], id="deploy/base/kubernetes.yaml"),
        pytest.param(recorded_version, id="app/api/examples.json"),
    ],
)
def test_the_version_is_that_of_pyproject(written: Any) -> None:
    assert written() == PROJECT["version"]


def test_no_file_names_another_version_of_the_service() -> None:
    files = {
        path
        for pattern in SEARCHED
        for path in ROOT.glob(pattern)
        if path.is_file() and path.suffix in TEXT_SUFFIXES and path.name != COVERAGE
    }
    assert ROOT / "deploy" / "base" / "kubernetes.yaml" in files
    found = {
        (str(path.relative_to(ROOT)), number)
        for path in files
        for number in NAMED_VERSION.findall(path.read_text())
    }
    assert found == {
        (f"deploy/{name}.yaml", PROJECT["version"]) for name in ("base/kubernetes", "kserve", "kuberay")
    }


def test_the_image_gets_its_version_from_pyproject() -> None:
    (command,) = re.findall(r"VERSION=\$\$\((.+)\) \\$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    printed = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == PROJECT["version"]
    assert 'image.version="${VERSION}"' in (ROOT / "Dockerfile").read_text()


def test_the_citation_has_what_its_format_requires() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION.keys() >= REQUIRED
    assert all(CITATION[key] for key in REQUIRED)
    for reference in CITATION["references"]:
        assert reference.keys() >= REQUIRED_OF_REFERENCES
    for person in [*CITATION["authors"], *(a for one in CITATION["references"] for a in one["authors"])]:
        assert person.keys() == {"name"} or person.keys() == {"family-names", "given-names"}


def test_the_citation_agrees_with_the_project() -> None:
    assert isinstance(CITATION["version"], str)
    assert isinstance(CITATION["date-released"], date)
    assert CITATION["date-released"].isoformat() == dict(releases())[CITATION["version"]]
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["keywords"] == PROJECT["keywords"]
    assert CITATION["abstract"] == PROJECT["description"]
    assert all(author["name"] in (ROOT / "LICENSE").read_text() for author in CITATION["authors"])


def test_the_changelog_is_in_its_format() -> None:
    (first, undated), *released = releases()
    assert (first, undated) == ("Unreleased", None)
    dates = [date.fromisoformat(day or "") for _, day in released]
    assert dates == sorted(dates, reverse=True)
    assert len({number for number, _ in released}) == len(released)
    assert re.findall(r"^## ", changelog(), re.MULTILINE) == ["## "] * (1 + len(released))
    assert set(re.findall(r"^### (.+)$", changelog(), re.MULTILINE)) <= CATEGORIES


def test_files_that_the_guide_for_contributors_names_exist() -> None:
    named = re.findall(r"`([\w.-]+/[\w./-]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert {"app/lrp/rules.py", ".ci/run"} <= set(named)
    assert [path for path in named if not (ROOT / path).exists()] == []
