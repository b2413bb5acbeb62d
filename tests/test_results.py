"""The published tables: each is shown, and figures that are repeated agree with them."""

import csv
import re
from pathlib import Path

import pytest
import results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
TABLES = sorted(RESULTS.glob("*.csv"))


def cells(path):
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_benchmark_writes_a_published_table(path, tmp_path, capsys):
    header, *rows = cells(path)
    with results.Results(publish=True, folder=tmp_path).table(path.stem, *header) as add:
        for row in rows:
            add(*row)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert f"| {' | '.join(rows[-1])} |" in capsys.readouterr().out


def test_a_quick_or_incomplete_run_writes_nothing(tmp_path, capsys):
    with results.Results(publish=False, folder=tmp_path).table("quick", "a") as add:
        add("b")
    assert "| b |" in capsys.readouterr().out

    def interrupted():
        with results.Results(publish=True, folder=tmp_path).table("half", "a") as add:
            add("b")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_all_tables_are_on_a_page():
    pages = "".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/**/*.rst"))
    assert set(re.findall(r"results/(\w+)\.csv", pages)) == {path.stem for path in TABLES}


def test_the_summary_is_up_to_date():
    pytest.importorskip("matplotlib")
    import plot

    assert cells(RESULTS / "summary.csv")[1:] == [list(row) for row in plot.rows(plot.summary())]


def test_the_readme_repeats_the_published_figures():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    methods, _, *rows, speed = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\| \| teacher .*?\n\n", readme, re.M | re.S)[0].splitlines()
        if line
    ]
    names, *published = cells(RESULTS / "accuracy.csv")
    columns = [names.index(method) for method in methods]
    for row, figures in zip(rows, published[:-1], strict=True):
        error = re.findall(r"\((.*)\)", figures[0])[0]
        assert row[0].endswith(f" (±{error})")
        assert row[1:] == [figures[i] for i in columns[1:]]
    summary = cells(RESULTS / "summary.csv")[1:]
    assert speed[1:] == [row[-1] for row in reversed(summary)]
