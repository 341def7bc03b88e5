"""One GET of /health with a deadline: whether a server answers."""

import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from .errors import Problem, UserError

_FLAGS = {"--host": "host", "-h": "host", "--port": "port", "-p": "port"}


def container_command(path: Path = Path("/proc/1/cmdline")) -> list[str]:
    """The argv of process 1, which in a container is the server; empty where it cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def given_flags(command: list[str]) -> dict[str, str]:
    """Host and port of a command line of ours: `docker run IMAGE --port 5001` tells the server only."""
    if not any(Path(word).name in ("entrypoint.sh", "textflow-mlflow", "mlflow") for word in command):
        return {}
    given = {}
    for word, following in zip(command, [*command[1:], ""], strict=True):
        flag, equals, value = word.partition("=")
        if flag in _FLAGS:
            given[_FLAGS[flag]] = value if equals else following
        elif word[:2] in _FLAGS and not word.startswith("--"):
            given[_FLAGS[word[:2]]] = word[2:]
    return given


def url_of(host: str, port: int) -> str:
    """The URL of a server that listens on `host`, asked from the same machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check(url: str, *, timeout_seconds: float) -> None:
    """Raises UserError unless `url`/health answers 200 in time."""
    # A proxy set for the container is not for its own loopback.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/health", timeout=timeout_seconds):
            return
    except urllib.error.HTTPError as error:
        fact = f"{url}/health answered {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        fact = f"{url}/health does not answer: {getattr(error, 'reason', error)}"
    raise UserError(Problem(fact, "see the server's log; is MLFLOW_PORT the port it listens on?"))
