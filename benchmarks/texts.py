"""The text sets and machine facts that the benchmarks share."""

import gzip
import json
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass
class Split:
    """Texts and labels, for training and for testing."""

    train_texts: list[str]
    train_labels: list[str]
    test_texts: list[str]
    test_labels: list[str]


def load(name: str, data: Path) -> Split:
    """Read a set of JSON lines with the keys text, label and split."""
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    parts = [[r for r in rows if r["split"] == split] for split in ("train", "test")]
    return Split(*[[r[key] for r in part] for part in parts for key in ("text", "label")])


def machine() -> str:
    """Give the machine and the versions, to print above a table."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    packages = ("scikit-learn", "numpy", "tokenizers", "torch", "transformers", "model2vec")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{os.cpu_count()} cores, {cpu}; Python {platform.python_version()}, {versions}."
