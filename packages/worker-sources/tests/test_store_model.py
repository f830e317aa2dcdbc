"""The statements of the durable queue against a model of a page, under every interleaving hypothesis can think of."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from worker_sources._sqlite_dead import _requeue
from worker_sources._sqlite_file import SCHEMA, transaction
from worker_sources._sqlite_store import Held, Store

LEASE = 100
OWNERS = st.sampled_from(["a", "b"])


@dataclass
class Job:
    id: int
    key: str | None
    visible_at: int
    attempt: int = 0
    claims: int = 0
    expired: int = 0
    suspect: bool = False
    owner: str | None = None

    def is_held_by(self, owner: str, now: int) -> bool:
        return self.owner == owner and self.visible_at > now


class Interleavings(RuleBasedStateMachine):
    max_attempts = 3

    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(SCHEMA)
        self.stores = {o: Store(self.connection, "q", o, LEASE, self.max_attempts) for o in "ab"}
        # A queue beside ours, which nothing we do may touch.
        with transaction(self.connection):
            Store(self.connection, "other", "c", LEASE, 3).put([(b"other", "1"), (b"other", None)], 0)
        self.now = 1000
        self.jobs: dict[int, Job] = {}
        self.dead: dict[int, Job] = {}
        self.done: set[int] = set()
        self.ids: set[int] = set()
        self.handed_out: list[tuple[str, Held, Job]] = []

    def teardown(self) -> None:
        self.connection.close()

    @rule(key=st.none() | st.sampled_from("123"), delay=st.sampled_from([0, 0, 50, 500]), owner=OWNERS)
    def put(self, key: str | None, delay: int, owner: str) -> None:
        with transaction(self.connection):
            job = self.stores[owner].put_one(b"body", key, self.now + delay)
        same = [old for old in self.jobs.values() if key is not None and old.key == key]
        if same:
            assert job == same[0].id
        else:
            assert job not in self.ids
            self.ids.add(job)
            self.jobs[job] = Job(job, key, self.now + delay)

    @rule(count=st.integers(0, 120), keyed=st.booleans())
    def put_many(self, count: int, keyed: bool) -> None:
        keys = [str(i % 60) if keyed else None for i in range(count)]
        with transaction(self.connection):
            added = self.stores["a"].put([(b"body", key) for key in keys], self.now)
        new = {key for key in keys if key} - {job.key for job in self.jobs.values()}
        assert added == (len(new) if keyed else count)
        for job, key in self.connection.execute("SELECT id, key FROM job WHERE queue = 'q' ORDER BY id"):
            if job not in self.jobs:
                assert job not in self.ids
                self.ids.add(job)
                self.jobs[job] = Job(job, key, self.now)

    @rule(by=st.sampled_from([1, 30, LEASE, 3 * LEASE]))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(owner=OWNERS, limit=st.integers(1, 4))
    def claim(self, owner: str, limit: int) -> None:
        with transaction(self.connection):
            claims = self.stores[owner].claim(limit, self.now)
        expected = self.expected_claim(owner, limit)
        assert [claim.held.id for claim in claims] == [job.id for job in expected]
        for claim in claims:
            job = self.jobs[claim.held.id]
            job.owner, job.visible_at = owner, self.now + LEASE
            job.attempt, job.claims = job.attempt + 1, job.claims + 1
            assert (claim.attempt, claim.isolate, claim.held.claim) == (job.attempt, job.suspect, job.claims)
            self.handed_out.append((owner, claim.held, job))

    def expected_claim(self, owner: str, limit: int) -> list[Job]:
        for job in [job for job in self.jobs.values() if job.owner and job.visible_at <= self.now]:
            job.owner, job.visible_at, job.expired = None, 0, job.expired + 1
            job.suspect = job.suspect or job.expired >= max(1, self.max_attempts - 1)
            if job.attempt >= self.max_attempts:
                self.dead[job.id] = self.jobs.pop(job.id)
        mine = [job for job in self.jobs.values() if job.is_held_by(owner, self.now)]
        ready = [job for job in self.jobs.values() if job.owner is None and job.visible_at <= self.now]
        ready.sort(key=lambda job: (job.visible_at, job.id))
        if any(job.suspect for job in mine):
            return []
        if suspects := [job for job in ready if job.suspect]:
            return [] if mine else suspects[:1]
        return ready[:limit]

    @rule(which=st.integers(0, 30), verb=st.sampled_from(["ack", "nack", "hand_back", "reject", "renew"]))
    def settle(self, which: int, verb: str) -> None:
        if not self.handed_out:
            return
        owner, held, job = self.handed_out[-1 - which % len(self.handed_out)]
        store = self.stores[owner]
        is_ours = job.id in self.jobs and job.owner == owner and job.claims == held.claim
        with transaction(self.connection):
            done = {
                "ack": lambda: store.ack(held),
                "nack": lambda: store.nack(held, 70, self.now),
                "hand_back": lambda: store.hand_back(held),
                "reject": lambda: store.reject(held, "why", self.now),
                "renew": lambda: store.renew(held, self.now),
            }[verb]()
        assert done is is_ours
        if is_ours:
            self.settled(job, verb)

    def settled(self, job: Job, verb: str) -> None:
        if verb == "renew":
            job.visible_at = self.now + LEASE
            return
        job.owner = None
        if verb == "ack":
            self.done.add(self.jobs.pop(job.id).id)
        elif verb == "reject" or (verb == "nack" and job.attempt >= self.max_attempts):
            self.dead[job.id] = self.jobs.pop(job.id)
        elif verb == "nack":
            job.visible_at = self.now + 70
        else:
            job.visible_at, job.attempt = 0, job.attempt - 1

    @rule()
    def requeue(self) -> None:
        with transaction(self.connection):
            count = _requeue(self.stores["a"], (), self.now)
        back = 0
        for job in sorted(self.dead):
            key = self.dead[job].key
            if key is None or key not in {other.key for other in self.jobs.values()}:
                claims = self.dead.pop(job).claims
                self.jobs[job] = Job(job, key, self.now, claims=claims)
                back += 1
        assert count == back

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        queued = {row[0]: row[1:] for row in self.connection.execute(ROWS)}
        expected = {
            job.id: (job.attempt, job.claims, job.expired, job.suspect, job.owner, job.visible_at)
            for job in self.jobs.values()
        }
        assert queued == expected
        assert {row[0] for row in self.connection.execute("SELECT id FROM dead")} == set(self.dead)
        assert queued.keys() | self.dead.keys() | self.done == self.ids
        assert len(queued) + len(self.dead) + len(self.done) == len(self.ids)

    @invariant()
    def a_suspect_runs_alone(self) -> None:
        for owner in "ab":
            held = [job for job in self.jobs.values() if job.is_held_by(owner, self.now)]
            assert len(held) <= 1 or not any(job.suspect for job in held)

    @invariant()
    def nobody_is_tried_too_often(self) -> None:
        assert all(0 <= job.attempt <= self.max_attempts for job in (*self.jobs.values(), *self.dead.values()))

    @invariant()
    def due_is_when_something_changes(self) -> None:
        times = [job.visible_at for job in self.jobs.values()]
        assert self.stores["a"].due() == (min(times) if times else None)
        ready, waiting, leased = self.stores["a"].counts(self.now)
        assert ready + waiting + leased == len(self.jobs)

    @invariant()
    def the_queue_beside_is_untouched(self) -> None:
        rows = self.connection.execute("SELECT attempt, owner FROM job WHERE queue = 'other'").fetchall()
        assert rows == [(0, None), (0, None)]


ROWS = "SELECT id, attempt, claims, expired, suspect, owner, visible_at FROM job WHERE queue = 'q'"


class OneAttempt(Interleavings):
    max_attempts = 1


class ManyAttempts(Interleavings):
    max_attempts = 5


settings.register_profile("store", max_examples=60, stateful_step_count=30, deadline=None)
TestInterleavings = Interleavings.TestCase
TestOneAttempt = OneAttempt.TestCase
TestManyAttempts = ManyAttempts.TestCase
TestInterleavings.settings = TestOneAttempt.settings = TestManyAttempts.settings = settings.get_profile("store")


def test_a_holder_from_before_its_death_is_fenced_out_after_a_requeue() -> None:
    run = Interleavings()
    run.put(key=None, delay=0, owner="a")
    run.claim(owner="a", limit=1)
    run.settle(which=0, verb="reject")
    run.requeue()
    run.claim(owner="a", limit=1)
    run.settle(which=1, verb="ack")
    assert run.done == set()
    run.settle(which=0, verb="ack")
    assert run.done == run.ids
    run.every_job_is_in_exactly_one_place()
    run.teardown()
