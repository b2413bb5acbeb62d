"""The data sets of the benchmarks, which fetch_data.py downloads."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


@dataclass
class Split:
    """Documents and labels, for training and for testing."""

    train_documents: list[str]
    train_labels: list[str]
    test_documents: list[str]
    test_labels: list[str]


def load(name: str, data: Path) -> Split:
    """Read a data set for classification, whose lines have the keys text, label, and split."""
    rows = read(name, data)
    parts = [[r for r in rows if r["split"] == split] for split in ("train", "test")]
    return Split(*[[r[key] for r in part] for part in parts for key in ("text", "label")])


def read(name: str, data: Path) -> list[dict[str, Any]]:
    """Read gzipped JSON lines.

    Parameters
    ----------
    name : str
        The name of the data set.
    data : Path
        The folder that contains its file.

    Returns
    -------
    rows : list of dict
        One dict per line.

    Raises
    ------
    FileNotFoundError
        If the folder does not contain the file.
    """
    path = data / f"{name}.jsonl.gz"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; run `python benchmarks/fetch_data.py`, or name the folder "
            "that contains it with --data."
        )
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
