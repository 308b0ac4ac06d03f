"""The files around the program keep what the README says: Dockerfiles, Compose services, make targets, requirements.

They are read as text; that they work is shown by running them (tests/e2e, `make test`).
"""

import re
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from logferry import __version__
from logferry.config import CONSOLE_OPTIONS, SERVE_OPTIONS, SHIP_OPTIONS
from tests.support.running import running_server, wait_until
from tests.support.tls_client import server_options
from tools.container_health import check, find_servers, shake_hands, shakes_hands
from tools.make_dist import make_zipapp

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = ("Dockerfile", "Dockerfile.server", "Dockerfile.console", "Dockerfile.test")
DOCKERLESS_TARGETS = {"pictures", "test", "lint", "types", "format", "fuzz", "bench", "bench-quick", "dist", "demo"}
DOCKERLESS_TARGETS |= {"clean"}
TARGETS = {"build", "run", "batch", "client", "console", "logs", "stop"} | DOCKERLESS_TARGETS
PROFILES = {
    "log-server": None,
    "log-client-batch": "batch",
    "log-client": "client",
    "log-console": "console",
    "prometheus": "monitoring",
    "log-test": "test",
}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def instructions(name: str, keyword: str) -> list[str]:
    """The arguments of a Dockerfile's instructions of one kind, continued lines joined."""
    text = read(name).replace("\\\n", " ")
    return re.findall(rf"^{keyword} +(.*)$", text, re.MULTILINE)


def compose_section(name: str) -> dict[str, str]:
    """The top-level section's entries, each with its lines: enough YAML for our own file."""
    section = re.split(r"^(?=\S)", read("docker-compose.yml"), flags=re.MULTILINE)
    body = next(part for part in section if part.startswith(f"{name}:"))
    entries = re.split(r"^  ([\w-]+):.*\n", body, flags=re.MULTILINE)[1:]
    return dict(zip(entries[::2], entries[1::2], strict=True))


class TestRequirements:
    def test_they_equal_the_test_extra(self) -> None:
        extra = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]["test"]
        lines = [line for line in read("requirements.txt").splitlines() if line and not line.startswith("#")]
        assert lines == extra

    def test_those_of_make_dist_equal_the_dist_extra(self) -> None:
        extra = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]["dist"]
        lines = [line for line in read("requirements-dist.txt").splitlines() if line and not line.startswith("#")]
        assert lines == extra

    def test_the_image_of_the_console_has_its_extra(self) -> None:
        extra = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]["console"]
        assert all(f"'{each}'" in read("Dockerfile.console") for each in extra)

    @pytest.mark.parametrize("name", ["Dockerfile.server", "Dockerfile.console"])
    def test_the_images_that_read_and_write_segments_have_zstd_or_go_without_it(self, name: str) -> None:
        (extra,) = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]["zstd"]
        (install,) = (each for each in instructions(name, "RUN") if "zstd" in each)
        assert f"'{extra.partition(';')[0]}' || echo " in install
        assert "--only-binary :all:" in install, "the image has no compiler"

    def test_those_of_the_benchmarks_equal_the_bench_extra(self) -> None:
        extra = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]["bench"]
        lines = read("benchmarks/requirements.txt").splitlines()
        assert [line for line in lines if not line.startswith("#")] == extra

    def test_those_of_the_lint_tools_equal_the_lint_extra(self) -> None:
        extra = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]["lint"]
        assert [line for line in read("requirements-lint.txt").splitlines() if not line.startswith("#")] == extra

    def test_the_lint_tools_are_pinned_so_that_no_release_of_theirs_breaks_a_commit(self) -> None:
        extra = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]["lint"]
        assert extra
        assert all("==" in requirement for requirement in extra)


@pytest.mark.parametrize("name", DOCKERFILES)
class TestDockerfiles:
    def test_it_starts_from_the_slim_image_that_make_test_looks_for(self, name: str) -> None:
        assert instructions(name, "FROM")[0].split()[0] == "python:3.12-slim"
        assert "\nBASE_IMAGE=python:3.12-slim\n" in read("tools/run_tests.sh")

    def test_its_process_is_not_root(self, name: str) -> None:
        user = instructions(name, "USER")[-1]
        assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)

    def test_signals_reach_python(self, name: str) -> None:
        """The exec form: no shell in between that would keep SIGTERM to itself."""
        commands = instructions(name, "ENTRYPOINT") + instructions(name, "CMD")
        assert commands
        assert all(command.startswith("[") for command in commands)

    def test_it_says_how_to_judge_its_health(self, name: str) -> None:
        assert len(instructions(name, "HEALTHCHECK")) == 1

    def test_it_copies_only_what_is_there(self, name: str) -> None:
        for copy in instructions(name, "COPY"):
            if copy.startswith("--from="):
                continue  # made in another stage
            *sources, _target = (word for word in copy.split() if not word.startswith("--"))
            assert all((ROOT / source).exists() for source in sources)

    def test_an_older_engine_reads_it(self, name: str) -> None:
        """A `# syntax=` line would fetch another image first."""
        assert "syntax=" not in read(name)


