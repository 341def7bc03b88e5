"""The edge: argv, printing, exit statuses; the only module that reads the environment."""

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from . import __version__, errors
from . import settings as settings_module
from .errors import Problem, UserError
from .near_misses import near_misses
from .parsers import yes_or_no
from .settings import VARIABLES, Reading, Variable

_EXIT_STATUS = "Exit status: 0 success, " + ", ".join(
    f"{status} {meaning}" for status, meaning in errors.STATUSES.items()
)


def say(kind: str, text: str) -> None:
    """One line of talk, on stderr."""
    click.echo(f"{kind}: {text}", err=True)


def say_problem(kind: str, problem: Problem) -> None:
    """The two lines of an error or a warning."""
    say(kind, problem.fact)
    say("hint", problem.remedy)


def ends_on_user_error(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print a UserError's problems and exit with its status; anything else stays a traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            for problem in error.problems:
                say_problem("error", problem)
            sys.exit(error.exit_code)

    return wrapped


def setting_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of `mlflow server`, from the table of settings."""
    for variable in reversed([v for v in VARIABLES if v.flags]):
        command = _option(variable)(command)
    return command


def _option(variable: Variable) -> Callable[..., Any]:
    names = (*variable.flags, variable.field)
    text = f"{variable.help} [{variable.name}]"
    if variable.parse is yes_or_no:
        return click.option(*names, is_flag=True, default=None, help=text)
    return click.option(*names, default=None, metavar="VALUE", help=text)


def read_settings(flags: dict[str, Any]) -> Reading:
    """The settings in force; warnings go to stderr."""
    given = {field: str(value) for field, value in flags.items() if value is not None}
    # First, as a misspelt name often explains the errors that follow.
    for problem in near_misses(os.environ):
        say_problem("warning", problem)
    reading = settings_module.read(os.environ, given)
    for problem in reading.warnings:
        say_problem("warning", problem)
    return reading


@click.group(epilog=_EXIT_STATUS, context_settings={"help_option_names": ["--help"]})
@click.version_option(__version__, message="textflow-mlflow %(version)s")
def main() -> None:
    """Run a self-hosted MLflow tracking server.

    \b
    Example:
        textflow-mlflow serve
    """


@main.command(epilog=_EXIT_STATUS)
@setting_flags
@click.option("--stock", is_flag=True, help="Run the plain `mlflow server` with the same settings.")
@click.option("--run-as", metavar="USER", help="Started as root: own the folders, then become USER.")
@ends_on_user_error
def serve(*, stock: bool, run_as: str | None, **flags: Any) -> None:
    """Make the folders, ready the database, and serve MLflow until SIGTERM.

    \b
    Example:
        MLFLOW_DB_PATH=./mlflow.db MLFLOW_ARTIFACT_ROOT=./artifacts textflow-mlflow serve
    """
    from . import serve as verb
    from . import stock as plain

    # MLflow reads some variables itself, and fails on an empty one.
    for name in [v.name for v in VARIABLES if os.environ.get(v.name) == ""]:
        del os.environ[name]
    settings = read_settings(flags).settings
    if settings.gunicorn_opts and not stock:
        say_problem("warning", Problem("MLFLOW_GUNICORN_OPTS is ignored", "it is for serve --stock"))
    say_line = functools.partial(say, "textflow-mlflow")
    verb.prepare(settings, run_as=run_as, say=say_line)
    if stock:
        os.execvpe("mlflow", plain.command(settings), plain.environment(settings, os.environ))  # noqa: S606
    verb.listen(settings, say=say_line)


@main.command("settings", epilog=_EXIT_STATUS)
@setting_flags
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@ends_on_user_error
def settings_command(*, as_json: bool, **flags: Any) -> None:
    """Print every setting in force and where it came from; passwords as ***.

    \b
    Example:
        textflow-mlflow settings --json
    """
    rows = [
        {"name": v.name, "value": v.shown(text), "origin": origin, "help": v.help}
        for v, text, origin in read_settings(flags).values
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = max(len(row["value"]) for row in rows)
    for row in rows:
        click.echo(f"{row['name']:<36} {row['value']:<{width}} {row['origin']}".rstrip())


@main.command(epilog="Exit status: 0 the server answers, 1 it does not.")
@click.option("--timeout", default=4.0, show_default=True, help="Seconds to wait for an answer.")
@click.option("--url", help="Server to ask; by default the one of the settings in force.")
@ends_on_user_error
def health(*, timeout: float, url: str | None) -> None:
    """Ask a running server's /health; the container's HEALTHCHECK.

    \b
    Example:
        textflow-mlflow health --url http://localhost:65500
    """
    from . import health as verb

    if url is None:
        flags = verb.given_flags(verb.container_command())
        host, port = (settings_module.read_one(name, os.environ, flags) for name in ("host", "port"))
        url = verb.url_of(host, port)
    verb.check(url, timeout_seconds=timeout)
    click.echo("OK")
