"""From an agent to a folder for other apps: one graph, golden cases, a card, and whether all of it agrees."""
