"""A self-hosted tracking server: MLflow 2.17.1 behind a server that starts clean and stops clean."""

__version__ = "0.1.0"
