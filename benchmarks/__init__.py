"""Measurements that anyone can repeat, each beside stock MLflow in the same run."""
