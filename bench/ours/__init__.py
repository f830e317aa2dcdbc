"""Ours, written as the READMEs say: no option that a user would not set, no result unchecked."""
