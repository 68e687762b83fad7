"""`make mutate`: changes the source, one spot at a time, and tells which changes no test notices.

    python -m tests.mutation run [every=K] [ROOM...]  # go on where the last run stopped
    python -m tests.mutation summary [ROOM...]        # what is known so far

With `every=K` only each K-th change is tried, in the order in which the tool makes them, and those of by_hand.py all.

Nothing is changed in place: every room has a copy of the tree and a session of cosmic-ray in `.cache/mutate/ROOM`. A
session is begun anew when the modules of its room have changed; when only tests have changed, the changes that had
survived are tried again. Survivors are expected in `survivors.toml`, each with the reason why no test can notice it.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .by_hand import BY_HAND, Change
from .rooms import ROOMS, SKIPPED, UNTRIED, Room

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "mutate"
COPIED = ("entropyprune_ref", "tests", "results", "pyproject.toml", "README.md")
ASIDE = "not in the sample"
ENVIRONMENT = {
    "HYPOTHESIS_PROFILE": "mutate",
    "PYTHONDONTWRITEBYTECODE": "1",  # two changes within one second would share their bytecode
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "HF_HUB_OFFLINE": "1",
}


def main(arguments: list[str]) -> int:
    """Runs rooms, or only sums up; 1 if a survivor has no reason or too many survive."""
    command, *names = arguments
    every = next((int(name.removeprefix("every=")) for name in names if name.startswith("every=")), 1)
    names = [name for name in names if not name.startswith("every=")] or list(ROOMS)
    if command == "run":
        for name in names:
            run(name, ROOMS[name], every)
    return summary(names)


def run(name: str, room: Room, every: int = 1) -> None:
    """Prepares the session of a room if needed, and executes what is left of it."""
    folder = CACHE / name
    tree, session, config = folder / "tree", folder / "session.sqlite", folder / "config.toml"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(tree, ignore_errors=True)
    for entry in COPIED:
        if (ROOT / entry).is_dir():
            shutil.copytree(ROOT / entry, tree / entry, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / entry).exists():
            shutil.copy(ROOT / entry, tree / entry)
    shutil.copytree(tree / "entropyprune_ref", folder / "unchanged" / "entropyprune_ref", dirs_exist_ok=True)
    socket = Path("/tmp") / f"mutate-{os.getpid()}-{name}"  # the path of a socket must be short
    asked = [sys.executable, "-S", "-E", str(tree / "tests/mutation/ask.py"), str(socket)]
    config.write_text(_config(room, " ".join(asked)))
    files = [path for path in sorted((tree / "tests").rglob("*.py")) if path.parent.name != "mutation"]
    tests = _digest(files) + repr(room)
    if not room.by_hand:
        _prepare(folder, tree, config, room, tests)
        _sample(session, every)
    targets = [*room.tests, *(f"entropyprune_ref/{module}" for module in room.modules)]
    with open(folder / "log.txt", "w") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.mutation.warm",
                str(socket),
                str(CACHE / "touched"),
                str(len(room.modules)),
                *targets,
            ],
            cwd=tree,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(tree)},
            stdout=log,
            stderr=log,
        )
    try:
        began = time.monotonic()
        while not socket.exists():
            if server.poll() is not None:
                raise RuntimeError(f"{name}: the process that runs the tests has ended, see {folder / 'log.txt'}")
            time.sleep(0.2)
        passed, state = folder / "passed.txt", _digest(_sources(tree, ".")) + tests
        if not passed.exists() or passed.read_text() != state:
            if subprocess.run(asked, cwd=tree).returncode:
                raise RuntimeError(f"{name}: the tests must pass without any change, see {folder / 'log.txt'}")
            passed.write_text(state)
        print(f"{name}: ready after {time.monotonic() - began:.0f} s", flush=True)
        _try_by_hand(folder, room, asked, tests)
        if not room.by_hand:
            _cosmic("exec", str(config), str(session), folder=tree)
    finally:
        server.kill()
        server.wait()
        socket.unlink(missing_ok=True)


def _prepare(folder: Path, tree: Path, config: Path, room: Room, tests: str) -> None:
    """Begins the session anew if modules have changed; if only tests have, forgets the changes that had survived."""
    session, told = folder / "session.sqlite", folder / "digest.json"
    modules = _digest(sorted(path for module in room.modules for path in _sources(tree, module)))
    known = json.loads(told.read_text()) if told.exists() else {}
    if known.get("modules") != modules or not session.exists():
        session.unlink(missing_ok=True)
        _cosmic("init", str(config), str(session), folder=tree)
        _skip(session, tree)
    elif known.get("tests") != tests:
        with sqlite3.connect(session) as database:
            database.execute("delete from work_results where test_outcome = 'SURVIVED'")
    told.write_text(json.dumps({"modules": modules, "tests": tests}))


def _sample(session: Path, every: int) -> None:
    """Leaves aside, until the next run, all changes but each `every`-th; what has been tried stays so."""
    with sqlite3.connect(session) as database:
        database.execute("delete from work_results where output = ?", (ASIDE,))
        tried = "select job_id from work_results where worker_outcome = 'SKIPPED'"
        rows = database.execute(f"select job_id from mutation_specs where job_id not in ({tried}) order by rowid")
        aside = [(ASIDE, job) for place, (job,) in enumerate(rows.fetchall()) if place % every]
        statement = "insert or ignore into work_results values ('SKIPPED', ?, null, null, ?)"
        database.executemany(statement, aside)


def _try_by_hand(folder: Path, room: Room, asked: list[str], tests: str) -> None:
    """Tries the changes of by_hand.py whose outcome is not known."""
    known = _known_by_hand(folder)
    for module, change in _by_hand(room):
        path = folder / "tree" / "entropyprune_ref" / module
        before = path.read_text()
        if before.count(change[0]) != 1:
            raise ValueError(f"by_hand.py must name something that is in {module} once, got {change[0]!r}")
        key = hashlib.sha256("\0".join((before, *change)).encode()).hexdigest()
        if known.get(key) in ("noticed", tests):
            continue
        path.write_text(before.replace(*change))
        noticed = subprocess.run(asked, cwd=folder / "tree").returncode != 0
        path.write_text(before)
        known[key] = "noticed" if noticed else tests
        (folder / "by_hand.json").write_text(json.dumps(known))


def _by_hand(room: Room) -> list[tuple[str, Change]]:
    return [
        (module, change)
        for module, changes in BY_HAND.items()
        if any(module == own or module.startswith(f"{own}/") for own in room.modules)
        for change in changes
    ]


def _known_by_hand(folder: Path) -> dict[str, str]:
    path = folder / "by_hand.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _skip(session: Path, tree: Path) -> None:
    """Leaves out what rooms.py says is not worth a try."""
    skipped = []
    with sqlite3.connect(session) as database:
        query = "select job_id, module_path, operator_name, start_pos_row, start_pos_col from mutation_specs"
        for job, module, operator, row, start in database.execute(query).fetchall():
            before = (tree / module).read_text().splitlines()[row - 1][:start]
            if any(re.match(name, operator) for name in SKIPPED) or any(
                re.search(name, operator) and re.search(place, before) for name, place in UNTRIED
            ):
                skipped.append((job,))
        statement = "insert into work_results values ('SKIPPED', 'not worth a try', null, null, ?)"
        database.executemany(statement, skipped)


def _config(room: Room, command: str) -> str:
    paths = json.dumps([f"entropyprune_ref/{module}" for module in room.modules])
    return (
        f'[cosmic-ray]\nmodule-path = {paths}\ntimeout = 3600.0\nexcluded-modules = []\ntest-command = "{command}"\n'
        '[cosmic-ray.distributor]\nname = "local"\n'
    )


def summary(names: Iterable[str]) -> int:
    """Prints what was killed, by room, every survivor that has no reason yet, and every reason that no survivor has."""
    reasons = tomllib.loads((Path(__file__).parent / "survivors.toml").read_text()).get("survivor", [])
    explained = {(entry["module"], entry["old"], entry["new"]): entry["reason"] for entry in reasons}
    print(f"{'room':<12}{'changes':>9}{'tried':>7}{'noticed':>9}{'survived':>10}{'explained':>11}{'rate':>8}")
    total: Counter[str] = Counter()
    unexplained, stale = [], []
    for name in names:
        if not (CACHE / name / "config.toml").exists():
            print(f"{name:<12}   not run")
            continue
        counts, survivors = _results(CACHE / name, ROOMS[name])
        known = [change for change in survivors if change in explained]
        unexplained += [change for change in survivors if change not in explained]
        if counts["noticed"] + counts["survived"] == counts["changes"]:
            own = tuple(f"entropyprune_ref/{module}" for module in ROOMS[name].modules)
            stale += [change for change in explained if change[0].startswith(own) and change not in known]
        counts["explained"] = len(known)
        total += counts
        _print(name, counts)
    _print("all", total)
    for module, old, new in unexplained:
        print(f"\nsurvived, without a reason: {module}\n  - {old}\n  + {new}")
    for module, old, new in stale:
        print(f"\na reason, and no survivor: {module}\n  - {old}\n  + {new}")
    tried = total["noticed"] + total["survived"]
    return int(bool(unexplained or stale) or (tried > 0 and total["noticed"] < 0.95 * tried))


def _print(name: str, counts: Counter[str]) -> None:
    tried = counts["noticed"] + counts["survived"]
    print(
        f"{name:<12}{counts['changes']:>9}{tried:>7}{counts['noticed']:>9}{counts['survived']:>10}"
        f"{counts['explained']:>11}{counts['noticed'] / max(tried, 1):>8.1%}"
    )


def _results(folder: Path, room: Room) -> tuple[Counter[str], list[tuple[str, str, str]]]:
    """Counts, and every survivor as module, line before and line after."""
    query = (
        "select m.module_path, m.operator_name, m.operator_args, m.occurrence, "
        "r.worker_outcome, r.test_outcome, r.output "
        "from mutation_specs m left join work_results r on m.job_id = r.job_id"
    )
    counts: Counter[str] = Counter()
    survivors: list[tuple[str, str, str]] = []
    known = _known_by_hand(folder)
    for module, (old, new) in _by_hand(room):
        text = (folder / "unchanged" / "entropyprune_ref" / module).read_text()
        outcome = known.get(hashlib.sha256("\0".join((text, old, new)).encode()).hexdigest())
        counts.update(["changes"] + (["noticed" if outcome == "noticed" else "survived"] if outcome else []))
        if outcome not in (None, "noticed"):
            survivors.append((f"entropyprune_ref/{module}", old, new))
    rows = []
    if not room.by_hand:
        with sqlite3.connect(folder / "session.sqlite") as database:
            rows = database.execute(query).fetchall()
    for module, operator, arguments, occurrence, worker, outcome, output in rows:
        if worker == "SKIPPED" and output != ASIDE:
            continue
        counts["changes"] += 1
        if outcome in ("KILLED", "INCOMPETENT"):
            counts["noticed"] += 1
        elif outcome == "SURVIVED":
            change = _change(folder / "unchanged" / module, operator, arguments, occurrence)
            if change is None:
                counts["changes"] -= 1
                continue
            counts["survived"] += 1
            survivors.append((module, *change))
    return counts, survivors


def _change(path: Path, operator: str, arguments: str | None, occurrence: int) -> tuple[str, str] | None:
    """The first line that differs, before and after; None if it says the same, as 1e140 and 1e140 + 1 do."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    before = path.read_text()
    given = json.loads(arguments or "{}")
    given = json.loads(given) if isinstance(given, str) else given
    after = mutate_code(before, get_operator(operator)(**given), occurrence) or before
    if ast.dump(ast.parse(before)) == ast.dump(ast.parse(after)):
        return None
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return next(((old.strip(), new.strip()) for old, new in pairs if old != new), ("", ""))


def _sources(tree: Path, module: str) -> list[Path]:
    path = tree / "entropyprune_ref" / module
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _cosmic(command: str, *arguments: str, folder: Path) -> None:
    subprocess.run(
        [_tool("cosmic-ray"), command, *arguments], cwd=folder, check=True, env={**os.environ, **ENVIRONMENT}
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
