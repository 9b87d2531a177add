"""`make latents`: PCA and t-SNE of a split's codes, what the codes are used for, and the figures to judge it all by."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.codes import CodeStore, Rows
from stages.config import RunConfig
from stages.config.latents import LatentsConfig
from stages.data import PreparedSet, load_dataset
from stages.errors import StageError
from stages.latents import maps, painting, scatter, tables
from stages.latents.colourings import Colouring, find_colourings
from stages.latents.counting import PARTS, CodedSplit, count_codes, frequent_together
from stages.latents.interactive import write_page
from stages.latents.measures import (
    code_pairs,
    code_usage,
    codes_perplexity,
    modality_mixing,
    mutual_information,
    position_perplexities,
    retrieval_at,
    retrieval_ranks,
)
from stages.latents.points import LatentPoints, first_pairs, gather_points
from stages.latents.projection import FEWEST_TSNE_POINTS, chance_agreement, label_agreement
from stages.latents.thumbnails import plot_thumbnails
from stages.latents.views import View, Views, make_views
from stages.vqvae import VQVAE, load_vqvae
from stages.workspace import Output, Workspace

log = logging.getLogger("stages.latents")

RETRIEVAL_K = 10
INTERACTIVE = "interactive.html"
MOST_PANELS = 6


@dataclass(frozen=True)
class Material:
    """What everything is drawn from."""

    section: LatentsConfig
    seed: int
    run: str
    dataset: PreparedSet
    vqvae: VQVAE
    rows: Rows
    points: LatentPoints
    views: Views
    colourings: list[Colouring]

    def picture(self, point: int) -> np.ndarray:
        """The picture (H,W,3) uint8 of a point."""
        return self.dataset.images[self.points.records[point].image]


def run(config: RunConfig, workspace: Workspace) -> None:
    """Projects the codes of `latents.split` and publishes plots, CSV files, an interactive page and figures.

    Raises:
        StageError: the split is missing or holds fewer than two pictures.
    """
    section = config.latents
    dataset = load_dataset(workspace.require("data"))
    vqvae = load_vqvae(workspace.require("vqvae"))
    dataset.split(section.split)  # says so if there is none of that name
    rows = CodeStore.open(workspace.require("codes")).rows(section.split)
    points = gather_points(dataset, rows, vqvae, max_points=section.max_points, seed=config.seed)
    if len(points) < 2:
        raise StageError(
            f"latents.split: '{section.split}' has {len(points)} pictures and a projection needs at least 2; "
            "choose another split or give the data set more pictures"
        )
    views = make_views(section, points, config.seed)
    colourings = find_colourings(dataset, points, section.clusters, config.seed)
    material = Material(section, config.seed, config.run, dataset, vqvae, rows, points, views, colourings)
    with workspace.publish("latents") as output:
        output.figures |= _point_figures(material) | _retrieval_figures(points, section.neighbours)
        _publish_views(material, output)
        _publish_codes(material, output)
        _publish_interactive(material, output)
    _say(output.figures, points.drawn)


def _publish_views(material: Material, output: Output) -> None:
    """Plots and tables of the projections; of too few points for t-SNE, those of PCA alone."""
    views, colouring, folder = material.views, material.colourings[0], output.directory
    seed, drawn = material.seed, material.points.drawn
    tables.write_coordinates(folder / "coordinates.csv", material.points, views.views, material.colourings)
    tables.write_views(folder / "views.csv", views.views, material.colourings, seed)
    tables.write_explained_variance(folder / "explained_variance.csv", views.explained)
    path = folder / "explained_variance.png"
    _add_plot(output, path.name, maps.plot_explained_variance(path, views.explained, drawn=drawn))
    for level in ("top", "bottom"):
        large = [views.pca(level), *views.of(level)[:1]]
        for view in large:
            path = folder / f"{'pca' if view.perplexity is None else 'tsne'}_{level}.png"
            _add_plot(output, path.name, scatter.plot_view(path, view, colouring, drawn=drawn, seed=seed))
    levels = {level: views.of(level) for level in ("top", "bottom") if views.of(level)}
    if levels:
        path = folder / "tsne_perplexities.png"
        _add_plot(output, path.name, scatter.plot_perplexities(path, levels, colouring, drawn=drawn, seed=seed))
    first = _large(views, "top")
    path = folder / "colourings.png"
    said = scatter.plot_colourings(path, first, _panels(material), drawn=drawn, seed=seed)
    _add_plot(output, path.name, said)
    path = folder / "thumbnails.png"
    said = plot_thumbnails(path, first, material.picture, colouring, drawn=drawn, seed=seed)
    _add_plot(output, path.name, said)
    _publish_joint(material, output)


def _publish_joint(material: Material, output: Output) -> None:
    points, view = material.points, _large(material.views, "joint")
    nearer, _ = retrieval_ranks(points.text, points.top)
    path = output.directory / f"{'pca' if view.perplexity is None else 'tsne'}_joint.png"
    nearest = nearer < min(RETRIEVAL_K, len(points))
    found = _found(output.figures)
    colouring, seed = material.colourings[0], material.seed
    said = scatter.plot_joint(path, view, colouring, drawn=points.drawn, seed=seed, nearest=nearest, found=found)
    _add_plot(output, path.name, said)


def _large(views: Views, level: str) -> View:
    """The view of a level that is shown large: t-SNE, or PCA where there are too few points."""
    return [*views.of(level), views.pca(level)][0]


def _panels(material: Material) -> list[Colouring]:
    """The colourings shown side by side: the scene, the others whose labels lie together most clearly, and clusters."""
    clusters = [colouring for colouring in material.colourings if colouring.name.startswith("cluster")]
    others = [colouring for colouring in material.colourings if not colouring.name.startswith("cluster")]

    def gain(colouring: Colouring) -> float:
        labels = colouring.labels[colouring.known]
        if len(labels) < 2:
            return -1.0
        near = label_agreement(material.points.top[colouring.known], labels, material.section.neighbours)
        return near - chance_agreement(labels)

    shown = others[:1] + sorted(others[1:], key=gain, reverse=True)[: MOST_PANELS - 2]
    return shown + clusters[: 1 + (len(shown) + 1) % 2]  # an even number, so that no panel stays empty


def _publish_codes(material: Material, output: Output) -> None:
    """Plots, tables and figures of the codes themselves: counted over the whole split, a few at a time; what takes the
    codes side by side, the perplexity of a position and mutual information, of the points' pictures alone."""
    rows, K, folder = material.rows, material.vqvae.codebook_size, output.directory
    codes, drawn = material.points.codes, material.points.drawn
    coded = CodedSplit(rows, first_pairs(material.dataset, rows.record_rows))
    counts = count_codes(coded, K)
    output.figures |= {"pairs": len(rows), "codebook_size": K}
    for level, name in (("top", "top"), ("bottom", "bottom"), ("caption", "text")):
        output.figures[f"usage_{name}"] = code_usage(counts[level])
        output.figures[f"perplexity_{name}"] = codes_perplexity(counts[level])
    tables.write_code_usage(folder / "code_usage.csv", counts)
    split = material.section.split
    path = folder / "code_usage.png"
    varied = {level: position_perplexities(codes[part]) for level, part in PARTS.items()}
    pairs = f"n = {len(coded.firsts):,} pictures and {len(rows):,} captions of '{split}'"
    _add_plot(output, path.name, maps.plot_code_usage(path, counts, varied, pairs=pairs, drawn=drawn))
    information = mutual_information(*code_pairs(codes["top"], codes["bottom"]), material.seed)
    output.figures |= {"mutual_information": information[0], "mutual_information_chance": information[1]}
    together = frequent_together(coded, counts, material.section.heatmap_codes)
    tables.write_co_occurrences(folder / "co_occurrence.csv", together)
    path = folder / "co_occurrence.png"
    said = maps.plot_co_occurrence(path, together, information=information, drawn=drawn)
    _add_plot(output, path.name, said)
    most = material.section.sheet_codes
    painted = {level: painting.paint_codes(material.vqvae, coded, counts, level, most) for level in ("top", "bottom")}
    path = folder / "code_sheet.png"
    _add_plot(output, path.name, painting.plot_code_sheet(path, painted, split=split))


