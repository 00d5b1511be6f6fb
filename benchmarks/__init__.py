"""`make bench`: this project beside the other ways to serve GLiNER on a CPU."""
