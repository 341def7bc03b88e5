"""MLflow's UI in a real browser: what a person looks at is there, and the console is quiet."""

import contextlib
import json
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from . import running
from .conftest import chromium
from .test_client import run_workflow

pytestmark = pytest.mark.needs("browser")
TIMEOUT_MS = 30_000


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server with everything that the client workflow makes."""
    with running.server(tmp_path_factory.mktemp("ui"), {}) as server:
        yield server.url, run_workflow(server.url)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--use-gl=swiftshader", "--enable-webgl"]
        )
        with contextlib.closing(started):
            yield started


@pytest.fixture
def page(browser):
    """A page that fails the test when the console or the network shows an error."""
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    opened.set_default_timeout(TIMEOUT_MS)
    errors = []
    opened.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("response", lambda answer: errors.append(answer.url) if answer.status >= 400 else None)
    yield opened
    opened.close()
    # The browser's own note that a layout took two frames; stock shows it as well.
    assert [] == [error for error in errors if "ResizeObserver loop" not in error]


def shows(page: Page, text: str) -> None:
    expect(page.get_by_text(text, exact=False).first).to_be_visible(timeout=TIMEOUT_MS)


def test_the_experiment_lists_its_runs(page, site):
    """Front page, experiment by name, its runs with the dataset and the model of one."""
    url, _ = site
    page.goto(url)
    page.get_by_text("textflow-doctr").first.click()

    for text in ("parent", "pairs", "model", "reader"):
        shows(page, text)


def test_a_run_shows_parameters_metrics_and_tags(page, site):
    """The run page."""
    url, ids = site
    page.goto(f"{url}/#/experiments/1/runs/{ids['parent']}")

    for text in ("größe ✓", "loss", "team", "Finished"):
        shows(page, text)


def test_a_metric_is_drawn(page, site):
    """The chart of a metric, with a trace for its points."""
    url, ids = site
    state = {
        "runs": [ids["parent"]],
        "experiments": ["1"],
        "metric": "loss",
        "plot_metric_keys": ["loss"],
        "plot_layout": {"autosize": True, "xaxis": {}, "yaxis": {}},
        "x_axis": "step",
        "y_axis_scale": "linear",
        "line_smoothness": 1,
        "show_point": False,
        "deselected_curves": [],
        "last_linear_y_axis_range": [],
    }
    page.goto(
        f"{url}/#/metric?" + "&".join(f"{key}={quote(json.dumps(value))}" for key, value in state.items())
    )

    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=TIMEOUT_MS)
    shows(page, "0.05 (step=19)")


def test_the_charts_of_a_run_are_drawn(page, site):
    """The run's own tab of model metrics, which asks for intervals of the history."""
    url, ids = site
    page.goto(f"{url}/#/experiments/1/runs/{ids['parent']}/model-metrics")

    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=TIMEOUT_MS)


def test_artifacts_are_shown(page, site):
    """A text and a picture, opened from the tree."""
    url, ids = site
    page.goto(f"{url}/#/experiments/1/runs/{ids['parent']}/artifacts")
    page.get_by_text("conf.json").first.click()
    shows(page, '"k"')
    page.get_by_text("plot.png").first.click()

    picture = page.get_by_alt_text("plot.png")
    expect(picture).to_be_visible(timeout=TIMEOUT_MS)
    assert 640 == picture.evaluate("image => image.naturalWidth")


def test_a_registered_model_and_its_version_are_shown(page, site):
    """The registry, the alias, the version's page."""
    url, _ = site
    page.goto(f"{url}/#/models")
    shows(page, "reader")
    page.goto(f"{url}/#/models/reader/versions/1")

    shows(page, "champion")


def test_a_trace_is_shown(page, site):
    """The experiment's traces, and the spans of one."""
    url, _ = site
    page.goto(f"{url}/#/experiments/1?compareRunsMode=TRACES")

    shows(page, '"page 7"')
