"""The page's first paragraph: three sentences at most that say what the figures say, whichever way they fall."""

from stages.report.facts import Evaluation, RunFacts
from stages.report.metric import COMPOSITIONS, Metric, intervals_apart, kind_of, write_number, write_value

ATTRIBUTES = "attribute_accuracy"


def summarise(facts: RunFacts) -> list[str]:
    """Which system is ahead; what copying earns and whether the captions matter; how high the ceiling is."""
    evaluation = facts.evaluation
    path = headline_metric(evaluation)
    if path is None:
        return ["No system of this run has been scored: neither attribute accuracy nor a BLIP cosine is available."]
    sentences = [
        _who_is_ahead(evaluation, path),
        _sentence([*_does_copying_do(evaluation, path), *_do_captions_matter(evaluation, path)], "; "),
        _sentence(_ceiling(evaluation, path), ", and "),
    ]
    return [sentence for sentence in sentences if sentence]


def _sentence(clauses: list[str], joint: str) -> str:
    """The clauses as one sentence; empty for none."""
    text = joint.join(clauses)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def headline_metric(evaluation: Evaluation) -> str | None:
    """What the systems are compared by: attribute accuracy, else the BLIP ITC cosine, else nothing."""
    for system in ("prior", "diffusion"):
        if evaluation.metric(system, ATTRIBUTES).value is not None:
            return ATTRIBUTES
    for system in ("prior", "diffusion"):
        for path, metric in evaluation.systems.get(system, {}).items():
            if "itc" in path and metric.value is not None:
                return path
    return None


def _who_is_ahead(evaluation: Evaluation, path: str) -> str:
    prior, diffusion = evaluation.metric("prior", path), evaluation.metric("diffusion", path)
    split = f"on the '{evaluation.split}' captions" if evaluation.split else "on the evaluated captions"
    if prior.value is None or diffusion.value is None:
        name, known = ("diffusion baseline", diffusion) if prior.value is None else ("prior", prior)
        other, missing = ("prior", prior) if prior.value is None else ("diffusion baseline", diffusion)
        return (
            f"The pictures of the {name} {_reach(known, path)} {split}; "
            f"the {other} could not be compared ({missing.reason})."
        )
    if prior.value == diffusion.value:
        return f"The prior and the diffusion baseline are level {split}: the pictures of both {_reach(prior, path)}."
    names = [("prior", prior), ("diffusion baseline", diffusion)]
    (first, ahead), (second, behind) = names if prior.value > diffusion.value else names[::-1]
    paired = _paired(evaluation, "diffusion", path)
    if paired is not None:
        how_sure = _lead(paired, kind_of(path).unit)
    else:
        how_sure = ", though their 95 % intervals overlap" if intervals_apart(ahead, behind) is False else ""
    return (
        f"The {first} beats the {second} {split}: its pictures {_reach(ahead, path)}, "
        f"those of the {second} {_reach(behind, path, short=True)}{how_sure}."
    )


def _lead(paired: Metric, unit: str) -> str:
    """How sure the lead of one of two is by their difference on the same prompts, whichever is ahead."""
    assert paired.value is not None and paired.ci95 is not None  # by `_paired`
    sign = 1 if paired.value > 0 else -1
    low, high = sorted(sign * end for end in paired.ci95)
    lead = _gap(abs(paired.value), unit)
    within = f"95 % interval {write_number(low, unit)} to {write_number(high, unit)}"
    if low > 0:
        return f"; prompt by prompt the lead is {lead} ({within})"
    return f", though prompt by prompt the lead of {lead} cannot be told from none ({within})"


def _beside(paired: Metric, unit: str) -> str:
    """By how much the prior differs from what was just named, and whether that can be told from none."""
    assert paired.value is not None and paired.ci95 is not None  # by `_paired`
    low, high = paired.ci95
    if low <= 0 <= high:
        said = "which cannot be told from the prior"
    else:
        said = f"{'less' if paired.value > 0 else 'more'} than the prior"
    ends = " to ".join(write_number(end, unit) for end in paired.ci95)
    return f", {said} (the prior minus it: {_gap(paired.value, unit)}, 95 % interval {ends})"


