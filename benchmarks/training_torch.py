"""The default conversion model in PyTorch, for `benchmarks.training`: from its definition, run by a Python without TensorFlow.

`python training_torch.py FILE`, where FILE is what `benchmarks.training_peer` wrote. It prints the loss and the norm of the
gradients of the first batch, whose random draws are those of the file; then, for each line of seconds that it reads, makes steps
for so long and prints how many, and in how many seconds.
"""

import pickle
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

_PADDING = 0
_SECONDS_PER_DAY = 86_400.0
_MAX_SCORE = 8.0
_SCALE = 10.0  # of the repeat bonus's weights
_NONE = torch.finfo(torch.float32).min / 2
Draw = Callable[..., torch.Tensor]
Batch = dict[str, torch.Tensor]


class Body(nn.Module):
    """Cross layers (DCN-v2) in parallel with a dense stack, then a linear map.

    Args:
        weights: kernels, [in, out], and biases: of the Cross layers, of the stack, and the last kernel.
        num_crosses: Cross layers.
    """

    def __init__(self, weights: list[np.ndarray], num_crosses: int) -> None:
        super().__init__()
        pairs = list(zip(weights[:-1:2], weights[1::2], strict=True))
        self.crosses = nn.ModuleList(_linear(*pair) for pair in pairs[:num_crosses])
        self.stack = nn.ModuleList(_linear(*pair) for pair in pairs[num_crosses:])
        self.head = _linear(weights[-1])

    def forward(self, x0: torch.Tensor) -> torch.Tensor:
        """[rows, width] -> [rows, dim]."""
        crossed, dense = x0, x0
        for layer in self.crosses:
            crossed = x0 * layer(crossed) + crossed
        for layer in self.stack:
            dense = torch.relu(layer(dense))
        return self.head(torch.cat([crossed, dense], dim=1))


class Scores(nn.Module):
    """`exp` of what event type and age say of each action; 0 where it is hidden."""

    def __init__(self, events: nn.Embedding, event_score: np.ndarray, age_score: np.ndarray, scale: float) -> None:
        super().__init__()
        self.events, self.scale = events, scale
        self.event_score = _linear(event_score)
        self.age_score = _table(age_score)

    def forward(self, batch: Batch, shown: torch.Tensor) -> torch.Tensor:
        """[rows, n] bool -> [rows, n]."""
        seconds = _SECONDS_PER_DAY * torch.expm1(batch["history_age_days_xf"])
        doublings = torch.log1p(seconds) / np.log(2.0)
        buckets = torch.clamp(2.0 * doublings, max=self.age_score.num_embeddings - 1).long()
        of_events = self.event_score(self.events(torch.arange(self.events.num_embeddings)))
        scores = (of_events[batch["history_event_xf"]] + self.age_score(buckets)).squeeze(-1)
        scores = torch.clamp(self.scale * scores, -_MAX_SCORE, _MAX_SCORE)
        return torch.where(shown, torch.exp(scores), 0.0)


