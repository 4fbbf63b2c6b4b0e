"""The environment of benchmarks: nothing in it slows one side more than the other."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = sorted(
    path for path in BENCHMARKS.glob("*.py") if 'if __name__ == "__main__":' in path.read_text()
)
SET = ("PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME", "COVERAGE_PROCESS_START")
PROGRAM = """
import multiprocessing, os, subprocess, sys
from environment import DISTORTING, undistorted

def told():
    found = sorted(DISTORTING & os.environ.keys())
    return f"{found} {sys.flags.dont_write_bytecode} {sys.dont_write_bytecode} {sys.argv[1:]}"

def tell():
    print(told(), flush=True)

if __name__ == "__main__":
    undistorted()
    tell()
    child = multiprocessing.get_context("spawn").Process(target=tell)
    child.start()
    child.join()
    code = "import os, sys; print('PYTHONDONTWRITEBYTECODE' in os.environ, sys.dont_write_bytecode)"
    subprocess.run([sys.executable, "-c", code], check=True)
"""


@pytest.mark.parametrize("flags", [[], ["-B"], ["-O"], ["-X", "importtime"], ["-X", "dev"]])
@pytest.mark.parametrize("variables", [{}, dict.fromkeys(SET, "1")])
def test_no_process_of_a_benchmark_has_what_distorts_it(tmp_path, flags, variables):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    clean = {name: value for name, value in os.environ.items() if name not in SET}
    ended = subprocess.run(
        [sys.executable, *flags, program, "--rounds", "two words"],
        env={**clean, **variables, "PYTHONPATH": str(BENCHMARKS)},
        capture_output=True,
        text=True,
        check=True,
    )
    line = "[] 0 False ['--rounds', 'two words']"
    assert ended.stdout.splitlines() == [line, line, "False False"]
    assert ("Starting again without" in ended.stderr) == bool(flags or variables)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_every_benchmark_sees_to_it_first(path):
    body = ast.parse(path.read_text()).body
    functions = {node.name: node.body for node in body if isinstance(node, ast.FunctionDef)}
    first = body[-1].body[0]  # of what runs as a program
    if ast.unparse(first) in ("main()", "sys.exit(main())"):
        statements = functions["main"]
        documented = isinstance(statements[0], ast.Expr) and isinstance(
            statements[0].value, ast.Constant
        )
        first = statements[documented]
    assert ast.unparse(first) == "undistorted()"


def test_there_are_benchmarks():
    assert len(PROGRAMS) > 7
