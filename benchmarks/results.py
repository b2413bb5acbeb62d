"""Tables of results: printed as Markdown, and written as CSV for the documentation."""

import csv
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "docs" / "results"


class Results:
    """The tables of one benchmark.

    Parameters
    ----------
    publish : bool
        Whether to write the tables; False prints them only, as for a quick run.
    folder : Path
        Where to write them.
    """

    def __init__(self, publish: bool, folder: Path = RESULTS) -> None:
        self.publish = publish
        self.folder = folder

    @contextmanager
    def table(self, name: str, *header: str, title: str = "") -> Iterator[Callable[..., None]]:
        """Print a table row by row and write it when it is complete.

        Parameters
        ----------
        name : str
            The name of the CSV file, without its suffix.
        *header : str
            The names of the columns. Cells are reStructuredText.
        title : str
            Printed above the table.

        Yields
        ------
        add : callable
            Adds a row, given its cells.
        """
        rows = [header]

        def add(*cells: str) -> None:
            rows.append(cells)
            print(f"| {' | '.join(cells)} |", flush=True)

        print(f"\n{title}\n" if title else "")
        print(f"| {' | '.join(header)} |")
        print(f"| --- |{' ---: |' * (len(header) - 1)}", flush=True)
        yield add
        if self.publish:
            path = self.folder / f"{name}.csv"
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)


def read(name: str) -> list[dict[str, str]]:
    """Read a published table, one dict per row."""
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def machine() -> str:
    """Describe the machine and the versions, to print above a table."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    packages = ("scikit-learn", "numpy", "tokenizers", "torch", "transformers", "model2vec")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{os.cpu_count()} cores, {cpu}; Python {platform.python_version()}, {versions}."
