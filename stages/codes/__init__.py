"""The store of codes: `CodeStore.open(directory).read(split)`."""

from stages.codes.schema import Schema
from stages.codes.store import About, CodeStore, SplitCodes
from stages.codes.writer import CodeRecords, CodeWriter

__all__ = ["About", "CodeRecords", "CodeStore", "CodeWriter", "Schema", "SplitCodes"]
