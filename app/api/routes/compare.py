"""``POST /compare``: rules × classes on one scale."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.dependencies import ImagePipelineDep, TicketDep, TimingsDep
from app.api.http.disconnect import while_connected
from app.api.http.negotiation import choose
from app.api.http.query import each_once_but_rules_and_targets
from app.api.http.upload import read_upload, request_body
from app.api.openapi import problems
from app.api.parameters_of_several import CompareParameters
from app.api.routes.explain import UPLOAD_PROBLEMS, respond
from app.api.rule_parameters import query
from app.serving import representations
from app.serving.representations import Format
from app.serving.schemas import CompareAnswer


def create_router() -> APIRouter:
    """Return the routes, whose query parameters include those of the rules in the table."""
    router = APIRouter(tags=["explain"], dependencies=[Depends(each_once_but_rules_and_targets)])

    @router.post(
        "/compare",
        summary="Several rules and classes of a picture, on one scale",
        response_class=Response,
        responses={
            200: {
                "description": "The explanations, as /explain gives them, and a contact sheet of all; or the "
                "sheet alone.",
                "model": CompareAnswer,
                "content": {Format.PNG.media_type: {"schema": {"type": "string", "format": "binary"}}},
            },
            **problems(*UPLOAD_PROBLEMS),
        },
        openapi_extra=request_body(),
    )
    async def compare(
        request: Request,
        asked: Annotated[CompareParameters, Depends(query(CompareParameters))],
        pipeline: ImagePipelineDep,
        timings: TimingsDep,
        ticket: TicketDep,
    ) -> Response:
        """Send a picture, see it explained by each `rule` for each `target`.

        All maps share one scale, so that what is stronger looks stronger. The network runs once.
        """
        form = choose(asked.format, request.headers.get("accept", ""), [Format.JSON, Format.PNG])
        comparison = asked.comparison()
        ticket.acquire_weight(pipeline.comparison_places(comparison))
        data = await read_upload(request)
        write = partial(representations.comparison, form=form, values=asked.values)
        work = pipeline.compare(data, comparison, timings, write)
        return respond(await while_connected(request, work), form)

    return router
