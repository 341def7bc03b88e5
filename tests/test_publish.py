"""build_and_push.sh builds, pushes and prints the digest, or says in one line what to do."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from . import running
from .containers import docker
from .running import ROOT

SCRIPT = ROOT / "deployment" / "mlflow" / "build_and_push.sh"
engine = pytest.mark.needs("engine")


def publish(*arguments: str, **environ: str) -> subprocess.CompletedProcess:
    kept = {"PATH": running.plain_environ()["PATH"], "HOME": "/tmp"}
    return subprocess.run([SCRIPT, *arguments], env=kept | environ, capture_output=True, text=True)


def commands(*arguments: str, **environ: str) -> list[str]:
    done = publish(*arguments, "--dry-run", **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_commands_are_those_of_artifact_registry():
    """Defaults: tag latest, region northamerica-northeast1."""
    build, push = commands("--project", "acme")

    target = "northamerica-northeast1-docker.pkg.dev/acme/textflow-mlflow/server:latest"
    assert f"docker push {target}" == push.strip()
    assert build.startswith(f"docker build --platform linux/amd64 --tag {target} ")
    assert f"--file {SCRIPT.parent}/Dockerfile {ROOT}" in build


def test_the_environment_gives_what_flags_do_not():
    """PROJECT_ID, REGION and TAG; a flag wins."""
    environ = {"PROJECT_ID": "acme", "REGION": "us-east1", "TAG": "1"}

    assert (
        "docker push us-east1-docker.pkg.dev/acme/textflow-mlflow/server:1" == commands(**environ)[1].strip()
    )
    assert "docker push eu-docker.pkg.dev/b/textflow-mlflow/server:2" == commands(
        "--region", "eu", "--tag", "2", "--project", "b", **environ
    )[1].strip()  # fmt: skip
    assert (
        "docker push host:1/acme/textflow-mlflow/server:1"
        == commands("--registry", "host:1", **environ)[1].strip()
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "line"),
    [
        ([], {}, "error: no project: add --project NAME, or set PROJECT_ID"),
        (["--project"], {}, "error: --project needs a value: see --help"),
        (["--projct", "a"], {}, "error: --projct is not a flag of this command: see --help"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, environ, line):
    """What is wrong and what to do."""
    done = publish(*arguments, **environ)

    assert (1, "", line) == (done.returncode, done.stdout, done.stderr.strip())


def test_a_machine_without_docker_is_told_so(tmp_path):
    """With a PATH that has everything but docker."""
    for program in ("bash", "env", "dirname", "sed", "git", "grep", "tail", "mktemp"):
        (tmp_path / program).symlink_to(shutil.which(program))

    done = publish("--project", "acme", PATH=str(tmp_path))

    assert "error: docker is not installed: install Docker Engine and run this again" == done.stderr.strip()


@engine
def test_an_engine_that_is_not_running_is_told_so():
    """Before anything is built."""
    done = publish("--project", "acme", DOCKER_HOST="unix:///nowhere.sock")

    assert "error: the Docker engine does not answer: start it, or set DOCKER_HOST" == done.stderr.strip()


@pytest.fixture
def registry(tmp_path):
    """A real registry on the loopback."""
    program = shutil.which("docker-registry")
    with contextlib.ExitStack() as stack:
        yield lambda auth="": stack.enter_context(started_registry(program, tmp_path, auth))


@contextlib.contextmanager
def started_registry(program, folder, auth):
    port = running.free_port()
    (folder / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}"
    )
    command = [program, "serve", str(folder / "registry.yml")]
    with running.start(command, folder, {}, f"http://127.0.0.1:{port}") as server:
        running.wait_until(lambda: httpx.get(f"{server.url}/v2/").status_code in (200, 401), "registry")
        yield f"127.0.0.1:{port}"


@engine
@pytest.mark.needs("registry")
def test_what_is_pulled_back_is_what_was_pushed(registry):
    """The printed digest is the registry's, and names the image that was built."""
    host = registry()

    done = publish("--project", "acme", "--tag", "7", "--registry", host)

    assert done.returncode == 0, done.stderr
    printed = done.stdout.strip()
    name, digest = printed.split("@")
    assert f"{host}/acme/textflow-mlflow/server" == name
    built = docker("inspect", "--format", "{{.Id}}", f"{name}:7").stdout
    docker("image", "rm", f"{name}:7")
    docker("pull", printed)
    assert built == docker("inspect", "--format", "{{.Id}}", printed).stdout
    listed = httpx.head(f"http://{host}/v2/acme/textflow-mlflow/server/manifests/7", headers={
        "Accept": "application/vnd.docker.distribution.manifest.v2+json"})  # fmt: skip
    assert digest == listed.headers["docker-content-digest"]
    docker("image", "rm", printed)


@engine
@pytest.mark.needs("registry")
def test_a_refused_login_names_the_command(registry, tmp_path):
    """The registry asks for a password that nobody gave."""
    (tmp_path / "users").write_text("")
    host = registry(f"auth: {{htpasswd: {{realm: r, path: {tmp_path}/users}}}}\n")

    done = publish("--project", "acme", "--registry", host)

    assert 1 == done.returncode
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {host} refused the push: run gcloud auth configure-docker {host}")
    docker("image", "rm", f"{host}/acme/textflow-mlflow/server:latest")


def test_shell_scripts_and_dockerfile_are_clean():
    """shellcheck and hadolint find nothing."""
    scripts = [
        SCRIPT,
        SCRIPT.with_name("entrypoint.sh"),
        ROOT / ".ci" / "run",
        ROOT / "requirements" / "lock",
    ]
    programs = Path(sys.executable).parent

    for command in (["shellcheck", *scripts], ["hadolint", SCRIPT.with_name("Dockerfile")]):
        done = subprocess.run([programs / command[0], *command[1:]], capture_output=True, text=True)
        assert (0, "") == (done.returncode, done.stdout)


def test_the_entrypoint_is_short():
    """A person can read it before trusting it."""
    assert len(SCRIPT.with_name("entrypoint.sh").read_text().splitlines()) < 30
