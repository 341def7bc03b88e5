"""Settings are read once, explained when wrong, and never show a secret."""

import re

import pytest
from sqlalchemy import make_url

from textflow_mlflow.errors import EXIT_SETTINGS, UserError
from textflow_mlflow.near_misses import near_misses
from textflow_mlflow.settings import VARIABLES, read
from textflow_mlflow.uris import database_uri, masked

PASSWORD = "p@ss:w/o%r#d?"


def facts(environ, flags=None) -> list[str]:
    """The facts of the error that these settings raise."""
    with pytest.raises(UserError) as caught:
        read(environ, flags)
    assert caught.value.exit_code == EXIT_SETTINGS
    assert all(problem.remedy for problem in caught.value.problems)
    return [problem.fact for problem in caught.value.problems]


def warned(environ) -> list[str]:
    return [f"{fact}: {remedy}" for fact, remedy in near_misses(environ) + read(environ).warnings]


def test_the_defaults_are_the_documented_ones():
    """Names, meanings and defaults are a contract with everybody's scripts."""
    settings = read({}).settings

    assert ("127.0.0.1", 5000, 65500) == (settings.host, settings.port, settings.host_port)
    assert settings.db_path == "/app/db/mlflow.db"
    assert settings.backend_store_uri == "sqlite:////app/db/mlflow.db"
    assert settings.registry_store_uri == "sqlite:////app/db/mlflow.db"
    assert settings.artifact_root == "/app/artifacts"
    assert settings.artifacts_destination == "file:///app/artifacts"
    assert settings.default_artifact_root == "mlflow-artifacts:/"
    assert settings.serve_artifacts
    assert [] == read({}).warnings


def test_one_variable_moves_all_that_follow_from_it():
    """MLFLOW_DB_PATH and MLFLOW_ARTIFACT_ROOT are enough to move the data."""
    settings = read({"MLFLOW_DB_PATH": "/data/m.db", "MLFLOW_ARTIFACT_ROOT": "/mnt/my #1 disk"}).settings

    assert settings.backend_store_uri == settings.registry_store_uri == "sqlite:////data/m.db"
    assert str(settings.artifacts_folder) == "/mnt/my #1 disk"


def test_an_empty_value_means_unset():
    """Compose passes `${NAME:-}`, which must not count as a value."""
    assert read({v.name: "" for v in VARIABLES}).settings == read({}).settings


def test_a_flag_wins_over_the_environment_and_over_a_file(tmp_path):
    """The nearest to the person wins, and `settings` can say so."""
    (tmp_path / "uri").write_text("postgresql://db/other")
    environ = {"MLFLOW_PORT": "1", "MLFLOW_BACKEND_STORE_URI_FILE": str(tmp_path / "uri")}

    reading = read(environ, {"port": "2", "backend_store_uri": "postgresql://db/mlflow"})

    assert (2, "postgresql://db/mlflow") == (reading.settings.port, reading.settings.backend_store_uri)
    origins = {value.variable.name: value.origin for value in reading.values}
    assert ("flag --port", "default") == (origins["MLFLOW_PORT"], origins["MLFLOW_HOST"])


@pytest.mark.parametrize("variable", [v for v in VARIABLES if v.file_name], ids=lambda v: v.name)
def test_a_uri_may_come_from_a_file_and_not_from_both(variable, tmp_path):
    """NAME_FILE is read without its last newline; NAME beside it is an error."""
    text = "postgresql://db/mlflow" if "STORE" in variable.name else "gs://bucket/team"
    file = tmp_path / "secret"
    file.write_text(f"{text}\n")

    reading = read({variable.file_name: str(file)})

    assert text == getattr(reading.settings, variable.field)
    both = {variable.name: text, variable.file_name: str(file)}
    assert [f"{variable.name} and {variable.name}_FILE are both set"] == facts(both)


@pytest.mark.parametrize(
    "make", [lambda f: None, lambda f: f.write_text(" \n"), lambda f: f.write_bytes(b"\xff")]
)
def test_a_file_that_holds_no_text_is_an_error(make, tmp_path):
    """Absent, empty and binary files are named, with the variable."""
    file = tmp_path / "secret"
    make(file)

    (fact,) = facts({"MLFLOW_BACKEND_STORE_URI_FILE": str(file)})

    assert "MLFLOW_BACKEND_STORE_URI" in fact
    assert str(file) in fact


