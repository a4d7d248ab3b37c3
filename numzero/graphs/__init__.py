"""ONNX: formulas as nodes (`formulas`), new weights for old files (`weights`), the search as a graph (`search_graph`).

Knows nodes and initializers; knows nothing of torch or of layers, which write themselves with what is here. Needs onnx
(the `train` extra): import from the modules.
"""
