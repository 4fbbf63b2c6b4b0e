"""Publishing without a signature where devices take only what is signed."""

from __future__ import annotations

from typing import Protocol

from edgeline.errors import EdgelineError

# what `edgeline repository init` writes first: live, or waiting for more signatures
ROOTS = ("metadata/1.root.json", "metadata/staged/root.json")
SIGNED_AT = "x-edgeline-signed"  # of each role: when it was signed, ISO 8601


class BrowsableStore(Protocol):
    """A store that can look around."""

    def signed_repositories(self) -> tuple[str, str]:
        """The signed repository that the destination is or lies in, and one right below it.

        Each as an address, empty where there is none or it may not be looked for.
        """


def refuse_signed(store: BrowsableStore, destination: str) -> None:
    """Refuse a destination that is, lies in or holds a signed repository.

    A bundle there would be published, and no device would ever see it.

    Raises:
        EdgelineError: it names the repository and how to publish into it.
    """
    around, below = store.signed_repositories()
    if around:
        lies = "lies in" if around.rstrip("/") != destination.rstrip("/") else "is"
        raise EdgelineError(
            f"The destination {destination} {lies} {_the(around, lies)}, whose devices never see "
            f"what is not signed: give signing_keys and the destination {around}, or add the "
            f"bundle with `edgeline repository add {around} BUNDLE --key KEY`."
        )
    if below:
        raise EdgelineError(
            f"The destination {destination} holds the signed repository {below}, whose devices "
            f"never see what is published beside it: give signing_keys and the destination "
            f"{below}, or a destination apart from it."
        )


def _the(repository: str, lies: str) -> str:
    return "a signed repository" if lies == "is" else f"the signed repository {repository}"
