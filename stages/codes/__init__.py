"""The store of codes: `CodeStore.open(directory).read(split)`."""

from stages.codes.store import CodeRecord, CodeStore, CodeWriter, Schema, SplitCodes

__all__ = ["CodeRecord", "CodeStore", "CodeWriter", "Schema", "SplitCodes"]
