"""The tamper matrix: attacks acted out on a live log, and on what people use today. See docs/tamper-matrix.md."""
