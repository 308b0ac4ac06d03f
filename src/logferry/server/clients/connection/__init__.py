"""One connected client: reading from it, answering it, and how long it may keep the server waiting."""
