# Every target works in a fresh clone: the environment is .venv, made by `make env` from the pins in requirements.txt.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
ONEDL := .venv-onedl
DOCS := .venv-docs
# One thread: the tests run tiny tensors, for which more threads only wait for each other.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# Two files at a time; a file's tests share trainings, so they stay in one process.
SIDE_BY_SIDE := -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help env demo docs test test-all test-onedl dist lint format tables clean

help:
	@echo "make env       create $(VENV) and install the reference packages"
	@echo "make demo      train supervised and CPS+CutMix on the built-in data set and compare them"
	@echo "make docs      build the docs site into site/, links checked"
	@echo "make test      the tests without the slow ones"
	@echo "make test-all  every test"
	@echo "make test-onedl the quick tests on the OneDL forks of mmengine, mmcv and mmseg"
	@echo "make dist      build sdist and wheel into dist/, and use the wheel in an empty environment"
	@echo "make lint      ruff check and ruff format --check"
	@echo "make format    let ruff repair both"
	@echo "make tables    write metafiles and the tables in READMEs from configs, settings and results"
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

# NO_MKDOCS_2_WARNING: the theme's advertisement for what comes after mkdocs 1.
docs: $(DOCS)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --config-file docs/site/mkdocs.yml
	@echo "the site is in site/index.html"

$(DOCS)/.installed: requirements/docs.txt
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	@touch $@

test: env
	@$(TEST_ENV) $(RUN) -m pytest -q -m "not slow" $(SIDE_BY_SIDE)

test-all: env
	@$(TEST_ENV) $(RUN) -m pytest -q $(SIDE_BY_SIDE)

# The same tests on the OneDL forks; compiles their mmcv operators once (half an hour on 2 cores).
test-onedl: $(ONEDL)/.installed
	@$(TEST_ENV) $(ONEDL)/bin/python -m pytest -q -m "not slow"

$(ONEDL)/.installed: requirements/onedl.txt requirements/tests.txt
	@test -x $(ONEDL)/bin/python || $(PYTHON) -m venv $(ONEDL)
	$(ONEDL)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.11.0 torchvision==0.26.0 ninja -r requirements/tests.txt
	# No cache: pip would take a wheel without operators that another installation built and left there.
	MMCV_WITH_OPS=1 $(ONEDL)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-cache-dir -r requirements/onedl.txt
	$(ONEDL)/bin/python -c "import torch, mmcv._ext"
	$(ONEDL)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e .
	$(ONEDL)/bin/python -c "import mmsemi; print('mmsemi', mmsemi.__version__, 'is installed in $(ONEDL)')"
	@touch $@

dist:
	PYTHON=$(PYTHON) .ci/release

lint: env
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: env
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

tables: env
	$(RUN) docs/generate_tables.py

clean:
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .dist_test mmsemi/.mim
	find . -name __pycache__ -not -path './$(VENV)/*' -not -path './$(ONEDL)/*' -not -path './$(DOCS)/*' -prune -exec rm -rf {} +
