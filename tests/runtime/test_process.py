"""What a serving process asks of its allocator and its garbage collector; in processes of their own."""

import subprocess
import sys
import sysconfig

import pytest

BLOCK_BYTES = 8 << 20

_KEEPS = f"""
import sys
from pathlib import Path
from graven.runtime.process import return_large_buffers
def rss(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
if sys.argv[1] == "asked":
    assert return_large_buffers()
blocks = [b"x" * {BLOCK_BYTES} for _ in range(2)]
del blocks[0]  # by itself, glibc now takes blocks of this size from the heap
blocks += [b"x" * {BLOCK_BYTES} for _ in range(8)]
last = b"y" * 100_000
before = rss()
blocks.clear()
print(before - rss())
"""

_COLLECTOR = """
import gc
from graven.runtime.process import settle_collector
kept = [[] for _ in range(1000)]
settle_collector()
assert gc.get_freeze_count() > 1000
assert gc.get_threshold()[0] > 700
loop = []; loop.append(loop); del loop
assert gc.collect() >= 1
print("ok")
"""


@pytest.mark.skipif(not sysconfig.get_config_var("HOST_GNU_TYPE").endswith("gnu"), reason="glibc's allocator")
def test_large_buffers_go_back_to_the_system() -> None:
    given_back = int(run(_KEEPS, "asked"))
    assert given_back >= 8 * BLOCK_BYTES


def test_cycles_are_still_found() -> None:
    assert run(_COLLECTOR) == "ok"


def run(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
