# The few commands, for people and for continuous integration. Each prints the
# plain commands behind it; the README shows them too, for those without make.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: help demo demo-begin test test-slow lint format clean

VENV := .venv/bin/python
DEVICE := .venv-device/bin/python
INSTALLED := .venv/.installed
DEVICE_INSTALLED := .venv-device/.installed
RUN := runs/glyphs
BUNDLE := bundles/glyphs
QUERIES := runs/glyphs-queries
FOUND := runs/glyphs-found.png
# A test process takes up to 3 GB. Files stay whole: what one shares is made once.
IN_PARALLEL := -n 2 --dist loadfile
# Two processes with a thread for each core would wait for each other's.
ONE_THREAD := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# A program of the project runs from here, whatever else the caller has on the path.
unexport PYTHONPATH PYTHONHOME

help:
	@echo 'make demo       train, measure, export and search, on glyphs (6 minutes)'
	@echo 'make test       the tests and the style, but for what takes minutes'
	@echo 'make test-slow  the tests that take minutes'
	@echo 'make lint       the style alone;  make format mends it'
	@echo 'make clean      removes what these made; your other runs stay'
	@echo
	@echo 'The first of them installs into .venv. PYTHON=/path/to/python3.12 chooses'
	@echo 'the Python to make it from (3.11, 3.12 or 3.13).'

# --- the demonstration -----------------------------------------------------------

demo: demo-begin $(QUERIES)/.made $(DEVICE_INSTALLED)
	@echo
	@echo '# The device: numpy, Pillow and one TFLite interpreter, no TensorFlow.'
	$(DEVICE) -m export.search $(BUNDLE) $(QUERIES)/*.png \
	  --picture $(FOUND) --overwrite
	@echo
	@echo '# What came of it'
	$(VENV) -m train.report $(RUN)
	$(VENV) -m export.report $(BUNDLE)
	@echo
	@echo '# Draw, and the same files find it, in a browser. Its runtime comes from npm, once.'
	@echo npm ci --omit=dev --prefix export/demonstration/page
	@echo $(VENV) -m export.demo $(BUNDLE)

demo-begin: $(INSTALLED)
	@test ! -e $(RUN)/metrics.json \
	  || echo '# $(RUN) is a finished run: used again (make clean forgets it).'
	@test ! -e $(BUNDLE)/manifest.json \
	  || echo '# $(BUNDLE) is a finished bundle: used again.'

$(RUN)/metrics.json: | $(INSTALLED)
	$(VENV) -m train.embedder --data glyphs --method s2sd --hand --backbone conv4_32 \
	  --dim 64 --image-size 32 --epochs 6 \
	  $(if $(wildcard $(RUN)/recipe.json),--resume) --out $(RUN)

$(BUNDLE)/manifest.json: $(RUN)/metrics.json | $(INSTALLED)
	$(VENV) -m export.bundle $(RUN) --whole --per-class 4 --neighbours 40 --max-drop 3 \
	  $(if $(wildcard $(BUNDLE)),--overwrite) --out $(BUNDLE)

$(QUERIES)/.made: $(BUNDLE)/manifest.json | $(INSTALLED)
	$(VENV) -m export.queries $(BUNDLE) --count 4 --out $(QUERIES)
	@touch $@

# --- the tests -------------------------------------------------------------------

test: lint
	$(ONE_THREAD) $(VENV) -m pytest -q -m 'not slow' $(IN_PARALLEL)

test-slow: $(INSTALLED)
	$(VENV) -m pytest -q -m slow

lint: $(INSTALLED)
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .

format: $(INSTALLED)
	$(VENV) -m ruff check --fix .
	$(VENV) -m ruff format .

# --- the environments ------------------------------------------------------------

# The stamp is made last, so that an interrupted installation is begun again.
$(INSTALLED): setup.cfg pyproject.toml
	@set -e; \
	if ! $(VENV) -c 'pass' 2>/dev/null; then \
	  python=; \
	  for candidate in $(or $(PYTHON),python3.11 python3.12 python3.13 python3); do \
	    if $$candidate -c 'import sys, venv, ensurepip; \
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	      python=$$candidate; break; \
	    fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo 'error: Python 3.11, 3.12 or 3.13 with its venv module is needed, and' \
	      'none of these is one: $(or $(PYTHON),python3.11 python3.12 python3.13 python3).' \
	      'Say where one is: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)' >&2; \
	    exit 2; \
	  fi; \
	  echo "$$python -m venv --clear .venv"; \
	  $$python -m venv --clear .venv; \
	fi; \
	$(VENV) -m pip --version >/dev/null 2>&1 || $(VENV) -m ensurepip >/dev/null
	@echo '# Installing TensorFlow and the rest: a minute or two, some more the first time.'
	$(VENV) -m pip install -qq -e '.[all,test]'
	@touch $@

$(DEVICE_INSTALLED): setup.cfg | $(INSTALLED)
	$(VENV) -m venv --clear .venv-device
	$(DEVICE) -m pip install -qq 'ai-edge-litert>=2.3' 'numpy>=2,<3' 'pillow>=10.1'
	@touch $@

clean:
	rm -rf .venv .venv-device .venv-device-* $(RUN) $(BUNDLE) $(QUERIES) $(FOUND)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
