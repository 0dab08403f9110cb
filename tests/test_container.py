"""The image as docker-compose.yml runs it: its function, its restrictions, and its stop under load.

The load is sent to the container's own address, because Docker's port forwarding accepts connections after the
service has stopped accepting them. The tests therefore need an engine on this machine's Linux, without a VM.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

ROOT = Path(__file__).parent.parent
IMAGE = os.environ.get("LRP_TEST_IMAGE", "")
CLIENTS = 24

pytestmark = pytest.mark.skipif(
    not IMAGE, reason="LRP_TEST_IMAGE is not set: make container-test builds an image and runs these tests"
)


@dataclass(frozen=True)
class Container:
    """A running container."""

    name: str
    published: str
    """URL of the published port."""

    def inspect(self) -> dict[str, Any]:
        return dict(json.loads(run("docker", "inspect", self.name))[0])

    def address(self) -> str:
        """Return the container's own address, which bypasses port forwarding."""
        (network,) = self.inspect()["NetworkSettings"]["Networks"].values()
        return f"{network['IPAddress']}:8000"

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return attempt("docker", "exec", self.name, "sh", "-c", command)

    def events(self) -> list[dict[str, Any]]:
        """Return the service's log records."""
        logs = attempt("docker", "logs", self.name)
        return [json.loads(line) for line in (logs.stdout + logs.stderr).splitlines() if line.startswith("{")]


def attempt(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **env}
    )


def run(*command: str, **env: str) -> str:
    done = attempt(*command, **env)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def compose_command() -> tuple[str, ...]:
    """Return the command of Compose 2 if installed, else of Compose 1."""
    return (
        ("docker", "compose")
        if attempt("docker", "compose", "version").returncode == 0
        else ("docker-compose",)
    )


@contextmanager
def composed(*overrides: Path) -> Iterator[Container]:
    """Run `docker compose up` on a free port, and wait until the container is healthy."""
    files = [ROOT / "docker-compose.yml", *overrides]
    options = [option for file in files for option in ("--file", str(file))]
    command = (*compose_command(), "--project-name", f"lrpserve-{uuid4().hex[:8]}", *options)
    env = {"LRP_IMAGE": IMAGE, "LRP_PUBLISH": "0", "LRP_CPUS": str(min(2, os.cpu_count() or 1))}
    try:
        run(*command, "up", "--detach", "--no-build", "lrpserve", **env)
        name = run(*command, "ps", "--quiet", "lrpserve", **env)
        container = Container(name, f"http://{run(*command, 'port', 'lrpserve', '8000', **env)}")
        wait_until_healthy(container)
        yield container
    finally:
        run(*command, "down", "--timeout", "0", **env)


