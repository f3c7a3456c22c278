"""Factors of ALS or BPR by the package `implicit`, in the peers' own environment: matrix file in, factors file out."""

import argparse
import json

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import load_npz


def main() -> None:
    """Trains on [users, items] counts and writes `users` and `items`, [n, factors] float32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--matrix", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--settings", type=json.loads, required=True, help="method, alpha and arguments of the model")
    flags = parser.parse_args()
    settings = dict(flags.settings)
    method, alpha = settings.pop("method"), settings.pop("alpha", 1.0)
    counts = load_npz(flags.matrix).astype(np.float32)
    model = {"als": AlternatingLeastSquares, "bpr": BayesianPersonalizedRanking}[method](**settings, random_state=1)
    counts.data[:] = 1.0 + alpha * np.log1p(counts.data) if method == "als" else 1.0
    model.fit(counts, show_progress=False)
    np.savez(flags.out, users=np.asarray(model.user_factors), items=np.asarray(model.item_factors))


if __name__ == "__main__":
    main()
