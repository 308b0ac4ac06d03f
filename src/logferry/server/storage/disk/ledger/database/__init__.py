"""The SQLite file below the tables: its format and migrations, how it is opened, and when it is checked."""