class Model(nn.Module):
    """Both towers, the repeat bonus and the loss.

    Args:
        given: weights, catalogue, features and constants, as `benchmarks.training_peer` writes them.
    """

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__()
        self.given = given
        self.tables = nn.ModuleDict({name: _table(weights) for name, weights in given["tables"].items()})
        events = self.tables["history_event"]
        self.history_scores = Scores(events, *given["history"], 1.0)
        self.repeat_scores = Scores(events, *given["repeats"], _SCALE)
        self.repeat_weights = nn.Parameter(torch.tensor(given["repeat_weights"]))
        self.identity = _linear(given["identity"])
        self.query_body = Body(given["query_body"], given["num_crosses"])
        self.item_body = Body(given["item_body"], given["num_crosses"])
        self.columns = {name: torch.tensor(column) for name, column in given["columns"].items()}
        self.event_weights = torch.tensor(given["event_weights"])

    def loss(self, batch: Batch, draw: Draw) -> torch.Tensor:
        """Scalar; `draw(*shape)` gives floats in [0, 1), and with `high` integers from 1 below it."""
        given, items = self.given, batch["item_id_xf"]
        rates = self.columns["positive_rate"][items, 0]
        vectors = self._items({**batch, "positive_rate_xf": rates}, draw)
        drawn = draw(given["num_draws"], high=given["num_items"])
        negatives = torch.cat([items, drawn])
        others = torch.cat([vectors, self._items(self._rows(drawn), draw)])
        lists, bonuses = self._repeats(batch, batch["history_item_id_xf"], batch["is_engagement"])
        own = self._positives(items, rates, vectors, (lists, bonuses), negatives)

        shown, hidden, events = _hide(batch, given["history_dropout"], draw)
        rows = self._rows(hidden)
        with torch.no_grad():
            repeats = self._repeats(batch, torch.where(shown, batch["history_item_id_xf"], _PADDING), None)
        found = self._positives(hidden, rows["positive_rate_xf"], self._items(rows, draw), repeats, negatives)

        queries = self._queries(batch, shown).repeat(2, 1)
        positives, vectors, counts, own_bonuses, bonuses = (torch.cat(parts) for parts in zip(own, found, strict=True))
        logits = queries @ others.T + bonuses - self._log_counts(self.columns["positive_rate"][negatives, 0])
        logits = logits.masked_fill(positives[:, None] == negatives, _NONE)
        of_own = (queries * vectors).sum(1) + own_bonuses - counts
        losses = functional.softplus(torch.logsumexp(logits, dim=1) - of_own)
        hidden_weights = self.event_weights[events] * given["reconstruction_weight"] * batch["user_weight"]
        weights = torch.cat([batch["row_weight"], hidden_weights])
        return (losses * weights).sum() / weights.sum()

    def _positives(
        self,
        items: torch.Tensor,
        rates: torch.Tensor,
        vectors: torch.Tensor,
        repeats: tuple[torch.Tensor, torch.Tensor],
        negatives: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        lists, bonuses = repeats
        of_own = torch.where((lists == items[:, None]) & (lists != _PADDING), bonuses, 0.0).sum(1)
        return items, vectors, self._log_counts(rates), of_own, _bonuses_of(lists, bonuses, negatives)

    def _log_counts(self, rates: torch.Tensor) -> torch.Tensor:
        given = self.given
        even = given["num_draws"] / (given["num_items"] - 1)
        return torch.log(given["batch_size"] * torch.clamp(rates, min=given["rate_floor"]) + even)

    def _items(self, features: Batch, draw: Draw) -> torch.Tensor:
        shown = draw(len(features["item_id_xf"])) >= self.given["item_dropout"]
        features = {**features, "item_id_xf": torch.where(shown, features["item_id_xf"], _PADDING)}
        parts = [self._embed(feature, features[feature[0]]) for feature in self.given["item_features"]]
        own = self.identity(self.tables["item_id"](features["item_id_xf"]))
        vectors = self.item_body(torch.cat(parts, dim=1)) + own
        popularity = torch.log(torch.clamp(features["positive_rate_xf"], min=self.given["rate_floor"]))
        return torch.cat([vectors, popularity[:, None]], dim=1)

    def _queries(self, batch: Batch, shown: torch.Tensor) -> torch.Tensor:
        parts = [self._embed(feature, batch[feature[0]]) for feature in self.given["query_features"]]
        history = self._history(batch, shown)
        own = self.identity(history[:, : self.tables["item_id"].embedding_dim])
        vectors = self.query_body(torch.cat([*parts, history], dim=1)) + own
        return torch.cat([vectors, torch.ones(len(vectors), 1)], dim=1)

    def _history(self, batch: Batch, shown: torch.Tensor) -> torch.Tensor:
        """A weighted sum for each row, over the actions that are shown alone."""
        actions = self.history_scores(batch, shown)
        roots = actions.sum(1, keepdim=True).clamp(min=1e-30).sqrt()
        unique, places = torch.unique(batch["history_item_id_xf"], return_inverse=True)
        content = [self._mean(name, self.columns[column][unique]) for column, name in self.given["content"]]
        vectors = torch.cat([self.tables["item_id"](unique), *content], dim=1)
        counts = shown.sum(1)
        starts = torch.cumsum(counts, 0) - counts
        weights = (actions / roots)[shown]
        return functional.embedding_bag(places[shown], vectors, starts, mode="sum", per_sample_weights=weights)

    def _embed(self, feature: tuple[str, str, str], values: torch.Tensor) -> torch.Tensor:
        _, treatment, vocabulary = feature
        if treatment == "numeric":
            return values[:, None]
        if treatment == "vector":
            return values
        return self._mean(vocabulary, values) if treatment in ("text", "path") else self.tables[vocabulary](values)

    def _mean(self, vocabulary: str, indices: torch.Tensor) -> torch.Tensor:
        indices = indices[:, None] if indices.dim() == 1 else indices
        mask = (indices != _PADDING).float()[..., None]
        return (self.tables[vocabulary](indices) * mask).sum(1) / mask.sum(1).clamp(min=1.0)

    def _rows(self, items: torch.Tensor) -> Batch:
        rows = {"item_id_xf": items}
        for name, treatment, _ in (*self.given["item_features"], ("positive_rate_xf", "popularity", "")):
            if name != "item_id_xf":
                values = self.columns[name.removesuffix("_xf")][items]
                rows[name] = values if treatment in ("text", "path", "vector") else values[:, 0]
        return rows

    def _repeats(
        self, batch: Batch, items: torch.Tensor, is_engagement: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[rows, n] distinct items of each history, and what each scores on top."""
        actions = self.repeat_scores(batch, items != _PADDING)
        keys = items + torch.arange(len(items))[:, None] * self.given["num_items"]
        distinct, places = torch.unique(keys, return_inverse=True)
        flat = places.flatten()
        sums = torch.zeros(len(distinct)).index_add(0, flat, actions.flatten())[places]
        positions = torch.arange(len(flat))
        first = torch.full([len(distinct)], len(flat)).scatter_reduce(0, flat, positions, "amin")
        is_listed = (first[flat] == positions).view_as(items) & (items != _PADDING)
        rates = self.columns["positive_rate"][items, 0].clamp(min=self.given["rate_floor"])
        popularity = torch.log(rates * self.given["num_items"])
        tasks = torch.zeros(len(items), dtype=torch.long) if is_engagement is None else is_engagement
        constants = _SCALE * self.repeat_weights[tasks]
        num_events = self.tables["history_event"].num_embeddings
        latest = constants.gather(1, batch["history_event_xf"].clamp(max=num_events - 1))
        others = constants[:, num_events:, None]
        everything = torch.log1p(actions.sum(1, keepdim=True))
        bonuses = latest + others[:, 0] * torch.log(sums.clamp(min=1e-6)) + others[:, 1] * everything
        bonuses = bonuses - others[:, 2] * popularity  # loyalty and trend are 0 in steps
        return torch.where(is_listed, items, _PADDING), torch.where(is_listed, bonuses, 0.0)


class Optimizers:
    """Adagrad for tables, whose gradients are sparse, and Adam for the rest; gradients are clipped together."""

    def __init__(self, model: Model) -> None:
        tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
        self._all = list(model.parameters())
        rest = [parameter for parameter in self._all if all(parameter is not table for table in tables)]
        given = model.given
        self._clip_norm = given["clip_norm"]
        self._optimizers = [
            torch.optim.Adagrad(tables, lr=given["table_learning_rate"], initial_accumulator_value=1e-6, eps=1e-7),
            torch.optim.Adam(rest, lr=given["learning_rate"], eps=1e-7),
        ]

    def gradient_norm(self, loss: torch.Tensor) -> float:
        """Of all gradients, those of a table's row summed."""
        found = torch.autograd.grad(loss, self._all, retain_graph=True)
        return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g.to_dense()) for g in found])))

    def step(self, loss: torch.Tensor) -> None:
        """Gradients, clipping, both optimizers."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        values = [_values(parameter.grad) for parameter in self._all if parameter.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(found) for found in values]))
        if norm > self._clip_norm:
            for found in values:
                found.mul_(self._clip_norm / norm)
        for optimizer in self._optimizers:
            optimizer.step()


def _values(gradient: torch.Tensor) -> torch.Tensor:
    return gradient._values() if gradient.is_sparse else gradient


def _hide(batch: Batch, share: float, draw: Draw) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    items = batch["history_item_id_xf"]
    is_known = items != _PADDING
    drawn = draw(*items.shape)
    is_hidden = is_known & (drawn < share)
    choice = functional.pad(torch.where(is_hidden, drawn + 1.0, 0.0), [1, 0]).argmax(1, keepdim=True)
    chosen = (
        functional.pad(batch[name], [1, 0]).gather(1, choice)[:, 0]
        for name in ("history_item_id_xf", "history_event_xf")
    )
    return is_known & ~is_hidden, *chosen


def _bonuses_of(lists: torch.Tensor, bonuses: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """[rows, columns]: what each row's list gives to each of the items."""
    ascending, order = torch.sort(items)
    rows, columns = torch.nonzero(lists != _PADDING, as_tuple=True)
    wanted = lists[rows, columns]
    first, end = (torch.searchsorted(ascending, wanted, side=side) for side in ("left", "right"))
    counts = end - first
    entries = torch.repeat_interleave(torch.arange(len(wanted)), counts)
    nth = torch.arange(len(entries)) - (torch.cumsum(counts, 0) - counts)[entries]
    places = order[first[entries] + nth]
    zeros = torch.zeros(len(lists), len(items))
    return zeros.index_put((rows[entries], places), bonuses[rows[entries], columns[entries]])


