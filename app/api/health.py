"""Probes: is the process alive, and should it be sent requests?"""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from app.api.documented import problems
from app.errors import UnavailableError

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """The service has explained a picture and takes requests."""

    status: Literal["ready"] = "ready"


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Alive:
    """200 as long as the process answers at all."""
    return Alive()


@router.get("/readyz", summary="Should it be sent requests?", responses=problems(503))
async def readyz(request: Request) -> Ready:
    """200 once a warm-up explanation has run, 503 before."""
    if not request.state.readiness.is_set():
        raise UnavailableError("the service is warming up; try again in a second")
    return Ready()
