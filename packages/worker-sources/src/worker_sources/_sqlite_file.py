"""The file of a SqliteSource: opening it, its schema, and what its errors are called.

A file is ours if it carries our application id and schema version. That is asked of a connection that reads the file
as if it could not change (`immutable`): such a one takes no locks and makes no files beside it, so that a foreign file
stays as it is. **Never open the file in another way**, not even to look: on POSIX, closing *any* descriptor of a file
drops all locks that the process has on it, SQLite's too; another process then believes it is alone, removes the log,
and what we commit from then on is lost (https://www.sqlite.org/howtocorrupt.html, 2.2).

The schema is created in one transaction, before the switch to write-ahead logging, so that the header in the file
is never behind the tables.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from ._errors import CorruptFile, DatabaseLocked, DiskFull, ForeignFile, StorageError

if TYPE_CHECKING:
    from collections.abc import Generator

APPLICATION_ID = 0x776B7371  # "wksq"
SCHEMA_VERSION = 1

# AUTOINCREMENT, because an id is the user's idempotency key: it must never be given to another job.
# `visible_at` is in milliseconds since the epoch, the one clock that all processes share. A job is ready when it has
# passed; while the job is leased it is the end of the lease. `claims` counts every claim and never goes back, not even
# through the dead letters: with the owner it fences out whoever lost the lease. `expired` counts the leases that ran
# out, `suspect` is set when that happened so often that the job must run alone.
SCHEMA = f"""
CREATE TABLE job(
  id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body BLOB NOT NULL, key TEXT,
  visible_at INTEGER NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, claims INTEGER NOT NULL DEFAULT 0,
  expired INTEGER NOT NULL DEFAULT 0, suspect INTEGER NOT NULL DEFAULT 0, owner TEXT);
CREATE INDEX job_ready ON job(queue, visible_at, id);
CREATE INDEX job_leased ON job(queue, visible_at) WHERE owner IS NOT NULL;
CREATE INDEX job_suspect ON job(queue, visible_at) WHERE suspect;
CREATE UNIQUE INDEX job_key ON job(queue, key) WHERE key IS NOT NULL;
CREATE TABLE dead(
  id INTEGER PRIMARY KEY, queue TEXT NOT NULL, body BLOB NOT NULL, key TEXT,
  attempt INTEGER NOT NULL, claims INTEGER NOT NULL, reason TEXT NOT NULL, died_at INTEGER NOT NULL);
CREATE INDEX dead_queue ON dead(queue, id);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


def open_file(path: str, *, synchronous: str, busy_timeout: float) -> sqlite3.Connection:
    """Open the queue file at `path`, creating it if it is missing or empty. The caller's thread owns the connection.

    Raises `ForeignFile` for one that is not ours, and does not touch it.
    """
    if sqlite3.sqlite_version_info < (3, 35):  # UPDATE ... RETURNING
        raise StorageError(path, f"SQLite 3.35 or newer is needed, this Python has {sqlite3.sqlite_version}")
    with named_errors(path):
        _refuse_foreign(path)
        connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
        try:
            _create_schema(connection)
            _check_identity(path, connection)  # somebody else may have created it since we looked
            _use_write_ahead_log(connection, busy_timeout)
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        except BaseException:
            connection.close()
            raise
        return connection


def _refuse_foreign(path: str) -> None:
    if not os.path.exists(path) or os.path.exists(f"{path}-journal"):
        return  # with a journal, somebody is in the middle of writing it, or died there: SQLite will say what it is
    look = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True, isolation_level=None)
    try:
        if look.execute("PRAGMA page_count").fetchone() != (0,):
            _check_identity(path, look)
    except sqlite3.DatabaseError as error:
        if _is(error, sqlite3.SQLITE_NOTADB):
            raise ForeignFile(path, "not a SQLite database") from error
        raise
    finally:
        look.close()


def _check_identity(path: str, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise ForeignFile(path, "a SQLite database of another application")
    if version != SCHEMA_VERSION:
        raise ForeignFile(path, f"a queue file of version {version}; this release reads version {SCHEMA_VERSION}")


def _create_schema(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,):
        return
    with transaction(connection):
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            for statement in SCHEMA.split(";\n"):
                connection.execute(statement)


def _use_write_ahead_log(connection: sqlite3.Connection, busy_timeout: float) -> None:
    # The switch needs the file for itself for a moment, and does not honour the busy timeout: so we do.
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is(error, sqlite3.SQLITE_BUSY) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """All or nothing. IMMEDIATE, because a transaction that begins by reading can't wait for the lock to write."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has SQLite roll back by itself
            connection.execute("ROLLBACK")
        raise


@contextmanager
def named_errors(path: str) -> Generator[None]:
    """Give SQLite's error codes our names (https://www.sqlite.org/rescode.html)."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a value of the wrong type: the caller's mistake, not the file's
        raise
    except sqlite3.Error as error:
        raise _named(path, error) from error


def _named(path: str, error: sqlite3.Error) -> StorageError:
    if _is(error, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseLocked(path, "locked by another connection")
    if _is(error, sqlite3.SQLITE_FULL):
        return DiskFull(path, "no space left")
    if _is(error, sqlite3.SQLITE_CORRUPT):
        return CorruptFile(path, str(error))
    if _is(error, sqlite3.SQLITE_NOTADB):
        return ForeignFile(path, str(error))
    return StorageError(path, str(error))


def _is(error: sqlite3.Error, *codes: int) -> bool:
    code: int | None = getattr(error, "sqlite_errorcode", None)  # absent if Python raised it, not SQLite
    return code is not None and code & 0xFF in codes
