"""The application behind Ray's proxy: a replica receives requests, decodes and renders."""

import asyncio
from collections.abc import MutableMapping
from functools import partial
from typing import Any

from prometheus_client.metrics_core import Metric
from ray import serve
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.cluster.metrics import MetricsOfReplicas
from app.cluster.remote_model import RemoteModel
from app.main import create_app
from app.server import tune_garbage_collection
from app.settings import Settings
from app.telemetry.logs import configure

REQUEST_ID = b"x-request-id"


class BehindRay:
    """Does for an application what uvicorn does and Ray does not, and leaves out what Ray's proxy does again.

    The state of the application's lifespan becomes that of each request. Ray's proxy adds ``X-Request-ID`` to
    requests without one and to all answers: that of the application is left out where it is the same.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._state: MutableMapping[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            self._state = scope["state"]
            await self._app(scope, receive, send)
            return
        known = Headers(scope=scope).get("x-request-id", "").encode("latin-1")

        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [one for one in message["headers"] if one != (REQUEST_ID, known)]
            await send(message)

        await self._app({**scope, "state": dict(self._state)}, receive, send_without_id)


@serve.ingress()
class Ingress:
    """A replica of the application; its models run in other processes of the cluster."""

    async def __init__(self, settings: Settings, *handles: Any) -> None:  # type: ignore[misc] # Serve awaits it
        """Wait until the models are loaded."""
        configure(settings.log_format)
        self._settings = settings
        here = serve.get_replica_context()
        replicas = serve.get_deployment_handle(here.deployment, here.app_name)
        self._metrics = MetricsOfReplicas(here.replica_tag, partial(replicas.broadcast, "metrics"))
        descriptions = await asyncio.gather(*(handle.describe.remote() for handle in handles))
        self._models = [
            RemoteModel(handle, description, wait_s=settings.queue_deadline_s, limit_s=settings.model_limit_s)
            for handle, description in zip(handles, descriptions, strict=True)
        ]

    async def metrics(self) -> dict[str, list[Metric]]:
        """Return the metrics of this replica by its name; called by the one that answers ``/metrics``."""
        return self._metrics.own()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application; called by Serve, which chose the name."""
        app = create_app(self._settings, self._models, in_turn=False, metrics=self._metrics)
        app.state.on_warm = tune_garbage_collection
        return BehindRay(app)
