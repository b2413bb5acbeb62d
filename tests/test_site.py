"""The built documentation (make docs) in a browser, wide and on a phone, and its internal links."""

import json
import re
import shutil
import subprocess
import threading
from functools import cache
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from inspect import signature
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from sklearn_static import StaticEmbeddingVectorizer

SITE = Path(__file__).parents[1] / "docs" / "_build" / "html"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
WIDTHS = {"wide": 1440, "phone": 390}
# Those of the theme have no page around them.
PAGES = sorted(
    page.relative_to(SITE).as_posix()
    for page in SITE.rglob("*.html")
    if page.relative_to(SITE).parts[0] != "_static"
)
SECONDS = 300
ADDRESS = "https://sklearn-static.github.io/sklearn-static/"

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(not PAGES, reason="needs the built documentation (make docs)"),
]

# Runs before anything else of a page: what the console would show, and what could not be loaded.
LISTEN = b"""<script>
window.problems = [];
addEventListener("error", e => problems.push(e.message || e.target.src || e.target.href), true);
addEventListener("unhandledrejection", e => problems.push(String(e.reason)));
console.error = (...words) => problems.push(words.join(" "));
</script>"""
# Loads each page in a frame of each width and sends back what is wrong with it.
VISIT = """<!doctype html><meta charset="utf-8"><body><script>
async function visit(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  const loaded = new Promise(resolve => (frame.onload = resolve));
  frame.src = page;
  document.body.replaceChildren(frame);
  await loaded;
  const inside = frame.contentDocument;
  const problems = [...frame.contentWindow.problems];
  for (const image of inside.images) {
    image.loading = "eager";
    await image.decode().catch(() => problems.push(`no picture: ${image.src}`));
  }
  const excess = inside.documentElement.scrollWidth - inside.documentElement.clientWidth;
  if (excess > 0) problems.push(`wider than its window by ${excess} pixels`);
  for (const title of inside.querySelectorAll("h1"))
    if (title.scrollWidth > title.clientWidth) problems.push(`clipped: ${title.textContent}`);
  return problems;
}
(async () => {
  const found = {};
  for (const page of PAGES)
    for (const width of WIDTHS) found[`${page} ${width}`] = await visit(page, width);
  return found;
})().catch(String).then(found => fetch("report", {method: "POST", body: JSON.stringify(found)}));
</script>"""


class Handler(SimpleHTTPRequestHandler):
    """Serves the site, with a listener in each page, and takes the report."""

    report: dict
    has_report: threading.Event

    def do_GET(self):
        path = unquote(urlsplit(self.path).path).lstrip("/")
        if path == "visit":
            page = VISIT.replace("PAGES", json.dumps(PAGES), 1)
            self.send_page(page.replace("WIDTHS", json.dumps([*WIDTHS.values()]), 1).encode())
        elif path in PAGES:
            html = (SITE / path).read_bytes()
            self.send_page(html.replace(b"<head>", b"<head>" + LISTEN, 1))
        elif path == "favicon.ico":
            self.send_error(404)
        else:
            super().do_GET()

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.report["found"] = json.loads(self.rfile.read(length))
        self.send_page(b"")
        self.has_report.set()

    def send_page(self, content):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """What a browser finds wrong with each page at each width."""
    if CHROMIUM is None:
        pytest.skip("needs chromium (apt-get install chromium)")
    report, has_report = {}, threading.Event()
    bound = type("Bound", (Handler,), {"report": report, "has_report": has_report})
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: bound(*a, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = subprocess.Popen(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-port=0",  # or it would end as soon as the page is loaded
            f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
            f"http://127.0.0.1:{server.server_port}/visit",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert has_report.wait(SECONDS), f"no report from {CHROMIUM} after {SECONDS} seconds"
    finally:
        browser.terminate()
        browser.wait(30)
        server.shutdown()
        server.server_close()
    assert isinstance(report["found"], dict), report["found"]
    return report["found"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_a_browser(page, width, problems):
    assert problems[f"{page} {WIDTHS[width]}"] == []


class Links(HTMLParser):
    """Where a page leads, and what in it can be led to."""

    def __init__(self):
        super().__init__()
        self.targets, self.anchors = set(), set()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors |= {found.get("id"), found.get("name")} - {None}
        if tag == "a" and found.get("href"):
            self.targets.add(found["href"])


@cache
def links(page):
    reader = Links()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


@pytest.mark.parametrize("page", PAGES)
def test_internal_links(page):
    here = SITE / page
    for target in links(here).targets:
        address, anchor = map(unquote, urldefrag(target))
        if urlsplit(address).scheme:
            continue
        there = (here.parent / address.partition("?")[0]).resolve() if address else here
        assert there.exists(), target
        # The theme's menus have a link to the top, and a script reads the others.
        if anchor and there.suffix == ".html":
            assert anchor in links(there).anchors, target


@pytest.mark.parametrize("file", ["README.md", "benchmarks/README.md"])
def test_links_from_a_readme(file):
    readme = (SITE.parents[2] / file).read_text(encoding="utf-8")
    targets = re.findall(re.escape(ADDRESS) + r"([^)\s]*)", readme)
    assert targets
    for target in targets:
        assert (SITE / target).exists(), target


def test_link_from_the_html_representation():
    link = StaticEmbeddingVectorizer()._get_doc_link()
    assert link.startswith(ADDRESS)
    assert (SITE / link.removeprefix(ADDRESS)).exists()


def test_parameters_are_grouped_as_in_the_guide():
    guide = (SITE / "guide/parameters.html").read_text(encoding="utf-8")
    name = "generated/sklearn_static.StaticEmbeddingVectorizer.html"
    page = (SITE / name).read_text(encoding="utf-8")
    titles = re.findall('<p class="rubric">(.*?)</p>', page)
    assert titles[: titles.index("Notes")] == re.findall("<h2>(.*?)<a", guide)
    parameters = re.findall("<dt>(<code.*?)</dt>", guide)
    names = re.findall(r'<span class="pre">(\w+)</span>', "".join(parameters))
    assert names == list(signature(StaticEmbeddingVectorizer).parameters)
