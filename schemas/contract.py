"""What other teams program against: signatures, tensor names, missing values and the snapshot of a retriever.

Imports nothing but the standard library, so that a client needs neither TensorFlow nor this project's pipeline.

A retriever is a SavedModel with these signatures (`n` differs by request and is padded with `MISSING_STRING`):

`retrieve`         named raw query features and `k` -> `item_ids`, `scores`, `model_version`
`serving_default`  `examples` [batch] serialized tf.Example -> the same, with `DEFAULT_K` columns
`embed_query`      named raw query features -> `embedding` [batch, dim] float32, `bonus_item_ids` and `bonuses` [batch, n],
                   `model_version`
`embed_item`       named raw item features -> `embedding` [batch, dim] float32, `model_version`

Named inputs are `[batch]` for a scalar feature and `[batch, n]` for a history feature, `string` or `float32`. Every
named input must be sent (TF Serving refuses a request with a missing one): send the missing value of its dtype.
"""

SIGNATURE_RETRIEVE = "retrieve"
SIGNATURE_DEFAULT = "serving_default"
SIGNATURE_EMBED_QUERY = "embed_query"
SIGNATURE_EMBED_ITEM = "embed_item"

INPUT_EXAMPLES = "examples"
"""[batch] string, serialized tf.Examples of query features; absent features are missing."""
INPUT_K = "k"
"""[batch] int32, results wanted, between 1 and the exported maximum. It has a batch dimension so that TF Serving may
merge requests; an answer has max(k) columns of the merged batch, so a client keeps the first k of its own."""

OUTPUT_ITEM_IDS = "item_ids"
"""[batch, k] string, best first."""
OUTPUT_SCORES = "scores"
"""[batch, k] float32, higher is better, comparable within one version: the inner product of query and item vector, plus the
bonus of an item that is in the query's history or goes with it."""
OUTPUT_BONUS_ITEM_IDS = "bonus_item_ids"
"""[batch, n] string, the distinct items of the history and its neighbours that the index holds; `MISSING_STRING` elsewhere."""
OUTPUT_BONUSES = "bonuses"
"""[batch, n] float32, what each of them scores beside its inner product; 0 elsewhere."""
OUTPUT_MODEL_VERSION = "model_version"
"""[batch] string, the version directory that answered."""
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
HISTORY_EVENT = "history_event"
HISTORY_AGE_DAYS = "history_age_days"

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
