# SPDX-License-Identifier: MIT
# Short names for what CMake, ctest and tools/ do. "make help" lists them.
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
TIME ?= 60
SEED ?= 1
ONLY ?=

CONFIGURE = cmake -G Ninja -S . --log-level=NOTICE
# Compiled with the sanitizers at -O1: half the time of -O2 to build, and fast enough to run. What they
# insert makes gcc see conversions that nobody wrote: warnings are errors in the plain builds only.
SANITIZED = -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS='-O1 -g' -DWEIR_BUILD_BENCH=OFF \
	-DWEIR_BUILD_EXAMPLES=OFF -DWEIR_WERROR=OFF
# Threads exist only around the ring, in the crew, and in commands with --workers.
TSAN_TESTS = ring|crew|workers

.PHONY: build
build: ## compile everything into build/
	$(CONFIGURE) -B build -DWEIR_TEST_MORE='$(CURDIR)/build-asan;$(CURDIR)/build-tsan'
	cmake --build build -j $(JOBS)

.PHONY: demo
demo: ## send a real file across a bad network, compare, print the figures
	$(CONFIGURE) -B build
	cmake --build build -j $(JOBS) --target weir
	tools/demo.sh build/weir

.PHONY: asan tsan
asan: ## compile the tests with ASan and UBSan into build-asan/
	$(CONFIGURE) -B build-asan $(SANITIZED) -DWEIR_SANITIZE=address,undefined \
		-DWEIR_TEST_PREFIX=asan.
	cmake --build build-asan -j $(JOBS)
tsan: ## compile the tests of threads with TSan into build-tsan/
	$(CONFIGURE) -B build-tsan $(SANITIZED) -DWEIR_SANITIZE=thread \
		-DWEIR_TEST_PREFIX=tsan. -DWEIR_TEST_FILTER='$(TSAN_TESTS)'
	cmake --build build-tsan -j $(JOBS)

# Many tests wait more than they work.
.PHONY: test
test: build asan tsan ## every test: release, ASan+UBSan, TSan, program, simulator, corpora
	ctest --test-dir build -j $$(($(JOBS) + 1)) --output-on-failure --no-label-summary

.PHONY: valgrind
valgrind: build ## the unit tests under valgrind's memcheck
	tools/valgrind.sh build

.PHONY: bench
bench: ## benchmarks beside other libraries; ONLY=ring runs one of them
	tools/fetch_ikcp.sh build
	$(CONFIGURE) -B build
	cmake --build build -j $(JOBS)
	tools/bench.sh build $(ONLY)

.PHONY: sim
sim: ## one exchange in virtual time over a bad path; SEED=n
	$(CONFIGURE) -B build
	cmake --build build -j $(JOBS) --target weir
	build/weir sim rudp --guarantee delivery --messages 20000 --size 300 --every 1ms --rtt 60ms \
		--loss 20% --reorder 10% --duplicate 5% --corrupt 1% --seed $(SEED) --json

.PHONY: sim-kcp
sim-kcp: ## every KCP preset over 200 seeds of a bad path
	$(CONFIGURE) -B build
	cmake --build build -j $(JOBS) --target weir
	tests/cli/sim_kcp.sh build/weir 200

.PHONY: sim-tcp
sim-tcp: ## TCP over 200 seeds of bad paths
	$(CONFIGURE) -B build
	cmake --build build -j $(JOBS) --target weir
	tests/cli/sim_tcp.sh build/weir 200

.PHONY: model
model: ## docs/model/crew.pml in more sizes than make test has time for
	tools/model.sh
	tools/model.sh -DRING=2
	tools/model.sh -DRESIZES=3
	tools/model.sh -DPACKETS=2
	tools/model.sh -DPACKETS=2 -DRING=2
	tools/model.sh -DSTEERED -DSTRAYS=0 -DPACKETS=2
	tools/model.sh -DSTEERED
	tools/model.sh -DSTEERED -DESCAPE -DPACKETS=2
	tools/model.sh -DSTEERED -DPACKETS=2

.PHONY: packetdrill-adapter
packetdrill-adapter: ## build/libweir-packetdrill.so, for packetdrill's --so_filename
	$(CONFIGURE) -B build
	cmake --build build -j $(JOBS) --target weir-packetdrill

.PHONY: flood
flood: ## 10,000,000 SYNs, a million connections, 1 GB files, in a namespace of its own (root)
	$(CONFIGURE) -B build
	cmake --build build -j $(JOBS) --target weir tcp_flood tcp_probe
	build/tests/tcp_flood 10000000 1
	tests/net/tcp.sh build/weir build/tests/tcp_probe full

.PHONY: fuzz
fuzz: ## every fuzz target, TIME=s seconds in all
	CC=clang $(CONFIGURE) -B build-fuzz $(SANITIZED) -DWEIR_SANITIZE=address,undefined \
		-DWEIR_BUILD_FUZZ=ON -DWEIR_BUILD_TESTS=OFF
	cmake --build build-fuzz -j $(JOBS)
	tools/fuzz.sh build-fuzz $(TIME)

.PHONY: lint
lint: build ## format, clang-tidy, cppcheck, a clang build, tools/tidy.sh, shellcheck
	tools/lint.sh build build-clang

.PHONY: docs
docs: ## write docs/rfc-map.md anew from the sources
	tools/rfc-map.sh > docs/rfc-map.md.new && mv docs/rfc-map.md.new docs/rfc-map.md

.PHONY: install
install: ## into DESTDIR and PREFIX
	$(CONFIGURE) -B build-install -DCMAKE_INSTALL_PREFIX=$(PREFIX) -DWEIR_BUILD_TESTS=OFF \
		-DWEIR_BUILD_BENCH=OFF -DWEIR_BUILD_EXAMPLES=OFF
	cmake --build build-install -j $(JOBS)
	DESTDIR=$(DESTDIR) cmake --install build-install

.PHONY: deb
deb: ## Debian packages into build-deb/
	tools/deb.sh build-deb

.PHONY: clean
clean: ## remove every build tree
	rm -rf build build-*

.PHONY: help
help:
	@sed -n 's/^\([a-z -]*\):[^#]*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-19s %s\n", $$1, $$2}'
