"""The health check finds the server whatever way it was told its address."""

import subprocess

import pytest

from textflow_mlflow import health
from textflow_mlflow.errors import UserError

from . import running

ENTRYPOINT = "/usr/local/bin/entrypoint.sh"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python /opt/venv/bin/textflow-mlflow serve --port 5001", {"port": "5001"}),
        ("python /opt/venv/bin/textflow-mlflow serve -p5001 -h ::", {"port": "5001", "host": "::"}),
        (f"/sbin/docker-init -- {ENTRYPOINT} --port=5001", {"port": "5001"}),
        ("python /opt/venv/bin/mlflow server --host a --port 5000", {"host": "a", "port": "5000"}),
        ("/sbin/init --port 5001", {}),
        ("", {}),
    ],
)
def test_flags_of_process_1_are_read(command, expected):
    """Ours, under an init, or stock; of another program they mean something else."""
    assert expected == health.given_flags(command.split())


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://127.0.0.1:1"),
        ("::1", "http://[::1]:1"),
        ("a", "http://a:1"),
    ],
)
def test_a_listening_address_becomes_one_to_ask(host, url):
    """All addresses are asked on the loopback."""
    assert url == health.url_of(host, 1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://local host:1", "ftp:/x", "nonsense"])
def test_no_answer_is_an_error_with_a_remedy(url):
    """Whatever the reason."""
    with pytest.raises(UserError) as caught:
        health.check(url, timeout_seconds=1)

    assert caught.value.problems[0].remedy


def test_it_answers_where_other_settings_need_a_flag():
    """It reads host and port and no more, and asks past a proxy."""
    variables = {"MLFLOW_SERVE_ARTIFACTS": "false", "MLFLOW_PORT": "1", "http_proxy": "http://127.0.0.1:2"}
    environ = running.plain_environ() | variables
    done = subprocess.run([*running.COMMAND, "health"], env=environ, capture_output=True, text=True)

    assert (1, True) == (done.returncode, "http://127.0.0.1:1/health does not answer" in done.stderr)
