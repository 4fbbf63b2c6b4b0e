"""What a signed repository holds, who has signed, what is missing and what will expire."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from rich.console import Console
from rich.table import Table
from tuf.api.metadata import Targets

from edgeline.artifacts import waves
from edgeline.repository import listing, roles
from edgeline.repository.place import open_place
from edgeline.repository.roles import ROLES


def status(repository: str) -> dict[str, Any]:
    """The roles, the published versions and what waits, as JSON values.

    Raises:
        EdgelineError: there is no repository, or it is damaged.
    """
    state = roles.read(open_place(repository))
    return {
        "repository": repository,
        "roles": {role: _role(state, role) for role in ROLES},
        "versions": _versions(state.live.get("targets")),
        "staged_versions": _versions(state.staged.get("targets")),
        "candidates": _candidates(state.live.get("targets")),
        "rollouts": _rollouts(state),
        "usual_waves": _usual_waves(state),
    }


def show(repository: str, as_json: bool) -> None:
    """Print the status as a table or as JSON."""
    found = status(repository)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    console = Console()
    table = Table("role", "version", "expires", "needs", "keys", "state", box=None)
    for name, role in found["roles"].items():
        table.add_row(
            name,
            str(role["version"] or "-"),
            _in_words(role["expires"]),
            f"{role['threshold']} of {len(role['keys'])}",
            " ".join(
                f"[{'green' if key in role['signed'] else 'dim'}]{key[:8]}[/]"
                for key in role["keys"]
            ),
            _state(role),
        )
    console.print(table)
    staged = [v for v in found["staged_versions"] if v not in found["versions"]]
    for title, versions in (("published", found["versions"]), ("waiting", staged)):
        for name in sorted({version["name"] for version in versions}):
            mine = [v for v in versions if v["name"] == name]
            numbers = ", ".join(map(_number, mine[-8:]))
            console.print(f"{title}: [bold]{name}[/] {numbers}", highlight=False)
    for rollout in found["rollouts"]:
        waiting = "" if rollout["live"] else "waiting for signatures: "
        what = f"{waiting}rolling out: [bold]{rollout['name']}[/] {rollout['version']}"
        since = f" since {rollout['opened'][-1]}" if rollout["open"] else ""
        after = f"; next {rollout['next']['sentence']}" if rollout["next"] else ""
        console.print(f"{what}, {rollout['current']} is open{since}{after}", highlight=False)
    for name, usual in found["usual_waves"].items():
        console.print(f"usual waves: [bold]{name}[/] {'; '.join(usual)}", highlight=False)
    for name, candidates in found["candidates"].items():
        console.print(f"candidates: [bold]{name}[/] {', '.join(candidates)}", highlight=False)


def _usual_waves(state: roles.RepositoryState) -> dict[str, list[str]]:
    """By model the waves of versions that come without any, for people."""
    live = state.live.get("targets")
    found = listing.usual_waves(live.signed) if live else {}
    return {
        name: [waves.described(plan, number) for number in range(len(plan.waves))]
        for name, plan in sorted(found.items())
    }


def _rollouts(state: roles.RepositoryState) -> list[dict[str, Any]]:
    """The versions with waves: which are open since when, and what the next one waits for."""
    live, newest = state.live.get("targets"), state.newest("targets")
    seen, now = listing.rollouts(live.signed) if live else {}, datetime.now(timezone.utc)
    found: list[dict[str, Any]] = []
    for name, versions in sorted(listing.rollouts(newest.signed).items() if newest else ()):
        for version, (plan, _) in sorted(versions.items()):
            is_live = seen.get(name, {}).get(version, (None,))[0] == plan
            begun = plan.begun(now)
            following = len(begun) if len(begun) < len(plan.waves) else None
            known = {"name": name, "version": version, **plan.to_json(), "open": len(begun)}
            known["opened"] = [time.isoformat() for time in begun]
            known["current"] = waves.described(plan, len(begun) - 1) if begun else "no wave"
            known["live"] = is_live
            known["next"] = None if following is None else waves.waits(plan, following, now)
            found.append(known)
    return found


def _role(state: roles.RepositoryState, role: str) -> dict[str, object]:
    metadata = state.newest(role)
    wanted = state.root.signed.roles[role]
    now = datetime.now(timezone.utc)
    return {
        "version": metadata.signed.version if metadata else 0,
        "live_version": state.live[role].signed.version if role in state.live else 0,
        "expires": metadata.signed.expires.isoformat() if metadata else None,
        "expired": bool(metadata and metadata.signed.is_expired(now)),
        "threshold": wanted.threshold,
        "keys": sorted(wanted.keyids),
        "signed": sorted(metadata.signatures) if metadata else [],
        "missing": roles.missing(state, role),
        "staged": role in state.staged,
    }


def _versions(metadata: Any) -> list[dict[str, object]]:
    targets: Targets | None = metadata.signed if metadata else None
    listed = listing.manifests(targets) if targets else {}
    found = [dict(each.custom) for versions in listed.values() for each in versions.values()]
    return sorted(found, key=lambda entry: (entry["name"], entry["version"]))


def _candidates(metadata: Any) -> dict[str, list[str]]:
    """The names of the candidates that may be promoted, by model."""
    listed = listing.candidates(metadata.signed) if metadata else {}
    return {name: sorted(each) for name, each in sorted(listed.items())}


def _number(version: dict[str, Any]) -> str:
    notes = [*version["labels"], *(["withdrawn"] if version.get("withdrawn") else [])]
    return f"{version['version']}" + (f" ({', '.join(notes)})" if notes else "")


def _state(role: dict[str, Any]) -> str:
    if role["missing"]:
        count = role["missing"]
        return f"[red]waits for {count} signature{'s' * (count > 1)}[/]"
    if role["staged"]:
        return "[yellow]waits for the other roles[/]"
    return "[red]expired: sign it[/]" if role["expired"] else "[green]live[/]"


def _in_words(expires: str | None) -> str:
    if expires is None:
        return "-"
    left = datetime.fromisoformat(expires) - datetime.now(timezone.utc)
    if left < timedelta(0):
        return f"[red]{expires[:10]}[/]"
    days, hours = left.days, left.seconds // 3600
    return f"{expires[:10]} (in {f'{days} d' if days else f'{hours} h'})"
