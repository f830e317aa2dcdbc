"""Tests for code that owns processes: leaks are named, every cancellation point is swept."""
