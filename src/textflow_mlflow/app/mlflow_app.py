"""MLflow's own Flask app behind ASGI: the authority for every request that nothing before it answered."""

import asyncio
import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

from a2wsgi import WSGIMiddleware
from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

# Threads for small requests, and a pool of their own for artifacts, whose slow transfers
# would otherwise keep the others waiting. SQLAlchemy's default pool has 15 connections.
_REQUEST_THREADS = 12
_ARTIFACT_THREADS = 16
_MEMORY_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 18


class MlflowApp:
    """ASGI app that imports MLflow in the background and holds requests until that is done."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.failure: Exception | None = None
        self._apps: asyncio.Future[tuple[ASGIApp, ASGIApp]] | None = None

    def start(self) -> None:
        """Begin the import; called once, inside the event loop."""
        self._apps = asyncio.get_running_loop().run_in_executor(None, _load, self.settings)
        self._apps.add_done_callback(self._loaded)

    def _loaded(self, apps: "asyncio.Future[tuple[ASGIApp, ASGIApp]]") -> None:
        if not apps.cancelled() and (error := apps.exception()):
            self.failure = error if isinstance(error, Exception) else RuntimeError(error)
            logger.critical("MLflow cannot be loaded", exc_info=error)

    def stop(self) -> None:
        """Close the database's connections, the last of which empties SQLite's write-ahead log."""
        if self.failure or self.settings.artifacts_only or not (self._apps and self._apps.done()):
            return
        from mlflow.server import handlers

        for store in (handlers._tracking_store, handlers._model_registry_store):
            store.engine.dispose()

    async def loaded(self) -> tuple[ASGIApp, ASGIApp]:
        """MLflow's app, twice: for small requests, and for artifacts. Waits for the import."""
        assert self._apps is not None, "start() was not called"  # noqa: S101
        return await asyncio.shield(self._apps)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. The body is read before a thread is taken for it."""
        requests, artifacts = await self.loaded()
        app = artifacts if "artifact" in scope["path"] else requests
        with tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES) as body:
            size = await _read_body(receive, body)
            if size is not None:
                await app(_with_length(scope, size), _replay(body), send)


async def _read_body(receive: Receive, body: IO[bytes]) -> int | None:
    """Copy the request's body and return its length; None when the client went away before its end."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= _MEMORY_BYTES:
            body.write(chunk)
        else:
            await to_thread.run_sync(body.write, chunk)
        if not message.get("more_body", False):
            body.seek(0)
            return size


def _with_length(scope: Scope, size: int) -> Scope:
    """The request with its body's length, without which Flask takes a chunked body for an empty one."""
    headers = MutableHeaders(raw=list(scope["headers"]))
    if "transfer-encoding" in headers:
        del headers["transfer-encoding"]
        headers["content-length"] = str(size)
    return {**scope, "headers": headers.raw}


def _replay(body: IO[bytes]) -> Receive:
    async def receive() -> Message:
        chunk = body.read(_CHUNK_BYTES)
        return {"type": "http.request", "body": chunk, "more_body": len(chunk) == _CHUNK_BYTES}

    return receive


def environment(settings: Settings) -> dict[str, str]:
    """What `mlflow server` 2.17.1 hands its workers (mlflow/server/__init__.py, `_run_server`)."""
    given = {
        "_MLFLOW_SERVER_FILE_STORE": None if settings.artifacts_only else settings.backend_store_uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": None if settings.artifacts_only else settings.registry_store_uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": settings.default_artifact_root,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.artifacts_destination,
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true" if settings.serve_artifacts else None,
        "_MLFLOW_SERVER_ARTIFACTS_ONLY": "true" if settings.artifacts_only else None,
        "_MLFLOW_STATIC_PREFIX": settings.static_prefix,
        "prometheus_multiproc_dir": settings.expose_prometheus,
    }
    return {name: value for name, value in given.items() if value}


def _load(settings: Settings) -> tuple[ASGIApp, ASGIApp]:
    os.environ.update(environment(settings))
    warnings.filterwarnings("ignore", category=FutureWarning, module="google.api_core")
    from mlflow.server import app, handlers

    if not settings.artifacts_only:
        handlers.initialize_backend_stores(
            settings.backend_store_uri, settings.registry_store_uri, settings.default_artifact_root
        )
    wsgi = _in_large_pieces(app)
    return WSGIMiddleware(wsgi, workers=_REQUEST_THREADS), WSGIMiddleware(wsgi, workers=_ARTIFACT_THREADS)


def _in_large_pieces(app: "WSGIApplication") -> "WSGIApplication":
    """Join an answer's pieces, each of which costs a change of threads; MLflow sends files by the line."""
    from werkzeug.wsgi import ClosingIterator

    def wrapped(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        pieces = app(environ, start_response)
        return ClosingIterator(_joined(pieces), getattr(pieces, "close", None))

    return wrapped


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _CHUNK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)
