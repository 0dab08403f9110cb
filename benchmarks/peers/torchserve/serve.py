"""Pack the handler and start TorchServe with it: ``python -m benchmarks.peers.torchserve.serve PORT FOLDER``.

The inference and management APIs share the port. FOLDER receives the archive, the configuration and the logs.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

from app.settings import shipped_model

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent

CONFIGURATION = """
inference_address=http://127.0.0.1:{port}
management_address=http://127.0.0.1:{port}
enable_metrics_api=false
grpc_inference_port={grpc_inference}
grpc_management_port={grpc_management}
job_queue_size=256
disable_token_authorization=true
"""


def main() -> None:
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    store = folder / "store"
    store.mkdir(parents=True, exist_ok=True)
    archiver: list[str | Path] = [
        BIN / "torch-model-archiver",
        "--model-name",
        "lrp",
        "--version",
        "1.0",
        "--force",
    ]
    files: list[str | Path] = ["--handler", HERE / "handler.py", "--config-file", HERE / "model-config.yaml"]
    weights: list[str | Path] = ["--serialized-file", shipped_model().with_name("weights.safetensors")]
    subprocess.run([*archiver, *files, *weights, "--export-path", store], check=True)
    grpc_inference, grpc_management = free_ports(2)
    configuration = folder / "config.properties"
    configuration.write_text(
        CONFIGURATION.format(port=port, grpc_inference=grpc_inference, grpc_management=grpc_management)
    )
    start: list[str | Path] = [BIN / "torchserve", "--start", "--foreground", "--ncs", "--model-store", store]
    os.chdir(folder)  # TorchServe writes logs to the current directory
    os.environ["TMPDIR"] = os.environ["TEMP"] = str(folder)  # for its process id and the unpacked archive
    os.execv(start[0], [*map(str, start), "--models", "lrp=lrp.mar", "--ts-config", str(configuration)])


def free_ports(count: int) -> list[int]:
    """Return ``count`` different free ports of the loopback interface."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(opened.getsockname()[1]) for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


if __name__ == "__main__":
    main()
