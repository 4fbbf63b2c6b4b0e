"""A module with files of its own: beside it, in a folder, in a package, in a zip."""

import hashlib
import inspect
import io
import sys
import zipfile
from pathlib import Path

import pytest

from edgeline import user_code
from edgeline.errors import EdgelineError, UsageError
from edgeline.stores import remote

MODULE = (
    "import near\nfrom parts.deep import value\n\n"
    "def f():\n    import lazy\n    return value, lazy.x\n"
)
FILES = {
    "module.py": MODULE,
    "near.py": "import json\nx = 1\n",
    "lazy.py": "x = 3\n",
    "json.py": "raise ValueError('not the library')\n",
    "unused.py": "raise ValueError\n",
    "parts/__init__.py": "from . import deep\n",
    "parts/deep.py": "from near import x\nfrom .deeper import y\nvalue = x + y\n",
    "parts/deeper.py": "y = 1\n",
}


@pytest.fixture
def code(tmp_path):
    """A folder of modules; more of them, or others, by path."""

    def write(files=None, name="code"):
        for path, text in {**FILES, **(files or {})}.items():
            place = tmp_path / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return tmp_path / name

    return write


def packed(folder, names=None, inside=""):
    path = folder.with_name("code.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.py")):
            archive.write(file, inside + file.relative_to(folder).as_posix())
        for name in names or ():
            archive.writestr(name, "x = 1\n")
    return str(path)


def test_a_file_imports_what_lies_beside_it(code):
    module = user_code.load(str(code() / "module.py"))
    assert module.f() == (2, 3)
    assert sys.modules["json"].loads("1") == 1
    assert inspect.getsource(sys.modules["near"]) == FILES["near.py"]  # AutoGraph asks for it


@pytest.mark.parametrize("inside", ["", "code/"])
def test_a_folder_and_a_zip_of_it(code, inside):
    folder = code()
    assert user_code.load(str(folder)).f() == (2, 3)
    assert user_code.load(packed(folder, inside=inside)).f() == (2, 3)


def test_a_package_imports_by_its_own_name(code):
    entry = "from .near import x\nfrom pack.parts import deep\n\ndef f():\n    return deep.value\n"
    deep = {"parts/deep.py": "from ..near import x\nvalue = x + 1\n"}
    folder = code({"__init__.py": "", "module.py": entry, **deep}, "pack")
    assert user_code.load(f"{folder}/").f() == 2
    assert user_code.load(packed(folder, inside="pack/")).f() == 2
    (folder / "module.py").unlink()
    (folder / "__init__.py").write_text(entry)
    assert user_code.load(str(folder)).f() == 2


def test_the_pin_is_of_all_that_is_imported_and_of_nothing_else(code):
    folder = code()
    entry = str(folder / "module.py")
    pinned = user_code.pin(entry)
    assert pinned == f"{entry}#sha256={pinned[-64:]}"
    assert user_code.load(pinned).f() == (2, 3)
    code({"unused.py": "x = 2\n"})
    assert user_code.pin(entry) == pinned
    code({"parts/deeper.py": "y = 2\n"})
    assert user_code.pin(entry) != pinned
    with pytest.raises(EdgelineError, match=f"{pinned[-64:]} is pinned"):
        user_code.load(pinned)


def test_the_pin_of_a_file_alone_and_of_a_zip_is_theirs(code, tmp_path):
    alone = tmp_path / "alone.py"
    alone.write_text("x = 1\n")
    for path in (str(alone), packed(code())):
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        assert user_code.pin(path) == f"{path}#sha256={digest}"
        user_code.load(f"{path}#sha256={digest}")


def test_an_edit_beside_the_module_is_seen_by_the_next_load(code):
    entry = str(code() / "module.py")
    assert user_code.load(entry).f() == (2, 3)
    code({"parts/deeper.py": "y = 5\n", "lazy.py": "x = 4\n"})
    assert user_code.load(entry).f() == (6, 4)


def test_two_codes_with_modules_of_one_name(code):
    first = user_code.load(str(code() / "module.py"))
    second = user_code.load(str(code({"lazy.py": "x = 8\n"}, "other") / "module.py"))
    assert (second.f(), first.value) == ((2, 8), 2)


def test_a_file_that_imports_itself_by_way_of_another(code):
    folder = code({"module.py": "import near\nLABEL = 'fault'\n", "near.py": "import module\n"})
    assert user_code.load(str(folder / "module.py")).LABEL == "fault"


