# The everyday commands. build, run, batch, client, logs, stop and clean need Docker; test uses it if it can.
# Settings go on the same line or into .env: `make batch COMPRESS=true BATCH_SIZE=100`, `make run SERVER_PORT=9100`.

COMPOSE = docker compose
EVERYTHING = --profile batch --profile client --profile console --profile test

.PHONY: build run batch client console pictures test lint types format fuzz bench bench-quick dist logs stop clean demo

define require_docker
@command -v docker >/dev/null 2>&1 || { \
	echo "make $@: docker is not installed; 'make demo' and 'python3 main.py --help' work without it." >&2; exit 1; }
@docker compose version >/dev/null 2>&1 || { \
	echo "make $@: docker lacks the plugin 'docker compose' (version 2); please install it." >&2; exit 1; }
@docker ps --quiet >/dev/null 2>&1 || { \
	echo "make $@: no Docker engine answers; is it running, and may this user access it? 'docker ps' shows the reason." >&2; exit 1; }
endef

# Builds the images of the server and the client.
build:
	$(require_docker)
	$(COMPOSE) --profile batch --profile client build

# Starts the server in the background.
run:
	$(require_docker)
	@$(COMPOSE) up --detach --build log-server || { \
		echo "make run: the server does not run (see above). If its port is in use: make run SERVER_PORT=9100" >&2; exit 1; }
	@echo "The server is running; 'make logs' follows its log, 'make stop' stops it."

# Ships sample_logs.txt once; starts the server if necessary.
batch:
	$(require_docker)
	$(COMPOSE) --profile batch build --quiet
	$(COMPOSE) --profile batch run --rm log-client-batch

# Follows logs/app.log until Ctrl-C; starts the server if necessary.
client:
	$(require_docker)
	@mkdir -p logs && touch logs/app.log
	@echo "Following logs/app.log until Ctrl-C. Try in another terminal:"
	@echo "  echo \"2024-01-15 08:23:45 INFO hello\" >> logs/app.log"
	$(COMPOSE) --profile client build --quiet
	$(COMPOSE) --profile client run --rm log-client

# Starts the console in the background; starts the server if necessary.
console:
	$(require_docker)
	$(COMPOSE) --profile console up --detach --build log-console
	@echo "The console is at http://127.0.0.1:9080/"

# Makes the pictures of the console in docs/images anew; needs chromium and playwright (pip install '.[test,browser]').
pictures:
	CONSOLE_PICTURES=docs/images $(or $(PYTHON),.venv/bin/python) -m pytest -q tests/e2e/test_console_page.py

# Runs the tests, in Docker if an engine answers, otherwise in .venv.
test:
	@sh tools/run_tests.sh

# Runs ruff, and checks whether generated files are up to date.
lint:
	@sh tools/run_lint.sh lint

# Runs mypy --strict.
types:
	@sh tools/run_lint.sh types

# Formats the code and applies ruff's automatic fixes.
format:
	@sh tools/run_lint.sh format

# Runs the fuzzers at length, the compiled part with sanitizers; SEED=, OPERATIONS= and SESSIONS= choose what and how much.
fuzz:
	@sh tools/run_fuzz.sh

# Runs the benchmarks; writes docs/benchmarks.md and its plot. About twenty minutes; BENCH='...' passes options
# (benchmarks/README.md).
bench:
	@sh benchmarks/bench.sh --page docs/benchmarks.md $(BENCH)

# Runs all benchmarks once in two minutes; writes the same page to build/.
bench-quick:
	@sh benchmarks/bench.sh --quick --page build/benchmarks.md $(BENCH)

# Builds the packages into dist/: two wheels, the source distribution, and logferry.pyz.
dist:
	@sh tools/run_dist.sh

# Follows the server's log until Ctrl-C, which is no failure.
logs:
	$(require_docker)
	@trap 'exit 0' INT; $(COMPOSE) logs --follow log-server

# Stops the server and the clients and removes their containers; keeps the stored logs.
stop:
	$(require_docker)
	$(COMPOSE) $(EVERYTHING) down --remove-orphans

# Removes the containers, the images and logs/app.log, which `make client` makes; keeps the stored logs.
clean:
	rm -f logs/app.log
	$(require_docker)
	$(COMPOSE) $(EVERYTHING) down --rmi local --remove-orphans
	@echo "Removed the containers, the images and logs/app.log. The stored logs are kept;"
	@echo "'docker compose down --volumes' deletes them for good."

# Runs a server and a client without Docker, ships a file and verifies what arrived.
demo:
	python3 main.py demo
