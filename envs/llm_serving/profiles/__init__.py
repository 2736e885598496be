"""Fitted step times and memory of one GPU serving one model, a JSON file each, read by `latency.GpuProfile`.

Made by `benchmarks/fit_latency.py`, never by hand; docs/latency.md says what the numbers are worth.
"""
