"""The example of a service: a real server, real requests, and what it refuses."""

import json
import os
import posixpath
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from fresh import run
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

SERVING = Path(__file__).parents[1] / "examples" / "serving"
JSON = {"Content-Type": "application/json"}

pytestmark = pytest.mark.slow
linux = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's /proc")


@dataclass
class Server:
    """A running server."""

    port: int
    process: subprocess.Popen[str]

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] = JSON
    ) -> tuple[int, Any]:
        """Send one request over its own connection; return the status and the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def predict(self, texts: Any) -> tuple[int, Any]:
        return self.ask("POST", "/predict", json.dumps(texts).encode())

    def workers(self) -> list[int]:
        """Give the processes that have the application."""
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        # The other child is multiprocessing's resource tracker.
        names = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        return [pid for pid, name in names.items() if "spawn_main" in name]


def start(model: Path, *options: str) -> tuple[int, subprocess.Popen[str]]:
    """Start a server on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # uvicorn's parent process leaves its socket open to its end.
    warnings = ["-W", "error", "-W", "ignore::ResourceWarning"]
    command = [sys.executable, *warnings, "-m", "uvicorn", "app:app", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--app-dir", str(SERVING), "--log-level", "warning", *options],
        env=os.environ | {"MODEL": str(model)},
        stderr=subprocess.PIPE,
        text=True,
    )
    return port, process


@contextmanager
def serve(model: Path, *options: str) -> Iterator[Server]:
    """Run a server from the first answer of `/health` on."""
    server = Server(*start(model, *options))
    try:
        deadline = time.monotonic() + 60
        while True:
            assert server.process.poll() is None, server.process.communicate()[1]
            try:
                assert server.ask("GET", "/health") == (200, {"status": "ok"})
                break
            except ConnectionError:
                assert time.monotonic() < deadline, "no answer"
                time.sleep(0.05)
        yield server
    finally:
        server.process.terminate()
        _, errors = server.process.communicate(timeout=20)
    assert not errors


@pytest.fixture(scope="module")
def pipeline(fitted, texts) -> Pipeline:
    classifier = LogisticRegression().fit(fitted.transform(texts), kinds(texts))
    return make_pipeline(fitted, classifier)


