"""The catalogue: the models that the service has, by name."""

from collections.abc import Iterator, Mapping, Sequence

from app.errors import InvalidParameterError, UnknownModelError
from app.models.card import Kind
from app.serving.pipeline import Pipeline


class Catalogue:
    """The pipelines of all models; one of each kind answers requests that name no model."""

    def __init__(self, pipelines: Sequence[Pipeline], defaults: Mapping[Kind, str]) -> None:
        """``defaults``: names of some ``pipelines`` by kind, from `app.models.repository.default_names`."""
        self._pipelines = {pipeline.card.name: pipeline for pipeline in pipelines}
        self._defaults = {kind: self._pipelines[name] for kind, name in defaults.items()}

    @property
    def default(self) -> Pipeline:
        """The model that is described where none is named."""
        return next(iter(self._defaults.values()))

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

    def is_default(self, pipeline: Pipeline) -> bool:
        """Return whether a model answers requests of its kind that name none."""
        return pipeline in self._defaults.values()

    def find(self, name: str | None, kind: Kind | None = None) -> Pipeline:
        """Return the model of this name, the default one of ``kind`` for ``None``.

        Raises `UnknownModelError`, and `InvalidParameterError` for a model that takes another kind of input.
        """
        if name is None:
            return self.default if kind is None else self._defaults[kind]
        if name not in self._pipelines:
            raise UnknownModelError(f"no such model is served here; there is {', '.join(self.names)}")
        found = self._pipelines[name]
        if kind is not None and found.card.kind != kind:
            raise InvalidParameterError("model", f"{name} takes {found.card.kind} input, not {kind}")
        return found

    async def warm_up(self) -> None:
        """Run an explanation on each model, one after the other."""
        for pipeline in self:
            await pipeline.warm_up()

    async def aclose(self) -> None:
        """Take no more requests; end what runs."""
        for pipeline in self:
            await pipeline.aclose()
