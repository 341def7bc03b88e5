"""A server starts with the first request it can answer and stops with the last it has begun."""

import concurrent.futures
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from textflow_mlflow import errors, serve, stock
from textflow_mlflow.app.mlflow_app import environment
from textflow_mlflow.settings import read

from . import running
from .running import FILES, create_run

SECRET = "p@ss:w/o%r#d?"


def run_to_end(variables, *arguments) -> subprocess.CompletedProcess:
    """One command of ours that ends by itself."""
    return subprocess.run(
        [*running.COMMAND, *arguments],
        env=running.plain_environ() | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_stock_command_is_the_plain_one():
    """The way out: `mlflow server` with the same settings, secrets by environment."""
    environ = {"MLFLOW_HOST": "0.0.0.0", "MLFLOW_WORKERS": "2", "MLFLOW_STATIC_PREFIX": "/ml"}
    uri = "postgresql://mlflow:secret@db/mlflow"
    settings = read(environ | {"MLFLOW_BACKEND_STORE_URI": uri}).settings

    assert [
        "mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "2",
        "--static-prefix", "/ml", "--serve-artifacts",
    ] == stock.command(settings)  # fmt: skip
    handed = stock.environment(settings, {"PATH": "/bin", "MLFLOW_PORT": ""})
    assert {
        "PATH": "/bin",
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_REGISTRY_STORE_URI": uri,
        "MLFLOW_ARTIFACTS_DESTINATION": "file:///app/artifacts",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": "mlflow-artifacts:/",
    } == handed


def test_mlflow_is_handed_what_its_own_server_command_hands_it(monkeypatch):
    """The private names that `mlflow server` sets are those that we set."""
    import mlflow.server

    handed = {}
    monkeypatch.setattr(mlflow.server, "_exec_cmd", lambda _, extra_env, **__: handed.update(extra_env))
    uri, root, place = "sqlite:////x/m.db", "mlflow-artifacts:/", "file:///x/artifacts"
    mlflow.server._run_server(
        uri, uri, root, True, False, place, "h", 1, static_prefix="/p", expose_prometheus="/x/prometheus"
    )
    environ = {
        "MLFLOW_DB_PATH": "/x/m.db",
        "MLFLOW_ARTIFACT_ROOT": "/x/artifacts",
        "MLFLOW_STATIC_PREFIX": "/p",
        "MLFLOW_EXPOSE_PROMETHEUS": "/x/prometheus",
    }

    assert handed == environment(read(environ).settings)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, 1),
        ({"MLFLOW_WORKERS": "8"}, 1),
        ({"MLFLOW_BACKEND_STORE_URI": "postgresql://db/m", "MLFLOW_WORKERS": "8"}, 8),
        (
            {
                "MLFLOW_BACKEND_STORE_URI": "postgresql://db/m",
                "MLFLOW_REGISTRY_STORE_URI": "sqlite:////data/registry.db",
                "MLFLOW_WORKERS": "8",
            },
            1,
        ),
        ({"MLFLOW_ARTIFACTS_ONLY": "true", "MLFLOW_WORKERS": "8"}, 8),
        ({"MLFLOW_BACKEND_STORE_URI": "postgresql://db/m"}, min(4, len(os.sched_getaffinity(0)))),
    ],
)
def test_one_process_owns_a_sqlite_file(environ, expected):
    """Several on PostgreSQL, one on SQLite whatever is asked for."""
    assert expected == serve.process_count(read(environ).settings)


