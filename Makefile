# Thin lines over the CMake presets and the scripts, so that people and CI run the same thing. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo down test build dev asan tsan fuzz sim sim-bites bench kill-points session-cuts format tidy deps clean

JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
RUNS ?= 10
CONFIGURE_AND_BUILD = cmake --preset $(1) && cmake --build --preset $(1) -j $(JOBS)

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 10

demo:  ## from a clean machine to a running sandbox (as root)
	@deploy/demo/demo.sh

down:  ## stop and remove all that `make demo` started and created
	@deploy/demo/down.sh

test:  ## install what the tests need, build a release, run every tier that a merge needs (as root)
	deploy/install-deps.sh test
	$(call CONFIGURE_AND_BUILD,release)
	/usr/bin/python3 tests/run_all.py

build:  ## release build of everything into build/release
	$(call CONFIGURE_AND_BUILD,release)

dev:  ## debug build into build/dev
	$(call CONFIGURE_AND_BUILD,dev)

asan:  ## build with address and undefined-behaviour sanitizers, run the unit tests
	$(call CONFIGURE_AND_BUILD,asan) && GS_BUILD_DIR=build/asan /usr/bin/python3 tests/run_all.py unit

tsan:  ## build with the thread sanitizer, run the unit tests
	$(call CONFIGURE_AND_BUILD,tsan) && GS_BUILD_DIR=build/tsan /usr/bin/python3 tests/run_all.py unit

fuzz:  ## every fuzz target with sanitizers, FUZZ_SECONDS each (60)
	$(call CONFIGURE_AND_BUILD,fuzz) && GS_BUILD_DIR=build/fuzz GS_FUZZ_SECONDS=$(FUZZ_SECONDS) /usr/bin/python3 tests/run_all.py fuzz

# The simulation alone is built, not all of the release.
sim:  ## deterministic simulation: SEEDS=n fresh seeds (1000), or SEED=x again, event by event
	cmake --preset release && cmake --build --preset release -j $(JOBS) --target gstacks-sim
	build/release/sim/gstacks-sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000))

sim-bites:  ## put known bugs in, one at a time, and see the simulation find each
	cmake --preset release && cmake --build --preset release -j $(JOBS) --target gstacks-sim-mutants
	/usr/bin/python3 tests/sim/bites.py run build/release/sim

bench:  ## measure against peers on this machine; results in build/bench/results.json
	$(call CONFIGURE_AND_BUILD,release)
	/usr/bin/python3 tests/bench/run.py

kill-points:  ## kill the agent at every named point, RUNS times each (10), and check that everything comes right
	$(call CONFIGURE_AND_BUILD,release)
	/usr/bin/python3 tests/kill_points/run.py --runs $(RUNS)

session-cuts:  ## cut and kill around a counter in a terminal, RUNS times each kind (10), and check that it comes out complete
	$(call CONFIGURE_AND_BUILD,release)
	GS_SESSION_CUTS=$(RUNS) /usr/bin/python3 -m pytest -q tests/e2e/test_session_cuts.py

format:  ## clang-format over our sources
	git ls-files -- 'src/*.cc' 'src/*.h' 'tests/*.cc' 'tests/*.h' | xargs clang-format-19 -i

tidy:  ## clang-tidy over our sources, with the dev build's commands
	cmake --preset dev
	git ls-files -- 'src/*.cc' | xargs -P $(JOBS) -n 1 clang-tidy-19 -p build/dev --quiet

deps:  ## install what building needs
	deploy/install-deps.sh build

clean:  ## remove the build (after `make down`)
	@test ! -e build/demo || { echo 'A demo is there: make down first.'; exit 1; }
	rm -rf build
