# One menu. `make check` is all that CI asks; `make test` and `make lint` are its halves.
PYTHON ?= python
# pages with parts that cog writes
GENERATED := README.md docs/commands.md docs/counting.md docs/csv.md docs/defaults.md docs/family.md docs/method.md docs/reading.md docs/tutorial.md
BIN := $(dir $(shell command -v $(PYTHON)))

PICTURES := docs/pictures
newest = $(lastword $(sort $(wildcard results/$(1)-*.jsonl)))

.PHONY: check lint test format docs pictures wheel
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

# from the reference runs; a test draws them anew and compares what they say
pictures:
	mkdir -p $(PICTURES)
	$(PYTHON) -m gcbench plot $(call newest,sweep-256-sizes) --chart latency -o $(PICTURES)/growth.svg
	$(PYTHON) -m gcbench plot $(call newest,sweep-256-sizes) --chart relative -o $(PICTURES)/relative.svg
	$(PYTHON) -m gcbench plot $(call newest,sweep-256-sizes) --chart roofline -o $(PICTURES)/roofline.svg
	$(PYTHON) -m gcbench plot $(call newest,sweep-256-ratios) --chart ratio -o $(PICTURES)/ratio.svg
	$(PYTHON) -m gcbench plot $(call newest,family-stages) --chart latency -o $(PICTURES)/family-stages.svg
	$(PYTHON) -m gcbench plot $(call newest,family-sizes) --chart latency -o $(PICTURES)/family-sizes.svg

# the wheel alone must hold the program, and not the checkout's door
wheel:
	rm -rf build/wheel && mkdir -p build/wheel
	$(PYTHON) -m build --wheel --outdir build/wheel . >build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
	$(PYTHON) -m pip install --quiet --no-deps --target build/wheel/site build/wheel/*.whl
	test ! -e build/wheel/site/cli.py
	cd build/wheel && PYTHONPATH=site $(abspath $(BIN))/python -P -m gcbench --help >/dev/null
