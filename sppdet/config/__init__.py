"""All parameters, as frozen records that check themselves; read from YAML files and dotted overrides."""
