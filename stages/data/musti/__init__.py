"""The source `musti`: image-text pairs of the MUSTI task (MediaEval 2022 and 2023), their pictures fetched by url."""

from stages.data.musti.source import MustiSource

__all__ = ["MustiSource"]
