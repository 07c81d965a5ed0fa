# Every target works in a fresh clone: the environment is .venv, made by `make env` from the pins in requirements.txt.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# A few threads: the tests run tiny tensors, and more threads only wait for each other.
TEST_ENV := OMP_NUM_THREADS=2 MKL_NUM_THREADS=2

.DEFAULT_GOAL := help
.PHONY: help env demo test test-all lint format clean

help:
	@echo "make env       create $(VENV) and install the reference packages"
	@echo "make demo      train supervised and CPS+CutMix on the built-in data set and compare them"
	@echo "make test      the tests without the slow ones"
	@echo "make test-all  every test"
	@echo "make lint      ruff check and ruff format --check"
	@echo "make format    let ruff repair both"
	@echo "make clean     remove caches and builds (not $(VENV), data and work_dirs)"

env: $(STAMP)

# The stamp is written last, so an interrupted installation is repeated.
$(STAMP): requirements.txt $(wildcard requirements/*.txt) setup.py
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(RUN) -c "import mmsemi; print('mmsemi', mmsemi.__version__, 'is installed in $(VENV)')"
	@touch $@

demo: env
	$(RUN) tools/demo.py

test: env
	@$(TEST_ENV) $(RUN) -m pytest -q -m "not slow"

test-all: env
	@$(TEST_ENV) $(RUN) -m pytest -q

lint: env
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: env
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache mmsemi/.mim
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
