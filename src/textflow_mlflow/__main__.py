"""`python -m textflow_mlflow` is the `textflow-mlflow` command."""

from .cli import main

main()
