"""Liveness and readiness probes.

Unlike other routes, these ignore unknown query parameters: load balancers and monitors add some to bypass caches.
"""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api.dependencies import CatalogueDep, ReadinessDep
from app.api.openapi import problems, protocol_errors
from app.errors import UnavailableError
from app.serving.readiness import Readiness

router = APIRouter(tags=["health"])

ALIVE, READY = "/livez", "/readyz"
ALIASES = ("/health", "/healthz", "/ping")
V2_ALIVE, V2_READY = "/v2/health/live", "/v2/health/ready"
PROBES = (ALIVE, READY, *ALIASES, V2_ALIVE, V2_READY)
"""Paths that need no key."""


class Alive(BaseModel):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """The service is ready for requests: a warm-up explanation of each model has run."""

    status: Literal["ready"] = "ready"
    faults: dict[str, str] = Field(
        {},
        description="What was wrong with the last results of models that could not be used, by name.",
        exclude_if=lambda faults: not faults,
        examples=[{"{{name}}": "scores or relevance are not finite"}],
    )


class ServerLive(BaseModel):
    """Open Inference Protocol: the server is alive."""

    live: Literal[True] = True


class ServerReady(BaseModel):
    """Open Inference Protocol: the models are ready for requests."""

    ready: Literal[True] = True


@router.get(ALIVE, summary="Is the process alive?")
async def livez() -> Alive:
    """200 as long as the process responds."""
    return Alive()


@router.get(
    READY,
    summary="Is the service ready for requests?",
    responses=problems(503),
)
async def readyz(readiness: ReadinessDep, catalogue: CatalogueDep) -> Ready:
    """200 after the warm-up explanations, until shutdown; 503 before and after.

    A model whose last results could not be used, because they were not finite or did not fit into memory, is
    named in `faults` and does not make the service unready.
    """
    refuse_unready(readiness)
    return Ready(faults=catalogue.faults)


@router.get(V2_ALIVE, name="v2_server_live", summary="Open Inference Protocol: is the server alive?")
async def server_live() -> ServerLive:
    """200 as long as the process responds."""
    return ServerLive()


@router.get(
    V2_READY,
    name="v2_server_ready",
    summary="Open Inference Protocol: is the server ready?",
    responses=protocol_errors(503),
)
async def server_ready(readiness: ReadinessDep) -> ServerReady:
    """200 after the warm-up explanation, until shutdown; 503 before and after."""
    refuse_unready(readiness)
    return ServerReady()


def refuse_unready(readiness: Readiness) -> None:
    """Raise `UnavailableError` with the reason if the service is not ready."""
    if readiness.obstacle:
        raise UnavailableError(f"the service is {readiness.obstacle}; try again in a second")


for alias in ALIASES:
    router.get(
        alias,
        name=alias.removeprefix("/"),
        summary="Alias of /readyz",
        responses=problems(503),
    )(readyz)
