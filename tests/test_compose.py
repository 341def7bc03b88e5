"""`docker compose up --build` in a clean clone, as the README says it."""

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess

import httpx
import pytest
import yaml

from textflow_mlflow.settings import VARIABLES, read

from . import running
from .running import ROOT
from .test_client import run_workflow

FILE = ROOT / "deployment" / "mlflow" / "docker-compose.yml"
engine = pytest.mark.needs("engine")


def compose(folder, *arguments: str, **variables: str) -> str:
    """Compose in the clone's deployment/mlflow, under a project name of its own."""
    done = subprocess.run(
        ["docker", "compose", "--project-name", f"textflow-test-{folder.name}", *arguments],
        cwd=folder / "deployment" / "mlflow",
        env=running.plain_environ() | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clone(common_folder):
    """What a user has after `git clone`, committed or not."""
    folder = common_folder / secrets.token_hex(4)
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    for name in filter(None, tracked):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    yield folder
    with contextlib.suppress(AssertionError):
        compose(folder, "down", "--volumes", "--timeout", "5")


@engine
def test_a_run_logged_from_outside_outlives_down_and_up(clone):
    """The whole client workflow; `local_data` is made by the first start."""
    port = running.free_port()
    assert not (clone / "deployment" / "mlflow" / "local_data").exists()
    compose(clone, "up", "--build", "--wait", MLFLOW_HOST_PORT=str(port))
    ids = run_workflow(f"http://localhost:{port}")
    compose(clone, "down")

    compose(clone, "up", "--wait", MLFLOW_HOST_PORT=str(port))

    for run_id in (ids["parent"], ids["model"]):
        found = httpx.get(f"http://localhost:{port}/api/2.0/mlflow/runs/get", params={"run_id": run_id})
        assert 200 == found.status_code
    query = {"run_id": ids["parent"], "path": "notes/a.txt"}
    assert "hello" == httpx.get(f"http://localhost:{port}/get-artifact", params=query).text


@engine
def test_the_artifact_folder_can_be_moved_as_the_readme_says(clone):
    """The mount follows MLFLOW_ARTIFACT_ROOT, so that the data stay on this machine."""
    port = str(running.free_port())
    moved = {
        "MLFLOW_ARTIFACT_ROOT": "/mnt/artifacts",
        "MLFLOW_ARTIFACTS_DESTINATION": "file:///mnt/artifacts",
    }
    compose(clone, "up", "--build", "--wait", MLFLOW_HOST_PORT=port, **moved)

    httpx.put(
        f"http://localhost:{port}/api/2.0/mlflow-artifacts/artifacts/0/a.txt", content=b"x"
    ).raise_for_status()

    assert b"x" == (clone / "deployment/mlflow/local_data/artifacts/0/a.txt").read_bytes()


@engine
def test_it_listens_on_this_machine_only_and_is_hardened(clone):
    """Loopback, a read-only root, no capability left in the server, room to stop."""
    port = running.free_port()
    compose(clone, "up", "--build", "--wait", MLFLOW_HOST_PORT=str(port))
    name = compose(clone, "ps", "--quiet").strip()
    inspected = json.loads(subprocess.check_output(["docker", "inspect", name]))[0]

    assert [{"HostIp": "127.0.0.1", "HostPort": str(port)}] == inspected["HostConfig"]["PortBindings"][
        "5000/tcp"
    ]
    assert inspected["HostConfig"]["ReadonlyRootfs"]
    assert ["ALL"] == inspected["HostConfig"]["CapDrop"]
    assert "unless-stopped" == inspected["HostConfig"]["RestartPolicy"]["Name"]
    assert 60 == inspected["Config"]["StopTimeout"]


def service() -> dict:
    return yaml.safe_load(FILE.read_text())["services"]["mlflow"]


def test_every_variable_is_passed_through():
    """Set in the shell or in .env, each reaches the server under its own name."""
    names = [v.name for v in VARIABLES if v.read_by != "compose"]
    names += [v.file_name for v in VARIABLES if v.file_name]

    passed = service()["environment"]

    assert set(names) == set(passed)
    given = {name: value for name, value in passed.items() if value is not None}
    assert {} == {name: value for name, value in given.items() if not value.startswith(f"${{{name}:-")}


def test_nothing_set_means_the_defaults_of_the_settings():
    """Compose's own defaults are those of the table, but for the address and the longer grace."""
    passed = {name: value for name, value in service()["environment"].items() if value is not None}
    given = {name: value.partition(":-")[2].rstrip("}") for name, value in passed.items()}
    expected = read({"MLFLOW_HOST": "0.0.0.0", "MLFLOW_STOP_GRACE": "50"}).settings

    assert expected == read(given).settings
    assert ["127.0.0.1:${MLFLOW_HOST_PORT:-65500}:${MLFLOW_PORT:-5000}"] == service()["ports"]
    assert int(service()["stop_grace_period"].removesuffix("s")) > expected.stop_grace


@engine
def test_the_example_environment_means_the_defaults(clone):
    """With every # removed, the server reads what it would read with no .env at all."""
    folder = clone / "deployment" / "mlflow"
    lines = (folder / ".env.example").read_text().splitlines()
    (folder / ".env").write_text("\n".join(re.sub(r"^#(?=MLFLOW_\w+=)", "", line) for line in lines))

    found = json.loads(compose(clone, "config", "--format", "json"))["services"]["mlflow"]["environment"]

    read_back = {name: value.replace("$$", "$") for name, value in found.items() if value}
    assert {v.name for v in VARIABLES if v.default and v.read_by != "compose"} <= set(read_back)
    assert read({}).settings == read(read_back).settings


@engine
def test_mlflows_own_commands_run_beside_the_server(clone):
    """As `docs/operations.md` says it: here an upgrade that finds nothing to do."""
    compose(clone, "up", "--build", "--wait", MLFLOW_HOST_PORT=str(running.free_port()))
    uri = "sqlite:////app/db/mlflow.db"
    compose(clone, "stop")

    compose(clone, "run", "--rm", "mlflow", "mlflow", "db", "upgrade", uri)


def test_the_tests_leave_a_users_own_project_alone():
    """They run under other project names, on free ports."""
    assert "textflow-mlflow" == yaml.safe_load(FILE.read_text())["name"]
    assert os.environ.get("COMPOSE_PROJECT_NAME") is None