def test_health_answers_before_mlflow_is_loaded(tmp_path):
    """The first answer comes from the lane while MLflow is still being imported."""
    with running.server(tmp_path, {}) as first:
        first.stop()
    port = running.free_port()
    variables = {
        "MLFLOW_DB_PATH": str(tmp_path / "db" / "mlflow.db"),
        "MLFLOW_ARTIFACT_ROOT": str(tmp_path / "artifacts"),
        "MLFLOW_PORT": str(port),
        # Each import is announced, so that the order can be told.
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    command = [*running.COMMAND, "serve"]
    with running.start(command, tmp_path, variables, f"http://127.0.0.1:{port}") as server:
        answer = running.wait_until(lambda: httpx.get(f"{server.url}/health"), "health")
        loaded = "mlflow.store.tracking.sqlalchemy_store" in server.log

        assert (200, "OK", False) == (answer.status_code, answer.text, loaded)


def test_sixteen_jobs_log_to_sqlite_without_an_error(serve):
    """Never `database is locked`: every metric that was answered is there."""
    server = serve()
    run_ids = [create_run(server.url) for _ in range(16)]

    def log(run_id: str) -> set[int]:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            return {
                client.post(
                    "/api/2.0/mlflow/runs/log-metric",
                    json={"run_id": run_id, "key": "m", "value": step, "timestamp": step, "step": step},
                ).status_code
                for step in range(25)
            }

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert [{200}] * 16 == list(pool.map(log, run_ids))
    for run_id in run_ids:
        query = {"run_id": run_id, "metric_key": "m"}
        found = httpx.get(f"{server.url}/api/2.0/mlflow/metrics/get-history", params=query).json()
        assert list(range(25)) == sorted(metric.get("step", 0) for metric in found["metrics"])


def test_half_sent_requests_do_not_stop_others(serve):
    """Fifty bodies that never end hold no thread: health and logging go on."""
    server = serve()
    run_id = create_run(server.url)
    host, port = server.url.removeprefix("http://").split(":")
    head = "POST /api/2.0/mlflow/runs/log-metric HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    stalled = [socket.create_connection((host, int(port))) for _ in range(50)]
    for connection in stalled:
        connection.sendall(f"{head}Content-Length: 99\r\n\r\n{{".encode())

    body = {"run_id": run_id, "key": "m", "value": 1, "timestamp": 1}
    logged = httpx.post(f"{server.url}/api/2.0/mlflow/runs/log-metric", json=body, timeout=10)

    assert (200, 200) == (logged.status_code, httpx.get(f"{server.url}/health", timeout=10).status_code)
    for connection in stalled:
        connection.close()


def test_several_processes_serve_postgresql(serve, postgres):
    """As many as MLFLOW_WORKERS says; killed ones are replaced; one SIGTERM ends them all."""
    server = serve({"MLFLOW_BACKEND_STORE_URI": postgres.new_database(), "MLFLOW_WORKERS": "2"})
    parent = psutil.Process(server.process.pid)

    def workers() -> list[psutil.Process]:
        alive = [p for p in parent.children() if p.status() != psutil.STATUS_ZOMBIE]
        return [p for p in alive if "spawn_main" in " ".join(p.cmdline())]

    first = workers()
    assert 2 == len(first)
    first[0].kill()
    running.wait_until(lambda: len(set(workers()) - set(first)) == 1, "replacement")
    second = workers()
    assert create_run(server.url)
    assert 0 == server.stop()
    assert not parent.is_running() or parent.status() == psutil.STATUS_ZOMBIE
    assert [] == [p for p in first + second if p.is_running()]


def test_a_password_is_nowhere_to_be_seen(serve, postgres, tmp_path):
    """Not in the argv of any process, not in the log, not in `settings`, not in an error."""
    (tmp_path / "uri").write_text(postgres.new_database())
    variables = {"MLFLOW_BACKEND_STORE_URI_FILE": str(tmp_path / "uri"), "MLFLOW_WORKERS": "2"}
    encoded = "p%40ss%3Aw%2Fo%25r%23d%3F"
    server = serve(variables | {"MLFLOW_LOGGING_LEVEL": "DEBUG"})
    create_run(server.url)
    parent = psutil.Process(server.process.pid)
    seen = [" ".join(process.cmdline()) for process in (parent, *parent.children(recursive=True))]
    server.stop()
    seen += [server.log, run_to_end(variables, "settings", "--json").stdout]
    wrong = f"postgresql://mlflow:{encoded}x@127.0.0.1:{postgres.port}/none"
    refused = run_to_end(
        {"MLFLOW_BACKEND_STORE_URI": wrong, "MLFLOW_ARTIFACT_ROOT": str(tmp_path / "a")}, "serve"
    )

    assert errors.EXIT_DATABASE == refused.returncode
    assert "postgresql://mlflow:***@" in refused.stderr
    for text in [*seen, refused.stdout, refused.stderr]:
        assert SECRET not in text and encoded not in text


def test_stock_with_a_password_shows_none_either(serve, postgres):
    """`mlflow server` and gunicorn get the URI by environment."""
    server = serve({"MLFLOW_BACKEND_STORE_URI": postgres.new_database()}, "--stock")
    parent = psutil.Process(server.process.pid)

    argv = [" ".join(process.cmdline()) for process in (parent, *parent.children(recursive=True))]

    assert "gunicorn" in "".join(argv)
    assert "p%40ss" not in "".join(argv) and SECRET not in "".join(argv)


@pytest.mark.parametrize(
    ("variables", "status", "fact"),
    [
        ({"MLFLOW_PORT": "x"}, errors.EXIT_SETTINGS, "MLFLOW_PORT is not a whole number"),
        ({"MLFLOW_HOST": "192.0.2.1"}, errors.EXIT_ADDRESS, "cannot listen on 192.0.2.1"),
        ({"MLFLOW_DB_PATH": "/proc/none/m.db"}, errors.EXIT_FOLDERS, "cannot write /proc/none"),
        ({"MLFLOW_BACKEND_STORE_URI": "postgresql://127.0.0.1:1/m"}, errors.EXIT_DATABASE, "cannot use postgresql://"),
    ],
)  # fmt: skip
def test_a_start_that_cannot_be_ends_with_a_fact_a_remedy_and_a_status(variables, status, fact, tmp_path):
    """Two lines and the documented exit status; no traceback."""
    places = {
        "MLFLOW_DB_PATH": str(tmp_path / "db" / "m.db"),
        "MLFLOW_ARTIFACT_ROOT": str(tmp_path / "artifacts"),
        "MLFLOW_PORT": str(running.free_port()),
    }

    ended = run_to_end(places | variables, "serve")

    assert (status, "") == (ended.returncode, ended.stdout)
    assert f"error: {fact}" in ended.stderr
    assert "hint: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_port_is_named(serve, tmp_path):
    """The second server says which address and what to do."""
    first = serve()
    port = first.url.rpartition(":")[2]

    other = tmp_path / "other"
    places = {"MLFLOW_DB_PATH": str(other / "m.db"), "MLFLOW_ARTIFACT_ROOT": str(other / "artifacts")}

    second = run_to_end(places, "serve", "--port", port)

    assert (errors.EXIT_ADDRESS, True) == (second.returncode, f"127.0.0.1:{port}" in second.stderr)


def test_a_static_prefix_moves_the_ui_and_what_it_calls(serve):
    """MLflow's own rule: UI and ajax-api below the prefix, the REST API where it was."""
    server = serve({"MLFLOW_STATIC_PREFIX": "/ml"})

    page = httpx.get(f"{server.url}/ml/")
    assert (200, True) == (page.status_code, "<title>MLflow</title>" in page.text)
    for path in ("/ml/ajax-api/2.0/mlflow/experiments/get?experiment_id=0", "/ml/health", "/health",
                 "/api/2.0/mlflow/experiments/get?experiment_id=0"):  # fmt: skip
        assert 200 == httpx.get(f"{server.url}{path}").status_code, path
    httpx.put(f"{server.url}/ml/ajax-api/2.0/mlflow-artifacts/artifacts/0/a.txt", content=b"x")
    assert b"x" == httpx.get(f"{server.url}{FILES}/0/a.txt").content


def test_artifacts_only_opens_no_database(tmp_path):
    """A server for artifacts alone: those work, the rest is switched off as in stock."""
    port = running.free_port()
    variables = {
        "MLFLOW_ARTIFACTS_ONLY": "true",
        "MLFLOW_DB_PATH": str(tmp_path / "db" / "m.db"),
        "MLFLOW_ARTIFACT_ROOT": str(tmp_path / "artifacts"),
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": "1",
    }
    with running.start(
        [*running.COMMAND, "serve"], tmp_path, variables, f"http://127.0.0.1:{port}"
    ) as server:
        running.wait_until(lambda: httpx.get(f"{server.url}/health"), "health")
        assert 200 == httpx.put(f"{server.url}{FILES}/a.txt", content=b"x").status_code
        refused = httpx.post(f"{server.url}/api/2.0/mlflow/runs/create", json={})

        assert (503, True) == (refused.status_code, "--artifacts-only" in refused.text)
    assert not (tmp_path / "db").exists()


def test_metrics_are_exposed_when_asked_for(serve, tmp_path):
    """MLFLOW_EXPOSE_PROMETHEUS opens /metrics, as `mlflow server` does."""
    server = serve({"MLFLOW_EXPOSE_PROMETHEUS": str(tmp_path / "prometheus")})
    create_run(server.url)

    assert "mlflow_http_request_total" in httpx.get(f"{server.url}/metrics").text


def test_the_uis_scripts_are_sent_compressed(serve):
    """A third of the bytes, the same script."""
    server = serve()
    script = re.search(r'src="(static-files/[^"]+)"', httpx.get(server.url).text)[1]

    plain = httpx.get(f"{server.url}/{script}", headers={"Accept-Encoding": "identity"})
    packed = httpx.get(f"{server.url}/{script}", headers={"Accept-Encoding": "gzip"})

    assert plain.content == packed.content
    assert packed.num_bytes_downloaded < plain.num_bytes_downloaded / 2
    assert "gzip" == packed.headers["content-encoding"]


@pytest.mark.parametrize("hosts", [[], ["a", "b"], ["exa mple"], ["x/y"], ["a:port"]])
def test_a_request_without_one_valid_host_is_refused(serve, hosts):
    """RFC 9112 section 3.2: 400 for no, several or a malformed Host."""
    server = serve()
    host, port = server.url.removeprefix("http://").split(":")
    lines = "".join(f"Host: {name}\r\n" for name in hosts)

    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"GET /version HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_load_balancers_old_probe_is_answered(serve):
    """HTTP/1.0 asks for no Host."""
    server = serve()
    host, port = server.url.removeprefix("http://").split(":")

    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")

        assert b" 200 " in connection.makefile("rb").readline()


def test_settings_prints_json_on_stdout_alone(tmp_path):
    """A script can read it; talk goes to stderr."""
    done = run_to_end({"MLFLOW_PORT": "7", "MLFLOW_BACKEND_URI": "x"}, "settings", "--json")

    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert ("7", "environment") == (rows["MLFLOW_PORT"]["value"], rows["MLFLOW_PORT"]["origin"])
    assert "warning: MLFLOW_BACKEND_URI is set, and nothing reads it" in done.stderr


def test_python_dash_m_is_the_command():
    """`python -m textflow_mlflow` does what the script does."""
    done = subprocess.run(
        [sys.executable, "-m", "textflow_mlflow", "--version"], capture_output=True, text=True
    )

    assert "textflow-mlflow 0.1.0\n" == done.stdout


def test_the_shipped_environment_is_the_one_tested():
    """The servers of these tests run without what the image leaves out."""
    found = subprocess.run(
        [Path(running.COMMAND[0]).with_name("python"), "-c", "import numpy"], capture_output=True, text=True
    )

    assert "No module named 'numpy'" in found.stderr