def test_all_errors_are_reported_at_once():
    """One start tells everything that must be put right."""
    environ = {
        "MLFLOW_PORT": "0",
        "MLFLOW_WORKERS": "many",
        "MLFLOW_BACKEND_STORE_URI": f"mysql://root:{PASSWORD}@db/mlflow",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://bucket",
        "MLFLOW_STATIC_PREFIX": "mlflow/",
        "MLFLOW_SERVE_ARTIFACTS": "maybe",
        "MLFLOW_LOGGING_LEVEL": "loud",
    }

    found = facts(environ)

    assert set(environ) == {re.match(r"\w+", fact)[0] for fact in found}
    assert PASSWORD not in str(found)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"MLFLOW_SERVE_ARTIFACTS": "false"}, "could not reach mlflow-artifacts:/"),
        ({"MLFLOW_SERVE_ARTIFACTS": "no", "MLFLOW_ARTIFACTS_ONLY": "yes"}, "MLFLOW_ARTIFACTS_ONLY is on"),
        ({"MLFLOW_PORT": "tcp://10.0.0.1:5000"}, "Kubernetes"),
        ({"MLFLOW_BACKEND_STORE_URI": "sqlite://"}, "names no file"),
        ({"MLFLOW_DB_PATH": "/data/a?b.db"}, "holds a ?"),
        ({"MLFLOW_DB_PATH": "~nobody-such/m.db"}, "names the home of nobody known"),
        ({"MLFLOW_ARTIFACTS_DESTINATION": "file://"}, "names no folder"),
        ({"MLFLOW_ARTIFACTS_DESTINATION": "file://[x/y"}, "is not a URI"),
        ({"MLFLOW_BACKEND_STORE_URI": "sqlite:///:memory:"}, "names no file"),
        ({"MLFLOW_BACKEND_STORE_URI": "./mlruns"}, "is not a database URI"),
        ({"MLFLOW_BACKEND_STORE_URI": "postgresql+asyncpg://db/m"}, "has no driver"),
        ({"MLFLOW_BACKEND_STORE_URI": "postgresql://u:p@ho st/m"}, "no host that can be read"),
    ],
)
def test_what_cannot_work_is_refused(environ, expected):
    """Each is found before anything is made."""
    (fact,) = facts(environ)

    assert expected in fact


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"MLFLOW_BACKEND_URI": "x"}, "is set, and nothing reads it: did you mean MLFLOW_BACKEND_STORE_URI?"),
        ({"BACKEND_STORE_URI": "x"}, "did you mean MLFLOW_BACKEND_STORE_URI?"),
        ({"MLFLOW_ARTIFACT_DESTINATION": "x"}, "did you mean MLFLOW_ARTIFACTS_DESTINATION?"),
        ({"MLFLOW_DEFAULT_ARTIFACT_ROOT": "/mlruns"}, "each client opens on its own disk"),
        ({"MLFLOW_BACKEND_STORE_URI": "sqlite:///mlflow.db"}, "MLFLOW_BACKEND_STORE_URI is relative"),
        ({"MLFLOW_WORKERS": "4"}, "one process owns a SQLite file"),
    ],
)  # fmt: skip
def test_what_is_probably_a_mistake_is_warned_of(environ, expected):
    """A near miss would otherwise write to the wrong place without a word."""
    (warning,) = warned(environ)

    assert expected in warning


def test_variables_of_mlflow_and_of_others_are_not_near_misses():
    """MLflow's client reads some eighty names of its own; HOST belongs to everybody."""
    environ = {"MLFLOW_TRACKING_URI": "x", "MLFLOW_EXPERIMENT_NAME": "x", "HOST": "x", "PORT": "1"}

    assert [] == warned(environ)


@pytest.mark.parametrize("written", [PASSWORD, "p%40ss%3Aw%2Fo%25r%23d%3F"])
@pytest.mark.parametrize(
    "rest", ["db:5432/mlflow", "[::1]/mlflow", "/mlflow?host=/sockets", "db/mlflow?application_name=a@b"]
)
def test_a_password_with_every_delimiter_is_understood(written, rest):
    """As it is or percent-encoded, SQLAlchemy reads the same password, user and host."""
    url = make_url(database_uri(f"postgres://mlflow:{written}@{rest}"))

    assert ("postgresql", "mlflow", PASSWORD, "mlflow") == (
        url.drivername,
        url.username,
        url.password,
        url.database,
    )
    assert PASSWORD not in masked(str(url)) and "ss" not in masked(
        database_uri(f"postgresql://u:{written}@db/m")
    )


def test_an_iam_user_has_no_password():
    """Cloud SQL's IAM login: an encoded `@` in the user, nothing after it."""
    uri = "postgresql+psycopg2://sa%40project.iam@127.0.0.1:5432/mlflow"

    assert "sa@project.iam" == make_url(database_uri(uri)).username


def test_a_masked_uri_shows_neither_password_nor_secret_option():
    """What `settings`, logs and errors print."""
    assert "postgresql://u:***@h/d?sslpassword=***" == masked("postgresql://u:secret@h/d?sslpassword=secret")
    assert "sqlite:////app/db/mlflow.db" == masked("sqlite:////app/db/mlflow.db")
    assert "gs://bucket/a" == masked("gs://bucket/a")
