"""README and docs: their commands work, their tables are complete, and their links and pictures exist.

The first word of a fence is its language. The second tells the tests what to do with it:

    sh              run, in the page's own folder, against the page's server; curl fails on any HTTP error
    sh refused      run; a request in it must be refused
    sh serve        start a server, which the following blocks use
    sh elsewhere    not run, as it needs containers, a cluster or hours; its words are checked
    python          run
    text printed    expected output of the block before it; … matches any text
"""

import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
import pytest
import yaml
from conftest import Server, serving
from ray.serve.scripts import cli as serve_cli
from starlette.testclient import TestClient
from test_floors import FLOORS

from app.lrp.composites import COMPOSITES
from app.lrp.rules import RULES
from app.main import create_app
from app.models.tuned import TUNED
from app.runtime.model_process import start_models
from app.settings import Settings
from benchmarks import equality, trial
from docs import blocks, make_concrete, make_networks, make_pictures, make_tables

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^ *```(?P<info>[^\n`]*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
KINDS = {
    "sh",
    "sh refused",
    "sh serve",
    "sh elsewhere",
    "python",
    "text",
    "text printed",
    "json",
    "yaml",
    "http",
    "nginx",
}
ADDRESS = "127.0.0.1:8000"
SUBSTITUTED = {"--host 0.0.0.0": "--host 127.0.0.1"}
"""Replacements besides the address, so that tests listen on the loopback interface only."""
CURLRC = "fail-with-body\nsilent\nshow-error\nmax-time = 60\n"
BARE_COMMAND = re.compile(
    r"(?:^|[|;&(])[ \t]*(?:\w+=\S+ )*((?:lrpserve|python3?|pip|pytest) .*)", re.MULTILINE
)
"""A command without a path that only an activated environment has."""
LIMIT_S = 300
TOOLS = ("bash", "curl", "make", "openssl")

needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"one of {', '.join(TOOLS)} is not installed"
)


@dataclass(frozen=True)
class Block:
    """Text of a fenced block, and the words after its opening fence."""

    info: str
    text: str


