import logging

from tfx_pipeline.logs import logs_to


def test_components_are_told_by_number_and_followed_by_what_comes_after_each(tmp_path, capsys):
    ended = []
    runner = logging.getLogger("absl")
    with logs_to(tmp_path / "logs/run.log", num_components=2, after_each=lambda: ended.append(1)):
        for name in ("First", "Second"):
            before = len(ended)
            runner.info("Component %s is running.", name)
            runner.info("a line of TFX")
            assert len(ended) == before
            runner.info("Component %s is finished.", name)
            assert len(ended) == before + 1
    shown = capsys.readouterr().err
    assert [line for line in shown.splitlines() if "[" in line] == ["[1/2] First", "[2/2] Second"]
    assert "a line of TFX" not in shown
    assert "a line of TFX" in (tmp_path / "logs/run.log").read_text()
