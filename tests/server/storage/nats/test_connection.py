"""The connection to NATS: TLS, credentials, and what is said where they do not fit."""

import dataclasses
import gc
from pathlib import Path

import pytest

from logferry.errors import StoreError
from logferry.server.storage.nats import connection
from logferry.server.storage.nats.nats_store import NatsStore
from logferry.server.storage.nats.settings import NatsSettings
from tests.support.certificates import authority_file, files_of, issued
from tests.support.nats_servers import binary_or_skip, running_nodes
from tests.support.nats_stores import LEFT_SOCKETS, NatsPlace
from tests.support.running import DEADLINE_S


@pytest.mark.filterwarnings(LEFT_SOCKETS)
def test_a_gateway_speaks_tls_and_says_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_CONNECT_S", 3.0)
    identity = files_of(issued("127.0.0.1"), tmp_path)
    options = (
        f'max_payload: 8MB\ntls {{ cert_file: "{identity.certificate}", key_file: "{identity.key}" }}\n'
        'authorization { user: gateway, password: "s3cret" }'
    )
    with running_nodes(binary_or_skip(), tmp_path / "nats", jetstream="", options=options) as node:
        place = NatsPlace(node)
        url = f"tls://gateway:s3cret@127.0.0.1:{node.nodes[0].port}"
        good = dataclasses.replace(place.settings, urls=(url,), tls_ca=authority_file(tmp_path))
        place.settings = good
        store = place.new()
        store.open(lambda: None)
        assert "s3cret" not in store.place
        store.close(DEADLINE_S)
        other = authority_file(tmp_path, "Another Authority")
        for settings in (
            dataclasses.replace(good, tls_ca=other),
            dataclasses.replace(good, urls=(url.replace("s3cret", "wr0ng"),)),
        ):
            place.settings = settings
            with pytest.raises(StoreError, match=r"cannot connect to NATS at tls://127\.0\.0\.1:\d+: ") as caught:
                place.new().open(lambda: None)
            assert "s3cret" not in str(caught.value)
            assert "wr0ng" not in str(caught.value)
    gc.collect()


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    binary_or_skip()
    store = NatsStore(NatsSettings(urls=("tls://127.0.0.1:1",), tls_ca=tmp_path / "ca.pem"))
    with pytest.raises(StoreError, match="--nats-tls-ca: cannot use"):
        store.open(lambda: None)
