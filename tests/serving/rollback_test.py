"""A rollback under load, with a real model server that polls the folder."""

import threading
import time

from serving.client import RetrieverClient
from tfx_pipeline.rollback import serve

USER = {"country": "DE", "history_item_id": ["item-3"], "history_age_days": [1.0]}


class Asking:
    """A client that asks all the time; `answers` in the order in which they came."""

    def __init__(self, address):
        self.answers, self.failures = [], []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(address,))

    def _ask(self, address):
        with RetrieverClient(address, max_attempts=1) as client:
            while not self._done.is_set():
                try:
                    self.answers.extend(client.retrieve([USER], k=3))
                except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                    self.failures.append(error)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._done.set()
        self._thread.join()

    def versions(self):
        """The versions that answered, each once for as long as nothing else answered between."""
        found = [answer.index_version for answer in self.answers]
        return [version for place, version in enumerate(found) if place == 0 or found[place - 1] != version]

    def wait_for_more(self):
        enough, deadline_s = len(self.answers) + 20, time.monotonic() + 60
        while len(self.answers) < enough and not self.failures and time.monotonic() < deadline_s:
            time.sleep(0.01)


def test_back_and_forth_under_load_fails_no_request_and_serves_nothing_between(model_server, toy):
    base = model_server.base_path
    model_server.publish(toy, 2)
    model_server.publish(toy, 3)
    model_server.wait_for_line("^Serving retriever version 3 at ")
    try:
        with Asking(model_server.address) as asking:
            asking.wait_for_more()
            for wanted, before in ((1, 3), (3, 1), (1, 3)):
                assert serve(base, wanted) == before
                model_server.wait_for_line(f"^Serving retriever version {wanted} at ")
                asking.wait_for_more()
            model_server.publish(toy, 4)  # a push after a rollback serves
            model_server.wait_for_line("^Serving retriever version 4 at ")
            asking.wait_for_more()
    finally:
        for path in base.iterdir():
            if path.name != "1":
                path.rename(path.with_name(f".gone-{path.name}"))
        model_server.wait_for_line("^Serving retriever version 1 at ")
    assert asking.failures == []
    assert asking.versions() == ["3", "1", "3", "1", "4"]
    for answer in asking.answers:
        assert answer.item_ids == toy.retrieve(USER, version=int(answer.index_version), k=3)[0]
