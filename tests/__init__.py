"""Tests against real parts: the server's own environment, PostgreSQL, a bucket, a browser, an engine."""
