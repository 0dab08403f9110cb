"""Serves the application on a Ray cluster until a signal arrives."""

import logging
import re
import signal
import socket
import threading
from functools import partial
from types import FrameType

import ray
from ray import serve
from ray.serve.schema import LoggingConfig

from app.api.http.access import refuse_unauthenticated_exposure
from app.cluster.application import ANY_ADDRESS, application_of, models_of
from app.cluster.shares import Replicas, shares_of
from app.errors import RefusedToStartError
from app.settings import Settings

log = logging.getLogger(__name__)

NAME = "lrpserve"
"""Name of the application in Serve."""
RAYS_LOG = LoggingConfig(log_level="WARNING", enable_access_log=False)
"""Of Serve's own processes; the application logs its requests itself."""
REFUSAL = re.compile(rf"{RefusedToStartError.__name__}: (.*)")
"""Last line of the traceback of a model that cannot be loaded."""


def serve_on_cluster(settings: Settings, replicas: Replicas, *, is_own: bool) -> None:
    """Serve on the cluster that this process is connected to, until Ctrl-C or SIGTERM; then end the application.

    ``is_own``: whether the cluster ends with this process. Of another one, Serve ends as well if it has no other
    application. Raises `RefusedToStartError`.
    """
    stop = _set_by_signals()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    stored = models_of(settings)
    shares = shares_of(settings, ray.nodes(), len(stored), replicas)
    application = application_of(settings, stored, shares, replicas)
    if is_own and settings.port == 0:
        settings = settings.model_copy(update={"port": _free_port(settings.host)})
    _start(settings)
    try:
        _deploy(application)
        log.info("listening on http://%s:%d", settings.host, settings.port)
        stop.wait()
        log.info("stopping")
    finally:
        serve.delete(NAME)  # it answers what it has accepted
        if not is_own and not serve.status().applications:
            serve.shutdown()


def _set_by_signals() -> threading.Event:
    """Return an event that SIGINT and SIGTERM set; a second signal interrupts what runs.

    Ray has replaced the handler of SIGTERM by one that aborts, and its calls lose a `KeyboardInterrupt` that
    comes while the application is deployed.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, partial(_on_signal, stop))
    return stop


def _on_signal(stop: threading.Event, number: int, frame: FrameType | None) -> None:
    if stop.is_set():
        signal.default_int_handler(number, frame)
    stop.set()


def _start(settings: Settings) -> None:
    """Start Serve, which listens at the settings' address on each machine, if it does not run yet.

    One that runs keeps its address, which it does not tell: keys are required as on all addresses. Raises
    `RefusedToStartError`.
    """
    running = serve.status()
    if NAME in running.applications:
        raise RefusedToStartError(f"--address: {NAME} runs on this cluster already; end it first")
    if running.proxies:
        refuse_unauthenticated_exposure(settings.model_copy(update={"host": ANY_ADDRESS}))
        log.warning("Serve runs on this cluster already and keeps its address: --host and --port are ignored")
    elif settings.port == 0:
        raise RefusedToStartError("--port: 0 is for a cluster of this machine alone; name one")
    address = {"host": settings.host, "port": settings.port, "keep_alive_timeout_s": settings.keep_alive_s}
    serve.start(proxy_location="EveryNode", http_options=address, logging_config=RAYS_LOG)


def _deploy(application: serve.Application) -> None:
    try:
        serve.run(application, name=NAME, route_prefix="/", logging_config=RAYS_LOG)
    except RuntimeError as error:
        raise RefusedToStartError(_reason() or f"--ray: {error}") from None


def _reason() -> str | None:
    """Return why a model cannot be loaded, if that is why the application cannot be deployed."""
    deployments = serve.status().applications[NAME].deployments.values()
    found = (REFUSAL.search(one.message) for one in deployments)
    return next((reason[1] for reason in found if reason), None)


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as found:
        return int(found.getsockname()[1])
