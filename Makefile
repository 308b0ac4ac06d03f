# The everyday commands. build, run, batch, client, logs, stop and clean use Docker; demo and test do without it if need be.
# Settings go on the same line or into .env: `make batch COMPRESS=true BATCH_SIZE=100`, `make run SERVER_PORT=9100`.

COMPOSE = docker compose
EVERYTHING = --profile batch --profile client --profile test

.PHONY: build run batch client test lint types format bench bench-quick logs stop clean demo

define require_docker
@command -v docker >/dev/null 2>&1 || { \
	echo "make $@: docker is not installed; without it, 'make demo' and 'python3 main.py --help' show the way." >&2; exit 1; }
@docker compose version >/dev/null 2>&1 || { \
	echo "make $@: docker is there but not its plugin 'docker compose' (version 2); please install it." >&2; exit 1; }
@docker ps --quiet >/dev/null 2>&1 || { \
	echo "make $@: no Docker engine answers; is it started, and may this user use it ('docker ps' says why)?" >&2; exit 1; }
endef

# The images of the server and the client.
build:
	$(require_docker)
	$(COMPOSE) --profile batch --profile client build

# The server, in the background.
run:
	$(require_docker)
	$(COMPOSE) up --detach --build log-server
	@echo "The server runs; 'make logs' follows what it says, 'make stop' stops it."

# Ships sample_logs.txt once; starts the server if it does not run.
batch:
	$(require_docker)
	$(COMPOSE) --profile batch build --quiet
	$(COMPOSE) --profile batch run --rm log-client-batch

# Follows logs/app.log until Ctrl-C; starts the server if it does not run.
client:
	$(require_docker)
	@mkdir -p logs && touch logs/app.log
	@echo "Following logs/app.log until Ctrl-C. Try in another terminal:"
	@echo "  echo \"2024-01-15 08:23:45 INFO hello\" >> logs/app.log"
	$(COMPOSE) --profile client build --quiet
	$(COMPOSE) --profile client run --rm log-client

# The tests, in Docker where an engine answers, otherwise in .venv.
test:
	@sh tools/run_tests.sh

# ruff, and whether generated files are up to date.
lint:
	@sh tools/run_lint.sh lint

# mypy --strict.
types:
	@sh tools/run_lint.sh types

# Formats the code and mends what ruff can mend by itself.
format:
	@sh tools/run_lint.sh format

# The benchmarks: docs/benchmarks.md and its plot. About twenty minutes; BENCH='...' gives options (benchmarks/README.md).
bench:
	@sh benchmarks/bench.sh --page docs/benchmarks.md $(BENCH)

# A look at all of them in two minutes: the same page, in build/.
bench-quick:
	@sh benchmarks/bench.sh --quick --page build/benchmarks.md $(BENCH)

# Follows what the server says.
logs:
	$(require_docker)
	$(COMPOSE) logs --follow log-server

# Stops the server and the clients and removes their containers; what the server has stored stays.
stop:
	$(require_docker)
	$(COMPOSE) $(EVERYTHING) down --remove-orphans

# Removes the containers, the images and the log files in logs/; what the server has stored stays.
clean:
	rm -f logs/*.log
	$(require_docker)
	$(COMPOSE) $(EVERYTHING) down --rmi local --remove-orphans
	@echo "Containers, images and log files are gone. The stored logs are kept;"
	@echo "'docker compose down --volumes' removes them too, for good."

# A server, a client, a shipped file and a check of what arrived, without Docker.
demo:
	python3 main.py demo
