# Two commands do everything on a fresh Debian machine with Rust: `make run` starts the edge,
# `make test` tests it. Both install what they need and is missing, and nothing else.

.DEFAULT_GOAL := help
# The program, where `make install` takes it from and where it goes below DESTDIR.
BUILT ?= target/release/tidegate
PREFIX ?= /usr/local

.PHONY: help run build split install place check test setup lint unit conformance clients systemd \
	browser fuzz bench million versus oldest-kernel clean

# Further options of `tidegate serve`, for example ARGS="--shards 1"; for `make versus` those of
# benches/versus/run.py, for example ARGS="--install --peers tidegate,nchan".
ARGS ?=
# How long each fuzz target runs.
export FUZZ_SECONDS ?= 5

PACKAGES := .venv/installed tests/clients/node_modules/installed

help: ## This list.
	@echo "Usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

run: build ## Build the edge and start it with everything open on loopback: prints a link to try it.
	exec target/release/tidegate serve --dev $(ARGS)

build: ## Build the edge for production: target/release/tidegate, its symbols beside it.
	@tests/setup.sh build
	cargo build --release --locked
	@$(MAKE) --no-print-directory split

# Takes the symbols out of the program, unless that was done before. Debuggers and the program's own
# backtraces find them beside it or in .debug there. Cargo's own copy of the program is another name
# of the same file, so a new file takes the place.
split:
	@if readelf --wide -S "$(BUILT)" | grep -q ' \.debug_line '; then \
		objcopy --only-keep-debug "$(BUILT)" "$(BUILT).debug" && \
		objcopy --strip-all --add-gnu-debuglink="$(BUILT).debug" "$(BUILT)" "$(BUILT).stripped" && \
		mv "$(BUILT).stripped" "$(BUILT)"; \
	fi

install: build place ## Build it and install it below PREFIX (/usr/local) with unit, man pages, first configuration.

# What an operator has in /etc/tidegate stays as it is. Whoever installs with a stricter umask still
# wants man pages that everybody can read.
place: TO = $(DESTDIR)$(PREFIX)
place: ETC = $(DESTDIR)/etc/tidegate
place:
	install -D -m 755 "$(BUILT)" "$(TO)/bin/tidegate"
	install -D -m 644 "$(BUILT).debug" "$(TO)/bin/.debug/tidegate.debug"
	install -d "$(TO)/share/man/man1" "$(TO)/lib/systemd/system"
	umask 022 && "$(BUILT)" man "$(TO)/share/man/man1"
	umask 022 && sed 's|/usr/local/|$(PREFIX)/|' tuning/tidegate.service \
		> "$(TO)/lib/systemd/system/tidegate.service"
	install -d "$(ETC)"
	test -e "$(ETC)/tidegate.toml" || install -m 644 tuning/tidegate.toml "$(ETC)/tidegate.toml"
	test -e "$(ETC)/api.key" || (umask 077 && od -An -v -tx1 -N32 /dev/urandom | \
		tr -d ' \n' > "$(ETC)/api.key")

test: setup ## Run every test: lint, unit, conformance, clients, systemd, browser, fuzz.
	@python3 tests/run.py

setup: ## Install what the tests need: Debian, Python and Node packages. Repeats are quick.
	@tests/setup.sh test
	@$(MAKE) --no-print-directory $(PACKAGES)

check: ## The quick gate before a commit: lint, unit tests of the library, style.
	@tests/setup.sh build lint
	@python3 tests/run.py lint quick

lint: ## Formatting and clippy; warnings are errors.
	@tests/setup.sh build lint
	@python3 tests/run.py lint

unit: ## Everything that cargo tests: unit, property, behaviour, simulation, style.
	@tests/setup.sh build
	@python3 tests/run.py unit

conformance: setup ## The Autobahn test suite's cases against a running edge.
	@python3 tests/run.py conformance

clients: setup ## Python and Node clients over real ZeroMQ and WebSocket, and the published SDKs.
	@python3 tests/run.py clients

systemd: setup ## The unit that `make install` installs, under a real systemd in namespaces, as root.
	@python3 tests/run.py systemd

browser: setup ## The try page and an SDK that goes offline, in headless Chromium.
	@python3 tests/run.py browser

fuzz: ## Every fuzz target for FUZZ_SECONDS (5), from its seeds.
	@tests/setup.sh build
	@python3 tests/run.py fuzz

oldest-kernel: ## Bench and behaviour tests on Debian 12's kernel in an emulator: minutes.
	@tests/setup.sh build kernel
	@python3 tests/oldest_kernel/run.py $(ARGS)

bench: ## Micro benches.
	@tests/setup.sh build
	cargo bench --locked

million: build ## A broadcast to a million connections on this host, every receipt verified.
	target/release/tidegate bench fanout --serve --connections 1000000 --open-rate 30000 \
		--rate 0.05 --seconds 60 --set shards.count=1 --set heartbeat.ping_interval=10m

versus: ## The same work for tidegate and for other servers: see benches/versus/README.md.
	@python3 benches/versus/run.py $(ARGS)

clean: ## Remove everything that was built or installed here.
	rm -rf target fuzz/target fuzz/corpus fuzz/artifacts .venv tests/clients/node_modules \
		benches/versus/node/node_modules

.venv/installed: tests/clients/requirements.txt
	python3 -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# No package needs its install script: zeromq brings a built library along.
tests/clients/node_modules/installed: tests/clients/package-lock.json
	cd tests/clients && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
