"""`make latents`: PCA and t-SNE of a split's codes, code usage, and the figures by which the plots can be judged."""

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np

from stages.codes import CodeStore, SplitCodes
from stages.config import RunConfig
from stages.config.latents import LatentsConfig
from stages.data import load_dataset
from stages.errors import StageError
from stages.latents import plots
from stages.latents.measures import code_counts, code_usage, codes_perplexity, modality_mixing, retrieval_at
from stages.latents.points import LatentPoints, gather_points
from stages.latents.projection import (
    FEWEST_TSNE_POINTS,
    PcaView,
    chance_agreement,
    knn_agreement,
    pca,
    trustworthiness,
    tsne,
)
from stages.vqvae import load_vqvae
from stages.workspace import Output, Workspace

log = logging.getLogger("stages.latents")

RETRIEVAL_K = 10


def run(config: RunConfig, workspace: Workspace) -> None:
    """Projects the codes of `latents.split` and publishes plots, `coordinates.csv` and figures.

    Raises:
        StageError: the split is missing or holds fewer than two pictures.
    """
    section = config.latents
    dataset = load_dataset(workspace.require("data"))
    vqvae = load_vqvae(workspace.require("vqvae"))
    dataset.split(section.split)  # says so if there is none of that name
    codes = CodeStore.open(workspace.require("codes")).read(section.split)
    points = gather_points(
        dataset, codes, vqvae, max_points=section.max_points, clusters=section.clusters, seed=config.seed
    )
    if len(points.records) < 2:
        raise StageError(
            f"latents.split: '{section.split}' has {len(points.records)} pictures and a projection needs at least 2; "
            "choose another split or give the data set more pictures"
        )
    counts = {
        "top": code_counts(codes.top, vqvae.codebook_size),
        "bottom": code_counts(codes.bottom, vqvae.codebook_size),
        "text": code_counts(codes.text, vqvae.codebook_size),
    }
    with workspace.publish("latents") as output:
        columns = _project(section, points, output, config.seed)
        output.figures |= _code_figures(counts, codes) | _retrieval_figures(points, section.neighbours)
        plots.plot_code_usage(output.directory / "code_usage.png", counts)
        _add_plot(output, "code_usage.png", f"How often each code occurs on '{section.split}', per level")
        write_coordinates(output.directory / "coordinates.csv", points, columns)
    _say(output.figures)


def _project(section: LatentsConfig, points: LatentPoints, output: Output, seed: int) -> dict[str, np.ndarray]:
    """Makes every view, its plot and its figures; returns the coordinates (N,) by column name."""
    levels = {"top": pca(points.top), "bottom": pca(points.bottom)}
    columns: dict[str, np.ndarray] = {}
    output.figures |= {
        "split": section.split,
        "pictures": len(points.records),
        "label_source": points.label_source,
        "labels": len(points.label_order),
        "knn_agreement_chance": chance_agreement(points.labels),
        "knn_agreement_top": knn_agreement(points.top, points.labels, section.neighbours),
        "knn_agreement_bottom": knn_agreement(points.bottom, points.labels, section.neighbours),
    }
    for level, view in levels.items():
        columns |= _columns(f"pca_{level}", view.coordinates)
        _publish_pca(level, view, points, output)
    plots.plot_explained_variance(
        output.directory / "explained_variance.png", {level: view.explained for level, view in levels.items()}
    )
    _add_plot(output, "explained_variance.png", "Variance explained by the principal components, each and summed up")
    return columns | _project_tsne(section, points, output, seed)


def _publish_pca(level: str, view: PcaView, points: LatentPoints, output: Output) -> None:
    share = view.explained * 100
    axes = [f"component {n + 1} ({share[n] if n < len(share) else 0.0:.2g} % of variance)" for n in range(2)]
    title = f"PCA of pooled z_q, {level} level"
    file = f"pca_{level}.png"
    plots.plot_scatter(
        output.directory / file,
        view.coordinates,
        points.labels,
        points.label_order,
        title=title,
        axes_names=(axes[0], axes[1]),
    )
    _add_plot(output, file, f"{title}; colours: {points.label_source}")
    output.figures[f"explained_variance_2_{level}"] = float(view.explained[:2].sum())
    output.figures[f"explained_variance_10_{level}"] = float(view.explained[:10].sum())


