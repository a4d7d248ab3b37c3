"""Board games: rules on arrays, a file a game."""
