"""The plain `mlflow server` command with the same settings, the way out when ours is at fault."""

from collections.abc import Mapping

from .settings import Settings


def command(settings: Settings) -> list[str]:
    """The argv of `mlflow server`; URIs, which may hold passwords, go by `environment`."""
    options = {
        "--host": settings.host,
        "--port": settings.port,
        "--workers": settings.workers,
        "--static-prefix": settings.static_prefix,
        "--gunicorn-opts": settings.gunicorn_opts,
        "--expose-prometheus": settings.expose_prometheus,
    }
    argv = ["mlflow", "server"]
    for flag, value in options.items():
        argv += [flag, str(value)] if value is not None else []
    argv += ["--serve-artifacts" if settings.serve_artifacts else "--no-serve-artifacts"]
    return [*argv, "--artifacts-only"] if settings.artifacts_only else argv


def environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with the URIs under the names that `mlflow server` reads."""
    clean = {name: value for name, value in environ.items() if not name.startswith("MLFLOW_") or value}
    clean |= {
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts_destination,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": settings.default_artifact_root,
    }
    if settings.artifacts_only:
        clean.pop("MLFLOW_BACKEND_STORE_URI", None)
        return clean
    return clean | {
        "MLFLOW_BACKEND_STORE_URI": settings.backend_store_uri,
        "MLFLOW_REGISTRY_STORE_URI": settings.registry_store_uri,
    }
