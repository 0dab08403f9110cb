"""Options of ``lrpserve`` itself and of ``lrpserve serve``."""

import os
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest
from test_cli import run

from app.command_line.address import check_address
from app.errors import RefusedToStartError
from app.settings import Settings


@pytest.fixture
def port() -> int:
    """A port that is free again."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_port_in_use_is_reported_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], port: int
) -> None:
    monkeypatch.setattr("app.cli.configure", lambda _: None)  # it would replace pytest's log handlers
    monkeypatch.setattr("app.runtime.model_process.start_models", None)
    with socket.create_server(("127.0.0.1", port)):
        assert run(monkeypatch, "serve", "--port", str(port)) == 2
    assert capsys.readouterr().err == (
        f"lrpserve: --port: {port} of 127.0.0.1: Address already in use; choose another one with --port or "
        "LRP_PORT, or 0 for a free one\n"
    )


def test_a_free_port_is_left_free(port: int) -> None:
    check_address(Settings(port=port))
    check_address(Settings(port=0))
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_port_of_ended_connections_is_free(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listening:
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listening.accept()
        accepted.close()  # first, so that the port stays in TIME_WAIT
        client.close()
    check_address(Settings(port=port))


def test_a_host_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RefusedToStartError, match=r"^--host: nowhere.invalid: Name or service not known$"):
        check_address(Settings(host="nowhere.invalid"))


def test_an_invalid_option_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "serve", "--port", "99999") == 2
    assert capsys.readouterr().err.startswith("lrpserve: --port: ")


def test_the_version_is_the_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"lrpserve {version('lrpserve')}\n"


def completed(*words: str) -> list[str]:
    """Return what the shell is offered for the last of ``words``."""
    environment = {
        "_LRPSERVE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("lrpserve", *words)),
        "COMP_CWORD": str(len(words)),
    }
    program = "import sys; sys.argv[0] = 'lrpserve'; from app.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ex",), ["explain"]),
        (("explain", "--interp"), ["--interpolation"]),
        (("explain", "--fit", ""), ["crop", "pad", "stretch"]),
        (("explain", "cat.jpg", "--rule", "epsilon_p"), ["epsilon_plus_flat", "epsilon_plus"]),
        (("explain", "cat."), []),  # the shell's own completion of files
    ],
)
def test_shells_complete_commands_options_and_values(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words) == offered


def test_only_commands_for_pictures_import_the_parameters_of_http() -> None:
    program = "import sys; from app.cli import cli; cli(['serve', '--help'], standalone_mode=False); "
    imported = "print({'fastapi', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program + imported], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
