"""The top floor: command line, configuration, engine, sources, stages."""
