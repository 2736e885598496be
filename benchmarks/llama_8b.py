"""Llama-3.1-8B in bf16: its sizes, and the knots that its latency model may have."""

from __future__ import annotations

WEIGHTS_BYTES = int(8.03e9) * 2  # bf16
KV_BYTES_PER_TOKEN = 32 * 2 * 8 * 128 * 2  # layers x (K, V) x KV heads x head size x bf16
KV_BLOCK_TOKENS = 16

CANDIDATES = {
    "tokens": (0, 16, 32, 64, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 2048, 4096),
    "attention": (0, 100, 2e3, 3e4, 1.3e5, 5e5, 2e6, 8e6, 3e7, 1e8),
    "sequences": (0, 1, 4, 16, 64, 128, 256, 512),
    "kv": (0, 256, 1024, 4096, 16384, 65536, 131072, 262144),
}
MOST_KNOTS = {"tokens": 6, "attention": 6, "sequences": 4, "kv": 4}
