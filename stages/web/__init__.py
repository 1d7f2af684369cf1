"""The local web page of `avemo app`: a recording in, its answer out, for this machine alone."""
