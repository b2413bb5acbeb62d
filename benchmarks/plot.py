"""Accuracy against speed, from the published tables: docs/results/summary.csv and the figure.

Accuracy is the mean over the data sets, as a share of the teacher's; speed is that of new short
documents on one thread.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
from results import RESULTS, Results, read


@dataclass
class Method:
    """How a column of the accuracies is shown."""

    title: str  # in the summary
    label: str  # in the figure
    offset: tuple[int, int]  # of the label, in points
    color: str = "#3b6fb6"


HEADER = ("Features", "All labels, %", "8 labels per class, %", "Documents per second")
METHODS = {
    "corpus": Method('``distill_on="corpus"``', "sklearn-static,\ncorpus", (0, 10), "#b3261e"),
    "vocabulary": Method(
        '``distill_on="vocabulary"``', "sklearn-static,\nvocabulary", (0, -84), "#a86500"
    ),
    "model2vec": Method("model2vec, distilled from the same teacher", "model2vec", (0, 12)),
    "TF-IDF (1, 2)": Method("TF-IDF, words and bigrams", "TF-IDF*", (0, 14)),
    "teacher": Method("the teacher", "teacher\n(all-MiniLM-L6-v2)", (0, -36)),
}


@dataclass
class Point:
    """What the summary says of a method."""

    all_labels: float  # accuracy, percent of the teacher's
    few_labels: float  # the same with 8 labels per class
    speed: float  # documents per second, ours with the default LSA features


def summary() -> dict[str, Point]:
    """Read the figures of each method from the published tables."""
    mean = read("accuracy")[-1]
    measured = {
        row[""]: float(row["documents/s"].replace(",", ""))
        for row in (*read("speed_banking77"), *read("speed_teacher"))
    }
    ratios = {row["token vectors"]: row["against float32"] for row in read("speed_quantized")}
    ours = measured["new documents"] * float(ratios["float32, 128 LSA features"].removesuffix(" x"))
    speeds = {
        "teacher": measured["the teacher, short documents"],
        "model2vec": measured["model2vec"],
        "TF-IDF (1, 2)": measured["TfidfVectorizer"],
        "vocabulary": ours,
        "corpus": ours,
    }
    return {name: Point(*map(float, mean[name].split(" / ")), speeds[name]) for name in METHODS}


def rows(points: dict[str, Point]) -> list[tuple[str, ...]]:
    """Give the cells of the summary."""
    return [
        (
            METHODS[name].title,
            f"{point.all_labels:.1f}",
            f"{point.few_labels:.1f}",
            f"{float(f'{point.speed:.3g}'):,.0f}" + " (words only)" * name.startswith("TF-IDF"),
        )
        for name, point in points.items()
    ]


def draw(points: dict[str, Point]) -> None:
    """Draw the figure."""
    plt.rcParams |= {"svg.hashsalt": "sklearn-static", "svg.fonttype": "none", "font.size": 11}
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, point in points.items():
        method, x, y = METHODS[name], point.speed, (point.all_labels, point.few_labels)
        axes.plot([x] * 2, y, color=method.color, linewidth=1, alpha=0.5)
        axes.plot(x, y[0], "o", color=method.color, markersize=9)
        axes.plot(x, y[1], "o", color=method.color, markersize=9, markerfacecolor="white")
        offset = {"xytext": method.offset, "textcoords": "offset points"}
        axes.annotate(method.label, (x, max(y)), **offset, ha="center", color=method.color)
    axes.plot([], [], "o", color="#555", label="all labels")
    axes.plot([], [], "o", color="#555", markerfacecolor="white", label="8 labels per class")
    axes.set(
        xscale="log",
        xlim=(25, 3e6),
        ylim=(72, 106),
        xlabel="documents per second, one thread (log scale)",
        ylabel="accuracy, % of the teacher's",
    )
    axes.legend(loc="lower left", frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    note = {"transform": axes.transAxes, "ha": "right", "fontsize": 9, "color": "#555"}
    axes.text(0.99, 0.03, "* speed without bigrams", **note)
    figure.savefig(RESULTS.parent / "_static" / "accuracy_speed.svg", metadata={"Date": None})


def main() -> None:
    """Write both."""
    points = summary()
    with Results(publish=True).table("summary", *HEADER) as add:
        for row in rows(points):
            add(*row)
    draw(points)


if __name__ == "__main__":
    main()
