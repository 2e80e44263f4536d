# Every target works from a bare checkout: it makes its own virtual environment and builds what is out of date.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find fastnet -name '*.pyx' -o -name '*.pxd' -o -name '*.py' | grep -v __pycache__)
BUILD := $(VENV)/.built
ARGS ?=
# Tests run side by side, each in a namespace of its own.
WORKERS ?= 2
SECONDS ?= 60
JOBS ?= 1
# cython-lint calls pycodestyle by name.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: all build compare test test-interpreters bench lint docs debug-test fuzz fuzz-differential misuse mutate properties wheel-test \
    clean system-build system-run system-test
# The check of the system comes before the build, which takes minutes.
.NOTPARALLEL:
all: build

system-build system-run system-test: system-%:
	@PYTHON=$(PYTHON) scripts/check-system $*

# Editable, so that the tree itself is what runs.
$(VENV)/.installed: pyproject.toml | system-build
	@echo "fastnet: making a virtual environment in $(VENV) and installing what is needed into it"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --upgrade pip "setuptools>=77" "cython>=3.3,<4"
	@FASTNET_NO_EXTENSIONS=1 $(BIN)/pip install --quiet --no-build-isolation --editable '.[dev]'
	@touch $@

$(BUILD): $(VENV)/.installed setup.py $(SOURCES)
	@$(BIN)/python setup.py build_ext --inplace 2>&1 | tee $(VENV)/build.log | $(BIN)/python scripts/progress; \
	    [ "$${PIPESTATUS[0]}" = 0 ] || { tail -40 $(VENV)/build.log; exit 1; }
	@touch $@

build: $(BUILD)

# The load-test server on fastnet and on the kernel, driven by one client, in one table.
compare: system-run $(BUILD)
	$(BIN)/fastnet compare $(ARGS)

# The suite, compiled and uncompiled: the slow run is the oracle of the fast one.
test: system-test $(BUILD)
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)
	FASTNET_FAMILY=6 $(BIN)/python -m pytest -q -n $(WORKERS) tests/protocol
	FASTNET_PURE=1 $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

# The suite on every other interpreter of the machine that fastnet takes, each with an environment and a build of its own beside this one:
# an extension's file name says which interpreter it is of. TESTS chooses a part, FOUND the interpreters.
FOUND ?= $(shell scripts/interpreters $(BIN)/python)
TESTS ?= tests
test-interpreters: $(BUILD)
	@[ -n "$(FOUND)" ] || echo "fastnet: there is no other Python of 3.11 or newer here"
	@for python in $(FOUND); do \
	    venv=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "== $$python, $$venv"; \
	    $(MAKE) --no-print-directory build PYTHON=$$python VENV=$$venv || exit 1; \
	    $$venv/bin/python -m pytest -q -n $(WORKERS) $(TESTS) $(ARGS) || exit 1; \
	    FASTNET_PURE=1 $$venv/bin/python -m pytest -q -n $(WORKERS) $(TESTS) $(ARGS) || exit 1; \
	done

# Small changes to fastnet that the tests have to notice: docs/mutation.md.
mutate: $(BUILD)
	$(BIN)/python -m tests.mutate $(ARGS)

bench: $(BUILD)
	$(BIN)/python -m pytest bench $(ARGS)

lint: $(BUILD)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/cython-lint fastnet
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

docs: $(BUILD)
	$(BIN)/python docs/generate.py

# The leaves and the protocol with bounds checks and line tracing, built in a copy so that the tree keeps its own build.
debug-test: $(BUILD)
	rm -rf build/debug && mkdir -p build/debug
	git ls-files -z fastnet tests docs setup.py pyproject.toml README.md LICENSE | xargs -0 cp --parents -t build/debug
	cd build/debug && FASTNET_DEBUG=1 ../../$(BIN)/python setup.py --quiet build_ext --inplace >build.log 2>&1 || { tail -40 build.log; exit 1; }
	cd build/debug && PYTHONPATH=. ../../$(BIN)/python -c 'import fastnet._ring as m; assert "build/debug" in m.__file__, m.__file__'
	cd build/debug && PYTHONPATH=. ../../$(BIN)/python -m pytest -n $(WORKERS) tests/leaves tests/protocol tests/fuzz $(ARGS)

# Sequences of packets, calls and time drawn at random; a case that fails is made smaller and put into tests/fuzz/corpus. For SECONDS
# uncompiled, where an index out of range raises, and as long compiled; or compiled for PACKETS packets, in JOBS processes side by side.
fuzz: $(BUILD)
ifdef PACKETS
	$(BIN)/python -m tests.fuzz --packets $(PACKETS) --jobs $(JOBS) --failures 100 $(ARGS)
else
	FASTNET_PURE=1 $(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)
endif

# Hypothesis's tests with examples that are new each time, where CI draws the same; one that fails prints how to repeat it.
properties: $(BUILD)
	$(BIN)/python -m pytest -q -m hypothesis --hypothesis-profile=new $(ARGS)

# The same packets to the kernel and to the stack: what they answer differently must be one of docs/differences.md.
fuzz-differential: system-test $(BUILD)
	$(BIN)/python -m tests.fuzz --differential --seconds $(SECONDS) $(ARGS)

# Every class, method, constructor and attribute that is compiled, with wrong arguments, in child processes: ten minutes or so.
misuse: $(BUILD)
	$(BIN)/python -m tests.misuse $(ARGS)

# An sdist and a wheel, and the wheel alone in a clean environment.
wheel-test: $(BUILD)
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --outdir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/pip install --quiet "$$(ls build/wheel/*.whl)[cli]"
	cd build/wheel && venv/bin/fastnet --version && venv/bin/fastnet compare --memory --rounds 1 && FASTNET_PURE=1 venv/bin/fastnet compare --memory --rounds 1

clean:
	rm -rf build dist $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find fastnet \( -name '*.so' -o -name '*.c' -o -name __pycache__ \) -exec rm -rf {} +
