"""nginx from the distribution, with the recipe of docs/deploy.md, for tests."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[1] / "docs" / "deploy.md"
PREFIX = "/xai"
NAME = "lrp.example.com"
LIMIT_S = 30
REMOVES = "proxy_pass http://lrpserve/;"
SENDS = f"proxy_set_header X-Forwarded-Prefix {PREFIX};"
MAIN = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/errors.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/unused;
    uwsgi_temp_path {folder}/unused;
    scgi_temp_path {folder}/unused;
{recipe}
}}
"""


def recipe() -> str:
    """Return the configuration in the documentation, which removes the prefix and sends it in a header."""
    (block,) = [text.partition("```")[0] for text in DEPLOY.read_text().split("```nginx\n")[1:]]
    return block


def passing_on(recipe: str) -> str:
    """Return the recipe changed so that the prefix stays in the path, and no header has it."""
    assert REMOVES in recipe
    assert SENDS in recipe
    return recipe.replace(REMOVES, "proxy_pass http://lrpserve;").replace(SENDS, "")


@contextmanager
def nginx(recipe: str, port: int, folder: Path) -> Iterator[str]:
    """Run nginx before the service at ``port``; yields its URL."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    openssl = shutil.which("openssl")
    if program is None or openssl is None:
        pytest.skip("nginx or openssl is not installed")
    key, certificate = folder / "key", folder / "certificate"
    subprocess.run(
        [
            *[openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}"],
            *[
                "-addext",
                f"subjectAltName=DNS:{NAME},IP:127.0.0.1",
                "-keyout",
                str(key),
                "-out",
                str(certificate),
            ],
        ],
        check=True,
        capture_output=True,
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        public = free.getsockname()[1]
    replaced = {
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "listen 443 ssl": f"listen 127.0.0.1:{public} ssl",
        f"/etc/ssl/{NAME}.crt": str(certificate),
        f"/etc/ssl/{NAME}.key": str(key),
    }
    for written, replacement in replaced.items():
        assert written in recipe
        recipe = recipe.replace(written, replacement)
    configuration = folder / "nginx.conf"
    configuration.write_text(MAIN.format(folder=folder, recipe=recipe))
    process = subprocess.Popen([program, "-p", folder, "-e", folder / "errors.log", "-c", configuration])
    try:
        _wait_for(public, process)
        yield f"https://127.0.0.1:{public}{PREFIX}"
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def trusting(folder: Path) -> ssl.SSLContext:
    """Return a context that trusts the certificate that `nginx` has made in ``folder``."""
    return ssl.create_default_context(cafile=folder / "certificate")


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + LIMIT_S
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nginx does not listen; exit code {process.poll()}")
