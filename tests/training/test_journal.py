import pytest
from transformers import TrainerCallback

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.training.journal import LOG, Trackers, keep_journal

INTEGRATIONS = "transformers.integrations.get_reporting_integration_callbacks"


class Tracker(TrainerCallback):
    """Keeps what it is told; fails at the events named."""

    def __init__(self, *fails):
        self.fails, self.told = fails, []

    def _take(self, event, logs=None):
        if event in self.fails:
            raise OSError("no space left")
        self.told.append((event, logs))

    def on_train_begin(self, args, state, control, **kwargs):
        self._take("begin")

    def on_log(self, args, state, control, logs=None, **kwargs):
        self._take("log", (state.global_step, logs))

    def on_train_end(self, args, state, control, **kwargs):
        self._take("end")


@pytest.fixture
def track(monkeypatch, tmp_path):
    """Trackers that are those given."""

    def make(*trackers):
        monkeypatch.setattr(INTEGRATIONS, lambda names: [lambda t=tracker: t for tracker in trackers])
        return Trackers(["mine"], tmp_path, model=None)

    return make


def test_trackers_get_every_row(track):
    tracker = Tracker()
    trackers = track(tracker)
    trackers.log({"step": 3, "loss": 0.5})
    trackers.close()
    assert tracker.told == [("begin", None), ("log", (3, {"loss": 0.5})), ("end", None)]


@pytest.mark.parametrize("event", ["log", "end"])
def test_a_tracker_that_fails_is_left_out_and_the_run_goes_on(track, capsys, event):
    bad, good = Tracker(event), Tracker()
    trackers = track(bad, good)
    trackers.log({"step": 1, "loss": 0.5})
    trackers.close()
    assert [event for event, _ in good.told] == ["begin", "log", "end"]
    assert "Tracker failed" in capsys.readouterr().err


def test_a_tracker_that_does_not_start_is_an_error(track):
    with pytest.raises(UniversalNERError, match="U075.*mine.*no space left"):
        track(Tracker("begin"))


def test_an_unknown_tracker_is_an_error(tmp_path):
    with pytest.raises(UniversalNERError, match="U075.*abacus"):
        Trackers(["abacus"], tmp_path, model=None)


def test_rows_after_the_checkpoint_and_half_a_line_are_left_out(tmp_path):
    (tmp_path / LOG).write_text('{"step": 1}\n{"step": 1, "dev_loss": 2}\n{"step": 2}\n{"st', encoding="utf8")
    with keep_journal(tmp_path, rows=2, share=0.1, speaks=True, report_to=[], model=None) as journal:
        journal.add({"step": 2, "loss": 1})
    written = (tmp_path / LOG).read_text(encoding="utf8")
    assert written == '{"step": 1}\n{"step": 1, "dev_loss": 2}\n{"step": 2, "loss": 1}\n'
