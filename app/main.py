"""The application: `create_app` builds it from its parts.

Nothing is built at import. ``app`` is built when it is first read, so that ``uvicorn app.main:app`` and
``fastapi run app/main.py`` work. The file is long because all parts meet here: it creates them, starts and stops
them, and adds their routes.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, TypedDict

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from app.api import openapi
from app.api.http import problems
from app.api.http.access import (
    SECURITY_SCHEMES,
    KeyFile,
    RequireKey,
    TrustedHosts,
    refuse_unauthenticated_exposure,
    trusted_names,
)
from app.api.http.limits import AdmissionControl, BodyLimits
from app.api.http.middleware import CloseWhileDraining, HeadAsGet, JoinedHeaders, RequestContext
from app.api.http.problems import Problem
from app.api.http.root_path import RootPath
from app.api.kinds.protocol import KindOverHTTP
from app.api.kinds.registry import KINDS
from app.api.placeholders import largest_picture
from app.api.protocols import kserve_v1
from app.api.protocols.kinds.registry import KINDS as KINDS_IN_PROTOCOLS
from app.api.protocols.open_inference import routes as open_inference
from app.api.protocols.open_inference.schemas import RepositoryIndexRequest
from app.api.routes import about, batch, compare, evaluate, explain, health, page, redoc, reports, swagger
from app.api.schemas import Limits
from app.models.protocol import Model
from app.models.repository import default_names
from app.runtime.executor import Executor
from app.runtime.keyed import KeyedExecutor
from app.runtime.model_process import start_models
from app.runtime.processes import ProcessExecutor
from app.runtime.turns import Turns
from app.serving.admission import Admission, Admissions
from app.serving.catalogue import Catalogue
from app.serving.factory import create_pipeline, create_renderer, worker_memory_bytes
from app.serving.readiness import Readiness
from app.serving.rendering import Renderer
from app.settings import Settings
from app.survey.finished import ReportFolder
from app.system import available_cores
from app.telemetry.logs import fields
from app.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

MAX_RENDERERS = 8
"""Default bound on the processes that decode and draw; eight serve over a thousand requests a second."""
EXPOSED_HEADERS = (
    "Inference-Header-Content-Length",
    "Retry-After",
    "Server-Timing",
    "X-Prediction",
    "X-Probability",
    "X-Request-ID",
    "X-Scores",
    "X-Target",
)
"""Headers of answers that scripts of other sites may read if they may read the answer."""
DESCRIPTION = """
*Why did the network say that?* Send a picture, a text or a table, get predictions and their **relevance**:
which pixels, words or features spoke for them, and which against them, by Layer-wise Relevance Propagation.

| input | addresses | relevance |
| --- | --- | --- |
| a picture | `/predict`, `/explain`, … | a heatmap |
| a text | `/predict/text`, `/explain/text`, … | its words, coloured |
| rows of a table | `/predict/table`, `/explain/table`, … | a bar for each feature |

There are the addresses of those kinds that a model of the service takes; `GET /models` lists the models.

The [page](./) shows all of it. Here: open `POST /explain`, choose a file, *Execute*, and the heatmap
appears; pick `application/json` as the media type for everything that is known about it.

Classes, layers and sizes in descriptions and examples are those of the model that answers where `model` names
no other one; where they are of no kind of input, of `{{name}}`.
"""


class State(TypedDict):
    """What `app.api.dependencies` finds in ``request.state``."""

    catalogue: Catalogue
    limits: Limits
    readiness: Readiness
    metrics: Metrics
    admissions: Admissions
    keys: KeyFile | None
    has_cors: bool
    reports: ReportFolder | None


if not TYPE_CHECKING:  # it would give the module every attribute

    def __getattr__(name: str) -> FastAPI:
        """Return ``app``, the service with the environment's settings; see PEP 562."""
        if name != "app":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = app = create_app()
        return app


def __dir__() -> list[str]:
    """List ``app`` before it is built: the command ``fastapi`` looks for it here."""
    return sorted({"app", *globals()})