def _publish_interactive(material: Material, output: Output) -> None:
    write_page(
        output.directory / INTERACTIVE,
        material.dataset,
        material.points,
        material.views.views,
        material.colourings,
        run=material.run,
        split=material.section.split,
        found=_found(output.figures),
        seed=material.seed,
        most_thumbnails=material.section.thumbnails,
    )
    output.figures["interactive"] = INTERACTIVE


def _point_figures(material: Material) -> dict[str, Any]:
    """Counts, and how far the views can be trusted; t-SNE's are None with the reason where there are too few points."""
    section, points, views = material.section, material.points, material.views
    colouring, k = material.colourings[0], section.neighbours
    known, labels = colouring.known, colouring.labels[colouring.known]
    figures: dict[str, Any] = {
        "split": section.split,
        "pictures": len(points),
        "pictures_available": points.available,
        "label_source": colouring.source,
        "labels": len(colouring.order),
        "label_agreement_chance": chance_agreement(labels),
        "label_agreement_top": label_agreement(points.top[known], labels, k),
        "label_agreement_bottom": label_agreement(points.bottom[known], labels, k),
    }
    for level in ("top", "bottom"):
        figures[f"explained_variance_2_{level}"] = float(views.explained[level][:2].sum())
        figures[f"explained_variance_10_{level}"] = float(views.explained[level][:10].sum())
    figures["tsne_perplexity"] = views.of("top")[0].perplexity if views.of("top") else None
    figures["tsne_perplexity_asked"] = section.perplexities[0]
    if not views.of("top"):
        few = f"t-SNE needs at least {FEWEST_TSNE_POINTS} pictures, '{section.split}' has {len(points)}"
        figures["tsne_reason"] = few
    for level, suffix in (("top", ""), ("bottom", "_bottom"), ("joint", "_joint")):
        laid = views.of(level)[:1]
        figures[f"trustworthiness{suffix}"] = laid[0].trustworthiness if laid else None
        figures[f"knn_agreement{suffix}"] = laid[0].knn_agreement if laid else None
    if views.of("top"):
        figures["knn_agreement_chance"] = views.of("top")[0].chance_agreement
        shown = views.of("top")[0]
        figures["label_agreement_tsne"] = label_agreement(shown.coordinates[known], labels, shown.neighbours)
    return figures


