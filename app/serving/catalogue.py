"""The catalogue: the models that the service has, by name."""

from collections.abc import Iterator, Sequence

from app.errors import UnknownModelError
from app.serving.pipeline import Pipeline


class Catalogue:
    """The pipelines of all models; one of them answers requests that name no model."""

    def __init__(self, pipelines: Sequence[Pipeline], default: str) -> None:
        """``default`` is the name of one of ``pipelines``, which have names of their own."""
        self._pipelines = {pipeline.card.name: pipeline for pipeline in pipelines}
        self.default = self._pipelines[default]

    def __iter__(self) -> Iterator[Pipeline]:
        """Iterate over the models in their order."""
        return iter(self._pipelines.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all models."""
        return tuple(self._pipelines)

    @property
    def faults(self) -> dict[str, str]:
        """What was wrong with the last results of models whose last results could not be used, by name."""
        return {name: one.fault for name, one in self._pipelines.items() if one.fault is not None}

    def find(self, name: str | None) -> Pipeline:
        """Return the model of this name, the default one for ``None``; raises `UnknownModelError`."""
        if name is None:
            return self.default
        if name not in self._pipelines:
            raise UnknownModelError(f"no such model is served here; there is {' and '.join(self.names)}")
        return self._pipelines[name]

    async def warm_up(self) -> None:
        """Run an explanation on each model, one after the other."""
        for pipeline in self:
            await pipeline.warm_up()

    async def aclose(self) -> None:
        """Take no more requests; end what runs."""
        for pipeline in self:
            await pipeline.aclose()