def create_app(
    settings: Settings | None = None,
    models: Model | Sequence[Model] | None = None,
    *,
    in_turn: bool = True,
    metrics: Metrics | None = None,
) -> FastAPI:
    """Return the service, with its models loaded and verified; raises `RefusedToStartError`.

    ``settings`` default to the environment's. ``models``, one or several of different names, default to the
    settings' models in a process of their own, which ends with the application. ``in_turn``: whether the models
    share a device, so that one batch runs at a time. ``metrics`` default to those of this process.
    """
    settings = settings or Settings()
    refuse_unauthenticated_exposure(settings)
    keys = KeyFile(settings.api_keys_file) if settings.api_keys_file else None
    report_folder = ReportFolder(settings.reports) if settings.reports else None
    models = models or start_models(settings).models
    models = models if isinstance(models, Sequence) else [models]
    service = Service(settings, models, keys, report_folder, metrics or Metrics(), in_turn=in_turn)
    app = FastAPIOffline(
        redirect_slashes=False,
        docs_url=None,  # see app.api.routes.swagger
        redoc_url=None,  # see app.api.routes.redoc
        generate_unique_id_function=openapi.operation_id,
        title="LRPServe",
        summary="Predictions of neural networks for pictures, texts and tables, and the relevance of each part.",
        description=DESCRIPTION,
        version=version("lrpserve"),
        lifespan=service.lifespan,
        license_info={"name": "MIT", "identifier": "MIT"},
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
    )
    app.state.readiness = Readiness()  # the server reads it before the lifespan starts
    app.state.on_death = terminate
    app.state.on_warm = lambda: None
    kinds = [KINDS[kind] for kind in service.defaults]
    _add_routes(app, kinds, locked=keys is not None, has_reports=report_folder is not None)
    problems.install(app)
    bodies: list[type[BaseModel]] = [body for kind in kinds for body in kind.bodies]
    for in_protocols in (KINDS_IN_PROTOCOLS[kind.kind] for kind in kinds):
        bodies += [in_protocols.instances, in_protocols.request]
    schemas: list[type[BaseModel]] = [Problem, RepositoryIndexRequest, *bodies]
    openapi.install(app, schemas, service.descriptions, service.defaults)
    _add_middleware(app, settings, keys, service)
    return app


class Service:
    """What runs behind the routes: made with the application, started and stopped by its lifespan."""

    def __init__(
        self,
        settings: Settings,
        models: Sequence[Model],
        keys: KeyFile | None,
        reports: ReportFolder | None,
        metrics: Metrics,
        *,
        in_turn: bool,
    ) -> None:
        """Wait until ``models`` are loaded. ``in_turn``: as in `create_app`."""
        self._keys, self._reports, self._in_turn = keys, reports, in_turn
        self._settings, self._models = settings, models
        self._limits = Limits(**settings.model_dump(include=set(Limits.model_fields)))
        self.descriptions = [model.description for model in models]
        names = [one.card.name for one in self.descriptions]
        self._default_names = default_names([one.card for one in self.descriptions], settings.default_model)
        self.defaults = {
            kind: next(one for one in self.descriptions if one.card.name == name)
            for kind, name in self._default_names.items()
        }
        self.metrics = metrics
        for one in self.descriptions:
            self.metrics.model(one.card.name, one.card.version, one.device)
        # A batch that runs, and the requests that wait for the next one.
        capacity = settings.max_batch + settings.max_queue
        self.admissions = Admissions(
            {name: Admission(capacity, self.metrics.of_model(name)) for name in names}, self._default_names
        )

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[State]:
        """Run the pipeline while the application serves."""
        readiness = app.state.readiness = Readiness()

        def fail(_: BaseException) -> None:
            readiness.fail()
            app.state.on_death()

        renderers = self._start_renderers(fail)
        self.metrics.rendering_depth(lambda: renderers.waiting)
        catalogue = self._create_catalogue(self._turns(fail), renderers)
        warming_up = asyncio.create_task(_warm_up(catalogue, readiness, fail, app.state.on_warm))
        for one in self.descriptions:
            about = fields(model=one.card.name, version=one.card.version, device=one.device)
            log.info("started", extra=about)
        yield State(
            catalogue=catalogue,
            limits=self._limits,
            readiness=readiness,
            metrics=self.metrics,
            admissions=self.admissions,
            keys=self._keys,
            has_cors=bool(self._settings.cors_origins),
            reports=self._reports,
        )
        readiness.drain()
        warming_up.cancel()
        await asyncio.wait([warming_up])
        await catalogue.aclose()
        renderers.close()
        log.info("stopped")

    def _turns(self, on_death: Callable[[BaseException], None]) -> list[Turns]:
        """Return the turns of each model: of one thread for all, or of one for each."""
        count = len(self._models)
        return [Turns(on_death)] * count if self._in_turn else [Turns(on_death) for _ in range(count)]

    def _create_catalogue(
        self, turns: Sequence[Turns], renderers: Executor[Mapping[str, Renderer]]
    ) -> Catalogue:
        pipelines = [
            create_pipeline(
                model,
                self._settings,
                self.metrics.of_model(name := model.description.card.name),
                KeyedExecutor(renderers, name),
                its_turns,
            )
            for model, its_turns in zip(self._models, turns, strict=True)
        ]
        return Catalogue(pipelines, self._default_names)

    def _start_renderers(self, on_death: Callable[[BaseException], None]) -> Executor[Mapping[str, Renderer]]:
        settings = self._settings
        renderers = {one.card.name: create_renderer(one, settings) for one in self.descriptions}
        count = settings.picture_processes or min(settings.cores or available_cores(), MAX_RENDERERS)
        return ProcessExecutor(
            renderers,
            count,
            deadline_s=settings.queue_deadline_s,
            on_death=on_death,
            memory_limit_bytes=worker_memory_bytes(settings),
        )


