"""The fast lane: requests answered without MLflow's app, which gets every other, untouched."""

import os
import re

from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from ..settings import Settings
from .artifact_bucket import ArtifactBucket
from .artifact_files import UPLOADS, Answer, ArtifactFiles
from .mlflow_app import MlflowApp

_ARTIFACTS = "2.0/mlflow-artifacts/artifacts/"
# MLflow decodes a path again and reads schemes and queries out of it (mlflow/utils/uri.py,
# `validate_path_is_safe`), so a name with any of these is left to it.
_UNUSUAL = re.compile(r"[%#?\\:;\x00-\x1f\x7f]")
# Linux takes 4,096 with the folder before it.
_PATH_BYTES = 3000
_INVALID_PATH = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid path"}
# What MLflow 3's log_model asks for first; its client shows the message of the answer.
_LOGGED_MODELS = "/api/2.0/mlflow/logged-models"
_NO_LOGGED_MODELS = {
    "error_code": "ENDPOINT_NOT_FOUND",
    "message": "This server is MLflow 2.17.1, which has no logged models. "
    "To log a model use an MLflow 2 client: pip install 'mlflow>=2.17,<3'",
}


class Lane:
    """ASGI app before MLflow's: answers what it is sure of, declines before anything was changed."""

    def __init__(self, settings: Settings, mlflow: MlflowApp):
        self.mlflow = mlflow
        # The UI's scripts are 10 MB, which browsers then keep for four weeks.
        self.compressed = GZipMiddleware(mlflow, compresslevel=5)
        self.artifacts = _artifacts(settings)
        self.prefix = settings.static_prefix or ""
        self.health_paths = {"/health", f"{self.prefix}/health"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive)
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path = scope["path"]
        if self.mlflow.failure:
            return PlainTextResponse("MLflow cannot be loaded: see the server's log\n", 503)
        if path in self.health_paths and scope["method"] in ("GET", "HEAD"):
            # Stock's answer, while MLflow is still being imported too.
            return PlainTextResponse("OK", media_type="text/html")
        if path.startswith(_LOGGED_MODELS):
            return JSONResponse(_NO_LOGGED_MODELS, 404)
        if path.startswith(f"{self.prefix}/static-files/"):
            return self.compressed
        return await self._artifact(scope, receive) or self.mlflow

    async def _artifact(self, scope: Scope, receive: Receive) -> Answer | None:
        """The answer to GET or PUT of an artifact; None for every other request, and where MLflow should."""
        path = artifact_path(scope["path"], self.prefix)
        if path is None or self.artifacts is None:
            return None
        if path.split("/")[0] == UPLOADS:
            return JSONResponse(_INVALID_PATH, 400)
        if scope["method"] not in ("GET", "PUT"):
            return None
        await self.mlflow.loaded()
        if scope["method"] == "GET":
            return await self.artifacts.fetch(path)
        return await self.artifacts.store(path, Request(scope, receive))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.mlflow.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.mlflow.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _artifacts(settings: Settings) -> ArtifactFiles | ArtifactBucket | None:
    if settings.artifacts_folder:
        return ArtifactFiles(settings.artifacts_folder)
    return ArtifactBucket() if settings.serve_artifacts else None


def artifact_path(url_path: str, prefix: str) -> str | None:
    """`0/RUN/artifacts/a.txt` of the URL of that artifact; None for another URL or an unusual path."""
    for start in (f"/api/{_ARTIFACTS}", f"{prefix}/ajax-api/{_ARTIFACTS}"):
        path = url_path.removeprefix(start)
        if path is not url_path and _is_plain(path):
            return path
    return None


def _is_plain(path: str) -> bool:
    segments = path.split("/")
    return (
        not _UNUSUAL.search(path)
        and len(os.fsencode(path)) <= _PATH_BYTES
        and all(segment not in ("", ".", "..") and len(os.fsencode(segment)) <= 255 for segment in segments)
    )