@pytest.mark.parametrize(("name", "packages"), [("Dockerfile", 0), ("Dockerfile.server", 1)])
def test_the_images_of_client_and_server_hold_no_test_and_no_package_but_zstd(name: str, packages: int) -> None:
    copied = " ".join(instructions(name, "COPY"))
    assert "tests" not in copied
    assert "COPY . " not in read(name)
    assert read(name).count("pip install") == packages


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.server"])
def test_every_command_runs_in_the_images_of_client_and_server(name: str, tmp_path: Path) -> None:
    """Run the script that `docker compose exec log-server logferry fsck` would, with the folders of a checkout."""
    (script,) = (each for each in instructions(name, "RUN") if each.startswith("printf"))
    text = re.search(r"printf '(.*)' > /usr/local/bin/logferry", script)
    assert text
    assert "chmod 0755 /usr/local/bin/logferry" in script
    command = tmp_path / "logferry"
    command.write_text(text[1].replace(r"\n", "\n").replace("/app/src", str(ROOT / "src")))
    command.chmod(0o755)
    run = subprocess.run([command, "fsck", "--data-dir", tmp_path], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr[:30]) == (1, f"logferry fsck: cannot check {tmp_path}"[:30])


class TestCompose:
    def test_its_services_and_their_profiles_are_the_documented_ones(self) -> None:
        services = compose_section("services")
        profiles = {name: re.search(r"profiles: \[(\w+)\]", text) for name, text in services.items()}
        assert {name: found and found[1] for name, found in profiles.items()} == PROFILES

    def test_every_client_option_is_passed_on(self) -> None:
        text = read("docker-compose.yml")
        named = set(re.findall(r"^ +([A-Z_]+):", text, re.MULTILINE))
        assert {option.env for option in SHIP_OPTIONS} <= named

    def test_every_server_option_is_passed_on(self) -> None:
        named = set(re.findall(r"^ +([A-Z_]+):", compose_section("services")["log-server"], re.MULTILINE))
        assert named == {option.env for option in SERVE_OPTIONS}

    def test_every_option_of_the_console_is_passed_on_but_its_file(self) -> None:
        named = set(re.findall(r"^ +([A-Z_]+):", compose_section("services")["log-console"], re.MULTILINE))
        assert named == {option.env for option in CONSOLE_OPTIONS} - {"LOGFERRY_CONSOLE_CONFIG"}

    def test_the_console_only_reads_and_is_open_to_this_machine_alone(self) -> None:
        console = compose_section("services")["log-console"]
        assert "- log-data:/data:ro\n" in console
        assert "LOGFERRY_CONSOLE_LISTEN: ${LOGFERRY_CONSOLE_LISTEN:-127.0.0.1:9080}\n" in console

    def test_what_the_server_stores_outlives_its_container(self) -> None:
        server = compose_section("services")["log-server"]
        assert "- log-data:/data\n" in server
        assert "LOGFERRY_DATA_DIR: /data\n" in server
        assert "log-data" in compose_section("volumes")

    def test_a_container_may_finish_before_it_is_killed(self) -> None:
        graces = [int(grace) for grace in re.findall(r"stop_grace_period: (\d+)s", read("docker-compose.yml"))]
        timeout = next(
            option.kind.parse(option.default) for option in SERVE_OPTIONS if option.name == "shutdown_timeout"
        )
        assert len(graces) == 3
        assert min(graces) > timeout

    def test_nothing_is_open_to_other_machines_by_default(self) -> None:
        ports = re.findall(r'^ +- "(.*:[0-9]+)"$', read("docker-compose.yml"), re.MULTILINE)
        assert ports == ["127.0.0.1:${SERVER_PORT:-9000}:9000", "127.0.0.1:${PROMETHEUS_PORT:-9090}:9090"]

    def test_prometheus_finds_both_ends_where_they_serve_their_numbers(self) -> None:
        services, targets = compose_section("services"), read("deploy/monitoring/prometheus.yml")
        for name in ("log-server", "log-client"):
            assert "LOGFERRY_HTTP: 0.0.0.0:9464\n" in services[name]
        assert 'targets: ["log-server:9464"]' in targets
        assert 'names: ["log-client"]' in targets, "its profile may not be started"
        assert "./deploy/monitoring:/etc/prometheus:ro" in services["prometheus"]


