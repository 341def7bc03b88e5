"""A stop finishes what has begun, leaves nothing half-made, and exits 0."""

import concurrent.futures
import secrets
import signal
import socket
import sqlite3
import threading
import time

import httpx

from . import running
from .conftest import both_stores
from .running import FILES, create_run


@both_stores
def test_requests_in_flight_are_finished_and_the_exit_is_clean(serve, variables):
    """SIGTERM in the middle of an upload: it is stored whole, then the process exits 0."""
    server = serve(variables)
    content = secrets.token_bytes(300_000)
    begun = threading.Event()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        upload = pool.submit(running.slow_upload, f"{server.url}{FILES}/0/slow.bin", content, begun)
        begun.wait()
        status = server.stop()

        assert (0, 200) == (status, upload.result().status_code)
        assert "close" == upload.result().headers["connection"]
    again = serve(variables)
    assert content == httpx.get(f"{again.url}{FILES}/0/slow.bin").content


def test_a_request_that_outlasts_the_grace_does_not_hold_the_stop(serve, tmp_path):
    """An upload that stalls is cut off after MLFLOW_STOP_GRACE and leaves no file."""
    server = serve({"MLFLOW_STOP_GRACE": "1"})
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as stalled:
        stalled.sendall(
            f"PUT {FILES}/0/cut.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf".encode()
        )
        running.wait_until(lambda: list((tmp_path / "artifacts" / ".uploads").iterdir()), "upload begun")

        assert server.stop() == 0
    assert [] == [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    # And the database is closed all the same.
    assert {"mlflow.db", "mlflow.db.start"} == {path.name for path in (tmp_path / "db").iterdir()}


@both_stores
def test_a_stop_while_the_database_is_made_waits_for_it(variables, tmp_path):
    """At any moment of the start: exit 0, and the next start finds a whole database or none."""
    places = {"MLFLOW_DB_PATH": str(tmp_path / "db" / "m.db"), "MLFLOW_ARTIFACT_ROOT": str(tmp_path / "a")}
    statuses = set()
    for delay in (0.25, 0.4, 0.55, 0.7, 0.85, 1.0):
        port = {"MLFLOW_PORT": str(running.free_port())}
        command = [*running.COMMAND, "serve"]
        with running.start(command, tmp_path, places | port | variables, "") as started:
            running.wait_until(lambda log=started: "version" in log.log, "start")
            time.sleep(delay - 0.25)
            statuses.add(started.stop())

    assert {0} == statuses
    with running.server(tmp_path, places | variables) as server:
        assert create_run(server.url)


def test_a_start_that_is_killed_is_no_hindrance(tmp_path):
    """kill -9 while the database is made: the next start makes it anew."""
    places = {"MLFLOW_DB_PATH": str(tmp_path / "db" / "m.db"), "MLFLOW_ARTIFACT_ROOT": str(tmp_path / "a")}
    with running.start([*running.COMMAND, "serve"], tmp_path, places, "") as started:
        running.wait_until((tmp_path / "db" / "m.db.new").exists, "creation")
        started.process.kill()

    with running.server(tmp_path, places) as server:
        assert create_run(server.url)


def test_a_second_ctrl_c_does_not_wait(serve):
    """Whoever presses it again has had enough of waiting for the upload."""
    server = serve({"MLFLOW_STOP_GRACE": "60"})
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as stalled:
        stalled.sendall(f"PUT {FILES}/0/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode())
        assert 200 == httpx.get(f"{server.url}/health").status_code
        server.process.send_signal(signal.SIGINT)
        running.wait_until(lambda: not _listens(host, int(port)), "end of listening")
        server.process.send_signal(signal.SIGINT)

        assert 0 == server.process.wait(20)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def test_a_stop_during_the_import_of_mlflow_is_clean(serve, tmp_path):
    """From the first answer of /health on, whatever has been imported by then."""
    serve().stop()
    places = {"MLFLOW_DB_PATH": str(tmp_path / "db/mlflow.db"), "MLFLOW_ARTIFACT_ROOT": str(tmp_path / "a")}
    for delay in (0, 0.1, 0.2, 0.3, 0.4):
        port = str(running.free_port())
        url = f"http://127.0.0.1:{port}"
        command = [*running.COMMAND, "serve", "--port", port]
        with running.start(command, tmp_path, places, url) as started:
            running.wait_until(lambda url=url: httpx.get(f"{url}/health"), "health")
            time.sleep(delay)

            assert 0 == started.stop()
            assert "Traceback" not in started.log


def test_ctrl_c_stops_it_as_cleanly(serve):
    """SIGINT, as from a terminal: exit 0 and no traceback."""
    server = serve()
    server.process.send_signal(signal.SIGINT)

    assert 0 == server.process.wait(30)
    assert "Traceback" not in server.log


def test_a_stop_leaves_one_whole_database_file(serve, tmp_path):
    """The write-ahead log is emptied into the file, so that a copy of the file has every run."""
    server = serve()
    run_id = create_run(server.url)
    server.stop()

    assert {"mlflow.db", "mlflow.db.start"} == {path.name for path in (tmp_path / "db").iterdir()}
    with sqlite3.connect(tmp_path / "db" / "mlflow.db") as database:
        assert [(run_id,)] == database.execute("SELECT run_uuid FROM runs").fetchall()
        assert ("wal",) == database.execute("PRAGMA journal_mode").fetchone()
