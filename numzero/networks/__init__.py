"""The networks: `config`, `inputs`, `bodies` made of `layers`, `heads`; `gradients`, also `by_hand`; `export`.

Only `config`, `activations`, `heads` and `support` work without torch and onnx (the `train` extra); import the others
from their modules.
"""

from numzero.networks.config import NetworkConfig, SupportConfig

__all__ = ["NetworkConfig", "SupportConfig"]
