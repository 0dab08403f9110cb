"""The kinds of input that are surveyed."""

from collections.abc import Mapping

from app.command_line.surveys.image import IMAGE_SURVEY
from app.command_line.surveys.kind import SurveyOnCommandLine
from app.models.card import Kind

SURVEYS: Mapping[Kind, SurveyOnCommandLine] = {"image": IMAGE_SURVEY}
