"""Where inputs come from, one at a time, when asked."""
