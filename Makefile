# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
SERVE ?= 1
DEMO ?= .demo

# One thread a process: on two busy cores more of them only wait for each other.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
# What is compiled once, the hundreds of processes that tests start need not compile again.
unexport PYTHONDONTWRITEBYTECODE
PORT ?= 8000

.PHONY: demo test lint types layers migrations browser pytest slow soak chaos ray rehearsal study study-gapo clean

demo: .venv/ready
	$(BIN)/python -m service.demo --directory $(DEMO) --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve)

# mypy takes one core and half a minute: what else is checked, and Chromium's installation, go on beside it.
test: .venv/ready
	$(MAKE) -j 2 lint types layers migrations browser
	$(MAKE) pytest

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

layers: .venv/ready
	$(BIN)/lint-imports

migrations: export ASSAY_DATABASE_URL = sqlite:///.migrations.db
migrations: .venv/ready
	rm -f .migrations.db
	$(BIN)/alembic upgrade head
	$(BIN)/alembic check
	$(BIN)/alembic downgrade base
	rm -f .migrations.db

pytest: .venv/ready browser
	$(BIN)/python -W error -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu and not soak and not chaos and not ray"

slow: .venv/ready
	$(BIN)/python -W error -m pytest -m "slow"

# The image's own install step and entry point, in a fresh folder.
rehearsal: .venv/ready
	$(BIN)/python -W error -m pytest -m slow tests/docker

# Minutes under ten times the load a server can bear; ASSAY_SOAK_SECONDS=600 for more of them.
soak: .venv/ready
	$(BIN)/python -W error -m pytest -m "soak" -s

# CHAOS_KILLS=300 on each kind of database; CHAOS_SEED=N repeats the order of a printed seed.
chaos: .venv/ready
	$(BIN)/python -W error -m pytest -m "chaos" -s tests/chaos

# A real Ray cluster of two nodes on this machine, one of them killed; `make test` neither needs nor installs Ray.
ray: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ray]'
	$(BIN)/python -W error -m pytest -m "ray"

# Some half an hour on two quiet cores; killed and started again, it continues.
study: .venv/ready
	$(BIN)/python -m benchmarks.ganpo_study --document docs/study.md

# An hour and a half on two cores that did much else meanwhile; it continues likewise.
study-gapo: .venv/ready
	$(BIN)/python -m benchmarks.gapo_study --document docs/study-gapo.md

# For the tests of the pages; where it can be neither found nor installed they are skipped, and say so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  { apt-get install -y --no-install-recommends chromium || { apt-get update && apt-get install -y --no-install-recommends chromium; }; }; } \
	  || echo "no Chromium, and none can be installed here: the tests of the pages are skipped"

# The marker file is written last, so an interrupted set-up starts over instead of half-working. What pip compiles on one
# core is compiled on all, without the packages' own tests; it fails for files of newer Pythons, which we do not import.
.venv/ready: pyproject.toml constraints.txt
	rm -f $@
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Assay needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true
	touch $@

clean:
	rm -rf .venv $(DEMO) .mypy_cache .ruff_cache .pytest_cache
