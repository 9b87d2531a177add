"""What fetching came to: a table for the log, and the list of what is missing."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.data.musti.fetch import Fetched, host_of


def table(urls: Sequence[str], fetched: Fetched) -> str:
    """Pictures fetched, cached and dead by host and reason, as lines of text; the host with most pictures first."""
    hosts = Counter(host_of(url) for url in urls)
    new = Counter(host_of(url) for url in fetched.files if url not in fetched.cached)
    cached = Counter(host_of(url) for url in fetched.cached)
    reasons: dict[str, Counter[str]] = {host: Counter() for host in hosts}
    for url, reason in fetched.dead.items():
        reasons[host_of(url)][reason] += 1
    rows = [("host", "fetched", "cached", "dead", "")]
    for host, _ in hosts.most_common():
        dead = ", ".join(f"{reason}: {count}" for reason, count in reasons[host].most_common())
        rows.append((host, str(new[host]), str(cached[host]), str(reasons[host].total()), dead))
    rows.append(("all", str(new.total()), str(cached.total()), str(len(fetched.dead)), ""))
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"  {row[0]:<{width}}  {row[1]:>7}  {row[2]:>6}  {row[3]:>5}  {row[4]}".rstrip() for row in rows)


def write_missing(path: Path, fetched: Fetched, pairs: Mapping[str, int]) -> None:
    """One line for each dead url: why, and how many pairs it cost."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("url", "host", "reason", "pairs"))
        for url, reason in fetched.dead.items():
            writer.writerow((url, host_of(url), reason, pairs[url]))
