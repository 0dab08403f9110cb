"""A Ray cluster of three nodes on this machine that serves ``deploy/ray.yaml``, and faults of it.

Ray's own test fixture starts the nodes: processes of one machine, which share its cores and are killed as those
of three.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from ray._private.authentication_test_utils import reset_auth_token_state
from ray.cluster_utils import Cluster

from benchmarks.peers.torchserve.serve import free_ports

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "deploy" / "ray.yaml"
LOOPBACK = "127.0.0.1"
NAME = "lrpserve"
WORKERS = 2
CPUS = 12
"""Of a worker, as Ray counts them: all replicas fit on one. The head has none, as in ``deploy/kuberay.yaml``."""
STORE_BYTES = 2**27
NOTICED = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
"""How soon Ray notices that a node is lost, as in ``deploy/kuberay.yaml``."""
SERVE = (sys.executable, "-m", "ray.serve.scripts")
"""The command ``serve``."""
START_LIMIT_S = 300.0
QUEUE_S = "20"
"""``LRP_QUEUE_DEADLINE_S``: the cores of one machine start the replicas of three while these answer."""
POLL_S = 0.5


@dataclass
class Nodes:
    """The cluster: a head and two workers, with the service at ``url``."""

    cluster: Any
    """`ray.cluster_utils.Cluster`, which has no types."""
    url: str
    key: str
    dashboard: httpx.Client
    config: Path
    """The configuration that is deployed: that of the project with this machine's address and keys."""
    workers: list[Any] = field(default_factory=list)

    def deploy(self, **settings: str) -> None:
        """Deploy the configuration by ``serve deploy``, with further settings, and wait until it is healthy.

        It is typed again where it fails: on a busy machine Serve gives up a proxy that starts slowly.
        """
        config = yaml.safe_load(self.config.read_text())
        config["applications"][0]["runtime_env"]["env_vars"] |= settings
        self.config.write_text(yaml.safe_dump(config))
        command = [*SERVE, "deploy", str(self.config), "--address", str(self.dashboard.base_url)]
        failures: list[str] = []
        _until(lambda: _succeeds(command, failures), lambda: failures[-1])
        self.wait_until_healthy()

    def add_worker(self) -> None:
        """Start a worker."""
        self.workers.append(
            self.cluster.add_node(num_cpus=CPUS, object_store_memory=STORE_BYTES, include_dashboard=False)
        )

    def remove_worker(self) -> str:
        """Kill all processes of the worker with the most replicas at once; return what was on it."""
        pids = {one: _tree(one) for one in self.workers}
        replicas = [(name, one["pid"]) for name in self._details() for one in self.replicas(name)]
        worker = max(self.workers, key=lambda one: sum(pid in pids[one] for _, pid in replicas))
        lost = sorted(name for name, pid in replicas if pid in pids[worker])
        _kill(pids[worker])
        self.workers.remove(worker)
        self.cluster.remove_node(worker, allow_graceful=False)
        return ", ".join(lost)

    def restore(self) -> None:
        """Start workers in place of those that were removed, and wait until the cluster is healthy."""
        while len(self.workers) < WORKERS:
            self.add_worker()
        self.wait_until_healthy()

    def kill_replica(self, deployment: str) -> str:
        """Kill the process of a replica that runs; return what was killed."""
        replica = self.replicas(deployment)[0]
        _kill({replica["pid"]})
        return f"{deployment}, process {replica['pid']}"

    def replicas(self, deployment: str) -> list[dict[str, Any]]:
        """Return the replicas that answer, as Serve's REST API describes them."""
        found = self._details().get(deployment, {}).get("replicas", [])
        return [one for one in found if one["state"] == "RUNNING" and _is_alive(one["pid"])]

    def wait_until_healthy(self) -> None:
        """Wait until each deployment has its smallest number of replicas, all of which answer."""
        _until(self._is_healthy, self.report)

    def report(self) -> str:
        """Return the state of each deployment."""
        return "; ".join(f"{name} {one['status']} {one['message']}" for name, one in self._details().items())

    def _application(self) -> dict[str, Any]:
        response = self.dashboard.get("/api/serve/applications/")
        found: dict[str, Any] = response.raise_for_status().json()["applications"].get(NAME, {})
        return found

    def _details(self) -> dict[str, Any]:
        found: dict[str, Any] = self._application().get("deployments", {})
        return found

    def _is_healthy(self) -> bool:
        application = self._application()
        return application.get("status") == "RUNNING" and all(
            one["status"] == "HEALTHY" and len(self.replicas(name)) >= _least(one)
            for name, one in application["deployments"].items()
        )


def _least(deployment: Mapping[str, Any]) -> int:
    return int(deployment["deployment_config"]["autoscaling_config"]["min_replicas"])


@contextlib.contextmanager
def three_nodes(folder: Path) -> Iterator[Nodes]:
    """Start the cluster, deploy the configuration, and wait until it answers; ``folder`` is for its files."""
    token, key = secrets.token_hex(32), secrets.token_hex(16)
    (folder / "keys").write_text(key + "\n")
    with _environment(token):
        dashboard_port, port = free_ports(2)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": STORE_BYTES,
                "include_dashboard": True,
                "dashboard_host": LOOPBACK,
                "dashboard_port": dashboard_port,
            },
        )
        headers = {"Authorization": f"Bearer {token}"}
        dashboard = f"http://{LOOPBACK}:{dashboard_port}"
        try:
            with httpx.Client(base_url=dashboard, headers=headers, timeout=30) as client:
                config = _configured(folder, port)
                nodes = Nodes(cluster, f"http://{LOOPBACK}:{port}", key, client, config)
                for _ in range(WORKERS):
                    nodes.add_worker()
                nodes.deploy()
                yield nodes
        finally:
            left = set.union(*(_tree(one) for one in cluster.list_all_nodes()))
            _kill(left)
            cluster.shutdown()


def _configured(folder: Path, port: int) -> Path:
    """Write the configuration with this machine's address, keys and `QUEUE_S`, and return its path."""
    config = yaml.safe_load(CONFIG.read_text())
    config["http_options"] |= {"host": LOOPBACK, "port": port}
    config["applications"][0]["runtime_env"]["env_vars"] |= {
        "LRP_API_KEYS_FILE": str(folder / "keys"),
        "LRP_QUEUE_DEADLINE_S": QUEUE_S,
    }
    path = folder / "ray.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def _environment(token: str) -> Iterator[None]:
    """Let processes of Ray require a token, import this folder's service, and read no settings of this shell."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("LRP_")]:
        del os.environ[name]
    os.environ |= {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # by default 15: other programs of this machine would take all its time
        **NOTICED,
    }
    reset_auth_token_state()  # Ray reads the variables when it is imported
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        reset_auth_token_state()


def _tree(node: Any) -> set[int]:
    """Return the processes of a node."""
    found = set()
    for info in (one for several in node.all_processes.values() for one in several):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(info.process.pid)
            found |= {process.pid, *(child.pid for child in process.children(recursive=True))}
    return found


def _succeeds(command: Sequence[str], failures: list[str]) -> bool:
    """Run a command; add what it prints to ``failures`` if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        failures.append(f"{' '.join(command)}: {done.stderr}")
    return done.returncode == 0


def _is_alive(pid: int) -> bool:
    """Return whether a process runs, which Serve knows only later."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()


def _until(reached: Callable[[], bool], state: Callable[[], str]) -> None:
    ends_at = time.monotonic() + START_LIMIT_S
    while not reached():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"not reached in {START_LIMIT_S:g} s: {state()}")
        time.sleep(POLL_S)