def wait_until_healthy(container: Container, limit_s: int = 120) -> None:
    until = str(int(time.time()) + limit_s)
    watch = ("docker", "events", "--since", "0", "--until", until, "--format", "{{.Status}}")
    events = ("--filter", "event=health_status", "--filter", "event=die")
    with subprocess.Popen(
        (*watch, *events, "--filter", f"container={container.name}"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        process.kill()
    assert first == "health_status: healthy", (
        f"{first or 'no event'}\n{attempt('docker', 'logs', container.name)}"
    )


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    with composed() as container:
        yield container


def test_it_explains_a_picture_at_the_published_address(container: Container, cat_jpeg: bytes) -> None:
    with httpx.Client(base_url=container.published, timeout=60) as client:
        answer = client.post("/explain", files={"file": cat_jpeg}, headers={"Accept": "image/png"})
        model = client.get("/model").json()
    assert answer.status_code == 200
    assert answer.content.startswith(b"\x89PNG")
    assert model["name"] == "minivgg-cifar10"
    assert container.published.startswith("http://127.0.0.1:")


def test_the_reference_engine_works_in_it(container: Container) -> None:
    """Zennit and torchvision can be imported; the engine does not need them."""
    done = container.shell("python -c 'from app.lrp.reference import Reference'")
    assert done.returncode == 0, done.stderr


def test_an_upload_that_goes_to_disk_while_it_arrives_has_somewhere_to_go(
    container: Container, cat_png: bytes
) -> None:
    with_a_tail = cat_png + bytes(3 * 2**20)  # decoders stop at the end of the picture
    answer = httpx.post(f"{container.published}/predict", files={"file": with_a_tail}, timeout=60)
    assert answer.status_code == 200


def test_nothing_in_it_is_root_or_can_become_so(container: Container) -> None:
    status = dict(line.split(":\t", 1) for line in container.shell("cat /proc/1/status").stdout.splitlines())
    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert {int(status[name], 16) for name in status if name.startswith("Cap")} == {0}
    assert status["NoNewPrivs"] == "1"


def test_nothing_in_it_can_be_written_but_tmp(container: Container) -> None:
    for folder in ("/", "/opt/venv", "/opt/lrpserve", "/usr/local/bin", "/var", "/home"):
        written = container.shell(f"touch {folder}/mark")
        assert "Read-only file system" in written.stderr, folder
    assert container.shell("touch /tmp/mark").returncode == 0


def test_no_compiler_is_in_it(container: Container) -> None:
    assert container.shell("command -v cc gcc g++ c++ clang ld as make nvcc").stdout == ""


def test_its_memory_processors_and_processes_are_limited(container: Container) -> None:
    host = container.inspect()["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 4 * 2**30
    assert host["PidsLimit"] == 256
    assert host["NanoCpus"] > 0


def test_the_image_says_what_it_is() -> None:
    config = json.loads(run("docker", "image", "inspect", IMAGE))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["lrpserve"]
    assert config["Healthcheck"]["Test"][0] == "CMD"  # without a shell
    assert config["Labels"]["org.opencontainers.image.title"] == "LRPServe"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"


def test_left_alone_it_refuses_to_be_open_to_everybody() -> None:
    done = attempt("docker", "run", "--rm", "--network", "none", IMAGE)
    assert done.returncode == 2
    assert "LRP_API_KEYS_FILE" in done.stderr


def test_with_keys_it_is_healthy_and_lets_only_them_in(tmp_path: Path, cat_jpeg: bytes) -> None:
    keys, override = tmp_path / "keys", tmp_path / "keys.json"
    keys.write_text("a-key-of-this-test\n")
    keys.chmod(0o444)
    service = {
        "environment": {"LRP_ALLOW_UNAUTHENTICATED": "0", "LRP_API_KEYS_FILE": "/run/secrets/keys"},
        "volumes": [f"{keys}:/run/secrets/keys:ro"],
    }
    override.write_text(json.dumps({"services": {"lrpserve": service}}))
    with composed(override) as container, httpx.Client(base_url=container.published, timeout=60) as client:
        assert client.post("/predict", files={"file": cat_jpeg}).status_code == 401
        with_key = {"Authorization": "Bearer a-key-of-this-test"}
        assert client.post("/predict", files={"file": cat_jpeg}, headers=with_key).status_code == 200


@dataclass
class Tally:
    """Results of requests by ID."""

    answered: dict[str, int] = field(default_factory=dict)
    """Status of each complete answer."""
    broken: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    warm: asyncio.Event = field(default_factory=asyncio.Event)


async def post_until_refused(address: str, picture: bytes, tally: Tally, *, keep_alive: bool) -> None:
    limits = httpx.Limits(max_keepalive_connections=None if keep_alive else 0)
    async with httpx.AsyncClient(base_url=f"http://{address}", limits=limits, timeout=60) as client:
        while True:
            request = uuid4().hex
            headers = {"Content-Type": "image/jpeg", "X-Request-ID": request}
            tally.waiting.add(request)
            try:
                answer = await client.post("/explain", content=picture, headers=headers)
            except httpx.ConnectError:
                return
            except httpx.TransportError:
                tally.broken.add(request)
                continue
            finally:
                tally.waiting.remove(request)
            tally.answered[request] = answer.status_code
            if len(tally.answered) >= 4 * CLIENTS:
                tally.warm.set()
            if answer.status_code == 503:
                return


async def half_a_request(address: str, picture: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send half of a request that the service has accepted with 100 Continue."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    head = f"POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: image/jpeg\r\n"
    writer.write(f"{head}Content-Length: {len(picture)}\r\nExpect: 100-continue\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(picture[: len(picture) // 2])
    return reader, writer


async def stop_under_load(container: Container, picture: bytes) -> tuple[Tally, set[str], bytes]:
    """Stop a container under load.

    Returns the tally, the IDs of requests that were in progress at the stop, and the answer to a slow upload.
    """
    address, tally = container.address(), Tally()
    async with asyncio.timeout(100), asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            clients.create_task(post_until_refused(address, picture, tally, keep_alive=number % 2 == 0))
        await tally.warm.wait()
        reader, writer = await half_a_request(address, picture)
        in_progress = set(tally.waiting)
        stop = await asyncio.create_subprocess_exec(
            "docker", "stop", container.name, stdout=asyncio.subprocess.DEVNULL
        )
    writer.write(picture[len(picture) // 2 :])  # only now, when no other request is accepted
    async with asyncio.timeout(60):
        slow = await reader.read()
        assert await stop.wait() == 0
    writer.close()
    return tally, in_progress, slow


def test_stopped_under_load_it_loses_no_answer(cat_jpeg: bytes) -> None:
    with composed() as container:
        tally, in_progress, slow = asyncio.run(stop_under_load(container, cat_jpeg))
        state = container.inspect()["State"]
        accepted = {event["id"] for event in container.events() if event.get("route") == "/explain"}
    statuses = list(tally.answered.values())
    print(
        f"{len(statuses)} answered, {statuses.count(200)} of them 200; "
        f"{len(in_progress)} in progress at the stop; {len(accepted - set(tally.answered))} accepted and lost; "
        f"{len(tally.broken)} cut off unread afterwards"
    )
    assert in_progress <= set(tally.answered)
    assert accepted == set(tally.answered)
    assert set(statuses) <= {200, 503}
    assert slow.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
    assert b'"prediction"' in slow or b'"status":503' in slow
    assert state["ExitCode"] in (0, 143)
    assert not state["OOMKilled"]
