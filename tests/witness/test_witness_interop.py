"""Our witness for a log, and by the client, of an independent implementation: PyPI aics-tlog and aics-witness.

They need Python 3.12, so they live in an environment of their own, made here.
"""

import glob
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from core.signers import LOG
from graven.core.note import COSIG_ED25519, format_vkey, parse_vkey
from graven.witness.cosigner import Cosigner
from graven.witness.store import Store
from graven.witness.witness import make_witness
from witness.logs import NAME
from witness.running import InThread

PACKAGES = ("aics-tlog==0.2.1", "aics-witness==0.1.0")
ORIGIN = "aics.invalid/log"

LOG_SIDE = """
import json, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
import aics_tlog as t
from aics_witness.feeder import WitnessClient, WitnessRejected, merge_cosignatures
url, witness, origin = sys.argv[1:]
key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
vkey = t.vkey_from_ed25519(origin, key.public_key())
if url == "-":
    print(t.format_vkey(vkey)); sys.exit()
tree = t.MerkleTree([b"entry %d" % k for k in range(300)])
fork = t.MerkleTree([b"entry %d" % k for k in range(255)] + [b"another"] * 45)
def sign(tree, size):
    return t.sign_checkpoint(t.Checkpoint(origin, size, tree.root(size)), key, origin).to_bytes()
counted, refused = [], []
with WitnessClient(url, witness) as client:
    for size in (1, 7, 7, 256, 300):
        note = sign(tree, size)
        whole = merge_cosignatures(note, client.submit(note, tree.consistency_proof))
        found = t.verify_checkpoint(t.parse_note(whole), vkey, [t.parse_vkey(witness)], quorum=1, max_age_seconds=60)
        counted.append([size, found.ok])
    try:
        client.submit(sign(fork, 300), fork.consistency_proof)
    except WitnessRejected as error:
        refused.append(error.status)
fresh = WitnessClient(url, witness)  # knows no size: learns it from 409
fresh.submit(sign(tree, 300), tree.consistency_proof)
print(json.dumps([counted, refused]))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python 3.12 that has the packages."""
    candidates = [shutil.which("python3.12"), *sorted(glob.glob(str(Path.home() / ".pyenv/versions/3.12*/bin/python")))]
    for found in candidates:
        if found is not None and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            break
    else:
        pytest.skip("no Python 3.12 was found, which aics-tlog and aics-witness need")
    place = tmp_path_factory.mktemp("aics")
    subprocess.run([found, "-m", "venv", place], check=True, timeout=120)
    made = subprocess.run(
        [place / "bin" / "pip", "install", "-q", *PACKAGES], capture_output=True, text=True, timeout=300, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"aics-tlog and aics-witness could not be installed: {made.stderr.strip()[-200:]}")
    return str(place / "bin" / "python")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_log_and_client_of_another_make(python: str, tmp_path: Path) -> None:
    def log_side(url: str, witness: str) -> str:
        words = [python, "-c", LOG_SIDE, url, witness, ORIGIN]
        done = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    directory = tmp_path / "w"
    make_witness(directory, NAME)
    store = Store(directory)
    store.add_key(parse_vkey(log_side("-", "")))
    store.add_key(LOG.key)
    store.close()
    (ours,) = [format_vkey(key) for key in Cosigner(directory).keys if key.type == COSIG_ED25519]
    with InThread(directory) as running:
        counted, refused = json.loads(log_side(running.url, ours))
    assert counted == [[1, True], [7, True], [7, True], [256, True], [300, True]]
    assert refused == [422]
    assert [path.name.split("-")[0] for path in (directory / "evidence").iterdir()] == ["fork"]
