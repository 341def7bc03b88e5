"""A database is created, or found at the known revision; any other is refused and left as it was."""

import concurrent.futures
import contextlib
import hashlib
import sqlite3
import subprocess
import sys

import httpx
import pytest
import sqlalchemy

from textflow_mlflow import database
from textflow_mlflow.errors import EXIT_DATABASE, UserError

ROOT = "mlflow-artifacts:/"


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/m.db"
    return request.getfixturevalue("postgres").new_database()


def run(uri: str, *statements: str) -> list:
    """The rows of the last statement."""
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as connection:
        results = [connection.execute(sqlalchemy.text(statement)) for statement in statements]
        rows = results[-1].fetchall() if results[-1].returns_rows else []
    engine.dispose()
    return rows


def refusal(uri: str) -> str:
    with pytest.raises(UserError) as caught:
        database.ready(uri, ROOT)
    assert caught.value.exit_code == EXIT_DATABASE
    return caught.value.problems[0].fact


def test_an_empty_database_is_created_once(uri):
    """MLflow's tables at the known revision, with its Default experiment; the second time it is opened."""
    assert ("created", "opened") == (database.ready(uri, ROOT), database.ready(uri, ROOT))

    assert [(database.REVISION,)] == run(uri, "SELECT version_num FROM alembic_version")
    assert [("Default", "mlflow-artifacts:/0")] == run(uri, "SELECT name, artifact_location FROM experiments")


def test_the_known_revision_is_mlflows_newest():
    """A change of MLflow's version must change the number here."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert database.REVISION == _get_latest_schema_revision()


def test_four_starts_at_once_make_one_database(uri):
    """Without the lock two starts leave a database that no later start can open."""
    program = "import sys; from textflow_mlflow import database; print(database.ready(*sys.argv[1:]))"

    def start(_: int) -> str:
        command = [sys.executable, "-c", program, uri, ROOT]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert ["created", "opened", "opened", "opened"] == sorted(pool.map(start, range(4)))
    assert [(1,)] == run(uri, "SELECT count(*) FROM experiments")


def test_another_revision_is_refused(uri):
    """Older or newer: the fact names both revisions."""
    database.ready(uri, ROOT)
    run(uri, "UPDATE alembic_version SET version_num = '4465047574b1'")

    assert "is at schema revision 4465047574b1, and this server knows" in refusal(uri)


def test_tables_of_others_are_refused(uri):
    """MLflow would add its own beside them without a word."""
    run(uri, "CREATE TABLE invoices (id INTEGER)")

    assert "holds tables that are not MLflow's: invoices" in refusal(uri)
    assert [] == run(uri, "SELECT * FROM invoices")


def test_what_an_interrupted_creation_left_is_named(uri):
    """Two stock starts at once leave such tables; every later start then fails on them."""
    run(
        uri,
        "CREATE TABLE _alembic_tmp_metrics (id INTEGER)",
        "CREATE TABLE alembic_version (version_num TEXT)",
    )

    assert "was left half-made by an interrupted start or upgrade: _alembic_tmp_metrics" in refusal(uri)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path):
    """A wrong path must not cost anybody a file."""
    file = tmp_path / "m.db"
    file.write_bytes(b"somebody's notes" * 100)
    before = hashlib.sha256(file.read_bytes()).digest()

    assert "file is not a database" in refusal(f"sqlite:///{file}")
    assert before == hashlib.sha256(file.read_bytes()).digest()


def test_a_wrong_password_is_told_without_it(postgres):
    """PostgreSQL's reason, the masked URI, and a remedy."""
    uri = f"postgresql://mlflow:wr0ng@127.0.0.1:{postgres.port}/postgres"

    fact = refusal(uri)

    assert "password authentication failed" in fact
    assert "wr0ng" not in fact


def test_sqlite_writes_ahead(tmp_path):
    """Readers do not wait for writers, and the mode stays with the file."""
    database.ready(f"sqlite:///{tmp_path}/m.db", ROOT)

    with contextlib.closing(sqlite3.connect(tmp_path / "m.db")) as connection:
        assert ("wal",) == connection.execute("PRAGMA journal_mode").fetchone()


def test_the_registry_may_have_a_database_of_its_own(serve, tmp_path):
    """MLFLOW_REGISTRY_STORE_URI: models go there and nowhere else."""
    server = serve({"MLFLOW_REGISTRY_STORE_URI": f"sqlite:///{tmp_path}/registry.db"})

    made = httpx.post(f"{server.url}/api/2.0/mlflow/registered-models/create", json={"name": "m"})

    assert 200 == made.status_code
    assert [("m",)] == run(f"sqlite:///{tmp_path}/registry.db", "SELECT name FROM registered_models")
    assert [] == run(f"sqlite:///{tmp_path}/db/mlflow.db", "SELECT name FROM registered_models")
