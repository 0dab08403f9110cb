"""The service as an application of Ray Serve: deployments with their bounds."""

from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.deployment import Application

from app.api.http.access import refuse_unauthenticated_exposure
from app.cluster.ingress import Ingress
from app.cluster.model_replica import ModelReplica
from app.cluster.shares import Replicas, Shares
from app.models.repository import StoredModel, default_model, find_models
from app.settings import Settings

INGRESS = "ingress"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 # it is not listened on here
"""Host in the settings where something else says where Serve listens: keys are required as on all addresses."""
PROBES = 64
"""Requests to a replica of the application beyond those that may use the model: probes, metrics, the page."""
CALLS = 16
"""Calls at a replica of a model: a batch of each replica of the application, and short ones."""
QUEUED_CALLS = 64
"""Calls that wait in a replica of the application: a batch of each model, and preparations of references."""
CHECK_S = 0.2
"""Period in which a replica that ends looks whether it has answered all requests."""
HEALTH_PERIOD_S = 5.0
"""Period in which Serve calls ``check_health``."""


def models_of(settings: Settings) -> tuple[StoredModel, ...]:
    """Return the models that the application serves; raises `RefusedToStartError` before any is loaded."""
    refuse_unauthenticated_exposure(settings)
    stored = find_models(settings.models, settings.model)
    default_model(stored, settings.default_model)
    return stored


def application_of(
    settings: Settings, stored: Sequence[StoredModel], shares: Shares, replicas: Replicas
) -> Application:
    """Return the service with a deployment for the application and one for each of the ``stored`` models."""
    models = [_model(one, settings, shares, replicas) for one in stored]
    waiting = len(stored) * (settings.max_batch + settings.max_queue)
    ingress: Any = serve.deployment(
        Ingress,
        name=INGRESS,
        max_ongoing_requests=waiting + PROBES,
        max_queued_requests=waiting,
        backpressure_config=BackpressureConfig(retry_after_s=1),
        ray_actor_options={"num_cpus": shares.ingress_cpus},
        **_common(settings),
        **_number(replicas, target=settings.max_batch),
    )
    application: Application = ingress.bind(settings, *models)
    return application


def _model(stored: StoredModel, settings: Settings, shares: Shares, replicas: Replicas) -> Application:
    deployment: Any = serve.deployment(
        ModelReplica,
        name=stored.card.name,
        max_ongoing_requests=CALLS,
        max_queued_requests=QUEUED_CALLS,
        ray_actor_options={"num_cpus": shares.model_cpus, "num_gpus": shares.model_gpus},
        **_common(settings),
        **_number(replicas, target=1),
    )
    application: Application = deployment.bind(stored.card_path, settings, shares.cores)
    return application


def _common(settings: Settings) -> dict[str, Any]:
    return {
        "health_check_period_s": HEALTH_PERIOD_S,
        "graceful_shutdown_timeout_s": settings.graceful_stop_s,
        "graceful_shutdown_wait_loop_s": CHECK_S,
    }


def _number(replicas: Replicas, target: int) -> dict[str, Any]:
    """Return the number of replicas; ``target`` is how many requests one works on where the number varies."""
    if replicas.least == replicas.most:
        return {"num_replicas": replicas.least}
    bounds = {"min_replicas": replicas.least, "max_replicas": replicas.most}
    return {"autoscaling_config": AutoscalingConfig(**bounds, target_ongoing_requests=target)}
