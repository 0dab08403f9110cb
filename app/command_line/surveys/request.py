"""A survey that is asked for, and what it needs of the model."""

from dataclasses import dataclass
from typing import Any

from app.api.parameters import SingleParameters
from app.command_line.kind import KindOnCommandLine
from app.command_line.surveys.options import SurveyOptions
from app.modalities.protocol import Sample
from app.serving.pipeline import Pipeline
from app.serving.timings import Timings
from app.settings import Settings
from app.survey.network import Network


@dataclass(frozen=True)
class Request:
    """A survey that is asked for."""

    options: SurveyOptions
    asked: SingleParameters
    """How maps are computed."""
    pipeline: Pipeline
    settings: Settings

    @classmethod
    def of(
        cls, kind: KindOnCommandLine, options: SurveyOptions, pipeline: Pipeline, settings: Settings
    ) -> "Request":
        """Return a request for inputs of ``kind``; raises `DataError` for options of maps that do not fit."""
        return cls(options, kind.explain.read(options.given), pipeline, settings)


def network_of(pipeline: Pipeline, asked: SingleParameters) -> Network:
    """Return what a survey needs of a model, with the maps that are ``asked`` for."""
    options = asked.options()

    async def decode(data: Any) -> Sample:
        return await pipeline.decode(data, options.input, Timings())

    return Network(pipeline.description, pipeline.request(options), decode, pipeline.run_in_background)
