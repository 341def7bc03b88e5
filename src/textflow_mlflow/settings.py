"""Every environment variable of the server: its name, default, meaning, secrecy and flag, declared once."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from .errors import EXIT_SETTINGS, BadValue, Problem, UserError
from .parsers import (
    absolute_path,
    database_path,
    level_name,
    number_or_none,
    port_number,
    url_prefix,
    whole_number,
    worker_count,
    yes_or_no,
)
from .uris import artifacts_uri, database_uri, folder_path, masked, sqlite_path

_UNREADABLE = "unreadable"
_RELATIVE_SQLITE = re.compile("sqlite:///[^/]")


@dataclass(frozen=True)
class Variable:
    """One row of the table: a field of `Settings` and everything that is said about it."""

    field: str
    name: str
    help: str
    default: str
    parse: Callable[[str], Any]
    flags: tuple[str, ...] = ()
    uri: bool = False
    read_by: str = "server"

    @property
    def file_name(self) -> str | None:
        """`NAME_FILE`, for what may hold a password."""
        return f"{self.name}_FILE" if self.uri else None

    def shown(self, text: str) -> str:
        """The value as it may be printed."""
        return masked(text) if self.uri else text


def env(
    name: str,
    text: str,
    *,
    default: str = "",
    parse: Callable[[str], Any] = str,
    flags: str = "",
    uri: bool = False,
    read_by: str = "server",
) -> Any:
    """Declare a setting. `flags` are those of `mlflow server`; `read_by` says who but us reads it."""
    metadata = {
        "name": name,
        "help": text,
        "default": default,
        "parse": parse,
        "flags": tuple(flags.split()),
        "uri": uri,
        "read_by": read_by,
    }
    return dataclasses.field(metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The settings in force, parsed; `read` makes one. Optional ones are None when unset."""

    host: str = env(
        "MLFLOW_HOST",
        "Address to listen on; 0.0.0.0 in the container.",
        default="127.0.0.1",
        flags="--host -h",
    )
    port: int = env("MLFLOW_PORT", "Port to listen on.", default="5000", parse=port_number, flags="--port -p")
    host_port: int = env(
        "MLFLOW_HOST_PORT",
        "Port that Compose and `make serve` publish on this machine.",
        default="65500",
        parse=port_number,
        read_by="compose",
    )
    db_path: str = env(
        "MLFLOW_DB_PATH",
        "File of the embedded SQLite database.",
        default="/app/db/mlflow.db",
        parse=database_path,
    )
    backend_store_uri: str = env(
        "MLFLOW_BACKEND_STORE_URI",
        "Tracking database: sqlite:////PATH or postgresql://USER:PASSWORD@HOST/NAME.",
        default="sqlite:///${MLFLOW_DB_PATH}",
        parse=database_uri,
        flags="--backend-store-uri",
        uri=True,
    )
    artifact_root: str = env(
        "MLFLOW_ARTIFACT_ROOT",
        "Folder of the artifacts.",
        default="/app/artifacts",
        parse=absolute_path,
    )
    artifacts_destination: str = env(
        "MLFLOW_ARTIFACTS_DESTINATION",
        "Where the server keeps artifacts: file:///PATH or gs://BUCKET/PREFIX.",
        default="file://${MLFLOW_ARTIFACT_ROOT}",
        parse=artifacts_uri,
        flags="--artifacts-destination",
        uri=True,
    )
    default_artifact_root: str = env(
        "MLFLOW_DEFAULT_ARTIFACT_ROOT",
        "Root that new experiments are given; clients reach mlflow-artifacts:/ through the server.",
        default="mlflow-artifacts:/",
        flags="--default-artifact-root",
        uri=True,
    )
    registry_store_uri: str = env(
        "MLFLOW_REGISTRY_STORE_URI",
        "Model registry database, when it is another one.",
        default="${MLFLOW_BACKEND_STORE_URI}",
        parse=database_uri,
        flags="--registry-store-uri",
        uri=True,
    )
    serve_artifacts: bool = env(
        "MLFLOW_SERVE_ARTIFACTS",
        "Whether clients send and fetch artifacts through the server.",
        default="true",
        parse=yes_or_no,
        flags="--serve-artifacts/--no-serve-artifacts",
    )
    artifacts_only: bool = env(
        "MLFLOW_ARTIFACTS_ONLY",
        "Serve artifacts and nothing else; no database is opened.",
        default="false",
        parse=yes_or_no,
        flags="--artifacts-only",
    )
    workers: int | None = env(
        "MLFLOW_WORKERS",
        "Processes that answer requests; by default 1 on SQLite, one a core up to 4 on PostgreSQL.",
        parse=worker_count,
        flags="--workers -w",
    )
    static_prefix: str | None = env(
        "MLFLOW_STATIC_PREFIX",
        "Path under which a proxy shows the server, as in /mlflow.",
        parse=url_prefix,
        flags="--static-prefix",
    )
    expose_prometheus: str | None = env(
        "MLFLOW_EXPOSE_PROMETHEUS",
        "Folder for metrics files; set, it opens /metrics.",
        parse=absolute_path,
        flags="--expose-prometheus",
    )
    gunicorn_opts: str | None = env(
        "MLFLOW_GUNICORN_OPTS",
        "Options for gunicorn, which runs under `serve --stock` only.",
        flags="--gunicorn-opts",
    )
    stop_grace: int = env(
        "MLFLOW_STOP_GRACE",
        "Seconds that requests in flight may take after SIGTERM; keep it under the container's.",
        default="8",
        parse=whole_number,
        flags="--stop-grace",
    )
    logging_level: str = env(
        "MLFLOW_LOGGING_LEVEL",
        "DEBUG, INFO, WARNING or ERROR; DEBUG also logs every request.",
        default="INFO",
        parse=level_name,
        read_by="mlflow",
    )
    deployments_target: str | None = env(
        "MLFLOW_DEPLOYMENTS_TARGET", "AI gateway that the UI may ask.", read_by="mlflow"
    )
    pool_size: int | None = env(
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE",
        "Database connections that a process keeps.",
        parse=whole_number,
        read_by="mlflow",
    )
    max_overflow: int | None = env(
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW",
        "Database connections beyond those, for peaks; -1 for no limit.",
        parse=number_or_none,
        read_by="mlflow",
    )
    pool_recycle: int | None = env(
        "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE",
        "Seconds after which a database connection is replaced; -1 for never.",
        parse=number_or_none,
        read_by="mlflow",
    )

    def database_files(self) -> list[Path]:
        """The SQLite files, of which there is none, one, or one more for the registry."""
        uris = [] if self.artifacts_only else [self.backend_store_uri, self.registry_store_uri]
        return list(dict.fromkeys(path for uri in uris if (path := sqlite_path(uri))))

    @property
    def artifacts_folder(self) -> Path | None:
        """The folder that holds the artifacts; None when it is a bucket or artifacts are not served."""
        return folder_path(self.artifacts_destination) if self.serve_artifacts else None

    def folders(self) -> list[Path]:
        """The folders that must exist and be writable before the server starts."""
        metrics = Path(self.expose_prometheus) if self.expose_prometheus else None
        databases = [file.parent for file in self.database_files()]
        return list(dict.fromkeys([*databases, *filter(None, [self.artifacts_folder, metrics])]))


