"""Tokens: secrets by which clients prove their identity. The server keeps only their hashes.

Owns how a token is made and hashed, and the entry that `logferry token new` prints.
"""

import hashlib
import json
import secrets
from typing import Final

# 256 bits: nobody can guess such a token, so a plain hash of it is enough.
_TOKEN_BYTES: Final = 32


def new_token() -> str:
    """Return a new token: 43 letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_of(token: str) -> bytes:
    """Return the SHA-256 digest of a token."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def entry_for(name: str, token: str) -> str:
    """Return the entry of the clients file for a client with this token."""
    return f'[[client]]\nname = {json.dumps(name)}\ntoken_sha256 = "{hash_of(token).hex()}"\n'
