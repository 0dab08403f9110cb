"""The service as Serve's configuration files name it: ``import_path`` in ``deploy/ray.yaml`` is `build`."""

from collections.abc import Mapping

from ray.serve.deployment import Application

from app.cluster.application import ANY_ADDRESS, application_of, models_of
from app.cluster.shares import Replicas, Shares
from app.errors import RefusedToStartError
from app.settings import Settings


def build(args: Mapping[str, str]) -> Application:
    """Return the service with the environment's settings; called by Serve on the cluster.

    Each deployment has one replica and reserves `Shares.fixed`, unless the file says otherwise. It depends on no
    machine of the cluster, since those may start later. Raises `RefusedToStartError`, also for any ``args``.
    """
    if args:
        raise RefusedToStartError(
            f"args: {', '.join(args)}: there are none; settings are LRP_* variables in runtime_env.env_vars"
        )
    settings = Settings(host=ANY_ADDRESS)  # the file says where Serve listens, and not the settings
    return application_of(settings, models_of(settings), Shares.fixed(settings), Replicas())