def _project_tsne(section: LatentsConfig, points: LatentPoints, output: Output, seed: int) -> dict[str, np.ndarray]:
    """t-SNE of the top level, and of pictures and captions together; nothing but the reason with too few points."""
    count = len(points.records)
    if count < FEWEST_TSNE_POINTS:
        reason = f"t-SNE needs at least {FEWEST_TSNE_POINTS} pictures, '{section.split}' has {count}"
        output.figures |= {"tsne_perplexity": None, "trustworthiness": None, "tsne_reason": reason}
        return {}
    return _tsne_top(section, points, output, seed) | _tsne_joint(section, points, output, seed)


def _tsne_top(section: LatentsConfig, points: LatentPoints, output: Output, seed: int) -> dict[str, np.ndarray]:
    view, perplexity = tsne(points.top, section.perplexity, seed)
    output.figures |= {
        "tsne_perplexity": perplexity,
        "tsne_perplexity_asked": section.perplexity,
        "trustworthiness": trustworthiness(points.top, view, section.neighbours),
        "knn_agreement_tsne": knn_agreement(view, points.labels, section.neighbours),
    }
    title, axes = "t-SNE of pooled z_q, top level", ("t-SNE 1", "t-SNE 2")
    path = output.directory / "tsne_top.png"
    plots.plot_scatter(path, view, points.labels, points.label_order, title=title, axes_names=axes)
    clipped = (
        f", clipped from {section.perplexity:g}: only {len(view)} points" if perplexity < section.perplexity else ""
    )
    _add_plot(output, path.name, f"{title} (perplexity {perplexity:.3g}{clipped}); colours: {points.label_source}")
    return _columns("tsne_top", view)


def _tsne_joint(section: LatentsConfig, points: LatentPoints, output: Output, seed: int) -> dict[str, np.ndarray]:
    both = np.concatenate([points.top, points.text])
    view, perplexity = tsne(both, section.perplexity, seed)
    output.figures["trustworthiness_joint"] = trustworthiness(both, view, section.neighbours)
    pictures, captions = np.split(view, 2)
    title = "t-SNE of pictures and captions together"
    path = output.directory / "tsne_joint.png"
    plots.plot_joint(path, pictures, captions, points.labels, points.label_order, title=title)
    said = f"{title} (perplexity {perplexity:.3g}): pooled top z_q of the picture and z_q of the caption's codes"
    _add_plot(output, path.name, said)
    return _columns("tsne_joint_picture", pictures) | _columns("tsne_joint_caption", captions)


def _code_figures(counts: dict[str, np.ndarray], codes: SplitCodes) -> dict[str, Any]:
    """Usage in [0,1] and perplexity in [1,K] per level, over every pair of the split."""
    figures: dict[str, Any] = {"pairs": len(codes), "codebook_size": len(counts["top"])}
    for level, mine in counts.items():
        figures[f"usage_{level}"] = code_usage(mine)
        figures[f"perplexity_{level}"] = codes_perplexity(mine)
    return figures


def _retrieval_figures(points: LatentPoints, neighbours: int) -> dict[str, Any]:
    """Whether a caption's codes alone find its picture: R@10 by cosine of pooled z_q, and chance."""
    count = len(points.records)
    k = min(RETRIEVAL_K, count)
    return {
        "retrieval_r10": retrieval_at(k, points.text, points.top),
        "retrieval_r10_centred": retrieval_at(k, points.text - points.text.mean(0), points.top - points.top.mean(0)),
        "retrieval_r10_chance": k / count,
        "retrieval_pictures": count,
        "modality_mixing": modality_mixing(points.top, points.text, neighbours),
    }


def write_coordinates(path: Path, points: LatentPoints, columns: dict[str, np.ndarray]) -> None:
    """Writes one line per picture: its record, and its coordinates in every view."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["record_id", "file_name", "caption", "label", *columns])
        for row, record in enumerate(points.records):
            values = [f"{values[row]:.6g}" for values in columns.values()]
            writer.writerow([record.id, record.file_name, record.caption, points.labels[row], *values])


def _columns(name: str, view: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}_{axis + 1}": view[:, axis] for axis in range(2)}


def _add_plot(output: Output, file: str, caption: str) -> None:
    output.figures.setdefault("plots", []).append({"file": file, "caption": caption})


def _say(figures: dict[str, Any]) -> None:
    trust = figures["trustworthiness"]
    log.info(
        "latents: %d pictures of '%s'; 10 components hold %.0f %% of the top level's variance; "
        "t-SNE trustworthiness %s; caption codes find their picture R@10 %.1f %% (chance %.1f %%)",
        figures["pictures"],
        figures["split"],
        100 * figures["explained_variance_10_top"],
        f"{trust:.3f}" if trust is not None else "not available",
        100 * figures["retrieval_r10"],
        100 * figures["retrieval_r10_chance"],
    )
