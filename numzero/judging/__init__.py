"""How good an agent is, and what it sees.

Knows agents, games and opponents; knows nothing of how agents come about, and never imports torch.
"""
