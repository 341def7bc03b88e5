"""The real MLflow client against a server of ours, on both pairs of stores."""

import json
import subprocess
import sys
from pathlib import Path

import httpx

from . import running
from .conftest import both_stores

WORKFLOW = Path(__file__).with_name("client_workflow.py")


def run_workflow(url: str) -> dict[str, str]:
    """The ids that the workflow made. Raises AssertionError with its output when a step fails."""
    done = subprocess.run(
        [sys.executable, WORKFLOW, url],
        env=running.plain_environ() | {"GIT_PYTHON_REFRESH": "quiet"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@both_stores
def test_everything_a_training_job_does_is_read_back(serve, variables):
    """Runs, artifacts, models and traces that the client writes come back as they were written."""
    server = serve(variables)

    ids = run_workflow(server.url)

    run = httpx.get(f"{server.url}/api/2.0/mlflow/runs/get", params={"run_id": ids["parent"]}).json()
    assert run["run"]["info"]["artifact_uri"].startswith("mlflow-artifacts:/")


@both_stores
def test_a_restarted_server_has_every_run(serve, variables):
    """What one server stored, the next one on the same stores serves."""
    first = serve(variables)
    ids = run_workflow(first.url)
    assert first.stop() == 0

    second = serve(variables)

    found = httpx.get(f"{second.url}/api/2.0/mlflow/runs/get", params={"run_id": ids["model"]})
    assert found.json()["run"]["info"]["run_name"] == "model"
    text = httpx.get(f"{second.url}/get-artifact", params={"run_id": ids["parent"], "path": "notes/a.txt"})
    assert text.text == "hello"