def _variable(field: "dataclasses.Field[Any]") -> Variable:
    return Variable(field=field.name, **field.metadata)


VARIABLES = tuple(_variable(field) for field in dataclasses.fields(Settings))


class Value(NamedTuple):
    """One setting in force, as text, and where it came from."""

    variable: Variable
    text: str
    origin: str


class Reading(NamedTuple):
    """What `read` returns: the settings, each with its origin, and what deserves a warning."""

    settings: Settings
    values: list[Value]
    warnings: list[Problem]


def read(environ: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Reading:
    """Flags over environment over defaults. Raises UserError with every problem at once."""
    problems: list[Problem] = []
    values: dict[str, Value] = {}
    parsed: dict[str, Any] = {}
    relative: list[str] = []
    for variable in VARIABLES:
        try:
            value = _found(variable, environ, flags or {})
            text = _expanded(value.text, values)
            relative += [variable.name] if _RELATIVE_SQLITE.match(text) else []
            result = variable.parse(text) if text else None
            parsed[variable.field] = result
            values[variable.name] = value._replace(text=result if isinstance(result, str) else text)
        except BadValue as bad:
            values[variable.name] = Value(variable, "", _UNREADABLE)
            problems.append(Problem(f"{variable.name} {bad.fact}", bad.remedy))
    if not problems:
        problems += _contradictions(parsed)
    if problems:
        raise UserError(*problems, exit_code=EXIT_SETTINGS)
    settings = Settings(**parsed)
    doubts = [_relative(values[name]) for name in relative if values[name].origin != "default"]
    return Reading(settings, list(values.values()), doubts + _doubts(settings))


def read_one(field: str, environ: Mapping[str, str], flags: Mapping[str, str]) -> Any:
    """One setting alone, for a command that needs no other. Raises UserError."""
    variable = next(v for v in VARIABLES if v.field == field)
    try:
        return variable.parse(_found(variable, environ, flags).text)
    except BadValue as bad:
        raise UserError(Problem(f"{variable.name} {bad.fact}", bad.remedy)) from None


def _found(variable: Variable, environ: Mapping[str, str], flags: Mapping[str, str]) -> Value:
    if flags.get(variable.field):
        return Value(variable, flags[variable.field], f"flag {variable.flags[0].partition('/')[0]}")
    text = environ.get(variable.name, "")
    path = environ.get(variable.file_name, "") if variable.file_name else ""
    if text and path:
        raise BadValue(f"and {variable.file_name} are both set", "keep one and unset the other")
    if path:
        return Value(variable, _file_text(variable, path), f"file {path}")
    if text:
        return Value(variable, text, "environment")
    return Value(variable, variable.default, "default")


def _file_text(variable: Variable, path: str) -> str:
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        remedy = f"mount the file, or correct {variable.file_name}"
        if isinstance(error, PermissionError):
            remedy = f"let uid {os.geteuid()} read the file"
        raise BadValue(f"cannot be read from {path}: {reason}", remedy) from None
    if not text:
        raise BadValue(f"is empty in {path}", f"write the value there, or unset {variable.file_name}")
    return text


def _expanded(text: str, values: Mapping[str, Value]) -> str:
    """`${NAME}` of a variable declared earlier; nothing else is special, so a password may hold `$`."""
    for name, value in values.items():
        if value.origin == _UNREADABLE and f"${{{name}}}" in text:
            return ""  # told once, of the variable itself
        plain = quote(value.text) if text.startswith("file:") else value.text
        text = text.replace(f"${{{name}}}", plain)
    return text


def _contradictions(parsed: Mapping[str, Any]) -> list[Problem]:
    proxied = parsed["default_artifact_root"].startswith("mlflow-artifacts:")
    if parsed["artifacts_only"] and not parsed["serve_artifacts"]:
        return [
            Problem(
                "MLFLOW_ARTIFACTS_ONLY is on and MLFLOW_SERVE_ARTIFACTS off",
                "set one of them the other way",
            )
        ]
    if proxied and not parsed["serve_artifacts"]:
        return [
            Problem(
                "MLFLOW_SERVE_ARTIFACTS is off, and clients could not reach mlflow-artifacts:/",
                "set MLFLOW_DEFAULT_ARTIFACT_ROOT to a store that clients reach, as in gs://bucket",
            )
        ]
    return []


def _relative(value: Value) -> Problem:
    return Problem(
        f"{value.variable.name} is relative, and from here means {value.text}",
        "write the whole path, with four slashes, as in sqlite:////app/db/mlflow.db",
    )


def _doubts(settings: Settings) -> list[Problem]:
    """What is allowed and usually a mistake."""
    doubts = []
    root = masked(settings.default_artifact_root)
    if root.startswith(("/", "./", "file:")):
        doubts.append(
            Problem(
                f"MLFLOW_DEFAULT_ARTIFACT_ROOT={root} is a path that each client opens on its own disk",
                "leave it at mlflow-artifacts:/ so that clients send artifacts to the server",
            )
        )
    if settings.database_files() and (settings.workers or 1) > 1:
        doubts.append(
            Problem(
                f"MLFLOW_WORKERS={settings.workers} is ignored: one process owns a SQLite file",
                "use PostgreSQL for several processes",
            )
        )
    return doubts
