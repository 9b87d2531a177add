"""The metrics, each a small pure function over a well-kept library, per sample wherever that makes sense."""
