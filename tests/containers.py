"""Containers for tests: built once, started on a free port of the loopback, removed at the end."""

import contextlib
import json
import secrets
import subprocess
from collections.abc import Iterator

import httpx

from .running import ROOT, free_port, wait_until

IMAGE = "textflow-mlflow:test"


def docker(*arguments: str, check: bool = True, **options) -> subprocess.CompletedProcess:
    """Run docker; raises AssertionError with what it said when it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, **options)
    assert not check or done.returncode == 0, f"docker {arguments}: {done.stdout}{done.stderr}"
    return done


def build() -> str:
    """The image of this tree."""
    docker("build", "--tag", IMAGE, "--file", "deployment/mlflow/Dockerfile", ".", cwd=ROOT)
    return IMAGE


class Container:
    """A started container of the image; `url` reaches it."""

    def __init__(self, name: str, port: int):
        self.name = name
        self.url = f"http://127.0.0.1:{port}"

    def ready(self) -> "Container":
        """Wait for MLflow's first answer."""
        path = f"{self.url}/api/2.0/mlflow/experiments/search?max_results=1"
        wait_until(lambda: self._running() and httpx.get(path, timeout=5).is_success, f"{self.name} start")
        return self

    def _running(self) -> bool:
        assert self.state()["Running"], self.log()
        return True

    def state(self) -> dict:
        return json.loads(docker("inspect", "--format", "{{json .State}}", self.name).stdout)

    def log(self) -> str:
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    def sh(self, command: str) -> str:
        return docker("exec", self.name, "sh", "-c", command).stdout

    def stop(self) -> int:
        """`docker stop`, with the engine's own grace of 10 s; the exit status."""
        docker("stop", self.name)
        return self.state()["ExitCode"]


@contextlib.contextmanager
def container(*options: str, command: tuple[str, ...] = (), port: int = 5000) -> Iterator[Container]:
    """`docker run` of the image with `options`, its `port` published on the loopback."""
    name, host_port = f"textflow-test-{secrets.token_hex(4)}", free_port()
    docker(
        "run",
        "--detach",
        "--name",
        name,
        "--publish",
        f"127.0.0.1:{host_port}:{port}",
        *options,
        IMAGE,
        *command,
    )
    try:
        yield Container(name, host_port)
    finally:
        docker("rm", "--force", "--volumes", name)
