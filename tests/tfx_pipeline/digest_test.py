import os

import pytest

from tfx_pipeline import digest
from tfx_pipeline.digest import code_digest
from tfx_pipeline.digest import source_files

PROJECT = {
    "steps/__init__.py": "",
    "steps/step.py": "import json\nfrom lib.facts import read\nfrom steps import names\n",
    "steps/names.py": "NAME = 1\n",
    "steps/other.py": "import lib.unused\n",
    "lib/__init__.py": "",
    "lib/facts.py": "import numpy\ndef read():\n    from lib import late\n    return late.LATE\n",
    "lib/late.py": "LATE = 1\n",
    "lib/unused.py": "UNUSED = 1\n",
    "plugins/__init__.py": "",
    "plugins/a.py": "import lib.late\n",
    "plugins/inner/__init__.py": "",
    "plugins/inner/b.py": "B = 1\n",
}
STEP = ["lib/__init__.py", "lib/facts.py", "lib/late.py", "steps/__init__.py", "steps/names.py", "steps/step.py"]


@pytest.fixture
def project(tmp_path):
    for name, source in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


def digest_of(project):
    return code_digest(["steps/step.py"], root=project)


def test_a_file_brings_all_that_it_imports_and_no_more(project):
    assert source_files(["steps/step.py"], root=project) == STEP


def test_a_folder_brings_every_file_below_it_and_what_they_import(project):
    plugins = [name for name in PROJECT if name.startswith("plugins/")]
    assert source_files(["plugins"], root=project) == ["lib/__init__.py", "lib/late.py", *plugins]


@pytest.mark.parametrize("file", STEP)
def test_an_edit_of_anything_imported_changes_the_digest(project, file):
    before = digest_of(project)
    (project / file).write_text(PROJECT[file] + "#\n")
    assert digest_of(project) != before


@pytest.mark.parametrize("file", ["steps/other.py", "lib/unused.py", "plugins/a.py"])
def test_an_edit_of_other_code_does_not(project, file):
    before = digest_of(project)
    (project / file).write_text(PROJECT[file] + "#\n")
    assert digest_of(project) == before


def test_a_name_a_new_file_and_a_removed_one_change_the_digest_of_a_folder(project):
    def digest_of_folder():
        return code_digest(["plugins"], root=project)

    found = {digest_of_folder()}
    (project / "plugins/a.py").rename(project / "plugins/c.py")
    found.add(digest_of_folder())
    (project / "plugins/d.py").touch()
    found.add(digest_of_folder())
    (project / "plugins/c.py").unlink()
    found.add(digest_of_folder())
    assert len(found) == 4


def test_times_and_other_files_do_not(project):
    before = digest_of(project)
    os.utime(project / "steps/step.py", (0, 0))
    (project / "steps/notes.txt").write_text("later")
    assert digest_of(project) == before


def test_the_digest_does_not_depend_on_where_the_project_is(project):
    before = digest_of(project)
    assert digest_of(project.rename(project.parent / "moved")) == before


def test_a_missing_path_is_refused(project):
    with pytest.raises(FileNotFoundError, match=r"The code digest names .*gone, which does not exist"):
        code_digest(["steps", "gone"], root=project)


@pytest.mark.parametrize("name", [name for name in vars(digest) if name.endswith("_CODE")])
def test_every_component_names_code_that_exists(name):
    assert len(code_digest(getattr(digest, name))) == 64


@pytest.mark.parametrize(
    ("code", "file"),
    [
        (digest.EVALUATION_CODE, "tfx_pipeline/components/example_gen.py"),  # read_facts
        (digest.EVALUATION_CODE, "tfx_pipeline/sources/oracle.py"),
        (digest.SERVER_CODE, "tfx_pipeline/components/indexer.py"),
        (digest.SERVER_CODE, "serving/saved_model.py"),  # imported inside a function
        (digest.INDEX_CODE, "trainer/export.py"),
        (digest.INDEX_CODE, "tfx_pipeline/index/warmup.py"),
        (digest.EXAMPLES_CODE, "schemas/features.py"),
        (digest.TRANSFORM_CODE, "trainer/__init__.py"),
        (digest.SOURCES_CODE, "tfx_pipeline/sources/retailrocket.py"),
    ],
)
def test_the_digests_cover_what_the_components_call(code, file):
    assert file in source_files(code)


def test_transform_outlives_a_change_of_the_towers():
    assert not any("towers" in file or "losses" in file for file in source_files(digest.TRANSFORM_CODE))
