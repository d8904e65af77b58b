"""The gate's commands: joins suites (which measure) with reports (which judge). Only runner.py imports it."""
