# What people and CI run. Each target sets up what it needs; `make` alone says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 10 --timeout 60
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11
LOCAL_ONLY := not broker and not registry and not slow and not storm

.PHONY: help demo check test image sbom jars asyncapi lock clean need-python need-java

help:
	@echo "make demo    run the whole job on embedded servers: ARGS='--bootstrap-servers … --requests FILE'"
	@echo "make check   formatter, linters, types and the tests that need no server: about a minute"
	@echo "make test    every test, with a real broker and a real schema registry: about 25 min on two cores"
	@echo "make image   build the image, by Docker, Podman or buildah: IMAGE=… IMAGE_ARGS='--build-arg PYTHON_IMAGE=…'"
	@echo "make sbom    tell what the image carries beside its base, as CycloneDX, in dist/sbom.cdx.json"
	@echo "make jars    fetch the broker and the registry that tests start (into .cache)"
	@echo "make asyncapi  fetch the parser that judges asyncapi.yaml (into .cache; needs Node 18)"
	@echo "make lock    choose the newest allowed dependencies again (UPGRADE=) and write the locks"
	@echo "make clean   remove everything that make made"

demo: .venv/runtime
	@$(BIN)/python -m processor demo $(ARGS)

check: .venv/development
	@$(BIN)/ruff format --check --quiet . || { echo "run $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy processor tests $(wildcard bench/*.py)
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "$(LOCAL_ONLY)"

test: .venv/development jars asyncapi
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "not broker and not registry and not storm"
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "(broker or registry) and not storm"
	@$(BIN)/pytest -q -m storm

# The same commit and the same base make the same image: all times in it are the commit's, where the engine can do that.
# Behind a proxy that inspects TLS: IMAGE_ARGS='--secret id=ca,src=authorities.pem'; the Dockerfile says what else there is.
IMAGE ?= onboarding-processor:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
image:
	@export SOURCE_DATE_EPOCH="$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 0)}"; \
	for engine in docker podman buildah none; do $$engine info >/dev/null 2>&1 && break; done; \
	[ $$engine != none ] || { echo "no Docker, Podman or buildah answers here"; exit 1; }; \
	[ $$engine = docker ] || clamp="--timestamp $$SOURCE_DATE_EPOCH"; \
	$$engine build --tag $(IMAGE) $${clamp:-} --build-arg SOURCE_DATE_EPOCH=$$SOURCE_DATE_EPOCH \
	  --build-arg CREATED="$$(date --utc --date=@$$SOURCE_DATE_EPOCH +%FT%TZ)" \
	  --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" $(IMAGE_ARGS) .

sbom: dist/sbom.cdx.json

dist/sbom.cdx.json: .cache/sbom/stamp pyproject.toml
	@mkdir -p $(@D)
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate --output-file $@ .cache/sbom/bin/python

# An environment of what the image gets, and of nothing else.
.cache/sbom/stamp: requirements.lock | .venv/development
	@rm -rf $(@D) && $(PYTHON) -m venv --without-pip $(@D)
	@$(BIN)/python -m pip --python $(@D) --quiet --disable-pip-version-check install --retries 10 --timeout 60 \
	  --require-hashes --only-binary :all: -r requirements.lock
	@touch $@

jars: need-java
	@if command -v mvn >/dev/null && command -v java >/dev/null; then $(MAKE) -s .cache/jars.stamp .cache/examples-java/stamp .cache/avro-compiler/stamp; fi

# A folder is used only when the stamp beside it is newer than the versions that the POM pins.
.cache/jars.stamp: tests/support/jars/pom.xml
	@echo "fetching Apache Kafka and Apicurio Registry into .cache (about 160 MB)"
	@rm -f $@
	@for try in 1 2 3; do mvn -q -B -C -Dstyle.color=never -f $< process-resources && break; [ $$try != 3 ]; sleep 5; done
	@touch $@

# What the Java programs to copy are compiled and run with, and what makes classes out of the schemas; the plugin is the
# one that the POM above pins.
.cache/examples-java/stamp: examples/java/pom.xml
.cache/avro-compiler/stamp: tests/contracts/java/pom.xml
.cache/examples-java/stamp .cache/avro-compiler/stamp:
	@rm -rf $(@D)
	@for try in 1 2 3; do mvn -q -B -C -Dstyle.color=never -f $< org.apache.maven.plugins:maven-dependency-plugin:2.10:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(@D) && break; [ $$try != 3 ]; sleep 5; done
	@touch $@

# Without Node the tests of asyncapi.yaml are skipped and say so; in CI that is a failure.
asyncapi:
	@if command -v npm >/dev/null; then $(MAKE) -s .cache/asyncapi/stamp; \
	else echo "Node is missing: apt-get install nodejs npm"; [ -z "$${CI:-}" ]; fi

.cache/asyncapi/stamp: tests/contracts/asyncapi/package.json tests/contracts/asyncapi/package-lock.json
	@mkdir -p $(@D) && cp $^ $(@D)
	@cd $(@D) && for try in 1 2 3; do npm ci --silent --ignore-scripts --no-audit --no-fund && break; [ $$try != 3 ]; sleep 5; done
	@touch $@

.venv/runtime: requirements.lock requirements-build.lock pyproject.toml | need-python
	@[ -x $(BIN)/python ] || { echo "installing into .venv"; $(PYTHON) -m venv .venv; }
	@$(PIP_INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/development: .venv/runtime requirements-dev.lock
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

lock: .venv/development
	@$(PIP_INSTALL) 'uv>=0.9'
	@$(LOCK) $(UPGRADE) pyproject.toml -o requirements.lock
	@$(LOCK) $(UPGRADE) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	@echo 'hatchling' | $(LOCK) $(UPGRADE) - -c requirements-dev.lock -o requirements-build.lock

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build

need-python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is missing: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python cannot make virtual environments: apt-get install python3-venv"; exit 1; }

# Without them the tests on real servers are skipped and say so; in CI that is a failure.
need-java:
	@missing=; \
	java=$$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' || true); \
	[ "$${java:-0}" -ge 17 ] || { missing=1; echo "Java 17 or newer is missing: apt-get install openjdk-17-jre-headless"; }; \
	command -v mvn >/dev/null || { missing=1; echo "Maven is missing: apt-get install maven"; }; \
	if [ -n "$$missing" ] && [ -n "$${CI:-}" ]; then exit 1; fi
