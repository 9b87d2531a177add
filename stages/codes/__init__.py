"""The store of codes: `CodeStore.open(directory).read(split)`."""

from stages.codes.schema import CodeRecords, Schema
from stages.codes.store import About, CodeStore, Rows, SplitCodes
from stages.codes.writer import CodeWriter

__all__ = ["About", "CodeRecords", "CodeStore", "CodeWriter", "Rows", "Schema", "SplitCodes"]
