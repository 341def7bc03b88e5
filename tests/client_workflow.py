"""What a training job does, through MLflow's own client, each step read back: `client_workflow.py URL`."""

import json
import math
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

NAME = "textflow-doctr"


def same(expected, actual):
    """Raises AssertionError with both."""
    assert expected == actual, f"expected {expected!r}, got {actual!r}"


def log_runs() -> tuple[str, str]:
    """A parent and a nested run with params, metrics, tags, a dataset and artifacts."""
    mlflow.set_experiment(NAME)
    with mlflow.start_run(run_name="parent") as parent:
        mlflow.log_params({"lr": 0.1, "name": "größe ✓"})
        mlflow.set_tags({"team": "ocr", "note": "x" * 4000})
        for step in range(20):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        log_dataset()
        log_artifacts()
        with mlflow.start_run(run_name="child", nested=True) as child:
            # Here, as MLflow's UI writes an error to the console where it charts such values.
            mlflow.log_metrics({"loss": 0.5, "nan": math.nan, "inf": math.inf, "tiny": 5e-324})
    return parent.info.run_id, child.info.run_id


def log_dataset() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    mlflow.log_input(mlflow.data.from_pandas(frame, name="pairs"), context="training")


def log_artifacts() -> None:
    mlflow.log_text("hello", "notes/a.txt")
    mlflow.log_dict({"k": [1, 2]}, "conf.json")
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    mlflow.log_figure(figure, "plot.png")
    mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), "pixels.png")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "deep", "er").mkdir(parents=True)
        Path(folder, "deep", "er", "b.bin").write_bytes(bytes(range(256)) * 1000)
        Path(folder, "two words.txt").write_text("with a space")
        mlflow.log_artifacts(folder, "tree")


def check_run(client: MlflowClient, parent: str, child: str) -> None:
    run = client.get_run(parent)
    same(("0.1", "größe ✓"), (run.data.params["lr"], run.data.params["name"]))
    same(4000, len(run.data.tags["note"]))
    same("pairs", run.inputs.dataset_inputs[0].dataset.name)
    history = client.get_metric_history(parent, "loss")
    same([(s, 1 / (s + 1)) for s in range(20)], [(m.step, m.value) for m in history])
    nested = client.get_run(child).data
    same(parent, nested.tags["mlflow.parentRunId"])
    # What an infinity becomes is MLflow's rule: the largest double.
    same((sys.float_info.max, 5e-324), (nested.metrics["inf"], nested.metrics["tiny"]))
    same(True, math.isnan(nested.metrics["nan"]))


def check_artifacts(client: MlflowClient, run_id: str) -> None:
    names = {item.path for item in client.list_artifacts(run_id)}
    same({"notes", "conf.json", "plot.png", "pixels.png", "tree"}, names)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(client.download_artifacts(run_id, "tree", folder))
        same(bytes(range(256)) * 1000, (tree / "deep" / "er" / "b.bin").read_bytes())
        same("with a space", (tree / "two words.txt").read_text())
    same("hello", mlflow.artifacts.load_text(f"runs:/{run_id}/notes/a.txt"))
    same({"k": [1, 2]}, mlflow.artifacts.load_dict(f"runs:/{run_id}/conf.json"))


def check_search(parent: str, child: str) -> None:
    found = mlflow.search_runs(
        experiment_names=[NAME],
        filter_string="metrics.loss < 0.2 and params.lr = '0.1'",
        order_by=["metrics.loss ASC"],
    )
    same([parent], list(found["run_id"]))
    ids = set(mlflow.search_runs(experiment_names=[NAME])["run_id"])
    same(True, {parent, child} <= ids)


def check_model(client: MlflowClient) -> str:
    """log_model, registration, alias, load by alias; the run's id."""
    data = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = LogisticRegression().fit(data, [0, 0, 1, 1])
    with mlflow.start_run(run_name="model") as run:
        mlflow.sklearn.log_model(model, "model", registered_model_name="reader")
    version = client.search_model_versions(f"run_id='{run.info.run_id}'")[0].version
    client.set_registered_model_alias("reader", "champion", version)
    same(version, client.get_model_version_by_alias("reader", "champion").version)
    loaded = mlflow.sklearn.load_model("models:/reader@champion")
    same([0, 1], list(loaded.predict([[0.0], [3.0]])))
    return run.info.run_id


def check_trace(client: MlflowClient) -> str:
    """A traced call, found again with its spans; the trace's id."""

    @mlflow.trace(name="read_page")
    def read_page(page: int) -> str:
        with mlflow.start_span(name="decode"):
            return f"page {page}"

    same("page 7", read_page(7))
    trace = mlflow.get_last_active_trace()
    stored = client.get_trace(trace.info.request_id)
    same({"read_page", "decode"}, {span.name for span in stored.data.spans})
    return trace.info.request_id


def main(url: str) -> None:
    mlflow.set_tracking_uri(url)
    client = MlflowClient()
    parent, child = log_runs()
    check_run(client, parent, child)
    check_artifacts(client, parent)
    check_search(parent, child)
    model = check_model(client)
    client.delete_run(child)
    client.restore_run(child)
    same("active", client.get_run(child).info.lifecycle_stage)
    print(json.dumps({"parent": parent, "child": child, "model": model, "trace": check_trace(client)}))


if __name__ == "__main__":
    main(sys.argv[1])
