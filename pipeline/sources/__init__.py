"""Where input comes from: graph exports, content objects, archives built from local code."""
