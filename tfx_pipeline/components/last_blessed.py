"""Resolvers' strategies that find what a candidate would replace: LastBlessed, and of it LastBlessedTowers."""

from pathlib import Path
from typing import Any

from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import Artifact

from tfx_pipeline.retriever_artifact import TOWERS_PROPERTY


class LastBlessed(ResolverStrategy):
    """Of the `model`s, the one that was blessed last before the candidate; none in a first run.

    TFX's LatestBlessedModelStrategy would compare a run that was killed after its blessing, or is repeated from the cache, with
    itself.
    """

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """Looks up the newest blessing.

        Args:
            store: ML Metadata; not read, for the artifacts say it all.
            input_dict: `candidate`, this run's retriever or what it is made from, and `model` and `blessing`, all of the
                pipeline.
        """
        del store
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        blessed = {
            blessing.get_int_custom_property("current_model_id")
            for blessing in input_dict["blessing"]
            if blessing.get_int_custom_property("blessed") == 1
        }
        before = [
            model
            for model in input_dict["model"]
            if model.id in blessed - candidates and model.id < min(candidates, default=0)
        ]
        return {**input_dict, "model": sorted(before, key=lambda model: model.id)[-1:]}


class LastBlessedTowers(LastBlessed):
    """The Trainer's model that the last blessed retriever was made from; none in a first run, or where it is gone."""

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """As LastBlessed."""
        retrievers = super().resolve_artifacts(store, input_dict)["model"]
        folders = {retriever.get_string_custom_property(TOWERS_PROPERTY) for retriever in retrievers}
        towers = [model for model in input_dict["model"] if model.uri in folders and Path(model.uri).is_dir()]
        return {**input_dict, "model": towers}
