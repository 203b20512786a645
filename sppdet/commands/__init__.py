"""The commands as functions: from paths and configuration to results, as data and as files."""