def _retrieval_figures(points: LatentPoints, neighbours: int) -> dict[str, Any]:
    """Whether a caption's codes alone find its picture: R@1 and R@10 by cosine of pooled z_q, and chance."""
    count = len(points)
    k = min(RETRIEVAL_K, count)
    return {
        "retrieval_r1": retrieval_at(1, points.text, points.top),
        "retrieval_r10": retrieval_at(k, points.text, points.top),
        "retrieval_r10_centred": retrieval_at(k, points.text - points.text.mean(0), points.top - points.top.mean(0)),
        "retrieval_r10_chance": k / count,
        "retrieval_pictures": count,
        "modality_mixing": modality_mixing(points.top, points.text, neighbours),
    }


def _found(figures: dict[str, Any]) -> str:
    """How often a caption's own picture is among those nearest to it, in words."""
    count = figures["retrieval_pictures"]
    return (
        f"A caption's own picture is among its {min(RETRIEVAL_K, count)} nearest pictures (cosine of pooled z_q, of "
        f"{count}) for {figures['retrieval_r10']:.1%} of the captions; by chance {figures['retrieval_r10_chance']:.1%}."
    )


def _add_plot(output: Output, file: str, caption: str) -> None:
    output.figures.setdefault("plots", []).append({"file": file, "caption": caption})


def _say(figures: dict[str, Any], drawn: str) -> None:
    trust = figures["trustworthiness"]
    log.info(
        "latents: '%s', %s; 10 components hold %.0f %% of the top level's variance; "
        "t-SNE trustworthiness %s; caption codes find their picture R@10 %.1f %% (chance %.1f %%)",
        figures["split"],
        drawn,
        100 * figures["explained_variance_10_top"],
        f"{trust:.3f}" if trust is not None else "not available",
        100 * figures["retrieval_r10"],
        100 * figures["retrieval_r10_chance"],
    )
