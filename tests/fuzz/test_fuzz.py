"""Short runs of the fuzzers: the long ones are run by hand (`make fuzz`)."""

from pathlib import Path

import pytest

from logferry import speedups
from tests.fuzz.fuzz_conversations import ConversationFuzzer
from tests.fuzz.fuzz_speedups import SpeedupsFuzzer


@pytest.mark.parametrize("seed", range(2))
def test_no_session_harms_a_server_or_its_honest_client(tmp_path: Path, seed: int) -> None:
    outcome = ConversationFuzzer(tmp_path, seed=seed).run(400)
    assert outcome.problems == []
    assert outcome.answers > 400, "the sessions were not understood at all"


@pytest.mark.skipif(speedups.compiled is None, reason="the compiled part is not built: python3 tools/build_speedups.py")
@pytest.mark.parametrize("seed", range(2))
def test_the_compiled_part_gives_what_the_python_code_gives(seed: int) -> None:
    fuzzer = SpeedupsFuzzer(seed=seed)
    fuzzer.run(4000)
    assert fuzzer.problems == []
