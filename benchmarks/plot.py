"""Accuracy against speed: draws docs/_static/accuracy_speed.svg from the published tables.

Accuracy is the mean over the data sets, as a share of the teacher's; speed is that of new short
documents on one thread.
"""

import matplotlib.pyplot as plt
from results import RESULTS, read

# The method's column of accuracies, its name in the picture, and the offset of the name.
METHODS = {
    "teacher": ("teacher\n(all-MiniLM-L6-v2)", (0, -36)),
    "model2vec": ("model2vec", (0, 12)),
    "TF-IDF (1, 2)": ("TF-IDF*", (0, 14)),
    "vocabulary": ("sklearn-static,\nvocabulary", (0, -84)),
    "corpus": ("sklearn-static,\ncorpus", (0, 18)),
}


def shares() -> dict[str, list[float]]:
    """Give the accuracies as shares of the teacher's, in percent: all labels, 8 per class."""
    mean = read("accuracy")[-1]
    return {method: list(map(float, mean[method].split(" / "))) for method in METHODS}


def speeds() -> dict[str, float]:
    """Give documents per second; ours with the default LSA features."""
    measured = {
        row[""]: float(row["documents/s"].replace(",", ""))
        for row in (*read("speed_banking77"), *read("speed_teacher"))
    }
    ratios = {row["table"]: row["against float32"] for row in read("speed_quantized")}
    with_lsa = float(ratios["float32, 128 LSA features"].removesuffix(" x"))
    ours = with_lsa * measured["new documents"]
    return {
        "teacher": measured["the teacher, short documents"],
        "model2vec": measured["model2vec"],
        "TF-IDF (1, 2)": measured["TfidfVectorizer"],
        "vocabulary": ours,
        "corpus": ours,
    }


def main() -> None:
    """Draw it."""
    plt.rcParams |= {"svg.hashsalt": "sklearn-static", "svg.fonttype": "none", "font.size": 11}
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    x, y_of = speeds(), shares()
    for method, (name, offset) in METHODS.items():
        y = y_of[method]
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
    figure.savefig(RESULTS.parent / "_static" / "accuracy_speed.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
