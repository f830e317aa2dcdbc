"""A pool of chess engines: each position goes to a warm engine (needs a UCI engine, such as stockfish).

$ python examples/chess_pool.py
mate in one: e1e8
the queen hangs: d1d8
only move: a8b8
"""

import os
import shutil

import anyio

from worker_ipc import ChildStream, open_stream
from worker_pool import WorkPool
from worker_spawn import spawned_worker

ENGINE = shutil.which("stockfish", path=f"{os.environ.get('PATH', '')}:/usr/games") or "stockfish"  # Debian's place
POSITIONS = {
    "6k1/5ppp/8/8/8/8/5PPP/4R1K1 w - - 0 1": "mate in one",
    "3q2k1/5ppp/8/8/8/8/5PPP/3R2K1 w - - 0 1": "the queen hangs",
    "k7/8/1K6/8/8/8/8/7N b - - 0 1": "only move",
}


async def start(engine: ChildStream[str]) -> None:
    await engine.send("uci")
    while await engine.receive() != "uciok":
        pass


async def best_move(engine: ChildStream[str], position: str) -> str:
    await engine.send(f"position fen {position}")
    await engine.send("go depth 8")
    while True:
        line = await engine.receive()
        if line.startswith("bestmove"):
            return line.split()[1]


def chess() -> spawned_worker[str, str]:
    return spawned_worker(ENGINE, open=open_stream, init=start, execute=best_move)


async def main() -> None:
    async with WorkPool(chess, max_size=2) as pool, pool.stream(POSITIONS, ordered=True) as outcomes:
        async for outcome in outcomes:
            print(f"{POSITIONS[outcome.input]}: {outcome.unwrap()}")


if __name__ == "__main__":
    anyio.run(main)
