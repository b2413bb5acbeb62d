import itertools
import sys

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static.inspection import TokenContributionsDisplay

mpl.use("agg")
LONG_WORDS = "x" * 200 + " " + "engine." * 30
DOCUMENT = "The cat\tand\n\nthe $engine$ of " + "the cat and " * 20 + LONG_WORDS


@pytest.fixture(scope="module")
def parts():
    vectors = {"cat": [1, 0], "engine": [0, 1], "the": [0.1, 0.3]}
    vectorizer = StaticEmbeddingVectorizer.from_vectors(vectors)
    return vectorizer, vectorizer.transform(["a cat", "an engine"])


@pytest.fixture
def display(parts):
    vectorizer, features = parts
    model = LogisticRegression().fit(features, ["animal", "vehicle"])
    yield TokenContributionsDisplay.from_estimator((vectorizer, model), DOCUMENT)
    plt.close("all")


def shown(ax):
    """The document, from the text artists of the figure; the last three are the legend."""
    return [text for text in ax.texts[:-3] if text.get_text().strip()]


def test_a_plot_has_the_whole_document_on_lines_that_fit(display):
    assert display.plot() is display
    display.figure_.canvas.draw()
    assert display.ax_.figure is display.figure_
    texts = shown(display.ax_)
    assert "".join(text.get_text() for text in texts) == "".join(DOCUMENT.split())
    width, height = display.ax_.get_xlim()[1], display.ax_.get_ylim()[0]
    x, y = (max(text.get_position()[axis] for text in texts) for axis in (0, 1))
    assert 0 < x < width
    assert 100 < y < height
    boxes = [text.get_window_extent() for text in texts if len(text.get_text()) < 100]
    edge = display.ax_.get_window_extent().x1
    assert max(box.x1 for box in boxes) <= edge + 2
    assert display.ax_.get_title(loc="left").startswith("decision_function of 'vehicle': ")


def test_words_do_not_overlap(display):
    display.plot().figure_.canvas.draw()
    texts = shown(display.ax_)
    for one, other in itertools.pairwise(texts):
        if one.get_position()[1] == other.get_position()[1]:
            assert one.get_window_extent().x1 < other.get_window_extent().x0 + 1.5


def test_tokens_have_the_color_of_their_side(display):
    display.plot()
    # The sample of colors comes last.
    boxes = display.ax_.patches[:-41]
    colored = [token for token in display.contributions.contributions if token]
    assert len(boxes) == len(colored)
    for box, contribution in zip(boxes, colored, strict=True):
        red, _, blue, strength = box.get_facecolor()
        assert (blue > red) == (contribution > 0)
        assert 0 < strength <= 0.6


def test_a_plot_goes_into_given_axes(display):
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 6))
    display.plot(ax=right)
    assert (display.ax_, display.figure_) == (right, figure)
    assert len(plt.get_fignums()) == 1
    assert not left.texts
    assert right.get_xlim()[1] == pytest.approx(right.get_window_extent().width * 72 / figure.dpi)
    figure.canvas.draw()


def test_an_empty_document_is_drawn(parts):
    vectorizer, features = parts
    model = Ridge().fit(features, [1, 2])
    with pytest.warns(UserWarning, match="1 of 1"):
        display = TokenContributionsDisplay.from_estimator((vectorizer, model), "")
    display.plot().figure_.canvas.draw()
    assert display.ax_.get_title(loc="left").startswith("predict: +")
    assert "predict" in display._repr_html_()
    plt.close("all")


def test_the_method_is_shown(parts):
    vectorizer, features = parts
    model = SVC().fit(features, ["animal", "vehicle"])
    display = TokenContributionsDisplay.from_estimator((vectorizer, model), "the cat")
    assert "occlusion" in display.plot().ax_.texts[-1].get_text()
    assert "for the empty document" in display._repr_html_()
    plt.close("all")


def test_a_display_is_of_one_decision(parts):
    vectorizer, features = parts
    model = Ridge().fit(features, [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match=r"target must be one class or output, got \[0, 1\]"):
        TokenContributionsDisplay.from_estimator((vectorizer, model), "the cat")
    display = TokenContributionsDisplay.from_estimator((vectorizer, model), "the cat", target=1)
    assert "output 1" in display._repr_html_()


def test_without_matplotlib_the_message_says_so(display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"TokenContributionsDisplay\.plot requires matplotlib"):
        display.plot()
