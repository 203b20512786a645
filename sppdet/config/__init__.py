"""Every parameter, as frozen records read from YAML and dotted overrides."""
