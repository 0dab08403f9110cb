"""Write the tables of settings, rules, metrics and statuses into the pages. Run with ``make docs``."""

from prometheus_client.parser import text_string_to_metric_families

from app.api.http.problem_types import PROBLEM_TYPES
from app.api.http.problems import TYPE_PREFIX
from app.errors import LRPServeError
from app.lrp.composites import definitions
from app.modalities.image.layouts import rows
from app.settings import Settings
from app.telemetry.metrics import Metrics, exposition
from docs.blocks import fill, table


def tables() -> dict[str, dict[str, str]]:
    """Return the text of each generated block of each page."""
    return {
        "deploy.md": {"settings": settings(), "metrics": metrics()},
        "which-rule-when.md": {"rules": rules()},
        "http.md": {"layouts": layouts(), "statuses": statuses()},
    }


def settings() -> str:
    """Table of all settings: variable, default, meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "`model_weights`" if field.default_factory else _formatted(field.default)
        meaning = (field.description or "").replace("*", "\\*")
        rows.append([f"`LRP_{name.upper()}`", default, meaning])
    return table(["variable", "default", "meaning"], rows)


def rules() -> str:
    """Table of all composites and rules, in the order of `GET /rules`."""
    rows = [
        [
            f"`{info.name}`",
            info.formula,
            ", ".join(f"`{one.name}` {one.default:g}, {one.allowed}" for one in info.parameters) or "–",
            info.when,
        ]
        for info in definitions()
    ]
    return table(["`rule=`", "formula", "parameters", "when"], rows)


def metrics() -> str:
    """Table of the service's metrics in `GET /metrics`, without those of the process."""
    text, _ = exposition(Metrics().families(), "")
    rows = [
        [f"`{family.name}{'_total' if family.type == 'counter' else ''}`", family.type, family.documentation]
        for family in text_string_to_metric_families(text.decode())
        if family.name.startswith("lrpserve_") and not family.name.endswith("_created")
    ]
    return table(["name", "kind", "what it counts"], rows)


def layouts() -> str:
    """Return the layouts of picture files that are decoded."""
    return table(["format", "colours", "bits per sample", "compression", "also"], rows())


def statuses() -> str:
    """Table of all problem types by status, with the first sentences of their errors' docstrings."""
    when: dict[tuple[int, str], list[str]] = {}
    for error, kind in PROBLEM_TYPES.items():
        if issubclass(error, LRPServeError):
            when.setdefault((kind.status, kind.slug), []).append(_first_sentence(error))
    rows = [
        [str(status), f"`{TYPE_PREFIX}{slug}`", " ".join(sentences)]
        for (status, slug), sentences in sorted(when.items())
    ]
    return table(["status", "`type`", "when"], rows)


def _first_sentence(kind: type[LRPServeError]) -> str:
    return (kind.__doc__ or "").split("\n\n")[0].strip()


def _formatted(value: object) -> str:
    if value is None or value == ():
        return "–"
    if isinstance(value, bool):
        return str(int(value))
    return f"`{value}`"


def main() -> None:
    """Write all tables."""
    for page, texts in tables().items():
        fill(page, texts)


if __name__ == "__main__":
    main()
