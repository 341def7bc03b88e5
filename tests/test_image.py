"""The image: small, never root, read-only, and its command does what one would expect."""

import concurrent.futures
import contextlib
import os
import secrets
import subprocess
import threading

import httpx
import pytest

from . import running
from .containers import IMAGE, build, container, docker
from .running import FILES, create_run
from .test_client import run_workflow

pytestmark = pytest.mark.needs("engine")
HAND_OVER = ["--cap-drop", "ALL", *(f"--cap-add={c}" for c in ("CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"))]
READ_ONLY = ["--read-only", "--tmpfs", "/tmp"]


@pytest.fixture(scope="module", autouse=True)
def image():
    return build()


def run(*arguments: str) -> str:
    """What a container prints that ends by itself."""
    done = docker("run", "--rm", *arguments)
    return done.stdout + done.stderr


@pytest.fixture
def data(common_folder):
    """Two folders on this machine, which Docker would make, as `-v` options."""
    folder = common_folder / secrets.token_hex(4)
    yield folder
    # Theirs now: only a container may remove them where the tests do not run as root.
    run("--entrypoint", "rm", "-v", f"{common_folder}:/c", IMAGE, "-rf", f"/c/{folder.name}")


def mounts(folder) -> list[str]:
    return ["-v", f"{folder}/db:/app/db", "-v", f"{folder}/artifacts:/app/artifacts"]


def test_any_command_runs_and_none_as_root():
    """A program as given, our verbs by their name, flags for the server."""
    assert "Python 3.11" in run(IMAGE, "python", "-V")
    assert "10001" == run(IMAGE, "id", "-u").strip()
    assert "mlflow, version 2.17.1" in run(IMAGE, "mlflow", "--version")
    assert "textflow-mlflow 0.1.0" in run(IMAGE, "--version")
    assert "Usage: textflow-mlflow" in run(IMAGE, "--help")
    assert "MLFLOW_HOST                          0.0.0.0" in run(IMAGE, "settings")
    assert "12345" == run("--user", "12345:0", IMAGE, "id", "-u").strip()


def test_flags_reach_the_server_and_the_health_check():
    """`docker run IMAGE --port 5001` listens there, and HEALTHCHECK asks there."""
    with container(command=("--port", "5001"), port=5001) as started:
        started.ready()

        assert "OK\n" == started.sh("textflow-mlflow health")
        running.wait_until(lambda: started.state()["Health"]["Status"] == "healthy", "health", 60)


def test_the_command_line_of_init_is_understood_too():
    """`docker run --init` puts another process first."""
    with container("--init", command=("--port=5002",), port=5002) as started:
        started.ready()

        assert "OK\n" == started.sh("textflow-mlflow health")
        assert 0 == started.stop()


def test_folders_that_docker_made_are_taken_over(data):
    """Docker makes missing mounts as root; the server owns them before it writes."""
    with container(*HAND_OVER, *READ_ONLY, "--security-opt", "no-new-privileges", *mounts(data)) as started:
        started.ready()
        create_run(started.url)
        status = started.sh("cat /proc/1/status")

        assert "Uid:\t10001\t10001\t10001\t10001" in status
        assert "CapEff:\t0000000000000000" in status
        assert {10001} == {path.stat().st_uid for path in data.iterdir()}
        assert 0 == started.stop()


@pytest.mark.needs("root")
def test_files_of_another_user_are_taken_over_once(data):
    """As after `make serve`: everything below changes hands, and the runs are there."""
    with container(*mounts(data)) as first:
        run_id = create_run(first.ready().url)
        first.stop()
    for path in data.rglob("*"):
        os.chown(path, 4242, 4242)

    with container(*mounts(data)) as second:
        second.ready()

        found = httpx.get(f"{second.url}/api/2.0/mlflow/runs/get", params={"run_id": run_id})
        assert 200 == found.status_code
        assert {10001} == {path.stat().st_uid for path in data.rglob("*")}


