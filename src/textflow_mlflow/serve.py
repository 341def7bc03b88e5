"""From settings to a listening server: folders, database, then the port."""

import logging
import logging.config
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from . import __version__, database, folders
from .app import create_app
from .app.artifact_files import UPLOADS
from .errors import EXIT_ADDRESS, Problem, UserError
from .settings import Settings
from .uris import masked

Say = Callable[[str], None]
_DAY_SECONDS = 24 * 3600


def prepare(settings: Settings, *, run_as: str | None, say: Say) -> None:
    """Folders, privileges, database. Raises UserError for what a person must put right."""
    # As process 1 a signal without a handler would be ignored.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    logging.config.dictConfig(logging_config(settings.logging_level))
    say(f"version {__version__}, MLflow 2.17.1")
    folders.make(settings.folders())
    if run_as and os.geteuid() == 0:
        folders.hand_over(settings.folders(), settings.database_files(), run_as)
    folders.check_writable(settings.folders())
    if settings.expose_prometheus:
        folders.forget_metrics(Path(settings.expose_prometheus))
    if folder := settings.artifacts_folder:
        folders.forget_uploads(folder / UPLOADS, older_than=time.time() - _DAY_SECONDS)
        say(f"artifacts in {folder}")
    elif settings.serve_artifacts:
        say(f"artifacts in {masked(settings.artifacts_destination)}")
    if not settings.artifacts_only:
        for uri in dict.fromkeys([settings.backend_store_uri, settings.registry_store_uri]):
            say(f"database {masked(uri)} {database.ready(uri, settings.default_artifact_root)}")


def _leave(*_: Any) -> None:
    raise SystemExit(0)


def process_count(settings: Settings) -> int:
    """One on SQLite, whose file one process owns; one a core, at most 4, on PostgreSQL."""
    if settings.database_files():
        return 1
    return settings.workers or min(4, len(os.sched_getaffinity(0)))


def listen(settings: Settings, *, say: Say) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight."""
    config = uvicorn_config(settings)
    sock = bind(settings)
    say(f"listening on {address(settings)}")
    try:
        if config.workers > 1:
            Multiprocess(config, sockets=[sock]).run()
        else:
            # After its clean stop uvicorn raises the signal again, and `_leave` makes an exit of it.
            Server(config).run(sockets=[sock])
    finally:
        say("stopped")


def address(settings: Settings) -> str:
    """The URL under which this machine reaches the server."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}{settings.static_prefix or ''}"


def bind(settings: Settings) -> socket.socket:
    """The listening socket. Raises UserError when the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
    except OSError as error:
        raise UserError(
            Problem(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
                "stop the program that listens there, or choose another MLFLOW_PORT or MLFLOW_HOST",
            ),
            exit_code=EXIT_ADDRESS,
        ) from None
    sock.set_inheritable(True)
    return sock


def uvicorn_config(settings: Settings) -> uvicorn.Config:
    """One process's server; with several, each makes its own app from the same settings."""
    return uvicorn.Config(
        partial(create_app, settings),
        factory=True,
        workers=process_count(settings),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=logging_config(settings.logging_level),
        access_log=settings.logging_level == "DEBUG",
        proxy_headers=False,
        server_header=False,
        # Longer than the pauses of a training loop, so that it keeps its connection.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.stop_grace,
    )


class Server(uvicorn.Server):
    """A uvicorn server that ends when its grace is over, whatever its threads still do."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's shutdown, then the end of the process if requests had to be cut off."""
        began, in_flight = time.monotonic(), bool(self.server_state.tasks)
        await super().shutdown(sockets)
        grace = self.config.timeout_graceful_shutdown or 0
        # A second Ctrl-C forces the exit.
        if self.force_exit or (in_flight and time.monotonic() - began >= grace):
            logging.getLogger(__name__).error("cut off requests that took longer than %d s", grace)
            logging.shutdown()
            os._exit(0)


def logging_config(level: str) -> dict[str, Any]:
    """Everything to stderr, one line an event; uvicorn's chatter about its life from WARNING."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            "uvicorn": {"level": "WARNING"},
            "uvicorn.access": {"level": "INFO"},
            "alembic": {"level": "WARNING"},
        },
    }