def test_a_mistake_in_a_neighbour_is_told_by_its_line(code):
    folder = code({"near.py": "x = 1\ny = x / 0\n"})
    with pytest.raises(EdgelineError, match=r"near\.py:2 \(y = x / 0\): ZeroDivisionError"):
        user_code.load(str(folder / "module.py"))


def test_a_name_that_is_installed_too_is_refused(code):
    folder = code({"module.py": "import yaml\n", "yaml.py": ""})
    with pytest.raises(UsageError, match=r"yaml\.py has the name of another module, .*rename"):
        user_code.load(str(folder / "module.py"))


def test_a_folder_that_is_on_the_path_is_not_another(code, monkeypatch):
    folder = code()
    monkeypatch.syspath_prepend(str(folder))
    assert user_code.load(str(folder / "module.py")).f() == (2, 3)


def test_a_link_out_of_the_folder_is_refused(code, tmp_path):
    folder = code()
    (tmp_path / "elsewhere.py").write_text("x = 1\n")
    (folder / "near.py").unlink()
    (folder / "near.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(UsageError, match=r"near\.py is a link out of"):
        user_code.load(str(folder / "module.py"))


def test_a_mounted_configmap_is_links_within_itself(code):
    folder = code(name="..data")
    mount = folder.with_name("mount")
    mount.mkdir()
    folder.rename(mount / "..data")
    for file in (mount / "..data").iterdir():
        (mount / file.name).symlink_to(f"..data/{file.name}")
    assert user_code.load(str(mount / "module.py")).f() == (2, 3)


@pytest.mark.parametrize("name", ["../out.py", "/out.py", "a\\..\\out.py", "C:out.py"])
def test_a_zip_whose_names_lead_out_of_it_is_refused(code, name):
    with pytest.raises(UsageError, match="a name out of the folder"):
        user_code.load(packed(code(), [name]))


def test_a_zip_with_a_link_is_refused(code):
    path = packed(code())
    link = zipfile.ZipInfo("link.py")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UsageError, match=r"link\.py, a link"):
        user_code.load(path)


def test_a_zip_that_unpacks_to_far_more_is_refused(code):
    path = packed(code())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("huge.py", b"#" * (40 << 20))
    with pytest.raises(UsageError, match="more than 16 MiB or 1000 files of Python"):
        user_code.load(path)


def test_a_web_address_lists_no_folder():
    with pytest.raises(
        UsageError, match="https://host/code is a web address, which lists no folder"
    ):
        user_code.load("https://user:secret@host/code?signed=1")


def test_what_is_no_zip_and_what_holds_no_module(tmp_path):
    path = tmp_path / "code.zip"
    path.write_bytes(b"PK nothing")
    with pytest.raises(EdgelineError, match=r"code\.zip is not a zip"):
        user_code.load(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("taxi.py", "")
    with pytest.raises(UsageError, match=r"has neither module\.py nor __init__\.py: give an"):
        user_code.load(str(path))


def test_a_package_whose_folder_cannot_be_a_name(code):
    with pytest.raises(UsageError, match="'cold-store' is not a name that it can be imported by"):
        user_code.load(str(code({"__init__.py": ""}, "cold-store")))


def test_a_folder_and_a_zip_in_a_store(code, monkeypatch):
    folder = code({"pack/__init__.py": "", "pack/module.py": "from pack.near import x\n"})
    code({"pack/near.py": "x = 7\n"})
    objects = {
        f"bucket/code/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for file in folder.rglob("*.py")
    }
    objects["bucket/code.zip"] = Path(packed(folder)).read_bytes()
    monkeypatch.setattr(remote, "list_keys", lambda _, prefix: [k for k in objects if prefix in k])
    monkeypatch.setattr(remote, "open_remote", lambda at: io.BytesIO(objects[at.split("//")[1]]))
    assert user_code.load("s3://bucket/code").f() == (2, 3)
    assert user_code.load("s3://bucket/code.zip").f() == (2, 3)
    assert user_code.load("s3://bucket/code/pack/").x == 7
    digest = user_code.pin(str(folder)).partition("=")[2]
    assert user_code.load(f"s3://bucket/code#sha256={digest}").f() == (2, 3)
    with pytest.raises(EdgelineError, match="is pinned"):
        user_code.load(f"s3://bucket/code#sha256={'0' * 64}")
