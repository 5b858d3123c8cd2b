# One menu. `make check` is all that CI asks; `make test` and `make lint` are its halves.
PYTHON ?= python
# pages with parts that cog writes
GENERATED := README.md docs/commands.md docs/design.md docs/reading.md
BIN := $(dir $(shell command -v $(PYTHON)))

.PHONY: check lint test format docs wheel
check: lint test

lint: wheel
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(BIN)lint-imports
	$(PYTHON) -m mypy
	$(PYTHON) -m cogapp --check --diff $(GENERATED)

test:
	$(PYTHON) -m pytest

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

docs:
	$(PYTHON) -m cogapp -r $(GENERATED)

# the wheel alone must hold the program, and not the checkout's door
wheel:
	rm -rf build/wheel && mkdir -p build/wheel
	$(PYTHON) -m build --wheel --outdir build/wheel . >build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
	$(PYTHON) -m pip install --quiet --no-deps --target build/wheel/site build/wheel/*.whl
	test ! -e build/wheel/site/cli.py
	cd build/wheel && PYTHONPATH=site $(abspath $(BIN))/python -P -m gcbench --help >/dev/null
