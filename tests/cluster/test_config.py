"""``deploy/ray.yaml`` and ``deploy/kuberay.yaml`` deploy what ``serve --ray`` does."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from manifests import DEPLOY, VERSIONS, Manifest, values
from ray._common.utils import import_attr
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve._private.build_app import build_app
from ray.serve.deployment import Application
from ray.serve.schema import ServeDeploySchema

from app.cluster.application import application_of, models_of
from app.cluster.builder import build
from app.cluster.serve import NAME, RAYS_LOG
from app.cluster.shares import Replicas, Shares
from app.errors import RefusedToStartError
from app.settings import Settings
from benchmarks.ray_nodes import NOTICED

CONFIG = yaml.safe_load((DEPLOY / "ray.yaml").read_text())
(APPLICATION,) = CONFIG["applications"]
SETTINGS = APPLICATION["runtime_env"]["env_vars"]
REPLICAS = Replicas(2, 8)
SERVICE = yaml.safe_load((DEPLOY / "kuberay.yaml").read_text())
CLUSTER = SERVICE["spec"]["rayClusterConfig"]
HEAD = CLUSTER["headGroupSpec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]
PODS = [pytest.param(group["template"], id=name) for name, group in (("head", HEAD), ("workers", WORKERS))]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings of the file, with a key on this machine."""
    (tmp_path / "keys").write_text("a-key\n")
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LRP_API_KEYS_FILE", str(tmp_path / "keys"))


def options_of(application: Application) -> dict[str, dict[str, Any]]:
    """Return the options of each deployment, as Serve reads them from code."""
    return {
        one.name: {
            **one._deployment_config.model_dump(),
            "ray_actor_options": {
                name: value
                for name, value in (one.ray_actor_options or {}).items()
                if name in ("num_cpus", "num_gpus")
            },
        }
        for one in build_app(application, name=NAME).deployments
    }


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without those that are not set, or 0, at any depth."""
    return {
        name: given(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if value
    }


def unknown(read: Any, written: Any) -> Iterator[str]:
    """Yield the keys of a file that are not among those that were read of it."""
    if isinstance(written, dict):
        for name, value in written.items():
            if name in read:
                yield from unknown(read[name], value)
            else:
                yield name
    elif isinstance(written, list):
        for one, other in zip(read, written, strict=True):
            yield from unknown(one, other)


def test_serve_knows_every_key_of_the_file() -> None:
    """It ignores those that it does not know."""
    read = ServeDeploySchema.model_validate(CONFIG).model_dump(exclude_unset=True)
    assert list(unknown(read, CONFIG)) == []
    assert list(unknown(read, CONFIG | {"http_option": {}})) == ["http_option"]


@pytest.mark.usefixtures("environment")
def test_deployments_have_the_options_of_serve_on_ray() -> None:
    settings = Settings()
    stored = models_of(settings)
    ours = options_of(application_of(settings, stored, Shares.fixed(settings), REPLICAS))
    deployments = {one["name"]: one for one in APPLICATION["deployments"]}
    assert deployments.keys() == ours.keys()
    for name, one in deployments.items():
        for option, value in one.items():
            if option == "autoscaling_config":
                assert value == {
                    key: getattr(ours[name][option], key, None) or ours[name][option][key] for key in value
                }
            elif option != "name":
                assert value == (
                    given(ours[name][option]) if option == "ray_actor_options" else ours[name][option]
                )
    required = {"max_ongoing_requests", "max_queued_requests", "autoscaling_config", "health_check_period_s"}
    assert all(one.keys() >= required | {"graceful_shutdown_timeout_s"} for one in deployments.values())


def test_the_rest_of_the_file_is_that_of_serve_on_ray() -> None:
    settings = Settings()
    assert (APPLICATION["name"], APPLICATION["route_prefix"]) == (NAME, "/")
    assert CONFIG["http_options"]["port"] == settings.port
    assert CONFIG["http_options"]["keep_alive_timeout_s"] == settings.keep_alive_s
    assert CONFIG["logging_config"] == RAYS_LOG.model_dump(include=CONFIG["logging_config"].keys())
    assert {name.removeprefix("LRP_").lower() for name in SETTINGS} <= Settings.model_fields.keys()


@pytest.mark.usefixtures("environment")
def test_serve_builds_the_application_of_the_file() -> None:
    built = call_user_app_builder_with_args_if_necessary(import_attr(APPLICATION["import_path"]), {})
    found = options_of(built)
    assert found.keys() == {one["name"] for one in APPLICATION["deployments"]}
    assert found["ingress"]["num_replicas"] == 1


@pytest.mark.usefixtures("environment")
def test_arguments_are_refused_since_settings_are_variables() -> None:
    with pytest.raises(
        RefusedToStartError, match=r"args: cores: there are none; settings are LRP_\* variables"
    ):
        build({"cores": "1"})


def test_keys_are_required_whatever_the_settings_say_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRP_HOST", "127.0.0.1")
    with pytest.raises(RefusedToStartError, match="LRP_API_KEYS_FILE"):
        build({})


def test_kuberay_deploys_the_same() -> None:
    assert yaml.safe_load(SERVICE["spec"]["serveConfigV2"]) == CONFIG
    assert CLUSTER["rayVersion"] == version("ray")


@pytest.mark.parametrize("kubernetes", VERSIONS)
@pytest.mark.parametrize("template", PODS)
def test_kubernetes_takes_the_pods_of_the_cluster(template: Manifest, kubernetes: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", **template["metadata"]}}
    kubernetes_validate.validate({**pod, "spec": template["spec"]}, kubernetes, strict=True)


@pytest.mark.parametrize("template", PODS)
def test_pods_of_the_cluster_are_those_of_the_deployment_where_ray_does_not_ask_for_more(
    template: Manifest,
) -> None:
    base = next(yaml.safe_load_all((DEPLOY / "base" / "kubernetes.yaml").read_text()))["spec"]["template"][
        "spec"
    ]
    pod = template["spec"]
    (container,), (of_base,) = pod["containers"], base["containers"]
    for name in ("securityContext", "enableServiceLinks"):
        assert pod[name] == base[name]
    assert container["securityContext"] == {
        name: value for name, value in of_base["securityContext"].items() if name != "readOnlyRootFilesystem"
    }
    keys = [one for one in of_base["volumeMounts"] if one["name"] == "keys"]
    assert [one for one in container["volumeMounts"] if one["name"] == "keys"] == keys
    assert Path(keys[0]["mountPath"]) == Path(SETTINGS["LRP_API_KEYS_FILE"]).parent
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert [one for one in pod["volumes"] if one["name"] == "keys"] == [
        one for one in base["volumes"] if one["name"] == "keys"
    ]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["serve"] == CONFIG["http_options"]["port"]
    assert {get["port"] for get in values(container, "httpGet")} <= ports.keys()


def test_the_cluster_has_the_cores_that_the_replicas_reserve() -> None:
    cpus = int(WORKERS["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    for workers, bound in (("minReplicas", "min_replicas"), ("maxReplicas", "max_replicas")):
        needed = sum(
            one["autoscaling_config"][bound] * one["ray_actor_options"]["num_cpus"]
            for one in APPLICATION["deployments"]
        )
        assert WORKERS[workers] * cpus >= needed
    assert HEAD["rayStartParams"]["num-cpus"] == "0"
    (head,) = HEAD["template"]["spec"]["containers"]
    assert NOTICED.items() <= {one["name"]: one["value"] for one in head["env"]}.items()
    grace_s = WORKERS["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s > max(one["graceful_shutdown_timeout_s"] for one in APPLICATION["deployments"])
