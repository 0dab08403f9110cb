"""The manifests are valid, and agree with the service and with each other."""

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi import FastAPI
from manifests import DEPLOY, VERSIONS, Manifest, by_kind, manifests, values
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.server import CLOSING_S
from app.settings import Settings

ROOT = Path(__file__).parent.parent
PROCESSES_GIB = 1.5
"""Memory of all processes on two cores while they decode pictures of 25 MP."""

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
MANIFESTS = manifests((DEPLOY / "base" / "kubernetes.yaml").read_text())
BY_KIND = by_kind(MANIFESTS)
POD = BY_KIND["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
ENV = {variable["name"]: variable.get("value") for variable in CONTAINER["env"]}
HARDENED = [pytest.param(COMPOSE[name], id=name) for name in ("lrpserve", "gpu", "test")]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_kubernetes_takes_the_manifests(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_with_a_field_that_kubernetes_does_not_have_is_noticed() -> None:
    misspelt = {**BY_KIND["Service"], "spec": {**BY_KIND["Service"]["spec"], "sellector": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, VERSIONS[0], strict=True)


def test_the_parts_find_each_other() -> None:
    labels = BY_KIND["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [BY_KIND["Service"]["spec"]["selector"], *values(MANIFESTS, "matchLabels")]
    assert all(selector == labels for selector in selectors)
    target = BY_KIND["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", BY_KIND["Deployment"]["metadata"]["name"])
    ports = {port["name"] for port in CONTAINER["ports"]}
    assert {port["targetPort"] for port in BY_KIND["Service"]["spec"]["ports"]} <= ports
    assert {get["port"] for get in values(CONTAINER, "httpGet")} <= ports
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == {
        volume["name"] for volume in POD["volumes"]
    }


def test_probes_ask_what_the_service_answers(app: FastAPI) -> None:
    probed = {get["path"] for get in values(CONTAINER, "httpGet")} | set(
        re.findall(r"'(/\w+)'\)", DOCKERFILE)
    )
    assert probed == {"/readyz", "/livez"}
    assert probed <= set(app.openapi()["paths"])


def stop_s(env: Mapping[str, str]) -> float:
    """Seconds that the service may take to stop after SIGTERM."""
    return float(env["LRP_DRAIN_S"]) + float(env["LRP_GRACEFUL_STOP_S"]) + CLOSING_S


def test_kubernetes_waits_longer_than_the_service_takes_to_stop() -> None:
    pause_s = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] > pause_s + stop_s(ENV)


@pytest.mark.parametrize("name", ["lrpserve", "gpu"])
def test_compose_waits_longer_than_the_service_takes_to_stop(name: str) -> None:
    grace, unit = COMPOSE[name]["stop_grace_period"][:-1], COMPOSE[name]["stop_grace_period"][-1]
    assert unit == "s"
    assert int(grace) > stop_s(COMPOSE[name]["environment"])


def test_everybody_means_the_same_port() -> None:
    port = Settings.model_fields["port"].default
    assert f"LRP_PORT={port}\n" in DOCKERFILE
    assert f"EXPOSE {port}\n" in DOCKERFILE
    assert [published["containerPort"] for published in CONTAINER["ports"]] == [port]
    assert all(COMPOSE[name]["ports"][0].endswith(f":{port}") for name in ("lrpserve", "gpu"))


def test_every_setting_that_is_set_exists() -> None:
    in_image = re.findall(r"\b(LRP_\w+)=", DOCKERFILE)
    in_compose = [name for env in values(COMPOSE, "environment") for name in env]
    assert in_image
    known = {f"LRP_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in (*in_image, *in_compose, *ENV) if name.startswith("LRP_")} <= known


def test_kubernetes_puts_no_variables_of_its_own_into_the_environment() -> None:
    # Otherwise a Service named "lrp" would set LRP_PORT to an address.
    assert POD["enableServiceLinks"] is False


def test_a_pod_is_as_restricted_as_kubernetes_strictest_standard_asks() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    own = CONTAINER["securityContext"]
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert set(CONTAINER["resources"]["limits"]) == {"cpu", "memory"}


def test_image_and_pod_run_as_the_same_user() -> None:
    users = set(re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE))
    context = POD["securityContext"]
    assert users == {(str(context["runAsUser"]), str(context["runAsGroup"]))}
    assert context["runAsUser"] > 0


@pytest.mark.parametrize("service", HARDENED)
def test_compose_hardens_every_service(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == service["memswap_limit"]
    assert service["pids_limit"] > 0
    assert service["cpus"]
    assert "privileged" not in service


@pytest.mark.parametrize("service", HARDENED)
def test_compose_publishes_to_this_machine_alone(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_no_address_of_an_index_or_registry_is_in_any_of_them() -> None:
    for path in ("Dockerfile", "docker-compose.yml", *map(str, sorted(DEPLOY.rglob("*.yaml")))):
        hosts = set(re.findall(r"https?://([^/:\s]+)", (ROOT / path).read_text()))
        assert hosts <= {"127.0.0.1"}, path


def gibibytes(written: str) -> float:
    ((number, unit),) = re.findall(r"([0-9.]+)([A-Za-z]+)", written)
    return float(number) / {"g": 1, "Gi": 1, "Mi": 2**10}[unit]


def memory_of_pod() -> tuple[float, float]:
    (uploads,) = (volume["emptyDir"] for volume in POD["volumes"] if "emptyDir" in volume)
    return gibibytes(CONTAINER["resources"]["limits"]["memory"]), gibibytes(uploads["sizeLimit"])


def memory_of(service: Mapping[str, Any]) -> tuple[float, float]:
    (size,) = re.findall(r"size=(\w+)", service["tmpfs"][0])
    return gibibytes(service["mem_limit"]), gibibytes(size)


@pytest.mark.parametrize(
    ("limit", "spool"), [memory_of_pod(), memory_of(COMPOSE["lrpserve"])], ids=["kubernetes", "compose"]
)
def test_memory_has_room_for_all_that_is_let_in(limit: float, spool: float) -> None:
    bodies = Settings().max_bytes_in_hand / 2**30
    assert limit >= bodies + spool + PROCESSES_GIB


def test_a_pod_requests_what_it_takes_with_large_pictures() -> None:
    assert gibibytes(CONTAINER["resources"]["requests"]["memory"]) >= PROCESSES_GIB


def test_variables_of_compose_are_documented() -> None:
    variables = re.findall(r"\$\{(LRP_\w+):-([^}]*)\}", (ROOT / "docker-compose.yml").read_text())
    page = (ROOT / "docs" / "deploy.md").read_text()
    assert len(variables) == 6
    for name, default in variables:
        assert f"| `{name}` | {f'`{default}`' if default else '–'} | " in page


def installed_for(wanted: str) -> set[str]:
    """Return the installed packages that a requirement needs, including the requirement itself."""
    found, seen, pending = set[str](), set[str](), [Requirement(wanted)]
    while pending:
        requirement = pending.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # not needed here: PyPI's torch for Linux requires CUDA, its CPU wheels do not
        found.add(canonicalize_name(requirement.name))
        for dependency in map(Requirement, installed.requires or []):
            extras = [{"extra": extra} for extra in ("", *requirement.extras)]
            if dependency.marker is None or any(map(dependency.marker.evaluate, extras)):
                pending.append(dependency)
    return found


def test_all_that_is_installed_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines}
    installed = installed_for("lrpserve[test,corelay]") - {"lrpserve"}
    # A dependency of the service, one of the tests, and one of an extra.
    assert {"torch", "schemathesis", "aiohttp"} <= installed
    assert installed <= pinned
