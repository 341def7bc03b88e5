"""The fast lane: requests answered without MLflow's app, which gets every other, untouched."""

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from ..settings import Settings
from .artifact_files import ArtifactFiles
from .mlflow_app import MlflowApp

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
        folder = settings.artifacts_folder
        self.files = ArtifactFiles(folder, settings.static_prefix or "") if folder else None
        self.health_paths = {"/health", f"{settings.static_prefix or ''}/health"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["path"] in self.health_paths:
            await self._health()(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(_LOGGED_MODELS):
            await JSONResponse(_NO_LOGGED_MODELS, 404)(scope, receive, send)
        elif scope["type"] == "http":
            answer = await self.files.answer(scope, receive) if self.files else None
            await (answer or self.mlflow)(scope, receive, send)

    def _health(self) -> PlainTextResponse:
        """Stock's answer, at once, while MLflow is still being imported too."""
        if self.mlflow.failure:
            return PlainTextResponse("MLflow cannot be loaded: see the server's log\n", 503)
        return PlainTextResponse("OK", media_type="text/html")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.mlflow.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.mlflow.stop()
        await send({"type": "lifespan.shutdown.complete"})
