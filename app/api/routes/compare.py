"""``POST /compare``: rules × classes on one scale, for each kind of input."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.dependencies import TicketDep, TimingsDep, pipeline_of
from app.api.http.disconnect import while_connected
from app.api.http.negotiation import choose
from app.api.http.query import each_once_but_rules_and_targets
from app.api.kinds.protocol import KindOverHTTP
from app.api.openapi import problems
from app.api.parameters_of_several import ComparisonParameters
from app.api.routes.explain import UPLOAD_PROBLEMS, respond
from app.api.rule_parameters import query
from app.serving import representations
from app.serving.pipeline import Pipeline


def create_router(kinds: Sequence[KindOverHTTP]) -> APIRouter:
    """Return the routes, whose query parameters include those of the rules in the table."""
    router = APIRouter(tags=["explain"], dependencies=[Depends(each_once_but_rules_and_targets)])
    for kind in kinds:
        _add_compare(router, kind)
    return router


def _add_compare(router: APIRouter, kind: KindOverHTTP) -> None:
    forms = kind.compare.forms

    @router.post(
        f"/compare{kind.suffix}",
        name=kind.name("compare"),
        summary=f"Several rules and classes of {kind.noun}, on one scale",
        description=f"Send {kind.noun}, see it explained by each `rule` for each `target`.\n\n"
        "All explanations share one scale, so that what is stronger looks stronger. The network runs once.",
        response_class=Response,
        responses={
            200: {
                "description": f"The explanations, as /explain{kind.suffix} gives them; or one drawing of all.",
                "model": kind.compare.answer,
                "content": {form.media_type: {"schema": form.schema} for form in forms[1:]},
            },
            **problems(*UPLOAD_PROBLEMS),
        },
        openapi_extra=dict(kind.body),
    )
    async def compare(
        request: Request,
        asked: Annotated[ComparisonParameters, Depends(query(kind.compare.parameters, kind.kind))],
        pipeline: Annotated[Pipeline, Depends(pipeline_of(kind.kind))],
        timings: TimingsDep,
        ticket: TicketDep,
    ) -> Response:
        form = choose(asked.form, request.headers.get("accept", ""), forms)
        comparison = asked.comparison()
        ticket.acquire_weight(pipeline.comparison_places(comparison))
        data = await kind.read_one(request, pipeline, timings)
        write = partial(representations.comparison, form=form, values=asked.values)
        work = pipeline.compare(data, comparison, timings, write)
        return respond(await while_connected(request, work), form)
