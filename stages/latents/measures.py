"""What the codes themselves tell: how many are used, how evenly, which go together, and whether a caption's codes find
its picture."""

import numpy as np
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors


def code_counts(indices: np.ndarray, codebook_size: int) -> np.ndarray:
    """How often each code occurs, int64 (K,).

    Args:
        indices: codes of any shape, integers in [0,K).
        codebook_size: K.
    """
    return np.bincount(indices.reshape(-1), minlength=codebook_size)


def code_usage(counts: np.ndarray) -> float:
    """Share of the codes that occur at all, in [0,1]."""
    return float((counts > 0).mean())


def codes_perplexity(counts: np.ndarray) -> float:
    """exp of the codes' entropy: the number of evenly used codes with the same entropy, in [1,K]; 0 without codes."""
    if not counts.any():
        return 0.0
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def position_perplexities(indices: np.ndarray) -> np.ndarray:
    """Perplexity, over the pictures, of the codes at each position: codes (N,...) -> (...), in [1,min(N,K)]."""
    flat = indices.reshape(len(indices), -1)  # (N,P)
    values = [codes_perplexity(np.unique(codes, return_counts=True)[1]) for codes in flat.T]
    return np.array(values).reshape(indices.shape[1:])


def code_pairs(top: np.ndarray, bottom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every bottom code with the top code that covers it: (N,h,w) and (N,2h,2w) -> two int64 (4Nhw,)."""
    covering = top.repeat(2, axis=1).repeat(2, axis=2)  # (N,2h,2w)
    return covering.reshape(-1).astype(np.int64), bottom.reshape(-1).astype(np.int64)


def mutual_information(top: np.ndarray, bottom: np.ndarray, seed: int) -> tuple[float, float]:
    """Normalised mutual information (arithmetic mean of the entropies) of paired codes (P,), in [0,1], and what remains
    of it by chance when the bottom codes are shuffled: few pairs and many codes alone give more than 0."""
    shuffled = np.random.default_rng(seed).permutation(bottom)
    return float(normalized_mutual_info_score(top, bottom)), float(normalized_mutual_info_score(top, shuffled))


def retrieval_ranks(queries: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each query (N,D), by cosine: how many entries of the gallery (N,D) are nearer than its own, int64 (N,), and
    how many are equally near, its own among them, int64 (N,)."""
    similarity = _unit(queries) @ _unit(gallery).T  # (N,N)
    own = np.diagonal(similarity)[:, None]
    tolerance = 1e-9
    return (similarity > own + tolerance).sum(1), (np.abs(similarity - own) <= tolerance).sum(1)


def retrieval_at(k: int, queries: np.ndarray, gallery: np.ndarray) -> float:
    """Share of queries (N,D) whose own entry of the gallery (N,D) is among the k nearest by cosine (R@k), in [0,1].

    Entries equally near share the places they take up, so a gallery that is all the same scores exactly chance, k/N.
    """
    nearer, equal = retrieval_ranks(queries, gallery)
    return float(np.clip((k - nearer) / equal, 0, 1).mean())


def modality_mixing(first: np.ndarray, second: np.ndarray, neighbours: int) -> float:
    """Mean share of the nearest neighbours that are of the other cloud: 0 = the clouds lie apart, about 0.5 = mixed.

    Args:
        first: (N,D).
        second: (N,D).
        neighbours: k, clipped to 2N - 1.
    """
    points = np.concatenate([first, second])
    kind = np.repeat([0, 1], [len(first), len(second)])
    usable = min(neighbours, len(points) - 1)
    found = NearestNeighbors(n_neighbors=usable).fit(points).kneighbors(return_distance=False)
    return float((kind[found] != kind[:, None]).mean())


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1 in float64; a row of zeros stays."""
    vectors = vectors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length == 0, 1.0, length)
