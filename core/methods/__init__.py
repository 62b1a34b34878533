"""The papers' ways from features to anomaly maps, one file a method; nothing here runs a tower or reads a file."""
