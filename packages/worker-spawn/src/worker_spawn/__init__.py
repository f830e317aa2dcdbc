"""A child process is a worker."""