def _linear(kernel: np.ndarray, bias: np.ndarray | None = None) -> nn.Linear:
    layer = nn.Linear(*kernel.shape, bias=bias is not None)
    layer.weight = nn.Parameter(torch.tensor(kernel.T.copy()))
    if bias is not None:
        layer.bias = nn.Parameter(torch.tensor(bias))
    return layer


def _table(weights: np.ndarray) -> nn.Embedding:
    return nn.Embedding(*weights.shape, sparse=True, _weight=torch.tensor(weights))


def _drawn(*shape: int, high: int | None = None) -> torch.Tensor:
    return torch.rand(*shape) if high is None else torch.randint(1, high, shape)


def _serve(file: str) -> None:
    with open(file, "rb") as opened:
        given = pickle.load(opened)  # our own: no one else writes it
    torch.set_num_threads(given["num_threads"])
    torch.manual_seed(1)
    model = Model(given)
    optimizers = Optimizers(model)
    batches = [{name: torch.tensor(value) for name, value in batch.items()} for batch in given["batches"]]
    recorded = (torch.tensor(values) for values in given["draws"])
    loss = model.loss(batches[0], lambda *_, **__: next(recorded))
    print(loss.item(), optimizers.gradient_norm(loss), flush=True)
    count = 0
    for line in sys.stdin:
        start_s, before = time.perf_counter(), count
        while time.perf_counter() - start_s < float(line):
            loss = model.loss(batches[count % len(batches)], _drawn)
            optimizers.step(loss)
            count += 1
        print(count - before, time.perf_counter() - start_s, loss.item(), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