def _gap(difference: float, unit: str) -> str:
    """A difference in its unit, which for shares is points."""
    return f"{write_number(difference, unit)} points" if unit == "percent" else write_number(difference, unit)


def _does_copying_do(evaluation: Evaluation, path: str) -> list[str]:
    prior, copied = evaluation.metric("prior", path), evaluation.metric("retrieval", path)
    if prior.value is None or copied.value is None:
        return []
    unit = kind_of(path).unit
    said = f"copying the train picture with the nearest caption reaches {write_value(copied, unit)}"
    paired = _paired(evaluation, "retrieval", path)
    if paired is not None:
        said += _beside(paired, unit)
    ours, theirs = (evaluation.metric(name, path + COMPOSITIONS) for name in ("prior", "retrieval"))
    if ours.value is not None and theirs.value is not None:
        said += f"; on combinations that train never shows, {write_value(theirs, unit)}"
        said += f", where the prior reaches {write_value(ours, unit)}"
    return [said]


def _do_captions_matter(evaluation: Evaluation, path: str) -> list[str]:
    own, other = evaluation.metric("prior", path), evaluation.metric("prior_shuffled", path)
    parts = []
    if own.value is not None and other.value is not None:
        unit = kind_of(path).unit
        gap = own.value - other.value
        paired = _paired(evaluation, "prior_shuffled", path)
        apart = intervals_apart(own, other) if paired is None or paired.ci95 is None else paired.ci95[0] > 0
        follows = gap > 0 and apart is True
        parts.append(
            f"scored against other captions the prior's pictures reach {write_value(other, unit)} "
            f"({_gap(gap, unit)} {'less' if gap >= 0 else 'more'}), "
            f"so they {'do' if follows else 'cannot be shown to'} follow their captions".replace("(-", "(")
        )
    bits, shuffled = bits_per_code(evaluation)
    if bits is not None and shuffled is not None and bits.value is not None and shuffled.value is not None:
        parts.append(
            f"the prior needs {bits.value:.3f} bits per code given the true caption "
            f"and {shuffled.value:.3f} given another"
        )
    return parts


def _ceiling(evaluation: Evaluation, path: str) -> list[str]:
    unit = kind_of(path).unit
    psnr = evaluation.section("vqvae").get("psnr_db", Metric(None))
    parts = []
    if psnr.value is not None:
        parts.append(f"the VQ-VAE rebuilds pictures of 'test' at {psnr.value:.2f} dB (true peak 2.0)")
    rebuilt, real = evaluation.metric("reconstruction", path), evaluation.metric("real", path)
    if rebuilt.value is not None and real.value is not None:
        parts.append(
            f"its reconstructions score {write_value(rebuilt, unit)} and the real pictures {write_value(real, unit)}, "
            "the ceiling for everything painted from codes"
        )
    return parts


def bits_per_code(evaluation: Evaluation) -> tuple[Metric | None, Metric | None]:
    """The prior's bits per code given the true and given another caption."""
    found = evaluation.section("prior")
    true = [path for path in found if "bits_per_code" in path and "shuffled" not in path]
    shuffled = [path for path in found if "bits_per_code" in path and "shuffled" in path]
    # the plain name before names of one level
    first = min(true, key=len, default=None)
    second = min(shuffled, key=len, default=None)
    return (found[first] if first else None, found[second] if second else None)


def _reach(metric: Metric, path: str, *, short: bool = False) -> str:
    unit = kind_of(path).unit
    value = write_value(metric, unit)
    within = f" (95 % interval {' to '.join(write_number(end, unit) for end in metric.ci95)})" if metric.ci95 else ""
    if short:
        return value + within
    if path == ATTRIBUTES:
        return f"show {value} of what their captions say{within}"
    return f"reach a BLIP ITC cosine of {value} with their captions{within}"


def _paired(evaluation: Evaluation, other: str, path: str) -> Metric | None:
    """The prior's figure minus another's on the same prompts, with its interval; None where that was not measured."""
    found = evaluation.section("paired").get(f"{other}/{path}")
    return None if found is None or found.value is None or found.ci95 is None else found
