"""What sigstore's `model_signing` says of a signed folder with one byte after another changed.

Runs in the environment of build_referees.sh. Takes on its standard input a JSON object with
`folder`, `key` (the public key's path) and `changes`, each a file, an offset and another value for
that byte. Prints the places of the changes that it accepts, as a JSON list. The folder itself has
to be accepted, before the first change and after the last.
"""

import json
import sys
from pathlib import Path

from model_signing import hashing, verifying


def accepts(folder: Path, key: str) -> bool:
    """As the command `model_signing verify key` asks."""
    signature = folder / "model.sig"
    hashed = hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=True)
    asked = verifying.Config().use_elliptic_key_verifier(public_key=key)
    try:
        asked.set_hashing_config(hashed).verify(folder, signature)
    except Exception:
        return False
    return True


def main() -> None:
    given = json.load(sys.stdin)
    folder, key = Path(given["folder"]), given["key"]
    assert accepts(folder, key)
    accepted = []
    for place, (name, offset, value) in enumerate(given["changes"]):
        with (folder / name).open("r+b") as file:
            file.seek(offset)
            before = file.read(1)
            file.seek(offset)
            file.write(bytes([value]))
        if accepts(folder, key):
            accepted.append(place)
        with (folder / name).open("r+b") as file:
            file.seek(offset)
            file.write(before)
    assert accepts(folder, key)
    json.dump(accepted, sys.stdout)


if __name__ == "__main__":
    main()
