"""The conversions of benchmarks/fetch_data.py, on lines as their sources have them."""

import gzip
import io
import json
import sys
import zipfile

import corpora
import fetch_data
import pytest


def labels_and_texts(rows):
    return [(row["label"], row["text"]) for row in rows]


def test_banking77():
    content = b'text,category\n"\nMy card, please",lost_card\nTop up?,top_up\n'
    rows = list(fetch_data.banking77_rows(content, "test"))
    assert labels_and_texts(rows) == [("lost_card", "\nMy card, please"), ("top_up", "Top up?")]
    assert {row["split"] for row in rows} == {"test"}


def test_trec():
    content = b"LOC:city Which city is a sister\xf0city ?\nNUM:dist How far is it ?\n"
    assert labels_and_texts(fetch_data.trec_rows(content, "train")) == [
        ("LOC", "Which city is a sister\xf0city ?"),
        ("NUM", "How far is it ?"),
    ]


def test_sst2():
    content = "1 a café , stirring\n0 no yuks\n".encode()
    assert labels_and_texts(fetch_data.sst2_rows(content, "train")) == [
        ("1", "a café , stirring"),
        ("0", "no yuks"),
    ]


def test_ag_news_is_shuffled_and_split():
    content = "".join(f'"{i % 4 + 1}","Title {i}","He said ""{i}"""\n' for i in range(7600))
    rows = list(fetch_data.ag_news_rows(content.encode()))
    assert ("World", 'Title 0. He said "0"') in labels_and_texts(rows)
    assert [row["split"] for row in rows] == ["train"] * 5600 + ["test"] * 2000
    # Where the published results have the first five documents of the original file.
    titles = [row["text"].partition(".")[0] for row in rows]
    assert [titles.index(f"Title {i}") for i in range(5)] == [7224, 6892, 6557, 5179, 5055]


def test_posts_lose_header_and_quotes():
    post = "From: a\nSubject: b\n\nIn article 1:\n> A quote\n\nAn answer.\n"
    assert fetch_data.without_header_and_quotes(post) == "In article 1:\n\nAn answer."


def test_sts_leaves_out_pairs_without_a_rating():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__MACOSX/STS.input.surprise.OnWN.txt", "")
        archive.writestr("test/STS.input.surprise.OnWN.txt", "a\tb\tsource\nc\td\n")
        archive.writestr("test/STS.gs.surprise.OnWN.txt", "4.5\n\n")
    rows = list(fetch_data.sts_rows(file.getvalue(), "2012", "surprise.OnWN"))
    assert rows == [{"year": "2012", "name": "OnWN", "score": 4.5, "s1": "a", "s2": "b"}]


def test_written_lines_are_read(tmp_path):
    rows = [fetch_data.labeled("a café", "x", "train"), fetch_data.labeled("b", "y", "test")]
    fetch_data.write(tmp_path / "some.jsonl.gz", rows)
    split = corpora.load("some", tmp_path)
    assert (split.train_documents, split.test_labels) == (["a café"], ["y"])
    with gzip.open(tmp_path / "some.jsonl.gz", "rt", encoding="utf-8") as lines:
        assert json.loads(next(lines)) == rows[0]


def test_missing_data_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"fetch_data\.py.*--data or SKLEARN_STATIC_DATA"):
        corpora.load("trec", tmp_path)


def test_one_variable_names_the_folder_of_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("SKLEARN_STATIC_DATA", str(tmp_path))
    assert corpora.data_folder() == corpora.data_folder(to_write=True) == tmp_path


def test_default_folder_of_the_data(tmp_path, monkeypatch):
    monkeypatch.delenv("SKLEARN_STATIC_DATA", raising=False)
    monkeypatch.setattr(corpora, "__file__", str(tmp_path / "checkout" / "benchmarks" / "a.py"))
    own = tmp_path / "checkout" / "benchmarks" / "data"
    beside = tmp_path / "shared" / "data"
    assert corpora.data_folder() == own
    beside.mkdir(parents=True)
    assert corpora.data_folder() == beside
    assert corpora.data_folder(to_write=True) == own
    own.mkdir(parents=True)
    assert corpora.data_folder() == own


def test_what_was_downloaded_is_counted_and_written(tmp_path, monkeypatch):
    (tmp_path / "train.csv").write_text("text,category\nTop up?,top_up\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,category\nMy card,lost_card\n", encoding="utf-8")
    monkeypatch.setattr(fetch_data, "BANKING77", tmp_path.as_uri())
    monkeypatch.setattr(sys, "argv", ["", "banking77", "--data", str(tmp_path / "data")])
    with pytest.raises(ValueError, match="banking77 must have 13083 lines, got 2"):
        fetch_data.main()
    assert not list((tmp_path / "data").iterdir())
    monkeypatch.setitem(fetch_data.SETS, "banking77", (fetch_data.banking77, 2))
    fetch_data.main()
    split = corpora.load("banking77", tmp_path / "data")
    assert (split.train_documents, split.test_labels) == (["Top up?"], ["lost_card"])
