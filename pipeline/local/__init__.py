"""The whole loop on one machine: real servers as child processes, and the demo that shows it."""
