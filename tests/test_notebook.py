import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from sklearn.linear_model import LogisticRegression

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._inspect import notebook
from sklearn_static._inspect.notebook import document_html, number
from sklearn_static._inspect.spans import Segment
from sklearn_static.inspection import TokenContributionsDisplay

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
HOSTILE = (
    "<script>document.title = 'it ran'</script>"
    "<img src=x onerror=\"document.title='it ran'\"> & cat\" onmouseover='x' engine\n</div></style>"
)
LABEL = "<b onclick='x'>vehicle</b>"


class Reader(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self):
        super().__init__()
        self.elements, self.attributes, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data):
        if self.elements[-1:] != ["style"] or not data.startswith(".sklearn"):
            self.text += data


@pytest.fixture(scope="module")
def display():
    vectors = {"cat": [1, 0], "engine": [0, 1], "script": [0, 2], "img": [2, 1]}
    vectorizer = StaticEmbeddingVectorizer.from_vectors(vectors)
    model = LogisticRegression().fit(
        vectorizer.transform(["a cat", "an engine"]), ["animal", LABEL]
    )
    return TokenContributionsDisplay.from_estimator((vectorizer, model), HOSTILE, target=LABEL)


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def test_a_document_is_shown_and_not_run(display):
    page = read(display._repr_html_())
    assert HOSTILE in page.text
    assert f"decision_function of {LABEL!r}" in page.text
    assert set(page.elements) == {"div", "style", "span", "b"}
    assert {name for found in page.attributes for name in found} == {"class", "style", "title"}
    titles = [found["title"] for found in page.attributes if "title" in found]
    assert "cat: \N{MINUS SIGN}" in "".join(titles)
    assert "script: +" in "".join(titles)


def test_decision_and_its_terms_are_shown(display):
    text = read(display._repr_html_()).text
    result = display.contributions
    assert number(result.decision) in text
    total = result.contributions.sum()
    assert f"= tokens {number(total)}, intercept {number(result.intercept)}" in text
    assert "exact" in text


def test_colors_are_by_side_and_strength():
    found = document_html(
        [
            Segment("up", 2.0),
            Segment(" ", None),
            Segment("down", -1.0),
            Segment(" ", None),
            Segment("none", 0.0),
        ],
        heading="",
        decision="",
        sum_of="",
        method="",
    )
    assert '<span class="token more" style="--part:0.600" title="up: +2">up</span> <span' in found
    assert (
        '<span class="token less" style="--part:0.300" title="down: \N{MINUS SIGN}1">down</span>'
        in found
    )
    assert 'style="--part:0.000" title="none: 0">none</span>' in found
    assert "\N{MINUS SIGN}2" in found


def test_empty_document_is_shown():
    page = read(document_html([], heading="h", decision="0", sum_of="", method="exact"))
    assert page.text == "h000exact"


def luminance(color):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (x / 255 for x in color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2's contrast."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [notebook._LIGHT, notebook._DARK], ids=["light", "dark"])
def test_text_can_be_read_in_any_color(theme):
    def color(name):
        value = re.search(rf"--{name}:([^;]+)", theme)[1]
        if value.startswith("#"):
            return tuple(bytes.fromhex(value[1:]))
        return tuple(map(int, value.split()))

    assert contrast(color("muted"), color("card")) >= 4.5
    for side in ("more", "less"):
        strongest = [
            notebook._STRONGEST * c + (1 - notebook._STRONGEST) * background
            for c, background in zip(color(side), color("card"), strict=True)
        ]
        assert contrast(color("text"), strongest) >= 4.5
        assert contrast(strongest, color("card")) >= 1.5


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_runs_no_script_of_the_document(theme, display, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><title>nothing ran</title>"
        f"<body data-theme={theme}>{display._repr_html_()}"
        "<script>const found = document.querySelector('.sklearn-static-display');"
        "document.body.append(document.createElement('hr'), JSON.stringify({"
        "text: found.querySelector('.document').textContent,"
        "scripts: found.querySelectorAll('script, img').length,"
        "card: getComputedStyle(found).backgroundColor}))</script></body>",
        encoding="utf-8",
    )
    picture = tmp_path / "page.png"
    browser = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}",
    ]

    def run(*options):
        return subprocess.run(
            [*browser, *options, page.as_uri()], capture_output=True, timeout=120, check=True
        ).stdout.decode()

    dom = run("--dump-dom")
    assert "<title>nothing ran</title>" in dom
    report = dom.rpartition("<hr>")[2]
    assert '"scripts":0' in report
    assert "it ran" in report  # as text
    assert f'"card":"rgb({"255, 255, 255" if theme == "light" else "22, 25, 29"})"' in report
    run("--window-size=600,300", f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")
