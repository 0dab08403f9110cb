"""Fill in what the pages list: settings, rules, metrics and statuses, from where they are defined."""

from prometheus_client.parser import text_string_to_metric_families

from app.errors import HTTPError, RequestError
from app.lrp.composites import COMPOSITES, RULES, CompositeInfo, RuleInfo
from app.settings import Settings
from app.telemetry.metrics import Metrics
from docs.blocks import fill, table


def tables() -> dict[str, dict[str, str]]:
    """The text of each block of each page."""
    return {
        "deploy.md": {"settings": settings(), "metrics": metrics()},
        "which-rule-when.md": {"rules": rules()},
        "http.md": {"statuses": statuses()},
    }


def settings() -> str:
    """Every setting: its variable, default and meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "the shipped model" if field.default_factory else _written(field.default)
        meaning = (field.description or "").replace("*", "\\*")
        rows.append([f"`LRP_{name.upper()}`", default, meaning])
    return table(["variable", "default", "meaning"], rows)


def rules() -> str:
    """What `GET /rules` lists, in its order."""
    infos: list[CompositeInfo | RuleInfo] = [*COMPOSITES.values(), *RULES.values()]
    rows = [
        [
            f"`{info.name}`",
            info.formula,
            ", ".join(f"`{one.name}` {one.default:g}, {one.allowed}" for one in info.parameters) or "–",
            info.when,
        ]
        for info in infos
    ]
    return table(["`rule=`", "formula", "parameters", "when"], rows)


def metrics() -> str:
    """What `GET /metrics` counts, but for the process's own figures."""
    text, _ = Metrics().exposed("")
    rows = [
        [f"`{family.name}{'_total' if family.type == 'counter' else ''}`", family.type, family.documentation]
        for family in text_string_to_metric_families(text.decode())
        if family.name.startswith("lrpserve_") and not family.name.endswith("_created")
    ]
    return table(["name", "kind", "what it counts"], rows)


def statuses() -> str:
    """Every error with a status, by status."""
    kinds: set[type[HTTPError]] = {
        *(kind for parent in (HTTPError, RequestError) for kind in parent.__subclasses__())
    }
    rows = [
        [str(kind.status), f"`urn:lrpserve:problem:{kind.slug}`", _first_sentence(kind)]
        for kind in sorted(kinds - {RequestError}, key=lambda kind: (kind.status, kind.slug))
    ]
    return table(["status", "`type`", "when"], rows)


def _first_sentence(kind: type[HTTPError]) -> str:
    return (kind.__doc__ or "").split("\n\n")[0].strip()


def _written(value: object) -> str:
    if value is None or value == ():
        return "–"
    if isinstance(value, bool):
        return str(int(value))
    return f"`{value}`"


def main() -> None:
    """Fill in all of them."""
    for page, texts in tables().items():
        fill(page, texts)


if __name__ == "__main__":
    main()