class TestZipapp:
    """`logferry.pyz`, as `make dist` makes it; `.ci/run` installs the other packages (tools/check_dist.sh)."""

    @pytest.fixture
    def pyz(self, tmp_path: Path) -> Path:
        path = tmp_path / "logferry.pyz"
        make_zipapp(path, epoch=1_768_464_000)
        return path

    def run(self, pyz: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-I", str(pyz), *words]
        return subprocess.run(command, cwd=pyz.parent, capture_output=True, text=True, timeout=60, check=False)

    def test_it_runs_both_ends_with_nothing_installed(self, pyz: Path) -> None:
        assert self.run(pyz).stdout.startswith(f"Logferry {__version__}: ships log lines")
        demo = self.run(pyz, "demo")
        assert demo.returncode == 0, demo.stderr
        assert "all there, once" in demo.stdout

    def test_two_builds_are_equal(self, pyz: Path) -> None:
        make_zipapp(pyz.with_name("again.pyz"), epoch=1_768_464_000)
        assert pyz.with_name("again.pyz").read_bytes() == pyz.read_bytes()

    def test_it_holds_the_package_and_nothing_that_was_built(self, pyz: Path) -> None:
        with zipfile.ZipFile(pyz) as archive:
            names = archive.namelist()
        assert {"__main__.py", "logferry/console/static/index.html", "logferry/sample_logs.txt"} <= {*names}
        assert not [name for name in names if name.endswith((".pyc", ".so")) or name.startswith("/")]


class TestMakefile:
    def test_it_has_exactly_the_promised_targets(self) -> None:
        targets = re.findall(r"^([A-Za-z][\w-]*):(?!=)", read("Makefile"), re.MULTILINE)
        assert sorted(targets) == sorted(TARGETS)

    def test_no_target_is_taken_for_a_file(self) -> None:
        phony = re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)
        assert phony
        assert set(phony[1].split()) == TARGETS

    @pytest.mark.parametrize("target", sorted(TARGETS - DOCKERLESS_TARGETS))
    def test_a_target_that_needs_docker_says_so_where_it_is_missing(self, target: str, tmp_path: Path) -> None:
        make = shutil.which("make")
        if make is None:
            pytest.skip("make is not installed")
        made = subprocess.run(
            [make, target], cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
        )
        assert made.returncode == 2
        assert made.stderr.startswith(f"make {target}: docker is not installed")


def find_server(arguments: list[str], variables: dict[str, str]) -> tuple[str, int]:
    """Return the only server that the health check of an image finds."""
    (found,) = find_servers(arguments, variables)
    return found


