"""Kustomize renders the components, each alone and all together, to what Kubernetes takes and they promise."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from manifests import DEPLOY, VERSIONS, Manifest, by_kind, kustomized, manifests, values
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.settings import Settings

COMPONENTS = tuple(sorted(path.parent.name for path in DEPLOY.glob("components/*/kustomization.yaml")))
BASE = manifests((DEPLOY / "base" / "kubernetes.yaml").read_text())
OVERLAY = DEPLOY / "overlays" / "example" / "kustomization.yaml"
PAGE = DEPLOY.parent / "docs" / "deploy.md"
KEYS = "a-key-that-is-long-enough-for-the-service\n"


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """A copy of the manifests, with keys."""
    copy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copy)
    (copy / "components" / "keys" / "keys.txt").write_text(KEYS)
    return copy


def with_components(deploy: Path, *names: str) -> list[Manifest]:
    """Return what Kustomize makes of the base and these components."""
    overlay = deploy / "overlays" / "tried"
    overlay.mkdir()
    written = {"resources": ["../../base"], "components": [f"../../components/{name}" for name in names]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(written))
    return kustomized(overlay)


def container(found: list[Manifest]) -> Manifest:
    (one,) = pod(found)["containers"]
    assert isinstance(one, dict)
    return one


def pod(found: list[Manifest]) -> Manifest:
    spec: Manifest = by_kind(found)["Deployment"]["spec"]["template"]["spec"]
    return spec


def environment(found: list[Manifest]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container(found)["env"]}


def changes(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield the paths at which two trees differ; items of lists that have names are compared by name."""
    before, after = _named(before), _named(after)
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if before != after:
            yield path
        return
    for name in sorted({*before, *after}):
        if name in before and name in after:
            yield from changes(before[name], after[name], f"{path}/{name}")
        else:
            yield f"{path}/{name}"


def _named(tree: Any) -> Any:
    is_named = isinstance(tree, list) and all(isinstance(one, Mapping) and "name" in one for one in tree)
    return {one["name"]: one for one in tree} if is_named else tree


def test_the_base_is_the_file_that_can_be_applied_alone() -> None:
    assert by_kind(kustomized(DEPLOY / "base")) == by_kind(BASE)


@pytest.mark.parametrize("names", [*((name,) for name in COMPONENTS), COMPONENTS], ids="+".join)
def test_kubernetes_takes_what_components_make(names: tuple[str, ...], deploy: Path) -> None:
    found = with_components(deploy, *names)
    for manifest in found:
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)
    assert set(environment(found)) <= {f"LRP_{name.upper()}" for name in Settings.model_fields}
    assert {mount["name"] for mount in container(found)["volumeMounts"]} == {
        volume["name"] for volume in pod(found)["volumes"]
    }


CONTAINER = "/Deployment/spec/template/spec/containers/lrpserve"
CHANGED = {
    "gpu": {
        "/Deployment/spec/strategy/rollingUpdate/maxSurge",
        "/Deployment/spec/strategy/rollingUpdate/maxUnavailable",
        "/Deployment/spec/template/spec/tolerations",
        f"{CONTAINER}/env/LRP_DEVICE",
        f"{CONTAINER}/resources/limits/nvidia.com/gpu",
    },
    "keys": {"/Secret"},
    "models": {
        "/Deployment/spec/template/spec/volumes/models",
        f"{CONTAINER}/env/LRP_MODELS",
        f"{CONTAINER}/volumeMounts/models",
    },
    "replicas": {
        "/HorizontalPodAutoscaler/spec/minReplicas",
        "/HorizontalPodAutoscaler/spec/maxReplicas",
    },
    "waiting": {"/HorizontalPodAutoscaler/spec/metrics", "/HorizontalPodAutoscaler/spec/behavior"},
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_changes_what_it_is_for_and_nothing_else(name: str, deploy: Path) -> None:
    assert set(changes(by_kind(BASE), by_kind(with_components(deploy, name)))) == CHANGED[name]


def test_models_are_read_where_the_volume_is_mounted(deploy: Path) -> None:
    found = with_components(deploy, "models")
    mounts = {mount["mountPath"]: mount for mount in container(found)["volumeMounts"]}
    assert mounts[environment(found)["LRP_MODELS"]]["readOnly"] is True


def test_a_pod_with_a_gpu_does_not_compute_without_one(deploy: Path) -> None:
    assert environment(with_components(deploy, "gpu"))["LRP_DEVICE"] == "cuda"


def test_the_secret_with_keys_is_the_one_that_pods_mount(deploy: Path) -> None:
    found = with_components(deploy, "keys")
    assert by_kind(found)["Secret"]["metadata"]["name"] in set(values(pod(found), "secretName"))
    assert set(by_kind(found)["Secret"]["data"]) == {"keys"}


def test_keys_are_not_committed() -> None:
    assert "deploy/components/keys/keys.txt" in (DEPLOY.parent / ".gitignore").read_text().splitlines()


def test_the_example_uses_what_there_is() -> None:
    used = yaml.safe_load(OVERLAY.read_text())["components"]
    described = re.findall(r"components/(\w+) # .", OVERLAY.read_text())
    assert sorted(described) == list(COMPONENTS)
    assert [path for path in used if not (OVERLAY.parent / path).is_dir()] == []


def test_kubernetes_takes_the_example() -> None:
    found = kustomized(OVERLAY.parent)
    for manifest in found:
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    assert {manifest["metadata"]["namespace"] for manifest in found} == {"lrpserve"}


def scaled_by(deploy: Path) -> str:
    scaler = by_kind(with_components(deploy, "waiting"))["HorizontalPodAutoscaler"]
    return str(scaler["spec"]["metrics"][0]["pods"]["metric"]["name"])


def test_the_service_has_the_metric_that_pods_are_scaled_by(deploy: Path, client: TestClient) -> None:
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    scaling = families[scaled_by(deploy)]
    assert scaling.type == "gauge"
    assert all(set(sample.labels) == {"model"} for sample in scaling.samples)


def test_the_documented_rule_exports_the_metric_that_pods_are_scaled_by(deploy: Path) -> None:
    blocks = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL))
    (rule,) = (rule for block in blocks for rule in block.get("rules", {}).get("custom", []))
    assert re.match(r"\w+", rule["seriesQuery"])[0] == scaled_by(deploy)  # type: ignore[index]  # has one
    assert rule["metricsQuery"].startswith("sum(")  # over the models of a pod
