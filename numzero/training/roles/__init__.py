"""What workers do: play, search again, judge. A role speaks with the world through its mailbox alone."""