class TestContainerHealth:
    def test_one_of_several_servers_is_enough(self, tmp_path: Path) -> None:
        several, config = [("a", 1), ("::1", 2)], tmp_path / "client.toml"
        config.write_text('server = ["a:1", "[::1]:2"]', encoding="utf-8")
        assert find_servers(["main.py", "--server", "a:1", "--server=[::1]:2"], {"SERVER_HOST": "b"}) == several
        assert find_servers(["main.py"], {"LOGFERRY_SERVER": "a:1, [::1]:2"}) == several
        assert find_servers(["main.py", f"--config={config}"], {}) == several
        assert find_servers(["main.py", "--server-port", "7"], {"LOGFERRY_SERVER": "a:1"}) == [("localhost", 7)]
        assert find_servers(["server_main.py"], {"LOGFERRY_SERVER": "a:1"}) == [("localhost", 9000)]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            assert check("127.0.0.1", int(_port(listener)), ["main.py"], 5) == ""
            port = int(_port(listener))
        assert check("127.0.0.1", port, ["main.py"], 5).startswith(f"cannot connect to 127.0.0.1 port {port}: ")

    def test_flags_win_over_variables_and_variables_over_defaults(self) -> None:
        variables = {"SERVER_HOST": "logs", "SERVER_PORT": "9100"}
        assert find_server(["python3", "main.py"], {}) == ("localhost", 9000)
        assert find_server(["python3", "main.py"], {"SERVER_HOST": "", "SERVER_PORT": ""}) == ("localhost", 9000)
        assert find_server(["python3", "main.py"], variables) == ("logs", 9100)
        assert find_server(["python3", "main.py", "--server-port", "1", "--server-host=a"], variables) == ("a", 1)

    def test_the_configuration_file_comes_between_variables_and_defaults(self, tmp_path: Path) -> None:
        config = tmp_path / "logferry.toml"
        config.write_text('server_host = "logs"\nserver_port = 9100\n[[input]]\nlog_file = "/a"\n')
        assert find_server(["python3", "main.py", "--config", str(config)], {}) == ("logs", 9100)
        assert find_server(["python3", "main.py"], {"LOGFERRY_CONFIG": str(config), "SERVER_PORT": "1"}) == ("logs", 1)
        assert find_server(["python3", "main.py", f"--config={config}", "--server-host", "a"], {}) == ("a", 9100)

    def test_the_health_check_finds_the_first_listener(self, tmp_path: Path) -> None:
        config = tmp_path / "server.toml"
        config.write_text('listen = ["tcp://[::1]:1", "tcp://a:2"]', encoding="utf-8")
        assert find_server(["server_main.py", f"--config={config}"], {}) == ("::1", 1)
        assert find_server(["server_main.py", "--listen=tcp://a:2"], {"SERVER_HOST": "b"}) == ("a", 2)
        assert find_server(["server_main.py", "--server-port", "7"], {"LOGFERRY_LISTEN": "tcp://a:2"}) == (
            "localhost",
            7,
        )

    def test_the_health_check_finds_the_console(self, tmp_path: Path) -> None:
        console, config = ["python3", "-m", "logferry", "console"], tmp_path / "console.toml"
        config.write_text('listen = "0.0.0.0:3"', encoding="utf-8")
        variables = {"LOGFERRY_CONSOLE_LISTEN": "[::1]:2", "LOGFERRY_LISTEN": "tcp://a:9000", "SERVER_PORT": "9000"}
        assert find_server(console, {}) == ("127.0.0.1", 9080)
        assert find_server(console, variables) == ("::1", 2)
        assert find_server([*console, "--listen=127.0.0.1:1"], variables) == ("127.0.0.1", 1)
        assert find_server(console, {"LOGFERRY_CONSOLE_CONFIG": str(config)}) == ("0.0.0.0", 3)
        assert not shakes_hands(console, {"LOGFERRY_TLS_CERT": "/run/server.pem"})

    def test_only_a_server_that_demands_no_certificate_must_finish_a_handshake(self, tmp_path: Path) -> None:
        variables = {"LOGFERRY_TLS_CERT": "/run/server.pem"}
        assert shakes_hands(["server_main.py"], variables)
        assert shakes_hands(["server_main.py", "--listen=tls://a:1"], variables)
        assert not shakes_hands(["server_main.py", "--listen", "tcp://a:1"], variables)
        assert not shakes_hands(["server_main.py", "--tls-client-ca", "/run/ca.pem"], variables)
        assert not shakes_hands(["server_main.py"], {})
        assert not shakes_hands(["main.py", "--tls"], variables)  # the certificate is the client's

    def test_the_health_check_finishes_a_handshake(self, tmp_path: Path) -> None:
        with running_server(tmp_path, **server_options(tmp_path)) as server:
            with socket.create_connection((server.host, server.port), timeout=5) as connection:
                shake_hands(connection)
            wait_until(lambda: server.stats.connections_silent == 1, "it counts as a probe")
            assert not server.stats.handshakes_failed

    def test_the_wildcard_address_of_the_server_can_be_connected_to(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = find_server(["server_main.py"], {"SERVER_HOST": "0.0.0.0", "SERVER_PORT": _port(listener)})
            socket.create_connection((host, port), timeout=5).close()


def _port(listener: socket.socket) -> str:
    return str(listener.getsockname()[1])


class TestSampleLogs:
    def test_its_first_line_is_the_one_the_documentation_follows(self) -> None:
        assert read("sample_logs.txt").startswith("2024-01-15 08:23:45 INFO Application started\n")

    @pytest.mark.parametrize(
        "kind",
        [
            r"\n\n",
            r" INFO ",
            r" WARN ",
            r" ERROR ",
            r" DEBUG ",
            r" \[INFO\] ",
            r" INFO: ",
            r"\dT\d.*\.\d+Z ",
            r",\d+\+01:00 ",
            r'"',
            r"\\",
            r"\t",
            r"[^\x00-\x7f]",
            r"\n  File ",
            r"\nJan 15 ",
        ],
    )
    def test_it_shows_lines_of_every_kind(self, kind: str) -> None:
        assert re.search(kind, read("sample_logs.txt"))


class TestUnits:
    @pytest.mark.parametrize("name", ["logferry-serve", "logferry-ship"])
    def test_a_unit_exposes_little(self, name: str) -> None:
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            pytest.skip("systemd-analyze is not installed")
        words = [analyze, "security", "--offline=true", "--threshold=25", str(ROOT / f"deploy/systemd/{name}.service")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout[-300:] + done.stderr

    @pytest.mark.parametrize("name", ["serve", "ship"])
    def test_a_unit_starts_a_command_with_options_that_exist(self, name: str) -> None:
        (words,) = re.findall(
            r"^ExecStart=/usr/bin/logferry (.*)$", read(f"deploy/systemd/logferry-{name}.service"), re.M
        )
        command, *rest = words.split()
        flags = {option.flag for option in (SERVE_OPTIONS if command == "serve" else SHIP_OPTIONS)}
        assert command == name
        assert {word for word in rest if word.startswith("--")} <= flags
