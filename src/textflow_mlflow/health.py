"""One GET of /health with a deadline: whether a server answers."""

import urllib.error
import urllib.request
from pathlib import Path

from .errors import Problem, UserError
from .settings import Settings

_FLAGS = {"--host": "host", "-h": "host", "--port": "port", "-p": "port"}


def container_command(path: Path = Path("/proc/1/cmdline")) -> list[str]:
    """The argv of process 1, which in a container is the server; empty where it cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def own_url(settings: Settings, command: list[str]) -> str:
    """The URL of this container's server.

    Flags given to `docker run IMAGE --port 5001` are seen by the server only, so they are
    looked up in its command line.
    """
    found = {"host": settings.host, "port": str(settings.port)}
    if any(Path(word).name in ("entrypoint.sh", "textflow-mlflow", "mlflow") for word in command):
        found |= _given(command)
    host = "127.0.0.1" if found["host"] in ("0.0.0.0", "::", "") else found["host"]  # noqa: S104
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{found['port']}"


def _given(command: list[str]) -> dict[str, str]:
    given = {}
    for word, following in zip(command, [*command[1:], ""], strict=True):
        flag, equals, value = word.partition("=")
        if flag in _FLAGS:
            given[_FLAGS[flag]] = value if equals else following
    return given


def check(url: str, *, timeout_seconds: float) -> None:
    """Raises UserError unless `url`/health answers 200 in time."""
    # A proxy set for the container is not for its own loopback.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/health", timeout=timeout_seconds):
            return
    except urllib.error.HTTPError as error:
        fact = f"{url}/health answered {error.code}"
    except (OSError, ValueError) as error:
        fact = f"{url}/health does not answer: {getattr(error, 'reason', error)}"
    raise UserError(Problem(fact, "see the server's log; is MLFLOW_PORT the port it listens on?"))
