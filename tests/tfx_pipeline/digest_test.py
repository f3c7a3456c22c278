import os

import pytest

from tfx_pipeline import digest
from tfx_pipeline.digest import code_digest


@pytest.fixture
def project(tmp_path):
    (tmp_path / "package/inner").mkdir(parents=True)
    (tmp_path / "package/a.py").write_text("x = 1\n")
    (tmp_path / "package/inner/b.pbtxt").write_text("feature {}\n")
    (tmp_path / "other.py").write_text("y = 1\n")
    return tmp_path


def digest_of(project):
    return code_digest(["package", "other.py"], root=project)


@pytest.mark.parametrize("file", ["package/a.py", "package/inner/b.pbtxt", "other.py"])
def test_an_edit_changes_the_digest(project, file):
    before = digest_of(project)
    (project / file).write_text((project / file).read_text() + "#\n")
    assert digest_of(project) != before


def test_a_name_a_new_file_and_a_removed_one_change_the_digest(project):
    found = {digest_of(project)}
    (project / "package/a.py").rename(project / "package/c.py")
    found.add(digest_of(project))
    (project / "package/d.py").touch()
    found.add(digest_of(project))
    (project / "package/c.py").unlink()
    found.add(digest_of(project))
    assert len(found) == 4


def test_times_and_other_files_do_not(project):
    before = digest_of(project)
    os.utime(project / "package/a.py", (0, 0))
    (project / "package/notes.txt").write_text("later")
    assert digest_of(project) == before


def test_the_digest_does_not_depend_on_where_the_project_is(project):
    before = digest_of(project)
    assert digest_of(project.rename(project.parent / "moved")) == before


def test_a_missing_path_is_refused(project):
    with pytest.raises(FileNotFoundError, match=r"The code digest names .*gone, which does not exist"):
        code_digest(["package", "gone"], root=project)


@pytest.mark.parametrize("name", [name for name in vars(digest) if name.endswith("_CODE")])
def test_every_component_names_code_that_exists(name):
    assert len(code_digest(getattr(digest, name))) == 64
