"""Runs in the peers' environment: PyPI `auditchain` by its own API, for tamper.peers.auditchain.

python drive_auditchain.py append|read|forge|guess STORE KEY       texts as JSON on standard input
"""

import asyncio
import json
import sys
from pathlib import Path

from auditchain import AuditLog, SqliteBackend  # type: ignore[import-not-found,unused-ignore]
from auditchain.hash import compute_record_hash  # type: ignore[import-not-found,unused-ignore]


async def main(verb: str, store: str, key: str, texts: list[str]) -> object:
    if verb == "forge":
        for path in Path(store).parent.glob(Path(store).name + "*"):
            path.unlink()
    log = AuditLog(SqliteBackend(store), signing_key=Path(key).read_bytes())
    await log.init()
    try:
        if verb in ("append", "forge"):
            for text in texts:
                await log.append("app", "record", text)
            return len(texts)
        records = await log.backend.load()
        if verb == "read":
            return [record.subject for record in records]
        from dataclasses import replace

        last = records[-1]
        return [compute_record_hash(replace(last, subject=text), None) for text in texts]
    finally:
        await log.close()


if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], given or []))))