@dataclass
class Terminal:
    """Environment of a page's commands: a folder like a clone's, with ``.venv``, and a server."""

    folder: Path
    address: str
    stdout: str = ""
    stderr: str = ""
    serving: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, block: Block) -> int:
        command = (
            ["bash", "-euo", "pipefail", "-c"] if block.info.startswith("sh") else [sys.executable, "-c"]
        )
        done = subprocess.run(
            [*command, self.typed(block)],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        self.stdout, self.stderr = done.stdout, done.stderr
        return done.returncode

    def serve(self, block: Block) -> None:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", self.typed(block)],
            cwd=self.folder,
            env={**self.environment(), "LRP_PORT": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.serving.append(process)
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if found := re.search(r"http://(127\.0\.0\.1:[1-9]\d*)", line):
                self.address = found[1]
                while httpx.get(f"http://{self.address}/readyz", timeout=60).status_code == 503:
                    pass  # the server warms up between the requests
                return
        raise AssertionError(f"the server did not start:\n{output}")

    def typed(self, block: Block) -> str:
        text = block.text.replace(ADDRESS, self.address)
        for written, replacement in SUBSTITUTED.items():
            text = text.replace(written, replacement)
        return text

    def environment(self) -> dict[str, str]:
        return {**os.environ, "CURL_HOME": str(self.folder), "PYTHONPATH": str(ROOT)}


@contextmanager
def terminal(folder: Path, address: str, cat_jpeg: bytes) -> Iterator[Terminal]:
    bin_ = folder / ".venv" / "bin"
    bin_.mkdir(parents=True)
    for name, arguments in (("lrpserve", "-m app.cli"), ("python", "")):
        (bin_ / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (bin_ / name).chmod(0o755)
    (folder / ".curlrc").write_text(CURLRC)
    (folder / "cat.jpg").write_bytes(cat_jpeg)
    images = folder / "docs" / "images"
    images.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "images" / "frog.png", images)
    opened = Terminal(folder, address)
    try:
        yield opened
    finally:
        for process in opened.serving:  # all at once: each is unready for a second before it closes
            os.killpg(process.pid, signal.SIGTERM)
        for process in opened.serving:
            process.communicate(timeout=60)


def fences(page: Path) -> list[Block]:
    return [Block(match["info"].strip(), match["text"]) for match in FENCE.finditer(page.read_text())]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def with_kind(*kinds: str) -> list[Path]:
    return [page for page in PAGES if any(block.info in kinds for block in fences(page))]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The service with default settings and all shipped models, as a reader starts it."""
    settings = Settings()
    process = start_models(settings)
    with serving(settings, create_app(settings, process.models)) as server:
        while httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 503:
            pass  # the warm-up runs between the requests
        yield server
    process.kill()


@needs_tools
@pytest.mark.parametrize("page", with_kind("sh", "python", "sh serve"), ids=name_of)
def test_what_a_page_says_to_type_works(page: Path, server: Server, cat_jpeg: bytes, tmp_path: Path) -> None:
    with terminal(tmp_path, f"127.0.0.1:{server.port}", cat_jpeg) as used:
        for block in fences(page):
            if block.info == "sh serve":
                used.serve(block)
            elif block.info == "text printed":
                assert matches(block.text, used.stdout), f"printed\n{used.stdout}\ninstead of\n{block.text}"
            elif block.info in ("sh", "python", "sh refused"):
                code = used.run(block)
                refused = block.info == "sh refused"
                output = used.stdout + used.stderr
                assert (code == 0) is not refused, f"{block.text}\nended with {code}:\n{output}"


def matches(written: str, printed: str) -> bool:
    lines = [re.escape(line.rstrip()).replace("…", ".*") for line in written.splitlines()]
    return re.fullmatch("\n".join(lines), printed.rstrip(), re.DOTALL) is not None


def test_what_is_not_printed_is_noticed() -> None:
    assert matches("cat …%, dog\n", "cat 87.5%, dog\n")
    assert not matches("cat 88%, dog\n", "cat 87.5%, dog\n")
    assert not matches("cat\n", "cat\ndog\n")


def test_what_a_page_says_to_type_is_in_the_environment_of_the_clone() -> None:
    blocks_ = [(name_of(page), block) for page in PAGES for block in fences(page)]
    bare = [
        (name, command)
        for name, block in blocks_
        if block.info.startswith("sh")
        for command in BARE_COMMAND.findall(block.text)
    ]
    assert bare == []


def test_every_fence_is_of_a_known_kind() -> None:
    assert not [(name_of(page), b.info) for page in PAGES for b in fences(page) if b.info not in KINDS]


# Commands that cannot be run here


def elsewhere() -> list[str]:
    texts = [b.text.replace("\\\n", " ") for page in PAGES for b in fences(page) if b.info == "sh elsewhere"]
    return [line for text in texts for line in text.splitlines() if shlex.split(line, comments=True)]


@needs_tools
@pytest.mark.parametrize("command", elsewhere())
def test_what_cannot_be_run_here_names_what_there_is(command: str) -> None:
    program, *words = shlex.split(command, comments=True)
    settings = {f"LRP_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bLRP_[A-Z_]+\b", command)) <= settings
    manifests = [word for word in words if word.endswith(".yaml")]
    assert all((ROOT / word).exists() for word in manifests)
    CHECKS[Path(program).name](words)


@cache
def attempt(*command: str) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_make(words: list[str]) -> None:
    attempt("make", "--dry-run", "--always-make", *words)


def check_docker(words: list[str]) -> None:
    verb, *rest = words
    if verb == "compose":
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
        action, *named = [word for word in rest if not word.startswith("-")]
        assert action in {"up", "run"}
        assert set(named) <= set(services)
        if program := shutil.which("docker-compose"):  # `config` needs no engine
            attempt(program, "config", "--quiet")
    else:
        assert verb == "run"
        assert words[-1] == "lrpserve"


def check_kubectl(words: list[str]) -> None:
    documents = list(yaml.safe_load_all((ROOT / "deploy" / "base" / "kubernetes.yaml").read_text()))
    volumes = documents[0]["spec"]["template"]["spec"]["volumes"]
    match words:
        case ["create", "secret", "generic", name, *_]:
            assert name in {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
        case ["port-forward", service, ports]:
            kind, name = service.split("/")
            (found,) = [document for document in documents if document["kind"].lower() == kind]
            assert found["metadata"]["name"] == name
            assert int(ports.split(":")[1]) in {port["port"] for port in found["spec"]["ports"]}
        case ["kustomize", folder] | ["apply", "-k", folder]:
            assert (ROOT / folder / "kustomization.yaml").exists()
        case _:
            assert words[:2] == ["apply", "-f"]


def check_lrpserve(words: list[str]) -> None:
    usage = attempt(sys.executable, "-m", "app.cli", words[0], "--help")
    assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", usage))


def check_pip(words: list[str]) -> None:
    *options, what = words
    extras = re.fullmatch(r"\.\[(\w+)\]", what)
    assert options == ["install", "--editable"]  # else a copy replaces the project's folder
    assert extras
    assert (
        extras[1] in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    )


def check_python(words: list[str]) -> None:
    option, module, *rest = words
    assert option == "-m"
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, module, raising=False)
        patch.setattr(sys, "argv", [module, *rest, "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__")  # torch, which it imports, is imported already
    assert ended.value.code == 0


def check_serve(words: list[str]) -> None:
    verb, *rest = words
    serve_cli.commands[verb].make_context(verb, rest)  # raises click.UsageError


CHECKS = {
    "make": check_make,
    "docker": check_docker,
    "kubectl": check_kubectl,
    "lrpserve": check_lrpserve,
    "pip": check_pip,
    "python": check_python,
    "serve": check_serve,
}


# Links, pictures, lists


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path) if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [
        page.name for page in PAGES if page.parent == ROOT / "docs" and f"docs/{page.name}" not in readme
    ] == []


def test_every_picture_is_made_by_the_command_and_shown(tmp_path: Path) -> None:
    printed = make_pictures.draw(tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    existing = {path.name for path in (ROOT / "docs" / "images").iterdir()}
    # photos of a browser; `make concrete` and `make deception`, which take minutes
    made_apart = {"page.png", "suspicious.png", "concrete.png", "deception.png"}
    assert existing - made_apart == drawn
    texts = "".join(page.read_text() for page in PAGES)
    assert {name for name in drawn if f"images/{name})" not in texts} == set()
    for page, texts_ in printed.items():
        assert {name: blocks.read(page)[name] for name in texts_} == texts_


def test_ranges_and_errors_of_concrete_are_those_of_its_card() -> None:
    concrete, written = make_concrete.Concrete(), blocks.read(make_concrete.PAGE)
    assert written["ranges"] == make_concrete.ranges(concrete)
    assert written["errors"] == make_concrete.errors(concrete)


@pytest.mark.parametrize("page", make_tables.tables())
def test_tables_are_what_the_command_prints(page: str) -> None:
    tables = make_tables.tables()[page]
    assert {name: blocks.read(page)[name] for name in tables} == tables


def test_every_network_of_torchvision_is_listed_with_what_was_found() -> None:
    _, _, *lines = blocks.read("networks.md")["networks"].partition("\n\n")[2].splitlines()
    found = make_networks.read()
    rows = [make_networks.row(found.get(name) or make_networks.not_tried(name)) for name in trial.names()]
    assert lines == blocks.table([], rows).splitlines()[2:]


def test_the_rules_that_are_listed_are_those_that_there_are(client: TestClient) -> None:
    rules = [rule["name"] for rule in client.get("/rules").json()]
    listed = re.findall(r"^\| `(\w+)` \|", blocks.read("which-rule-when.md")["rules"], re.MULTILINE)
    assert listed == rules
    assert rules == [*COMPOSITES, *RULES]


def test_figures_of_equality_are_of_every_rule_and_small() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", blocks.read("correctness.md")["equality"], re.MULTILINE)
    assert [name for name, _ in rows] == [*COMPOSITES, *RULES]
    figures = [list(map(float, row.split(" | "))) for _, row in rows]
    assert max(figure for row in figures for figure in row[:4]) < 1e-10
    assert max(figure for row in figures for figure in row[4:]) < 1e-4


def test_the_command_that_prints_them_compares_both_engines() -> None:
    (chain,) = [subject for subject in equality.subjects() if subject.name == "float64, random chain"]
    assert 0 < chain.difference("gamma") < 1e-10
    assert chain.difference("flat") < 1e-10


def test_a_rule_that_a_page_asks_for_exists() -> None:
    used = {
        name
        for page in PAGES
        for name in re.findall(r"(?:rule=|--rule |\"rule\": \")([a-z_0-9]+)", page.read_text())
    }
    assert used <= {*COMPOSITES, TUNED, *RULES}
    assert used


def test_the_design_has_every_folder_on_its_floor() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
    documented = {
        name.removesuffix("/").removesuffix(".py").replace("/", "."): int(number)
        for number, names in rows
        for name in re.findall(r"`(app/[\w/.]+)`", names)
    }
    assert documented == {folder: layer for layer, folders in enumerate(FLOORS) for folder in folders}
