"""How fast a large artifact goes up and comes down, beside stock: `python -m benchmarks.transfer`."""

import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path

import requests

from .footprint import OURS, STOCK, started

PATH = "/api/2.0/mlflow-artifacts/artifacts/0/large.bin"
SIZE_MB = 300
ROUNDS = 3


def rates(url: str, file: Path) -> tuple[float, float]:
    """MB a second up and down, sent as MLflow's client sends; what comes back is compared."""
    with requests.Session() as client:
        began = time.monotonic()
        with file.open("rb") as content:
            client.put(f"{url}{PATH}", data=content, timeout=600).raise_for_status()
        up = time.monotonic() - began
        digest = hashlib.blake2b()
        began = time.monotonic()
        with client.get(f"{url}{PATH}", stream=True, timeout=600) as answer:
            for chunk in answer.iter_content(1 << 20):
                digest.update(chunk)
        down = time.monotonic() - began
    assert digest.digest() == hashlib.blake2b(file.read_bytes()).digest()
    return SIZE_MB / up, SIZE_MB / down


def main() -> None:
    print("| 300 MB artifact, MB/s | up | down |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "large.bin")
        file.write_bytes(os.urandom(SIZE_MB * 1_000_000))
        for variant in (OURS, STOCK):
            with started(variant, Path(place, variant)) as (server, _, _):
                found = [rates(server.url, file) for _ in range(ROUNDS)]
            up, down = (round(statistics.median(values)) for values in zip(*found, strict=True))
            print(f"| {variant} | {up} | {down} |")


if __name__ == "__main__":
    main()
