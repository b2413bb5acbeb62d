"""A hub on this machine: real HTTP for the real client, and hubs that do not answer."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef" * 2 + "01234567"


@contextmanager
def serving(folder: Path, model: str = "org/tiny") -> Iterator[tuple[str, list[str]]]:
    """Serve a folder as a model of the Hub; yield the address and the log of requests."""
    log: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if model in self.path:  # the client also asks about itself
                log.append(f"{self.command} {self.path}")
            if self.path.startswith(f"/api/models/{model}"):
                files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
                siblings = [{"rfilename": path.as_posix()} for path in files]
                info = {"id": model, "sha": COMMIT, "siblings": siblings}
                self.answer(json.dumps(info).encode())
            elif (file := folder / self.path.partition("/resolve/")[2].partition("/")[2]).is_file():
                self.answer(file.read_bytes())
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()

        do_HEAD = do_GET  # noqa: N815 (http.server's name)

        def answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", log
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def closed() -> Iterator[str]:
    """Yield an address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # without listening
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """Yield an address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def trickling() -> Iterator[str]:
    """Yield an address that answers one byte per second, so that no single read takes long."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            try:
                connection, _ = server.accept()
                with connection:
                    for byte in b"HTTP/1.1 200 OK" + b" " * 60:
                        connection.send(bytes([byte]))
                        time.sleep(1)
            except OSError:  # the test is over
                return

        threading.Thread(target=trickle, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
