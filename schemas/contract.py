"""What other teams program against: signatures, tensor names, missing values and the snapshot of a retriever.

Imports nothing but the standard library, so that a client needs neither TensorFlow nor this project's pipeline.
`python -m schemas.contract DIR` prints the page of one SavedModel, or of the newest in a folder of versions.

A retriever is a SavedModel with these signatures (`n` differs by request and is padded with `MISSING_STRING`):

`retrieve`           named raw query features and `k` -> `item_ids`, `scores`
`retrieve_filtered`  the same and filters -> the same and `num_found`
`serving_default`    `examples` [batch] serialized tf.Example -> `item_ids`, `scores` with `DEFAULT_K` columns
`embed_query`        named raw query features -> `embedding` [batch, dim] float32, `bonus_item_ids` and `bonuses` [batch, n]
`embed_item`         named raw item features -> `embedding` [batch, dim] float32

Each also gives `model_version` and `index_version`. An item that the catalogue calls unavailable is never retrieved. Where
fewer than `k` items are left, the last places hold `MISSING_STRING` with the least float32 as score.

Named inputs are `[batch]` for a scalar feature and `[batch, n]` for a history feature, `string` or `float32`. Every
named input must be sent (TF Serving refuses a request with a missing one): send the missing value of its dtype.
"""

SIGNATURE_RETRIEVE = "retrieve"
SIGNATURE_RETRIEVE_FILTERED = "retrieve_filtered"
SIGNATURE_DEFAULT = "serving_default"
SIGNATURE_EMBED_QUERY = "embed_query"
SIGNATURE_EMBED_ITEM = "embed_item"

INPUT_EXAMPLES = "examples"
"""[batch] string, serialized tf.Examples of query features; absent features are missing."""
INPUT_K = "k"
"""[batch] int32, results wanted, between 1 and the exported maximum. It has a batch dimension so that TF Serving may
merge requests; an answer has max(k) columns of the merged batch, so a client keeps the first k of its own."""

INPUT_EXCLUDE_ITEM_IDS = "exclude_item_ids"
"""[batch, n] string, items that must not come back, such as those already bought; ids of no item are passed over."""
INPUT_ALLOW_ADVERTISER_IDS = "allow_advertiser_ids"
"""[batch, n] string, only items of these advertisers; none given: of all."""
INPUT_DENY_ADVERTISER_IDS = "deny_advertiser_ids"
"""[batch, n] string, no item of these advertisers; it outweighs what is allowed."""
INPUT_ALLOW_CATEGORIES = "allow_categories"
"""[batch, n] string, only items of these categories and below: `a > b` allows `a > b` and `a > b > c`, not `a > bc`; none
given: of all."""
INPUT_DENY_CATEGORIES = "deny_categories"
"""[batch, n] string, no item of these categories or below; it outweighs what is allowed."""
INPUT_MIN_PRICE = "min_price"
"""[batch] float32, least price; NaN: none. An item without a price is left out when a bound is given."""
INPUT_MAX_PRICE = "max_price"
"""[batch] float32, greatest price; NaN: none."""
INPUT_MAX_PER_ADVERTISER = "max_per_advertiser"
"""[batch] int32, most items of one advertiser in the answer, the best ones; 0: no limit. Items without one are not limited."""

OUTPUT_ITEM_IDS = "item_ids"
"""[batch, k] string, best first."""
OUTPUT_SCORES = "scores"
"""[batch, k] float32, higher is better, comparable within one `model_version`: the inner product of query and item vector,
plus the bonus of an item that is in the query's history or goes with it."""
OUTPUT_BONUS_ITEM_IDS = "bonus_item_ids"
"""[batch, n] string, the distinct items of the history and its neighbours that the index holds; `MISSING_STRING` elsewhere."""
OUTPUT_BONUSES = "bonuses"
"""[batch, n] float32, what each of them scores beside its inner product; 0 elsewhere."""
OUTPUT_NUM_FOUND = "num_found"
"""[batch] int32, how many of the `k` places hold an item: fewer than `k` only where no further item passes the filters."""
OUTPUT_MODEL_VERSION = "model_version"
"""[batch] string, the version of the trained towers: vectors and scores are comparable within one. It is the version
directory that first served them."""
OUTPUT_INDEX_VERSION = "index_version"
"""[batch] string, the version directory that answered; a refresh of the catalogue changes it, not `model_version`."""
OUTPUT_EMBEDDING = "embedding"
"""[batch, dim] float32; query and item vectors are compared by inner product, and are not of unit length."""

MISSING_STRING = ""
MISSING_FLOAT = float("nan")
DEFAULT_K = 100
MAX_K = 1000
"""Upper limit of `k`; a smaller catalogue lowers it to its number of items."""

MODEL_NAME = "retriever"

WARMUP_REQUESTS = "assets.extra/tf_serving_warmup_requests"
"""Below the SavedModel, where TF Serving looks: TFRecords of PredictionLog that a server replays before a version serves."""

HISTORY_PREFIX = "history_"
"""Named inputs with this prefix are aligned lists, newest first: `history_item_id`, `history_event`, ..."""
HISTORY_ITEM_ID = "history_item_id"
"""[batch, n] string, items of the user's latest actions; a place without an item is left out of all lists."""
HISTORY_EVENT = "history_event"
"""[batch, n] string, what the user did: `click`, `save`, `add_to_cart` or `purchase`."""
HISTORY_AGE_DAYS = "history_age_days"
"""[batch, n] float32, days from the action to the request; missing: 0."""

SNAPSHOT_SCHEMA = """
CREATE TABLE users (user_id TEXT PRIMARY KEY, features TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE items (item_id TEXT PRIMARY KEY, title TEXT, advertiser_id TEXT, category TEXT, price REAL) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
"""SQLite file that a run writes beside the pushed model. `features` is a JSON object of named inputs: a number, a
string or a list; absent means missing. `meta` holds `as_of` (ISO 8601, UTC), `source` and `notice` (terms to show, may
be empty)."""

SNAPSHOT_POINTER = ("conversion_retrieval", "latest_snapshot")
"""Below the user's cache folder ($XDG_CACHE_HOME, else ~/.cache): a text file with the path of the newest snapshot."""

if __name__ == "__main__":
    import runpy

    runpy.run_module("schemas.contract_page", run_name="__main__")
