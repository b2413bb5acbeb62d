"""The data sets of the benchmarks, which fetch_data.py downloads."""

import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def data_folder(*, to_write: bool = False) -> Path:
    """Return the folder of the data sets, which benchmarks and tests read.

    The environment variable SKLEARN_STATIC_DATA names it; the default is ``benchmarks/data``. As
    long as that does not exist, the data sets are read from ``../shared/data``, beside the
    checkout, if several checkouts have them there.
    """
    if named := os.environ.get("SKLEARN_STATIC_DATA"):
        return Path(named)
    own = Path(__file__).parent / "data"
    beside = Path(__file__).parents[2] / "shared" / "data"
    return beside if beside.exists() and not own.exists() and not to_write else own


DATA = data_folder()


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
            "that contains it with --data or SKLEARN_STATIC_DATA."
        )
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
