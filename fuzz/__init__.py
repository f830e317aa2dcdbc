"""Hostile bytes for everything that reads them. `nox -s fuzz` runs it, from `seeds/` onwards, which it also fills."""
