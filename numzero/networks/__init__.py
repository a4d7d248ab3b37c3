"""The networks: settings (`config`), layers (`modules`), categorical scalars (`support`), ONNX (`graph`, `export`).

Only `config` works without torch and onnx (the `train` extra); import the others from their modules.
"""

from numzero.networks.config import NetworkConfig, SupportConfig

__all__ = ["NetworkConfig", "SupportConfig"]
