"""The tracking database, SQLite or PostgreSQL: created, or found at the one revision this server knows."""

import fcntl
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import sqlalchemy
from sqlalchemy import Connection, Engine, text

from .errors import EXIT_DATABASE, Problem, UserError
from .uris import masked, sqlite_path

# The head of MLflow 2.17.1's migrations.
REVISION = "f5a4f2784254"
# What MLflow makes before its first migration writes a revision.
_FIRST_TABLES = {"experiments", "runs", "tags", "metrics", "params"}
# One number for every server of ours on a PostgreSQL database: "textflow" in ASCII, shortened.
_ADVISORY_LOCK = 0x7465787466


class State(Enum):
    """What was found in a database."""

    EMPTY = "empty"
    READY = "ready"
    INTERRUPTED = "interrupted"
    FOREIGN = "foreign"
    OTHER_REVISION = "other revision"


def ready(uri: str, default_artifact_root: str) -> str:
    """Make the database usable and return what happened: `created` or `opened`.

    Raises UserError, with nothing changed, for a database that cannot be reached or that is at
    another revision.
    """
    engine = sqlalchemy.create_engine(uri)
    try:
        with _only_starter(uri, engine):
            state, detail = examine(engine)
            if state is State.EMPTY:
                _create(uri, engine, default_artifact_root)
            elif state is not State.READY:
                raise UserError(_refusal(uri, state, detail), exit_code=EXIT_DATABASE)
            if sqlite_path(uri):
                _use_write_ahead_log(engine)
    except sqlalchemy.exc.DBAPIError as error:
        raise UserError(_unusable(uri, error), exit_code=EXIT_DATABASE) from None
    finally:
        engine.dispose()
    return "created" if state is State.EMPTY else "opened"


def examine(engine: Engine) -> tuple[State, str]:
    """The state of a database and the tables or revision that show it."""
    with engine.connect() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        if not tables:
            return State.EMPTY, ""
        left_over = [table for table in tables if table.startswith("_alembic_tmp_")]
        if left_over:
            return State.INTERRUPTED, ", ".join(left_over)
        if "alembic_version" not in tables and set(tables) <= _FIRST_TABLES:
            return State.INTERRUPTED, ", ".join(sorted(tables))
        if "alembic_version" not in tables:
            return State.FOREIGN, ", ".join(sorted(tables)[:5])
        return _revision_state(connection)


def _revision_state(connection: Connection) -> tuple[State, str]:
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    if found == [REVISION]:
        return State.READY, REVISION
    return State.OTHER_REVISION, ", ".join(found) or "none"


def _refusal(uri: str, state: State, detail: str) -> Problem:
    shown = masked(uri)
    if state is State.INTERRUPTED:
        return Problem(
            f"{shown} was left half-made by an interrupted start or upgrade: {detail}",
            "if it holds no runs, delete it and start again; otherwise restore your last copy",
        )
    if state is State.FOREIGN:
        return Problem(
            f"{shown} holds tables that are not MLflow's: {detail}",
            "name an empty database, or one that MLflow made",
        )
    return Problem(
        f"{shown} is at schema revision {detail}, and this server knows {REVISION}",
        "copy the database, then run `mlflow db upgrade URI` with MLflow 2.17.1; "
        "a revision of a newer MLflow cannot be taken back",
    )


def _unusable(uri: str, error: sqlalchemy.exc.DBAPIError) -> Problem:
    reason = str(error.orig).strip().splitlines()[0]
    if path := sqlite_path(uri):
        return Problem(f"cannot use {path}: {reason}", "is it a SQLite file that this user can write?")
    return Problem(
        f"cannot use {masked(uri)}: {reason}",
        "is PostgreSQL running, and are host, user, password and database name right?",
    )


@contextmanager
def _only_starter(uri: str, engine: Engine) -> Iterator[None]:
    """Hold off other starts: two that create one database at once leave it unusable."""
    if path := sqlite_path(uri):
        file = path.with_name(f"{path.name}.start")
        try:
            lock = file.open("w")
        except OSError as error:
            problem = Problem(f"cannot write {file}: {error.strerror}", "give it to the user of the server")
            raise UserError(problem, exit_code=EXIT_DATABASE) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
        connection.commit()
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})


def _create(uri: str, engine: Engine, default_artifact_root: str) -> None:
    """MLflow's own tables by MLflow's own migrations, and its Default experiment.

    A SQLite file is made under another name and renamed when whole, so that a start that is killed
    leaves nothing that the next one would refuse.
    """
    engine.dispose()
    file = sqlite_path(uri)
    if file is None:
        _migrate(uri, default_artifact_root)
        return
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    _migrate(f"sqlite:///{new}", default_artifact_root)
    new.replace(file)


def _migrate(uri: str, default_artifact_root: str) -> None:
    level = logging.root.manager.disable
    # MLflow's alembic.ini prints a line for each of some forty migrations.
    logging.disable(logging.INFO)
    # A stop waits until it is whole.
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(uri, default_artifact_root)
        SqlAlchemyStore._db_uri_sql_alchemy_engine_map.pop(uri).dispose()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        logging.disable(level)


def _use_write_ahead_log(engine: Engine) -> None:
    """Readers no longer wait for writers; the mode stays with the file."""
    with engine.connect() as connection:
        connection.execute(text("PRAGMA journal_mode = WAL"))
