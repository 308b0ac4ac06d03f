"""Identities: who may ship to a server, how clients prove who they are, and what each identity is granted."""
