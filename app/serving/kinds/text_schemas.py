"""Responses about texts as pydantic models; placeholders as in `app.serving.schemas`."""

from pydantic import Field

from app.serving.schemas import Answer, ExplanationOf, Prediction, PredictionOf, Value


class TextReport(Answer):
    """The text, as the model takes it."""

    characters: int = Field(description="Of the text as sent.", examples=[31])
    tokens: int = Field(description="That the model takes, special ones included.", examples=[7])
    cut: int = Field(description="Tokens at the end that the model does not take.", examples=[0])


class PredictTextAnswer(PredictionOf[Prediction | Value, TextReport]):
    """Class scores of one text, or the value that is predicted of it."""


class TextExplanationReport(ExplanationOf[Prediction | Value, TextReport]):
    """An explanation of a text without its tokens."""


class Scale(Answer):
    """The scale of colours in a drawing."""

    colormap: str
    vmin: float = Field(description="Relevance that the lowest colour stands for.")
    vmax: float = Field(description="Relevance that the highest colour stands for.")


class TokenRelevance(Answer):
    """A word, or a token, of the text and its relevance."""

    text: str = Field(description="As sent; of a special token, its name.", examples=["gorgeous"])
    start: int = Field(description="Its first character in the text as sent.", examples=[2])
    end: int = Field(
        description="The character after its last one; of a special token, as `start`.", examples=[10]
    )
    known: bool = Field(description="Whether the model's vocabulary has it.")
    relevance: float = Field(examples=[0.81])


class ExplainTextAnswer(TextExplanationReport):
    """Scores of one text, and the relevance of its words."""

    tokens: list[TokenRelevance] = Field(description="Words or tokens, as `unit` says, in their order.")
    scale: Scale


class CompareTextAnswer(PredictTextAnswer):
    """Several explanations of one text on one colour scale."""

    explanations: list[ExplainTextAnswer] = Field(
        description="Rule by rule in the order asked for, and for each rule target by target."
    )


class BatchTextResult(Answer):
    """Explanation of one text of a batch, or what is wrong with it."""

    index: int = Field(ge=0, description="Its place among the texts as sent, from 0.")
    explanation: ExplainTextAnswer | None = None
    problem: dict[str, object] | None = Field(
        default=None, description="RFC 9457 problem, as a request with this text alone gets."
    )


class BatchTextAnswer(Answer):
    """Explanations of several texts."""

    results: list[BatchTextResult] = Field(description="In the order of the texts.")
