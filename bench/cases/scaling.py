"""How cost grows, in microseconds per input: with the number of inputs, and with the number of workers."""

from bench.case import Case, Goal, python

WORKERS = (1, 2, 4, 8, 16)


def cases(seconds: float) -> list[Case]:
    counts = (1_000, 10_000, 100_000, 1_000_000) if seconds > 0.2 else (1_000, 10_000, 100_000)
    by_inputs = [python(f"ours: {count:,} inputs", "scaling", inputs=count, workers=2) for count in reversed(counts)]
    by_workers = [
        python(f"ours: {count} worker{'s' * (count > 1)}", "scaling", inputs=50_000, workers=count) for count in WORKERS
    ]
    unit = "us/input"
    return [
        Case(
            "scaling_inputs",
            "2 workers, 8 in flight, more and more inputs; less is better",
            unit,
            by_inputs,
            [Goal(f"ours: {counts[-1]:,} inputs", "ours: 10,000 inputs", at_most=1.5)],
        ),
        Case(
            "scaling_workers",
            "50,000 inputs, 8 in flight, more and more workers; less is better",
            unit,
            by_workers,
            [Goal("ours: 16 workers", "ours: 2 workers", at_most=1.5)],
        ),
    ]
