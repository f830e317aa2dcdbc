"""Every input ends in exactly one outcome, on a bounded set of reusable workers."""
