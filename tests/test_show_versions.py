from importlib.metadata import version

from sklearn_static import show_versions


def test_versions_and_the_engine(capsys):
    show_versions()
    printed = capsys.readouterr().out
    assert f"scikit-learn: {version('scikit-learn')}\n" in printed
    assert "transformers: " in printed
    assert printed.endswith("Engine: compiled\n")
