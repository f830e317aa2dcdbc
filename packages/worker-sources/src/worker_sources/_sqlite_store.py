"""The queue in the file, as plain statements: synchronous, without threads, and with the time as an argument.

    READY ──claim──► LEASED ──ack──► gone
      ▲                │ nack(delay), hand_back, requeue: READY again
      └──lease ends────┤
                       └─reject, or the last attempt failed: DEAD

Everything here happens inside a transaction of the caller. Every statement about a held job is *fenced*: it names the
owner and the number of the claim, and does nothing if the lease went to somebody else meanwhile.

**Suspects.** When a process dies, every job it held is charged an attempt, also the innocent. So a job whose holders
died `max_attempts - 1` times is a *suspect*: it is claimed only by an owner that holds nothing else, alone, and
nothing is claimed beside it. Then its last attempt charges nobody but itself. Until it is done, owners that
could take it take nothing else: they run empty, one of them takes it, the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

PUT = """
INSERT INTO job(queue, visible_at, body, key) VALUES {rows}
ON CONFLICT(queue, key) WHERE key IS NOT NULL DO NOTHING"""

# Many rows in one statement go in nearly twice as fast as one each: AUTOINCREMENT is then kept once per statement.
# More than 50 gain nothing, and SQLite before 3.32 allows 999 parameters.
ROWS = 50
PUT_ONE = PUT.format(rows="(?, ?, ?, ?)")
PUT_ROWS = PUT.format(rows=", ".join(["(?, ?, ?, ?)"] * ROWS))

EXPIRED = """
SELECT id, attempt, expired FROM job WHERE queue = ? AND owner IS NOT NULL AND visible_at <= ?
ORDER BY visible_at"""

# To the front: `visible_at` is 0, so recovery does not wait behind the backlog.
EXPIRE = "UPDATE job SET owner = NULL, visible_at = 0, expired = expired + 1, suspect = suspect OR ? WHERE id = ?"

SUSPECTS = "SELECT id, owner, visible_at FROM job WHERE queue = ? AND suspect ORDER BY visible_at, id"

HOLDS = "SELECT 1 FROM job WHERE queue = ? AND owner IS NOT NULL AND visible_at > ? AND owner = ? LIMIT 1"

READY = """
SELECT id FROM job WHERE queue = :queue AND visible_at <= :now AND owner IS NULL AND NOT suspect
ORDER BY visible_at, id LIMIT :limit"""

LEASE = """
UPDATE job SET owner = :owner, visible_at = :until, attempt = attempt + 1, claims = claims + 1
WHERE id IN ({ids}) RETURNING id, body, attempt, claims, suspect"""

CLAIM_ONE = LEASE.format(ids=":id")
CLAIM_READY = LEASE.format(ids=READY)

FENCE = " WHERE id = ? AND owner = ? AND claims = ?"
ACK = "DELETE FROM job" + FENCE
RENEW = "UPDATE job SET visible_at = ?" + FENCE
NACK = "UPDATE job SET owner = NULL, visible_at = ?" + FENCE
HAND_BACK = "UPDATE job SET owner = NULL, visible_at = 0, attempt = attempt - 1" + FENCE
BURY = "INSERT INTO dead SELECT id, queue, body, key, attempt, claims, ?, ? FROM job"
DUE = "SELECT visible_at FROM job WHERE queue = ? ORDER BY visible_at LIMIT 1"


class Held(NamedTuple):
    """What fences a claimed job: `claim` is the number of this claim among all of this job."""

    id: int
    claim: int


class Claim(NamedTuple):
    """A job as it comes out of the file."""

    held: Held
    body: bytes
    attempt: int
    isolate: bool


@dataclass(slots=True)
class Store:
    """One owner's view of one queue in the file. Times are in milliseconds since the epoch."""

    connection: sqlite3.Connection
    queue: str
    owner: str
    lease: int
    max_attempts: int

    def put(self, jobs: Sequence[tuple[bytes, str | None]], visible_at: int) -> int:
        """Add jobs; one whose key is in the queue already is skipped. Returns how many were new."""
        before = self.connection.total_changes
        whole = len(jobs) - len(jobs) % ROWS
        for start in range(0, whole, ROWS):
            rows = ((self.queue, visible_at, *job) for job in jobs[start : start + ROWS])
            self.connection.execute(PUT_ROWS, tuple(chain.from_iterable(rows)))
        self.connection.executemany(PUT_ONE, [(self.queue, visible_at, body, key) for body, key in jobs[whole:]])
        return self.connection.total_changes - before

    def put_one(self, body: bytes, key: str | None, visible_at: int) -> int:
        """Add a job, or find the one with this key. Returns its id."""
        added = self.connection.execute(PUT_ONE, (self.queue, visible_at, body, key))
        if added.rowcount and added.lastrowid is not None:
            return added.lastrowid
        found = self.connection.execute("SELECT id FROM job WHERE queue = ? AND key = ?", (self.queue, key))
        return int(found.fetchone()[0])

    def claim(self, limit: int, now: int) -> list[Claim]:
        """Lease up to `limit` jobs to the owner, in their order: returned ones first. A suspect comes alone."""
        self._end_leases(now)
        suspects = self.connection.execute(SUSPECTS, (self.queue,)).fetchall()
        if suspects:
            if any(owner == self.owner and until > now for _, owner, until in suspects):
                return []  # one is running here: nothing runs beside it
            ready = [job for job, owner, until in suspects if owner is None and until <= now]
            if ready:
                return [] if self._holds_any(now) else self._lease(CLAIM_ONE, now, id=ready[0])
        # RETURNING promises no order, and the time by which a job stood in line is gone by then: so we look before.
        line = self.connection.execute(READY, {"queue": self.queue, "now": now, "limit": limit}).fetchall()
        claims = {claim.held.id: claim for claim in self._lease(CLAIM_READY, now, queue=self.queue, limit=limit)}
        return [claims[job] for (job,) in line]

    def ack(self, held: Held) -> bool:
        """Done: remove it. This and all below return False if the lease was lost, having done nothing."""
        return self._fenced(ACK, held)

    def renew(self, held: Held, now: int) -> bool:
        """Begin the lease anew."""
        return self._fenced(RENEW, held, now + self.lease)

    def nack(self, held: Held, delay: int, now: int) -> bool:
        """Failed: ready again after `delay`, or dead if that was the last attempt."""
        found = self.connection.execute("SELECT attempt FROM job" + FENCE, (held.id, self.owner, held.claim)).fetchone()
        if found is not None and found[0] >= self.max_attempts:
            return self.reject(held, f"failed {found[0]} times", now)
        return self._fenced(NACK, held, now + delay)

    def hand_back(self, held: Held) -> bool:
        """Not tried: ready again, first in line, and the attempt does not count."""
        return self._fenced(HAND_BACK, held)

    def reject(self, held: Held, reason: str, now: int) -> bool:
        """Never to be tried again: to the dead letters."""
        fence = (held.id, self.owner, held.claim)
        buried = self.connection.execute(BURY + FENCE, (reason, now, *fence)).rowcount > 0
        return self.ack(held) and buried

    def due(self) -> int | None:
        """When the next job becomes ready or the next lease ends: in the past if there is work. None: no jobs."""
        row = self.connection.execute(DUE, (self.queue,)).fetchone()
        return None if row is None else int(row[0])

    def counts(self, now: int) -> tuple[int, int, int]:
        """How many jobs are ready, waiting for their time, and leased."""
        row = self.connection.execute(
            "SELECT coalesce(sum(visible_at <= :now), 0), coalesce(sum(visible_at > :now AND owner IS NULL), 0),"
            " coalesce(sum(visible_at > :now AND owner IS NOT NULL), 0) FROM job WHERE queue = :queue",
            {"now": now, "queue": self.queue},
        ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    def _end_leases(self, now: int) -> None:
        expired = self.connection.execute(EXPIRED, (self.queue, now)).fetchall()
        for job, attempt, times in expired:
            if attempt >= self.max_attempts:
                self.connection.execute(BURY + " WHERE id = ?", (_died(times + 1), now, job))
                self.connection.execute("DELETE FROM job WHERE id = ?", (job,))
            else:
                self.connection.execute(EXPIRE, (times + 1 >= max(1, self.max_attempts - 1), job))

    def _holds_any(self, now: int) -> bool:
        return self.connection.execute(HOLDS, (self.queue, now, self.owner)).fetchone() is not None

    def _lease(self, statement: str, now: int, **values: object) -> list[Claim]:
        values |= {"owner": self.owner, "now": now, "until": now + self.lease}
        rows = self.connection.execute(statement, values).fetchall()
        return [Claim(Held(job, claim), body, attempt, bool(suspect)) for job, body, attempt, claim, suspect in rows]

    def _fenced(self, statement: str, held: Held, *values: object) -> bool:
        return self.connection.execute(statement, (*values, held.id, self.owner, held.claim)).rowcount > 0


def _died(times: int) -> str:
    return f"its holders died {times} times" if times > 1 else "its holder died"