def kinds(texts: list[str]) -> list[str]:
    return [("short", "medium", "long")[min(len(text) // 100, 2)] for text in texts]


@pytest.fixture(scope="module")
def model(pipeline, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("serving") / "model.joblib"
    joblib.dump(pipeline, path)
    return path


@pytest.fixture(scope="module")
def server(model) -> Iterator[Server]:
    with serve(model, "--workers", "2") as running:
        yield running


def check(server: Server, pipeline: Pipeline, texts: list[str]) -> None:
    """Compare the answers with those of the pipeline."""
    status, answer = server.predict(texts)
    assert status == 200
    assert answer.keys() == {"labels", "classes", "probabilities"}
    assert answer["labels"] == pipeline.predict(texts).tolist()
    assert answer["classes"] == pipeline.classes_.tolist()
    np.testing.assert_array_equal(answer["probabilities"], pipeline.predict_proba(texts))


def test_predictions(server, pipeline, texts):
    assert len(set(pipeline.predict(texts))) > 1
    check(server, pipeline, texts[:300])
    for text in texts[:5]:
        check(server, pipeline, [text])
    check(server, pipeline, ["naïve café 東京"])


def test_requests_just_within_the_limits(server):
    status, answer = server.predict(["a list"] * 1000)
    assert (status, len(answer["labels"])) == (200, 1000)
    assert server.predict(["a list, é ".ljust(10_000, "é")])[0] == 200
    assert server.ask("POST", "/predict", b'["a list"]'.ljust(1_000_000))[0] == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "the body must have at least 1 document, got 0; send"),
        (["a"] * 1001, "the body must have at most 1000 documents, got 1001; divide"),
        (["a", "b" * 10_001], "documents[1] must have at most 10000 characters, got 10001, 'bbb"),
        (["a", "b", None], "documents[2] must be a string, got null; leave it out"),
        (["a", 3.5], "documents[1] must be a string, got 3.5; leave it out"),
        ([{"text": "a"}], "documents[0] must be a string, got {'text': 'a'}; leave it out"),
        (
            "a text",
            "the body must be a JSON list, got 'a text'; send a list such as [\"a document\"]",
        ),
        ({"texts": ["a"]}, "the body must be a JSON list, got {'texts': ['a']}; send a list"),
        (b"", "the body must be a JSON list, got null; send a list"),
        (b'["a", 3', "the body is not valid JSON at character 7: Expecting ',' delimiter; send"),
        (rb'["\ud800"]', r"documents[0] must be valid Unicode, got '\ud800'; remove"),
        (b'["\xff"]', "the body must be a JSON list in UTF-8, got"),
        (b"[" * 100_000, "the body must be a JSON list in UTF-8, got"),
    ],
)
def test_invalid_requests_are_refused(body, message, server):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    status, answer = server.ask("POST", "/predict", body)
    assert status == 422
    assert answer["detail"].startswith(message)
    assert len(answer["detail"]) < 200


def test_a_body_that_is_not_declared_as_json(server):
    status, answer = server.ask("POST", "/predict", b'["a"]', {"Content-Type": "text/plain"})
    assert status == 422
    assert "set the header Content-Type: application/json" in answer["detail"]


def test_a_large_body_is_refused_before_it_is_read(server):
    """Most of what is announced here is never sent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000000000\r\n\r\n" + b" " * 1_000_001
        )
        response = HTTPResponse(connection)
        response.begin()
        answer = json.loads(response.read())
    assert response.status == 413
    assert answer["detail"].startswith("the body must have at most 1000000 bytes, got more; divide")


@linux
def test_both_workers_answer(server, pipeline, texts):
    """One of them is stopped, the other must answer; then the other way around."""
    pids = server.workers()
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        try:
            check(server, pipeline, texts[:3])
        finally:
            os.kill(pid, signal.SIGCONT)


def test_clients_at_once_get_their_own_answers(server, pipeline, texts):
    """Eight clients, each with documents of its own, over one connection each."""
    requests = [[f"{text} {i}" for text in texts[:5]] for i in range(160)]

    def client(first: int) -> list[Any]:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
        answers = []
        for documents in requests[first::8]:
            connection.request("POST", "/predict", json.dumps(documents).encode(), JSON)
            answers.append(json.loads(connection.getresponse().read())["probabilities"])
        connection.close()
        return answers

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client, range(8)))
    for first, probabilities in enumerate(answers):
        expected = [pipeline.predict_proba(given) for given in requests[first::8]]
        np.testing.assert_array_equal(probabilities, expected)


@linux
@pytest.mark.peers
@pytest.mark.parametrize("n_workers", [1, 2])
def test_load(n_workers, model, texts, monkeypatch):
    """The benchmark's load, for a second at most each; it raises on a wrong answer."""
    benchmark = import_module("serving")
    monkeypatch.setattr(benchmark, "SECONDS", 1)
    documents = [f"{text} {i}" for i in range(400) for text in texts[:5]]
    figures = benchmark.measure(model, n_workers, documents[:200], documents[200:])
    for load in (figures.one, figures.many, figures.batch):
        assert load.requests > 1
        assert 0 < load.median <= load.p99
    # The clock of a process has ticks of 10 ms: of the others, too few requests are sent.
    assert figures.many.processors > 0
    assert len(figures.private) == len(figures.proportional) == n_workers
    assert all(p > 0 for p in figures.private)


@linux
def test_a_connection_that_is_used_again_is_not_slow(server):
    """Without TCP_NODELAY every answer after the first waits 40 ms for an acknowledgment."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        connection.request("POST", "/predict", b'["a list"]', JSON)
        assert json.loads(connection.getresponse().read())["labels"]
        seconds.append(time.perf_counter() - start)
    connection.close()
    assert min(seconds[5:]) < 0.03


@linux
def test_the_workers_map_the_file_and_have_no_torch(server, model, pipeline):
    size = pipeline[0].table_.stored.nbytes
    deadline = time.monotonic() + 60
    for pid in server.workers():
        mapped_bytes = 0
        while mapped_bytes < size:  # one worker answers while the other is still loading
            assert time.monotonic() < deadline, "the worker has not mapped the model"
            regions = Path(f"/proc/{pid}/maps").read_text().splitlines()
            mapped = [region.split() for region in regions if region.endswith(str(model))]
            bounds = [[int(bound, 16) for bound in region[0].split("-")] for region in mapped]
            mapped_bytes = sum(end - start for start, end in bounds)
        assert all(region[1].startswith("r--") for region in mapped)
        assert not any("torch" in region for region in regions)


def test_no_torch_in_the_server(model):
    code = f"""
import sys
from pathlib import Path
import app
app.load(Path({str(model)!r})).predict(["a text"])
print({{"torch", "transformers", "skops"}} & set(sys.modules))
"""
    assert run(code, SERVING).splitlines()[-1] == "set()"


def test_skops_and_a_classifier_without_probabilities(fitted, texts, tmp_path):
    model = make_pipeline(fitted, LinearSVC().fit(fitted.transform(texts), kinds(texts)))
    skops.io.dump(model, tmp_path / "model.skops")
    with serve(tmp_path / "model.skops") as server:
        status, answer = server.predict(texts[:100])
    assert status == 200
    assert answer.keys() == {"labels", "classes", "decision"}
    assert answer["labels"] == model.predict(texts[:100]).tolist()
    np.testing.assert_array_equal(answer["decision"], model.decision_function(texts[:100]))


@pytest.fixture
def load(monkeypatch) -> Callable[[Path], Pipeline]:
    monkeypatch.syspath_prepend(SERVING)
    return import_module("app").load


def test_untrusted_types_are_refused(load, pipeline, tmp_path):
    path = tmp_path / "model.skops"
    vectorizer, classifier = pipeline
    skops.io.dump(
        make_pipeline(vectorizer, FunctionTransformer(posixpath.basename), classifier), path
    )
    message = (
        f"MODEL={path} contains the types ['posixpath.basename'], which are not trusted; "
        "add them to TRUSTED in app.py"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        load(path)


def test_files_of_other_kinds_are_refused(load):
    with pytest.raises(ValueError, match=r"MODEL=model\.pkl must be the path of a \.joblib or a"):
        load(Path("model.pkl"))
