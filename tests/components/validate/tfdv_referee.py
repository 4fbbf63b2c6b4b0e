"""TFDV's validator on many cases, in Python 3.11 without any package, for test_validate_referee.

Reads a pickled list of cases from stdin, each the arguments of `ValidateFeatureStatistics` as
bytes, and writes the pickled list of answers: a serialized `Anomalies`, or None where TFDV ended
itself, as it does where a statistic is not what it takes for granted. So each case has a process of
its own.
"""

import importlib.util
import os
import pickle
import sys


def load(path: str):
    name = "tensorflow_data_validation_extension"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.validation.ValidateFeatureStatistics


def answer(validate, case):
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # its log
        found = validate(*case, b"", b"", False)
        with os.fdopen(there, "wb") as stream:
            stream.write(b"+" + (found if isinstance(found, bytes) else found.encode("latin-1")))
        os._exit(0)
    os.close(there)
    with os.fdopen(here, "rb") as stream:
        found = stream.read()
    os.waitpid(child, 0)
    return found[1:] if found else None


if __name__ == "__main__":
    validate = load(sys.argv[1])
    answers = [answer(validate, case) for case in pickle.load(sys.stdin.buffer)]
    pickle.dump(answers, sys.stdout.buffer)
