"""numzero: MuZero for CPU machines."""

from numzero.agent import Agent, AgentInfo, Decision
from numzero.errors import UserError
from numzero.search import Search, SearchConfig, SearchResult

__version__ = "0.1.0"

__all__ = ["Agent", "AgentInfo", "Decision", "Search", "SearchConfig", "SearchResult", "UserError", "__version__"]
