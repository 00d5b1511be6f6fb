# Every task of the project; `make` alone lists them.
#
# PYTHON=/path/to/python3.11 chooses the interpreter for .venv (3.10 to 3.12).

ONCE ?=
HTTP_PORT ?= 8080
GRPC_PORT ?= 8081
MLFLOW_PORT ?= 5000
BACKENDS ?= embedded
MODEL ?= embedded
PYTEST ?=
# Test files at a time: two wait for servers and processes as much as they compute. In their own
# order: the longest has few tests, and would come last and alone by their number.
WORKERS ?= 2

python := .venv/bin/python
unit := not server and not browser and not slow and not training

# Only a model that is named by its hub id may reach out; the embedded one and all tests never do.
offline := HF_HUB_OFFLINE=1
demo_env := $(if $(filter embedded,$(MODEL)),$(offline))

.DEFAULT_GOAL := help
.PHONY: help demo test check bench images manifests secrets scan format lint types unit lock clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: ## The whole loop on this machine; ONCE=1 BACKENDS=real HTTP_PORT=8080 GRPC_PORT=8081 MLFLOW_PORT=5000
	@scripts/venv.sh demo
	@$(if $(filter real,$(BACKENDS)),scripts/system.sh mariadb-server)
	@$(demo_env) $(python) -m pipeline demo --http-port '$(HTTP_PORT)' --grpc-port '$(GRPC_PORT)' \
		--mlflow-port '$(MLFLOW_PORT)' --backends '$(BACKENDS)' --model '$(MODEL)' $(if $(ONCE),--once)

test: ## Format, lint, types and every test, as CI runs them; PYTEST='-k offsets' narrows the tests
	@scripts/system.sh build-essential
	@scripts/venv.sh dev
	@scripts/system.sh chromium mariadb-server prometheus prometheus-alertmanager
	@scripts/helm.sh
	@$(MAKE) --no-print-directory lint types
	@$(offline) $(python) -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST)

check: ## The quick loop: format, lint, types and unit tests, in two minutes
	@scripts/venv.sh dev
	@$(MAKE) --no-print-directory lint types unit

format: ## Rewrite the code in the project's format
	@scripts/venv.sh dev
	@$(python) -m ruff check --fix --quiet . || true
	@$(python) -m ruff format .

lint:
	@$(python) -m ruff format --check .
	@$(python) -m ruff check .

types:
	@$(python) -m mypy

unit:
	@$(offline) $(python) -m pytest -q -m '$(unit)' $(PYTEST)

bench: ## This beside other ways to serve GLiNER, ¾ hour; QUICK=1 in 5 minutes, DATA=folder for F1
	@scripts/venv.sh bench
	@scripts/venv.sh bench-fast-gliner
	@$(offline) .venv-bench/bin/python -m benchmarks $(if $(QUICK),--quick) $(if $(DATA),--data '$(DATA)') $(BENCH)

images: ## Build the container images, start each and check it, 10 minutes; needs root on Debian
	@scripts/venv.sh dev
	@scripts/system.sh buildah debootstrap mariadb-server
	@scripts/images.sh build
	@IMAGES=1 $(offline) $(python) -m pytest -q tests/images $(PYTEST)

manifests: ## Build every combination of manifests and check it; part of make test
	@scripts/venv.sh dev
	@scripts/helm.sh
	@$(python) -m pytest -q tests/manifests

secrets: ## Draw the cluster's credentials into files that git ignores
	@sa/credentials/generate.sh
	@mlflow/credentials/generate.sh

scan: ## Known holes in packages, secrets in files, mistakes in workflows; asks PyPI
	@scripts/venv.sh dev
	@scripts/scan.sh

lock: ## Write requirements/*.lock from pyproject.toml; UPGRADE=1 moves every pin
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)

clean: ## Remove .venv, caches and build leftovers
	@[ ! -d build/images ] || scripts/images.sh clean
	@rm -rf .venv .venv-bench .venv-fast-gliner .venv-uv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	@find predictor tests -name __pycache__ -type d -prune -exec rm -rf {} +
