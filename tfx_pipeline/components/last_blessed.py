"""LastBlessed: a Resolver's strategy that finds what a candidate would replace."""

from typing import Any

from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import Artifact


class LastBlessed(ResolverStrategy):
    """Of the `model`s, the one that was blessed last before the candidate; none in a first run.

    TFX's LatestBlessedModelStrategy would compare a run that was killed after its blessing, or is repeated from the cache, with
    itself.
    """

    def resolve_artifacts(self, store: Any, input_dict: dict[str, list[Artifact]]) -> dict[str, list[Artifact]]:
        """Looks up the newest blessing.

        Args:
            store: ML Metadata; not read, for the artifacts say it all.
            input_dict: `candidate`, this run's retriever, and `model` and `blessing`, all of the pipeline.
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
