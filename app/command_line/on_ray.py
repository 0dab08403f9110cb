"""``lrpserve serve --ray``."""

from app.command_line.address import check_address
from app.command_line.extras import require
from app.errors import RefusedToStartError
from app.settings import Settings


def check_without_ray(address: str | None, replicas: str | None) -> None:
    """Raise `RefusedToStartError` for options that are given without ``--ray``."""
    for option, value in (("--address", address), ("--replicas", replicas)):
        if value is not None:
            raise RefusedToStartError(f"{option}: is for --ray; add that")


def serve_on_ray(settings: Settings, address: str | None, replicas: str | None) -> None:
    """Serve on the Ray cluster at ``address``, by default one of this machine, until a signal arrives.

    Raises `DataError` if Ray is not installed or the cluster cannot be used, and `RefusedToStartError`.
    """
    require("ray", "--ray", "ray")
    from app.cluster.shares import Replicas
    from app.cluster.start import cluster

    count = Replicas() if replicas is None else Replicas.parse(replicas)
    if address is None:
        check_address(settings)
    with cluster(address) as is_own:
        from app.cluster.serve import serve_on_cluster

        serve_on_cluster(settings, count, is_own=is_own)
