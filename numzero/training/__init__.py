"""Self-play, learning and evaluation, and who does what when."""
