"""What the workers cost, beside the peers: `nox -s bench`, or `python -m bench` where the peers are installed.

Absolute speeds drift by a third within an hour on a shared machine, so everything that is compared runs in turn,
each time in a fresh process, and only the ratios of one run are worth quoting.
"""
