"""Probes: is the process alive, and should it be sent requests?"""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from app.api.documented import problems
from app.errors import UnavailableError

router = APIRouter(tags=["health"])

ALIVE, READY = "/livez", "/readyz"
ALIASES = ("/health", "/healthz", "/ping")
PROBES = (ALIVE, READY, *ALIASES)
"""Open to everybody, whatever the keys."""


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """The service has explained a picture and takes requests."""

    status: Literal["ready"] = "ready"


@router.get(ALIVE, summary="Is the process alive?")
async def livez() -> Alive:
    """200 as long as the process answers at all."""
    return Alive()


@router.get(READY, summary="Should it be sent requests?", responses=problems(503))
async def readyz(request: Request) -> Ready:
    """200 once a warm-up explanation has run, 503 before."""
    if not request.state.readiness.is_set():
        raise UnavailableError("the service is warming up; try again in a second")
    return Ready()


for alias in ALIASES:
    router.get(alias, summary="The same as /readyz, under another name", responses=problems(503))(readyz)
