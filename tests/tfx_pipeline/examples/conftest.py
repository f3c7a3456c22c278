import pickle

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from schemas.features import feature_groups
from schemas.load import load_schema
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.sessions import build_log
from tfx_pipeline.examples.types import Event


@pytest.fixture(scope="session")
def groups():
    return feature_groups(load_schema())


@pytest.fixture
def event():
    """Builds an Event; keyword arguments that are no field are its context."""

    def build(item_id, kind, at, *, duration_s=None, value=None, request_id="", **context):
        return Event(item_id, kind, at, duration_s, value, request_id, tuple(context.items()))

    return build


@pytest.fixture
def user_log():
    """Builds a UserLog as the pipeline does."""

    def build(*events, config=None, user_id="u", attributes=()):
        return build_log(user_id, [[tuple(e) for e in events]], attributes, config=config or ExamplesConfig())

    return build


@pytest.fixture(scope="session", autouse=True)
def _no_state_cache():
    """Beam weighs each side input that it caches by walking through all loaded modules, TensorFlow's too: 0.2 s each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_handlers, "STATE_CACHE_SIZE_MB", 0)
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Runs a graph and returns the elements of each of its named outputs, in any order."""

    def run(graph):
        def append(element, name, path):
            with open(path, "ab") as file:
                pickle.dump((name, element), file)

        path = tmp_path_factory.mktemp("run") / "elements.pickle"
        path.touch()
        with beam.Pipeline(options=PipelineOptions(flags=[])) as pipeline:
            outputs = dict(graph(pipeline))
            for name, collection in outputs.items():
                _ = collection | f"Append[{name}]" >> beam.Map(append, name, str(path))
        found = {name: [] for name in outputs}
        with path.open("rb") as file:
            while file.peek(1):
                name, element = pickle.load(file)
                found[name].append(element)
        return found

    return run