def _add_routes(app: FastAPI, kinds: Sequence[KindOverHTTP], *, locked: bool, has_reports: bool) -> None:
    """Add the routes of these ``kinds`` of input, those of reports if there are any, and all others.

    If ``locked``, OpenAPI describes all but the probes as requiring a key.
    """
    names = [kind.kind for kind in kinds]
    own = (
        explain.create_router(kinds),
        compare.create_router(kinds),
        batch.create_router(kinds),
        evaluate.create_router(kinds),
        about.router,
        *([reports.router] if has_reports else []),
    )
    for routers, unauthorized in (
        (own, openapi.problems(401)),
        (
            (kserve_v1.create_router(names), open_inference.create_router(names)),
            openapi.protocol_errors(401),
        ),
    ):
        for router in routers:
            app.include_router(
                router,
                dependencies=SECURITY_SCHEMES if locked else [],
                responses=unauthorized if locked else {},
            )
    app.include_router(health.router)
    page.install(app)
    swagger.install(app)
    redoc.install(app)


def _add_middleware(app: FastAPI, settings: Settings, keys: KeyFile | None, service: Service) -> None:
    """Add middleware from the innermost to the outermost."""
    app.add_middleware(
        BodyLimits,
        max_bytes=settings.max_body_bytes,
        max_bytes_in_hand=settings.max_bytes_in_hand,
        deadline_s=settings.read_deadline_s,
        largest_picture=largest_picture(service.descriptions),
    )
    if keys:
        app.add_middleware(RequireKey, keys=keys, open_paths=health.PROBES)
    app.add_middleware(TrustedHosts, names=trusted_names(settings))
    app.add_middleware(AdmissionControl, admissions=service.admissions, keys=keys)
    app.add_middleware(RootPath, root_path=settings.root_path)
    app.add_middleware(RequestContext, metrics=service.metrics)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(CloseWhileDraining)
    app.add_middleware(HeadAsGet)
    app.add_middleware(JoinedHeaders)


def terminate() -> None:
    """End the process with SIGTERM, so that a supervisor restarts it."""
    os.kill(os.getpid(), signal.SIGTERM)


async def _warm_up(
    catalogue: Catalogue,
    readiness: Readiness,
    on_failure: Callable[[Exception], None],
    on_success: Callable[[], None],
) -> None:
    try:
        await catalogue.warm_up()
    except Exception as error:  # every request would fail as well
        log.critical("the warm-up failed", exc_info=error)
        on_failure(error)
        return
    on_success()
    readiness.ready()