@pytest.mark.parametrize(
    "options",
    [
        ["--user", "12345:0"],
        ["--user", "12345:0", "--cap-drop", "ALL", *READ_ONLY],
        ["--user", "10001", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
        [*HAND_OVER, *READ_ONLY],
    ],
    ids=" ".join,
)
def test_it_serves_and_stops_under_each_restriction(options):
    """An arbitrary uid, a read-only root, no capabilities; no mounts at all."""
    with container(*options) as started:
        run_id = create_run(started.ready().url)
        content = secrets.token_bytes(100_000)
        httpx.put(f"{started.url}{FILES}/0/{run_id}/a.bin", content=content).raise_for_status()

        assert content == httpx.get(f"{started.url}{FILES}/0/{run_id}/a.bin").content
        assert 0 == started.stop()


def test_a_hand_over_that_is_not_allowed_is_explained():
    """All capabilities dropped and started as root: a remedy instead of a traceback."""
    said = docker("run", "--rm", "--cap-drop", "ALL", IMAGE, check=False)

    assert 5 == said.returncode
    assert "error: cannot hand over from root to mlflow" in said.stderr
    assert "CHOWN, DAC_OVERRIDE, SETGID and SETUID" in said.stderr


def test_docker_stop_during_an_upload_loses_nothing(data):
    """The upload is stored whole, as process 1, within the engine's default grace."""
    content = secrets.token_bytes(200_000)
    begun = threading.Event()

    with container(*mounts(data)) as started, concurrent.futures.ThreadPoolExecutor() as pool:
        url = f"{started.ready().url}{FILES}/0/slow.bin"
        upload = pool.submit(running.slow_upload, url, content, begun)
        begun.wait()

        assert (0, 200) == (started.stop(), upload.result().status_code)
    assert content == (data / "artifacts" / "0" / "slow.bin").read_bytes()


def test_postgresql_and_a_bucket_need_no_other_image(postgres, bucket_url):
    """The whole client workflow, with what the image ships."""
    variables = running.new_stores(postgres, bucket_url)
    options = [option for name, value in variables.items() for option in ("-e", f"{name}={value}")]
    port = running.free_port()
    with contextlib.ExitStack() as stack:
        started = stack.enter_context(
            container(
                "--network", "host", "-e", "MLFLOW_HOST=127.0.0.1", "-e", f"MLFLOW_PORT={port}", *options
            )
        )
        started.url = f"http://127.0.0.1:{port}"

        assert run_workflow(started.ready().url)
        assert 0 == started.stop()


def test_stock_in_the_image_serves_the_same_workflow():
    """The way out is complete: log_model too."""
    with container(command=("--stock",)) as started:
        assert run_workflow(started.ready().url)


def test_nothing_is_left_that_a_server_does_not_need():
    """No pip, compiler or git; no source maps; no setuid file of ours; nothing from Debian added."""
    found = run(
        IMAGE,
        "sh",
        "-c",
        "command -v pip pip3 gcc cc git curl wget; find / -name '*.js.map' 2>/dev/null; true",
    )
    writable = run(IMAGE, "sh", "-c", "find /opt /usr/local -writable ! -type l 2>/dev/null; true")

    assert ("", "") == (found, writable)


def test_the_labels_say_what_it_is():
    """OCI annotations for registries and scanners."""
    label = '{{index .Config.Labels "org.opencontainers.image.%s"}}'

    for name, value in (("title", "textflow-mlflow"), ("licenses", "Apache-2.0")):
        assert value == docker("inspect", "--format", label % name, IMAGE).stdout.strip()


def test_it_stays_small():
    """At most 400 MB, and 150 MB as a registry stores it."""
    size = int(docker("inspect", "--format", "{{.Size}}", IMAGE).stdout)
    packed = subprocess.run(
        f"docker save {IMAGE} | gzip -6 | wc -c", shell=True, capture_output=True, check=True
    )

    assert size < 400_000_000
    assert int(packed.stdout) < 150_000_000
