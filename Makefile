# `make demo` and `make test` are all a fresh machine needs; each makes the environment once.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test coverage lint docs clean
.DEFAULT_GOAL := demo

demo: .venv/installed
	$(BIN)/medssl demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

coverage: .venv/installed
	$(BIN)/python -m pytest --cov

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint docker/Dockerfile docker/Dockerfile.cpu docker/Dockerfile.mlflow

# The page of every key, from their types.
docs: .venv/installed
	$(BIN)/python -m medssl.pipeline.keys > docs/keys.md
	$(BIN)/python -m medssl.pipeline.known_keys

# Done only when pyproject.toml has changed since the last time.
.venv/installed: pyproject.toml docker/install_torch.sh
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	sh docker/install_torch.sh $(BIN)/python
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
