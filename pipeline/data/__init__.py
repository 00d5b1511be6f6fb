"""Where data and bundles come from, and what is checked before they are used."""
