"""Other ways to serve GLiNER over HTTP, as their users would write them."""
