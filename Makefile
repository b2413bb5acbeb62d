PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torch goes in first and alone: with it there, nothing else brings in another build of it.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet -c constraints.txt
# Two processes of one thread each: with more threads they only get into each other's way.
PYTEST := -m pytest --numprocesses=2 --dist=worksteal

.PHONY: help quickstart check test coverage test-full test-lowest clients fuzz lint docs site bench dist clean

help:  ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

quickstart: $(VENV)/ready  ## Run the first example
	$(BIN)/python examples/quickstart.py

check: $(VENV)/ready lint  ## Style, types and the fast tests, in about a minute
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) -m "not (slow or cluster or minilm or peers or site or clients)"

test: $(VENV)/ready lint  ## All checks and tests
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) -m "not site and not clients"

coverage: $(VENV)/ready lint  ## The same, and the lines that no test runs
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) -m "not site and not clients" --cov

test-full: $(VENV)/ready  ## The tests that read samples, on all of it
	SKLEARN_STATIC_FULL=1 OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) \
		tests/test_compositions.py tests/test_engine.py tests/test_minilm.py tests/test_tokenizers.py

# In an environment of its own, as mlflow does not allow all versions of constraints.txt.
clients: .venv-clients/ready  ## The tests with skrub, mlflow, BERTopic and imbalanced-learn
	.venv-clients/bin/python -m pytest -m clients tests/test_clients.py

.venv-clients/ready: pyproject.toml $(ENGINE)
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/pip install --quiet -c constraints.txt pip
	.venv-clients/bin/pip install --quiet -c constraints.txt torch
	.venv-clients/bin/pip install --quiet -e ".[distill]" --group test --group clients
	touch $@

fuzz: $(VENV)/ready  ## Damage 2,000 folders and 2,000 joblib files
	$(BIN)/python tests/fuzz.py --rounds 2000

lint: $(VENV)/ready  ## Style, types and docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell *.md benchmarks docs examples sklearn_static tests
	$(BIN)/mypy
	$(BIN)/python -m numpydoc lint sklearn_static/*.py
	$(BIN)/python -m numpydoc lint --ignore PR01 sklearn_static/*/*.py

ENGINE := $(wildcard sklearn_static/_serve/*.pyx sklearn_static/_serve/*.hpp)

$(VENV)/ready: pyproject.toml constraints.txt $(ENGINE)
	$(PYTHON) -m venv $(VENV)
	$(PIP) pip
	$(PIP) torch
	$(PIP) -e ".[distill,demo]" --group dev
	touch $@

# torch is newer than its lower bound: constraints-lowest.txt says why.
test-lowest: .venv-lowest/ready  ## The tests with the oldest supported versions
	OMP_NUM_THREADS=1 .venv-lowest/bin/python $(PYTEST) -m "not peers and not site and not clients"

.venv-lowest/ready: pyproject.toml constraints-lowest.txt $(ENGINE)
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet -c constraints.txt pip
	.venv-lowest/bin/pip install --quiet -c constraints-lowest.txt torch
	.venv-lowest/bin/pip install --quiet -c constraints-lowest.txt -e ".[distill,demo]" --group test --group cluster \
		--group serving
	touch $@

bench: $(VENV)/ready  ## Speed and accuracy against other libraries
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/fetch_tokenizers.py
	$(BIN)/python benchmarks/languages.py
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/quality.py --documents
	$(BIN)/python benchmarks/quality.py --similarity
	$(BIN)/python benchmarks/quality.py --size
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/cluster.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/plot.py

docs: $(VENV)/ready  ## Build the documentation
	$(PIP) --group docs
	rm -rf docs/_build  # or pages that are gone would stay
	$(BIN)/python -m sphinx -n -W -b html docs docs/_build/html

site: docs  ## Check the documentation in a browser (Chromium)
	$(BIN)/python -m pytest -m site tests/test_site.py

dist: $(VENV)/ready  ## Build the wheel and the source distribution and check them
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:  ## Remove what was built
	rm -rf $(VENV) .venv-lowest .venv-clients build dist docs/_build docs/auto_examples docs/generated
	rm -f sklearn_static/_serve/engine.cpp sklearn_static/_serve/engine.*.so
