"""Makes a store look like one of an earlier version, which kept logs by the last name of their paths."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path


def as_version_5(data_dir: Path) -> None:
    """Change a closed store into one of version 5: folders `<host>/<name>`, no logs, and journals that name none."""
    root = data_dir / "segments"
    with closing(sqlite3.connect(data_dir / "ledger.sqlite3")) as database:
        for number, path in database.execute("SELECT id, path FROM segments ORDER BY id").fetchall():
            host, *_, name, file = path.split("/")
            old = f"{host}/{name}/{file}"
            (root / old).parent.mkdir(parents=True, exist_ok=True)
            os.rename(root / path, root / old)
            database.execute("UPDATE segments SET path = ? WHERE id = ?", (old, number))
        database.commit()
        database.executescript(
            """
            DROP INDEX segments_of_log;
            ALTER TABLE segments DROP COLUMN log;
            ALTER TABLE segments DROP COLUMN compression;
            ALTER TABLE segments DROP COLUMN stored_bytes;
            DROP TABLE logs;
            DROP TABLE times;
            DROP TABLE members;
            DROP TABLE starts;
            PRAGMA user_version = 5;
            PRAGMA journal_mode = DELETE;
            """
        )
    for journal in root.rglob("*.journal"):
        journal.unlink()
    for folder, _, _ in os.walk(root, topdown=False):
        if not os.listdir(folder):
            os.rmdir(folder)
