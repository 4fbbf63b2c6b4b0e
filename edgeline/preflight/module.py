"""The user's module: syntax, functions, imports, and the names that parameters ask it for."""

from __future__ import annotations

from collections.abc import Iterator

from edgeline.errors import EdgelineError, did_you_mean
from edgeline.preflight.given import GivenRun

FUNCTIONS = {"preprocessing_fn": ("inputs",), "build_model": ("features", "hyperparameters")}


def source(run: GivenRun) -> Iterator[str]:
    """A module that is not there or is not Python, without its functions, or that imports what is
    not there."""
    if isinstance(run.code, EdgelineError):
        yield f"Parameter module: {run.code}"
    if (module := run.module) is None:
        return
    yield from module.faults
    place = module.code.shown(module.code.entry)
    for name, arguments in FUNCTIONS.items():
        given = f"{name}({', '.join(arguments)})"
        if module.lacks(name):
            yield f"{place} has no function {name}: add it."
        elif line := module.cannot_take(name, len(arguments)):
            yield f"{place}:{line}: {name} cannot be called as {given}: fix its arguments."
        elif line := module.gives_nothing(name):
            what = "a compiled Keras model" if name == "build_model" else "features by name"
            yield f"{place}:{line}: {name} returns nothing: return {what}."
    for name, source_module, path, line in module.missing_names():
        yield (
            f"{module.code.shown(path)}:{line} imports {name} from {source_module}, which does not "
            "have it: correct the name."
        )
    for statement, line in module.relative_imports():
        yield (
            f"{place}:{line}: `{statement}` is for a module in a package: give the folder, with an "
            "__init__.py, as module, or import by the file's name."
        )
    if run.here and not run.in_images:
        for package, path, line in module.missing_imports():
            yield (
                f"{module.code.shown(path)}:{line} imports {package}, which is not installed here "
                "and does not lie beside it: install it, or put it there."
            )


def label(run: GivenRun) -> Iterator[str]:
    """A label, or its vocabulary, that the module does not make."""
    if (module := run.module) is None:
        return
    place, wanted = module.code.shown(module.code.entry), run.text("label")
    made = module.returned_keys("preprocessing_fn")
    if wanted and made is not None and wanted not in made:
        hint = did_you_mean(wanted, sorted(made), "It returns")
        yield f"Parameter label: preprocessing_fn of {place} returns no {wanted!r}. {hint}"
    vocabulary, known = run.text("label_vocabulary"), module.vocabularies()
    if vocabulary and known is not None and vocabulary not in known:
        hint = did_you_mean(vocabulary, sorted(known), "Its vocab_filenames are")
        yield f"Parameter label_vocabulary: {place} makes no vocabulary {vocabulary!r}. {hint}"


def features(run: GivenRun) -> Iterator[str]:
    """Features that build_model takes and preprocessing_fn does not make; the label is none."""
    made = run.module.returned_keys("preprocessing_fn") if run.module else None
    if run.module is None or made is None:
        return
    place = run.module.code.shown(run.module.code.entry)
    given = sorted(made - {run.text("label")})
    for name, line in run.module.required_items("build_model", 0):
        if name not in given:
            hint = did_you_mean(name, given, "There are")
            yield (
                f"{place}:{line}: build_model reads the feature {name!r}, which preprocessing_fn "
                f"does not return beside the label. {hint}"
            )


def hyperparameters(run: GivenRun) -> Iterator[str]:
    """What build_model takes out of its hyperparameters and they do not have."""
    given = run.values.get("hyperparameters")
    if (module := run.module) is None or not isinstance(given, dict) or not run.is_final:
        return
    place = module.code.shown(module.code.entry)
    for name, line in module.required_items("build_model", 1):
        if name not in given:
            yield (
                f"{place}:{line}: build_model reads the hyperparameter {name!r}, which "
                f"hyperparameters does not have: give it. {did_you_mean(name, given, 'They have')}"
            )
