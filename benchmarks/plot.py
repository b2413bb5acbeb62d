"""Accuracy against speed, as a picture, from the results that the documentation shows.

Accuracy is the mean over the data sets, as a share of the teacher's; speed is that of new short
documents on one thread. Writes docs/_static/accuracy_speed.svg.
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt

DOCS = Path(__file__).parents[1] / "docs"
WITH_LSA = 0.8  # docs/benchmarks.rst: speed with LSA features, as a share of that without
TEACHER = 420  # docs/benchmarks.rst: documents per second
# The method's column of accuracies, its name in the picture and where the name is put.
METHODS = {
    "teacher": ("teacher\n(all-MiniLM-L6-v2)", (0, -36)),
    "model2vec": ("model2vec", (0, 12)),
    "TF-IDF (1, 2)": ("TF-IDF*", (0, 14)),
    "vocabulary": ("sklearn-static,\nvocabulary", (0, -84)),
    "corpus": ("sklearn-static,\ncorpus", (0, 18)),
}


def read(name: str) -> list[dict[str, str]]:
    """Read a table of results, one dict per row."""
    with (DOCS / "results" / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def shares(method: str) -> tuple[float, float]:
    """Give the accuracy as a share of the teacher's, in percent: all labels, 8 per class."""
    pairs = [
        (row[method].split(" / "), row["teacher"].split(" / "))
        for row in read("accuracy")
        if " / " in row[method] and not row[""].startswith("mean")
    ]
    all_labels, few = (
        100 * sum(float(ours[i]) / float(teacher[i]) for ours, teacher in pairs) / len(pairs)
        for i in (0, 1)
    )
    return all_labels, few


def speeds() -> dict[str, float]:
    """Give documents per second."""
    measured = {
        row[""]: float(row["documents/s"].replace(",", "")) for row in read("speed_banking77")
    }
    ours = WITH_LSA * measured["new documents"]
    return {
        "teacher": TEACHER,
        "model2vec": measured["model2vec"],
        "TF-IDF (1, 2)": measured["TfidfVectorizer"],
        "vocabulary": ours,
        "corpus": ours,
    }


def main() -> None:
    """Draw it."""
    plt.rcParams |= {"svg.hashsalt": "sklearn-static", "svg.fonttype": "none", "font.size": 11}
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    x = speeds()
    for method, (name, offset) in METHODS.items():
        y = shares(method)
        color = "#c9531b" if name.startswith("sklearn") else "#3b6fb6"
        axes.plot([x[method]] * 2, y, color=color, linewidth=1, alpha=0.5)
        axes.plot(x[method], y[0], "o", color=color, markersize=9)
        axes.plot(x[method], y[1], "o", color=color, markersize=9, markerfacecolor="white")
        axes.annotate(
            name, (x[method], y[0]), offset, textcoords="offset points", ha="center", color=color
        )
    axes.plot([], [], "o", color="#555", label="all labels")
    axes.plot([], [], "o", color="#555", markerfacecolor="white", label="8 labels per class")
    axes.set(
        xscale="log",
        xlim=(90, 3e6),
        ylim=(72, 105),
        xlabel="documents per second, one thread (log scale)",
        ylabel="accuracy, % of the teacher's",
    )
    axes.legend(loc="lower left", frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    note = {"transform": axes.transAxes, "ha": "right", "fontsize": 9, "color": "#555"}
    axes.text(0.99, 0.03, "* speed without bigrams", **note)
    figure.savefig(DOCS / "_static" / "accuracy_speed.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
