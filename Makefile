# `make` alone lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATA := $(CURDIR)/deployment/mlflow/local_data
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-deps
LOCKED := --require-hashes --only-binary :all:

.PHONY: help serve test lint image footprint lock clean

help:
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

serve: .venv/ready ## serve at http://localhost:65500, data in deployment/mlflow/local_data
	@MLFLOW_PORT="$${MLFLOW_PORT:-$${MLFLOW_HOST_PORT:-65500}}" \
	MLFLOW_DB_PATH="$${MLFLOW_DB_PATH:-$(DATA)/db/mlflow.db}" \
	MLFLOW_ARTIFACT_ROOT="$${MLFLOW_ARTIFACT_ROOT:-$(DATA)/artifacts}" \
	.venv/bin/textflow-mlflow serve

test: .venv/ready .venv-dev/ready ## run every test that this machine can run, and name the others
	.venv-dev/bin/python -m pytest

lint: .venv-dev/ready ## check the style of Python, shell and Dockerfile
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/shellcheck deployment/mlflow/*.sh .ci/run requirements/lock
	.venv-dev/bin/hadolint deployment/mlflow/Dockerfile

image: ## build the container image textflow-mlflow
	docker build --tag textflow-mlflow --file deployment/mlflow/Dockerfile .

footprint: .venv/ready .venv-dev/ready ## measure image size, start time and memory beside the naive image
	.venv-dev/bin/python -m benchmarks.footprint

lock: .venv-dev/ready ## resolve requirements/*.in anew into hash-locked *.txt
	requirements/lock

clean: ## remove the environments; data stay
	rm -rf .venv .venv-dev

# Both locks are for this one version; Debian keeps ensurepip, which venv needs, in another package.
define need-python
	@"$(PYTHON)" -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo 'error: this needs Python 3.11 with venv, and "$(PYTHON)" is not that' >&2; \
		echo 'hint: sudo apt-get install python3.11-venv, or make PYTHON=/path/to/python3.11' >&2; exit 1; }
endef

.venv/ready: requirements/build.txt requirements/server.txt pyproject.toml
	$(need-python)
	@"$(PYTHON)" -m venv --clear .venv
	@echo 'textflow-mlflow: installing what the server needs into .venv' >&2
	@.venv/bin/python $(PIP_INSTALL) $(LOCKED) -r requirements/build.txt -r requirements/server.txt
	@.venv/bin/python $(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

.venv-dev/ready: requirements/build.txt requirements/dev.txt pyproject.toml
	$(need-python)
	@"$(PYTHON)" -m venv --clear .venv-dev
	@echo 'textflow-mlflow: installing what the tests need into .venv-dev' >&2
	@.venv-dev/bin/python $(PIP_INSTALL) $(LOCKED) -r requirements/build.txt -r requirements/dev.txt
	@.venv-dev/bin/python $(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@
