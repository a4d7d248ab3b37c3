"""Is an environment fit to be trained in? Plays it and says all that is wrong, what numzero makes of it, what it costs.

Each file looks at one subject and knows nothing of the others; `environment.py` has the order of things.
"""
