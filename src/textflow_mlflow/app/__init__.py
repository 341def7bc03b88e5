"""What answers a request, outermost first: guard, lane, MLflow."""

from starlette.types import ASGIApp

from ..settings import Settings
from .guard import Guard
from .lane import Lane
from .mlflow_app import MlflowApp


def create_app(settings: Settings) -> ASGIApp:
    """The whole server as one ASGI app; MLflow is imported at its lifespan start, in the background."""
    return Guard(Lane(settings, MlflowApp(settings)))
