"""`python -m bench`: run the cases, print the table, and fail when a contender did not run or a ratio fell."""

import argparse
import json
import sys
from pathlib import Path

from bench import baseline, table
from bench.cases import all_cases
from bench.harness import Result, run_case


def main() -> int:
    options = parse()
    rounds, seconds = (2, 0.2) if options.quick else (options.rounds, 0.5)
    cases = [case for case in all_cases(seconds) if not options.case or case.name in options.case]
    results: list[Result] = []
    for case in cases:
        results.append(run_case(case, rounds, report))
        report("")
        print(table.as_text(results[-1:]), flush=True)
        print()
    if options.json:
        options.json.write_text(json.dumps(table.as_json(results), indent=2) + "\n")
    if options.record:
        baseline.record(results)
    failures = [f"{result.case.name}: {name}: {error}" for result in results for name, error in result.errors.items()]
    failures += baseline.regressions(results) if options.check else []
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def parse() -> argparse.Namespace:
    names = [case.name for case in all_cases(seconds=1)]
    parser = argparse.ArgumentParser(prog="python -m bench", description="What the workers cost, beside the peers.")
    parser.add_argument("--case", action="append", choices=names, help="only this case (may be repeated)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--quick", action="store_true", help="two short rounds: does everything run?")
    parser.add_argument("--json", type=Path, help="also write every number of every round to this file")
    parser.add_argument("--check", action="store_true", help="fail when a ratio is 25 %% under the recorded one")
    parser.add_argument("--record", action="store_true", help="record this run's ratios in bench/baseline.json")
    return parser.parse_args()


def report(text: str) -> None:
    """One line of progress, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
