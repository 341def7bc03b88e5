"""What the documents say is what the code does."""

import re
import subprocess
import tomllib

import pytest
from click.testing import CliRunner

from textflow_mlflow import __version__, cli, errors
from textflow_mlflow.settings import VARIABLES

from .running import ROOT

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deployment/**/*.md")]


def text(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_readme_lists_every_setting():
    """Name, default and meaning of each row are those of the table in `settings.py`."""
    rows = re.findall(r"^\| `(MLFLOW_\w+)` \| (?:`(.*?)`)? ?\| (.*) \|$", text("README.md"), re.M)

    assert [(v.name, v.default, v.help) for v in VARIABLES] == rows


def quoted(value: str) -> str:
    """What Compose would expand by itself, kept from it."""
    return f"'{value}'" if "$" in value else value


def test_the_example_environment_is_the_table():
    """Every variable once, in order, commented out, with its default and its meaning."""
    expected = [
        line
        for v in VARIABLES
        for line in (
            f"# {v.help}",
            *([f"#{v.file_name}="] if v.file_name else []),
            f"#{v.name}={quoted(v.default)}",
        )
    ]

    lines = [line for line in text("deployment/mlflow/.env.example").splitlines()[4:] if line]

    assert expected == lines


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_that_a_document_names_exists(document):
    """Ours or, of the client, MLflow's."""
    client = {"MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"}
    known = client | {v.name for v in VARIABLES} | {v.file_name for v in VARIABLES}

    assert set() == set(re.findall(r"\bMLFLOW_[A-Z_]+[A-Z]\b", document.read_text())) - known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    """Files that documents point to are there."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())

    assert [] == [link for link in links if not (document.parent / link).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_names_exists(document):
    """Verbs of ours with their flags, and make targets."""
    words = document.read_text()
    targets = set(re.findall(r"^(\w+):", text("Makefile"), re.M))
    for verb, rest in re.findall(r"textflow-mlflow (serve|settings|health|[a-z]+)((?: --[\w-]+)*)", words):
        if verb in cli.main.commands:
            flags = {name for option in cli.main.commands[verb].params for name in option.opts}
            assert set(rest.split()) <= flags
    assert set(re.findall(r"(?:`|\$ )make ([a-z]+)", words)) <= targets


@pytest.mark.parametrize("name", sorted(cli.main.commands))
def test_every_command_has_help_with_an_example(name):
    """One sentence, something to run, the exit statuses; listed in README and the entrypoint."""
    shown = CliRunner().invoke(cli.main, [name, "--help"]).output

    assert f"textflow-mlflow {name}" in shown.partition("Example:")[2]
    assert "Exit status: 0" in shown
    assert f"`textflow-mlflow {name}`" in text("README.md")
    assert re.search(rf"\b{name}\b", re.search(r"serve \|.*\)", text("deployment/mlflow/entrypoint.sh"))[0])


def test_the_exit_statuses_are_documented():
    """`docs/architecture.md` has every one with its meaning."""
    flat = " ".join(text("docs/architecture.md").split())

    for status, meaning in errors.STATUSES.items():
        assert f"{status} {meaning}" in flat


def test_one_version():
    """The package, its metadata and the newest entry of the changelog."""
    project = tomllib.loads(text("pyproject.toml"))["project"]
    newest = re.search(r"^## \[(\d[^\]]*)\]", text("CHANGELOG.md"), re.M)[1]

    assert __version__ == project["version"] == newest


def test_the_architecture_lists_every_module():
    """The picture of the house is the house."""
    package = ROOT / "src" / "textflow_mlflow"
    modules = {path.name for path in package.rglob("*.py") if not path.name.startswith("__")}

    assert modules == set(re.findall(r"^ +(\w+\.py) ", text("docs/architecture.md"), re.M))


def test_requirements_are_locked_by_hash_and_for_both_machines():
    """Each pin has hashes, of wheels for x86-64 and ARM among them where wheels are built."""
    for name in ("build", "server", "dev"):
        pins = re.split(r"\n(?=\w)", text(f"requirements/{name}.txt"))[1:]
        assert [] == [pin for pin in pins if "--hash=sha256:" not in pin]


def test_clients_are_tested_with_the_constraints_that_are_published():
    """The client of these tests is one that `client-constraints.txt` allows."""
    from importlib.metadata import version

    from packaging.requirements import Requirement

    for line in text("requirements/client-constraints.txt").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert version(requirement.name) in requirement.specifier


def test_the_project_speaks_of_itself_only():
    """No path of one machine and no host of a registry in what is committed."""
    pattern = "(/(work|root)/|" + "|".join(h + "[.]org" for h in ("pypi", "npmjs", "pythonhosted")) + ")"
    found = subprocess.run(
        ["git", "grep", "-nIE", pattern, "--", ".", ":!tests/test_docs.py", ":!.gitignore"],
        cwd=ROOT, capture_output=True, text=True,
    ).stdout  # fmt: skip

    assert "" == found


def test_modules_and_functions_stay_short():
    """No function over 60 lines, no module over 400."""
    import ast

    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("tests/*.py"), *ROOT.glob("benchmarks/*.py")]:
        source = path.read_text()
        assert len(source.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"
