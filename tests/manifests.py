"""Kubernetes manifests below ``deploy/``, as they are and as Kustomize renders them, for tests."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
VERSIONS = ("1.30", kubernetes_validate.latest_version())
"""The oldest Kubernetes release that supports ``sleep`` in preStop, and the newest one."""
MIN_KUBECTL = (1, 21)
"""The first release whose Kustomize knows components."""
LIMIT_S = 60

Manifest = dict[str, Any]


def manifests(text: str) -> list[Manifest]:
    """Return the documents of a YAML file."""
    return list(yaml.safe_load_all(text))


def by_kind(found: list[Manifest]) -> dict[str, Manifest]:
    """Return manifests by their kind, of each of which there is one."""
    kinds = {manifest["kind"]: manifest for manifest in found}
    assert len(kinds) == len(found)
    return kinds


def values(tree: object, key: str) -> Iterator[Any]:
    """Yield all values of ``key`` at any depth."""
    if isinstance(tree, Mapping):
        yield from (value for name, value in tree.items() if name == key)
    if isinstance(tree, Mapping | list):
        for branch in tree.values() if isinstance(tree, Mapping) else tree:
            yield from values(branch, key)


def kustomized(folder: Path) -> list[Manifest]:
    """Return what Kustomize makes of a folder."""
    rendered = subprocess.run(
        [kubectl(), "kustomize", folder], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (rendered.returncode, rendered.stderr) == (0, "")  # it warns there about what is deprecated
    return manifests(rendered.stdout)


def kubectl() -> str:
    """Return the path of kubectl; skips the test without one that has a recent Kustomize."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed")
    said = subprocess.run(
        [program, "version", "--client"], capture_output=True, text=True, timeout=LIMIT_S, check=True
    ).stdout
    release = re.search(r"v(\d+)\.(\d+)", said)
    assert release is not None, said
    if (int(release[1]), int(release[2])) < MIN_KUBECTL:
        pytest.skip(f"kubectl {release[1]}.{release[2]} is older than {'.'.join(map(str, MIN_KUBECTL))}")
    return program
