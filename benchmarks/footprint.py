"""Image size, start time and memory, beside the naive image and `mlflow server`: `make footprint`."""

import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil

from tests import running

RESULTS = Path(__file__).parent / "results"
NAIVE = """
FROM python:3.11-slim
RUN pip install --no-cache-dir mlflow==2.17.1 'sqlalchemy<2.1' psycopg2-binary 'google-cloud-storage<3'
CMD ["mlflow", "server", "--host", "0.0.0.0"]
"""
OURS = "ours"
STOCK = "mlflow server"
ROUNDS = 5
RUNS = 1000
# Stock with everything that `pip install mlflow` brings, as people have it.
COMPLETE = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def variables(folder: Path, port: int) -> dict[str, str]:
    return {
        "MLFLOW_DB_PATH": str(folder / "mlflow.db"),
        "MLFLOW_ARTIFACT_ROOT": str(folder / "artifacts"),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_ARTIFACTS_DESTINATION": f"file://{folder}/artifacts",
        "MLFLOW_PORT": str(port),
    }


@contextlib.contextmanager
def started(variant: str, folder: Path) -> Iterator[tuple[running.Server, float, float]]:
    """A server and the seconds to its first /health and to MLflow's first answer."""
    port = running.free_port()
    plain = ["mlflow", "server", "--port", str(port)]
    command = [*running.COMMAND, "serve"] if variant == OURS else plain
    given = variables(folder, port) | (COMPLETE if variant == STOCK else {})
    if variant == STOCK:
        command[0] = str(Path(sys.executable).with_name("mlflow"))
    url = f"http://127.0.0.1:{port}"
    began = time.monotonic()
    with running.start(command, folder, given, url) as server, httpx.Client(base_url=url) as client:
        health = seconds_until(began, lambda: client.get("/health"))
        query = "/api/2.0/mlflow/experiments/search?max_results=1"
        yield server, health, seconds_until(began, lambda: client.get(query))


def seconds_until(began: float, ask: Callable[[], httpx.Response]) -> float:
    running.wait_until(lambda: ask().status_code == 200, "answer")
    return time.monotonic() - began


def memory_mb(server: running.Server) -> dict[str, float]:
    """Of all processes: resident, and proportional, which counts a shared page once."""
    parent = psutil.Process(server.process.pid)
    infos = [process.memory_full_info() for process in (parent, *parent.children(recursive=True))]
    return {
        "processes": len(infos),
        "resident_mb": round(sum(info.rss for info in infos) / 1e6),
        "proportional_mb": round(sum(info.pss for info in infos) / 1e6),
    }


def log_runs(url: str) -> None:
    with httpx.Client(base_url=f"{url}/api/2.0/mlflow", timeout=60) as client:
        for number in range(RUNS):
            made = client.post("/runs/create", json={"experiment_id": "0", "run_name": f"run {number}"})
            run_id = made.raise_for_status().json()["run"]["info"]["run_id"]
            metrics = [{"key": f"m{i}", "value": i / 7, "timestamp": 1, "step": 1} for i in range(10)]
            params = [{"key": f"p{i}", "value": str(i)} for i in range(10)]
            batch = {"run_id": run_id, "metrics": metrics, "params": params}
            client.post("/runs/log-batch", json=batch).raise_for_status()


def measure_server(variant: str) -> dict:
    """Median start times of `ROUNDS` new and existing databases, then memory before and after `RUNS` runs."""
    new, existing = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            for times in (new, existing):
                with started(variant, Path(folder)) as (_, health, answer):
                    times.append((health, answer))
    with tempfile.TemporaryDirectory() as folder, started(variant, Path(folder)) as (server, _, _):
        before = memory_mb(server)
        log_runs(server.url)
        after = memory_mb(server)
    return {"new": medians(new), "existing": medians(existing), "idle": before, "after_runs": after}


def medians(times: list[tuple[float, float]]) -> dict[str, float]:
    health, answer = zip(*times, strict=True)
    return {
        "health_s": round(statistics.median(health), 2),
        "answer_s": round(statistics.median(answer), 2),
    }


def measure_image(tag: str, *build: str, dockerfile: str | None = None) -> dict[str, float]:
    """Size in the engine, and compressed as a registry stores it, in MB."""
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", tag, *build],
        input=dockerfile, text=True, cwd=running.ROOT, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    size = subprocess.check_output(["docker", "inspect", "--format", "{{.Size}}", tag])
    packed = subprocess.check_output(f"docker save {tag} | gzip -6 | wc -c", shell=True)
    return {"size_mb": round(int(size) / 1e6), "compressed_mb": round(int(packed) / 1e6)}


def measure() -> dict:
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=running.ROOT, text=True)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit.strip(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "image": {
            OURS: measure_image("textflow-mlflow:footprint", "--file", "deployment/mlflow/Dockerfile", "."),
            "naive": measure_image("textflow-mlflow:naive", "-", dockerfile=NAIVE),
        },
        "server": {variant: measure_server(variant) for variant in (OURS, STOCK)},
    }


def table(found: dict) -> str:
    """The result as Markdown."""
    ours, stock = found["server"][OURS], found["server"][STOCK]
    image, naive = found["image"][OURS], found["image"]["naive"]
    rows = [
        ("image, MB", image["size_mb"], naive["size_mb"]),
        ("image compressed, MB", image["compressed_mb"], naive["compressed_mb"]),
    ]
    for name, key in (("a new database", "new"), ("an existing database", "existing")):
        rows.append((f"first `/health` on {name}, s", ours[key]["health_s"], stock[key]["health_s"]))
        rows.append((f"first answer of MLflow on {name}, s", ours[key]["answer_s"], stock[key]["answer_s"]))
    for name, key in (("after the start", "idle"), (f"after {RUNS:,} runs", "after_runs")):
        for kind in ("resident", "proportional"):
            rows.append((f"{kind} memory {name}, MB", ours[key][f"{kind}_mb"], stock[key][f"{kind}_mb"]))
    rows.append(("processes", ours["idle"]["processes"], stock["idle"]["processes"]))
    head = "| | TextFlow MLflow | naive image, `mlflow server` |\n|---|---|---|\n"
    return head + "\n".join(f"| {name} | {mine} | {theirs} |" for name, mine, theirs in rows)


def main() -> None:
    found = measure()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "footprint.json").write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))
    print(f"\n{found['machine']}; {found['date']}; commit {found['commit']}", file=sys.stderr)


if __name__ == "__main__":
    main()
