"""Graphs of strangers: kernels touch their own buffers only, files stay closed, and what is wrong is one sentence."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from numzero.errors import UserError
from numzero.graphs.search_graph import search_graph
from numzero.inference import ModelFiles, OnnxModel, OnnxSearch
from numzero.onnx_reader import external_tensor, read_graph
from numzero.search import SearchConfig
from numzero.search.plain.dense import LATENT
from tests.mutants import Fences, network_files

SHAPE, NUM_ACTIONS, LATENT_SIZE, WIDTH = (3,), 4, 5, 7
INITIAL, RECURRENT = "initial", "recurrent"
networks = pytest.mark.parametrize("network", [INITIAL, RECURRENT])
Change = Callable[[ModelProto], Any]


@functools.cache
def whole(**settings: Any) -> ModelFiles:
    """A small network as numzero exports it."""
    return network_files(SHAPE, NUM_ACTIONS, width=WIDTH, latent_size=LATENT_SIZE, **settings)


def changed(files: ModelFiles, network: str, change: Change) -> ModelFiles:
    model = onnx.load_from_string(getattr(files, network))
    change(model)
    return files._replace(**{network: model.SerializeToString()})


def constant(model: ModelProto, name: str) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def set_constant(model: ModelProto, name: str, array: Any) -> None:
    constant(model, name).CopyFrom(numpy_helper.from_array(np.array(array, order="C"), name))


def node(model: ModelProto, op: str, number: int = 0) -> onnx.NodeProto:
    return [each for each in model.graph.node if each.op_type == op][number]


def set_attribute(model: ModelProto, op: str, name: str, value: Any, number: int = 0) -> None:
    found = node(model, op, number)
    kept = [attribute for attribute in found.attribute if attribute.name != name]
    del found.attribute[:]
    found.attribute.extend([*kept, helper.make_attribute(name, value)])


def evaluated_by(files: ModelFiles, network: str) -> str:
    """Run a network with a fence around every array; its outputs are onnxruntime's, or it is refused."""
    fences = Fences()
    try:
        with fences.up():
            model = OnnxModel(files)
            layers = model._layers
            found, same = run(model, network), run(OnnxModel(files, kernels=False), network)
        for one, other in zip(found, same, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    except UserError:
        return "refused"
    finally:
        fences.check()
    return "onnxruntime" if getattr(layers, network) is None else "kernels"


def run(model: OnnxModel, network: str) -> Any:
    if network == INITIAL:
        return model.initial(np.ones((2, *SHAPE), np.float32))
    action = np.array([0, NUM_ACTIONS - 1], np.int32)
    return model.recurrent(np.full((2, LATENT_SIZE), 0.3, np.float32), action)


# Layers.

HIDDEN = {INITIAL: "representation.hidden.layers.0.dense", RECURRENT: "dynamics.first.dense"}
OUTPUT = {INITIAL: "representation.output", RECURRENT: "dynamics.output"}


def turn(model: ModelProto, network: str, number: int, name: str) -> None:
    """Store W the other way round, and say so: the same network."""
    set_attribute(model, "Gemm", "transB", 0, number)
    set_constant(model, f"{name[network]}.weight", numpy_helper.to_array(constant(model, f"{name[network]}.weight")).T)


@networks
@pytest.mark.parametrize(("number", "name"), [(0, HIDDEN), (1, OUTPUT)])
def test_a_weight_that_lies_the_other_way_is_read_as_it_lies(network: str, number: int, name: dict[str, str]) -> None:
    """Gemm without transB is what onnxruntime says it is, and nothing is written beside an array."""
    files = changed(whole(), network, lambda model: turn(model, network, number, name))
    assert evaluated_by(files, network) == "kernels"


def test_a_large_weight_that_lies_the_other_way_does_not_reach_the_heap() -> None:
    """30,000 hidden units into a latent of five: read transposed, as many numbers went into a buffer of five."""

    def widen(model: ModelProto) -> None:
        rng, name = np.random.default_rng(0), HIDDEN[INITIAL]
        set_constant(model, f"{name}.weight", rng.normal(size=(3000, 3)).astype(np.float32))
        set_constant(model, f"{name}.bias", np.zeros(3000, np.float32))
        set_constant(model, f"{OUTPUT[INITIAL]}.weight", rng.normal(size=(3000, 5)).astype(np.float32))
        set_attribute(model, "Gemm", "transB", 0, 1)

    assert evaluated_by(changed(whole(), INITIAL, widen), INITIAL) == "kernels"


def rename_constant(old: str, array: Any) -> Change:
    return lambda model: set_constant(model, old, array)


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


MISFITS: list[tuple[str, str, Change]] = [
    ("transA", RECURRENT, lambda m: set_attribute(m, "Gemm", "transA", 1)),
    ("alpha", RECURRENT, lambda m: set_attribute(m, "Gemm", "alpha", 0.5)),
    ("beta", INITIAL, lambda m: set_attribute(m, "Gemm", "beta", 0.5)),
    ("epsilon", INITIAL, lambda m: set_attribute(m, "LayerNormalization", "epsilon", 0.1)),
    ("norm over the batch", INITIAL, lambda m: set_attribute(m, "LayerNormalization", "axis", 0)),
    ("softmax over the batch", INITIAL, lambda m: set_attribute(m, "Softmax", "axis", 0)),
    ("gather columns", RECURRENT, lambda m: set_attribute(m, "Gather", "axis", 1)),
    ("flatten all", INITIAL, lambda m: set_attribute(m, "Flatten", "axis", 0)),
    ("unknown attribute", INITIAL, lambda m: set_attribute(m, "Relu", "mine", 1)),
    ("another domain", INITIAL, lambda m: setattr(node(m, "Relu"), "domain", "com.microsoft")),
    ("another opset", INITIAL, lambda m: setattr(m.opset_import[0], "version", 19)),
    ("bias of one", INITIAL, rename_constant(f"{OUTPUT[INITIAL]}.bias", zeros(1))),
    ("bias of a row", INITIAL, rename_constant(f"{OUTPUT[INITIAL]}.bias", zeros(1, LATENT_SIZE))),
    ("long bias", INITIAL, rename_constant(f"{OUTPUT[INITIAL]}.bias", zeros(300))),
    ("scale of one", INITIAL, rename_constant("constant_0", np.ones(1, np.float32))),
    ("long scale", RECURRENT, rename_constant("constant_0", np.ones(300, np.float32))),
    ("table of one row", RECURRENT, rename_constant("dynamics.action", zeros(1, WIDTH))),
    ("longer table", RECURRENT, rename_constant("dynamics.action", zeros(NUM_ACTIONS + 1, WIDTH))),
    ("wider table", RECURRENT, rename_constant("dynamics.action", zeros(NUM_ACTIONS, 300))),
    ("narrow table", RECURRENT, rename_constant("dynamics.action", zeros(NUM_ACTIONS, 1))),
    ("few bins", INITIAL, rename_constant("constant_2", zeros(1))),
    ("many bins", RECURRENT, rename_constant("constant_2", zeros(300))),
    ("other heads", INITIAL, rename_constant("constant_1", np.array([NUM_ACTIONS, 3, 5]))),
    ("no heads", INITIAL, rename_constant("constant_1", np.array([0, 0, 12]))),
    ("integers", INITIAL, rename_constant(f"{OUTPUT[INITIAL]}.bias", np.zeros(LATENT_SIZE, np.int64))),
    ("double", INITIAL, rename_constant(f"{OUTPUT[INITIAL]}.bias", np.zeros(LATENT_SIZE))),
    ("no weights", INITIAL, rename_constant(f"{HIDDEN[INITIAL]}.weight", zeros(0, 3))),
    ("negative", INITIAL, lambda m: constant(m, f"{HIDDEN[INITIAL]}.weight").dims.__setitem__(slice(0, 2), [-7, -3])),
    ("overflowing", INITIAL, lambda m: constant(m, f"{OUTPUT[INITIAL]}.bias").dims.extend([2**32, 2**32])),
    ("a node beside", INITIAL, lambda m: m.graph.node.append(helper.make_node("Relu", ["value"], ["more"]))),
    ("a node twice", INITIAL, lambda m: m.graph.node.append(node(m, "MatMul"))),
    ("a constant twice", INITIAL, lambda m: m.graph.initializer.append(constant(m, "constant_2"))),
    ("residual of elsewhere", RECURRENT, lambda m: node(m, "Gemm", 1).input.__setitem__(2, "relu_3")),
]


@pytest.mark.parametrize(("network", "change"), [case[1:] for case in MISFITS], ids=[case[0] for case in MISFITS])
def test_what_does_not_fit_is_never_run_by_kernels(network: str, change: Change) -> None:
    """onnxruntime runs it or it is refused; nothing is written beside an array."""
    assert evaluated_by(changed(whole(), network, change), network) != "kernels"


EQUALS: list[tuple[str, str, Change]] = [
    ("softmax of the last axis", INITIAL, lambda m: set_attribute(m, "Softmax", "axis", 1)),
    ("split along the last axis", RECURRENT, lambda m: set_attribute(m, "Split", "axis", -1)),
    ("no epsilon", RECURRENT, lambda m: node(m, "LayerNormalization").attribute.pop()),
    ("a constant for nobody", INITIAL, lambda m: m.graph.initializer.append(numpy_helper.from_array(zeros(9), "more"))),
    ("notes", INITIAL, lambda m: setattr(node(m, "Relu"), "doc_string", "a note")),
]


@pytest.mark.parametrize(("network", "change"), [case[1:] for case in EQUALS], ids=[case[0] for case in EQUALS])
def test_what_is_the_same_written_otherwise_is_run_by_kernels(network: str, change: Change) -> None:
    """Defaults, other names of one axis, notes."""
    assert evaluated_by(changed(whole(), network, change), network) == "kernels"


@networks
def test_a_floor_of_another_height_is_not_taken_for_the_known_one(network: str) -> None:
    """Alone, and as newer weights of an earlier model: constants are numbers that only look like weights."""
    files = whole(latent_scaling="minmax")
    earlier = OnnxModel(files)
    earlier.dense()

    def raise_floor(model: ModelProto) -> None:
        set_constant(model, node(model, "Max").input[1], np.float32(10.0))

    other = changed(files, network, raise_floor)
    assert evaluated_by(other, network) == "onnxruntime"
    assert getattr(OnnxModel(other, earlier=earlier)._layers, network) is None


@networks
def test_newer_weights_that_do_not_fit_are_not_run_by_kernels(network: str) -> None:
    """A model that continues an earlier one is checked as the first was: operators of another version are others."""
    earlier = OnnxModel(whole())
    earlier.dense()
    other = changed(whole(), network, lambda model: setattr(model.opset_import[0], "version", 19))
    assert getattr(OnnxModel(other, earlier=earlier)._layers, network) is None


def test_an_operator_that_the_file_defines_itself_is_not_the_known_one() -> None:
    """A function by the name of Relu: newer weights of the same graph are not believed to be a network of Relus."""
    earlier = OnnxModel(whole())
    earlier.dense()
    body = [helper.make_node("Neg", ["x"], ["y"])]
    function = helper.make_function("", "Relu", ["x"], ["y"], body, [helper.make_opsetid("", 20)])
    other = changed(whole(), INITIAL, lambda model: model.functions.append(function))
    assert OnnxModel(other, earlier=earlier)._layers.initial is None


def test_layers_that_go_beyond_their_buffers_are_found_out_on_fenced_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of defence: without any check, a latent that is too wide hits a fence, and kernels are not used."""
    model = OnnxModel(whole())
    dense = model.dense()
    assert dense is not None
    program = dense.program.copy()
    program[program[:, 0] == LATENT, 2] = LATENT_SIZE + 9
    wide = dense._replace(program=program, work=np.zeros((2, 16, 64), np.float32))
    monkeypatch.setattr(
        "numzero.inference.model.plain_layers", lambda _graph, _shapes, form, *_: wide if form == "recurrent" else None
    )
    assert OnnxModel(whole()).dense() is None


@pytest.mark.parametrize(
    "count", [pytest.param(240, id="short"), pytest.param(20_000, id="long", marks=pytest.mark.slow)]
)
def test_mutated_graphs_neither_leave_their_buffers_nor_crash(count: int) -> None:
    """Changes of structure and of bytes: kernels agree with onnxruntime, or do not run, or a UserError says why."""
    program = [sys.executable, "-W", "error", "-m", "tests.mutants", str(count), str(count)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120 + count / 2, check=False)
    *numbered, figures = done.stdout.splitlines()
    assert done.returncode == 0, f"{figures}: {done.stderr[-2000:]}"
    seen = json.loads(figures)
    sys.stdout.write(f"mutated graphs: {seen}\n")
    assert len(numbered) == seen["graphs"] == count
    assert min(seen["kernels"], seen["later kernels"], seen["onnxruntime"], seen["refused"]) > count // 50


@networks
def test_newer_weights_run_though_the_earlier_ones_could_not(network: str) -> None:
    """What is wrong with an earlier model is not said of the next."""
    earlier = OnnxModel(changed(whole(), network, failing("node")))
    with pytest.raises(UserError):
        run(earlier, network)
    assert OnnxModel(whole(), earlier=earlier).dense() is not None


# External data.


def external(name: str, array: Any) -> TensorProto:
    """A tensor whose numbers lie in the file `secret`."""
    tensor = numpy_helper.from_array(array, name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret"
    return tensor


def in_initializer(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(external(tensor.name, numpy_helper.to_array(tensor)))


def in_constant_node(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["seen"], value=external("t", zeros(4))))


def in_list_of_tensors(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Mine", [], ["seen"], domain="mine", values=[external("t", zeros(4))]))


def in_body(model: ModelProto) -> None:
    inner = helper.make_node("Constant", [], ["inner"], value=external("t", zeros(4)))
    info = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [4])
    body = helper.make_graph([inner], "body", [], [info])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
    model.graph.node.append(helper.make_node("If", ["condition"], ["seen"], then_branch=body, else_branch=body))


def in_bodys_initializer(model: ModelProto) -> None:
    in_body(model)
    for attribute in model.graph.node[-1].attribute:
        del attribute.g.node[:]
        attribute.g.node.append(helper.make_node("Identity", ["t"], ["inner"]))
        attribute.g.initializer.append(external("t", zeros(4)))


def in_list_of_graphs(model: ModelProto) -> None:
    in_body(model)
    body = model.graph.node[-1].attribute[0].g
    model.graph.node.append(helper.make_node("Mine", [], ["more"], domain="mine", bodies=[body]))
    del model.graph.node[-2]


def in_sparse_initializer(model: ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external("sparse", zeros(4)))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(4)))
    sparse.dims.append(9)


def in_sparse_attribute(model: ModelProto) -> None:
    in_sparse_initializer(model)
    sparse = model.graph.sparse_initializer[0]
    model.graph.node.append(helper.make_node("Constant", [], ["seen"], sparse_value=sparse))
    del model.graph.sparse_initializer[:]


def in_function(model: ModelProto) -> None:
    body = [helper.make_node("Constant", [], ["y"], value=external("t", zeros(4)))]
    model.functions.append(helper.make_function("mine", "Mine", [], ["y"], body, [helper.make_opsetid("", 20)]))


def in_functions_defaults(model: ModelProto) -> None:
    in_function(model)
    del model.functions[0].node[:]
    model.functions[0].attribute_proto.append(helper.make_attribute("a", external("t", zeros(4))))


def in_training(model: ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(external("t", zeros(4)))


PLACES = [in_initializer, in_constant_node, in_list_of_tensors, in_body, in_bodys_initializer, in_list_of_graphs]
PLACES += [in_sparse_initializer, in_sparse_attribute, in_function, in_functions_defaults, in_training]


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a file that graphs name."""
    path = tmp_path / "secret"
    path.write_bytes(np.ones(1000, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    return path


@networks
@pytest.mark.parametrize("place", PLACES)
def test_a_graph_that_names_another_file_is_refused(secret: Path, network: str, place: Change) -> None:
    """Wherever a tensor can be; onnxruntime would read it from the working directory."""
    files = changed(whole(), network, place)
    with pytest.raises(UserError, match=rf"^{network}\.onnx must hold all of its numbers; those of .* another file"):
        OnnxModel(files)


def test_a_search_that_names_another_file_is_refused(secret: Path) -> None:
    """`agent.onnx` too, and the networks that one is made of."""
    content = search_graph(whole(), SearchConfig(num_simulations=2), {})
    OnnxSearch(content)
    model = onnx.load_from_string(content)
    in_initializer(model)
    with pytest.raises(UserError, match=r"^agent\.onnx must hold all of its numbers"):
        OnnxSearch(model.SerializeToString())
    with pytest.raises(UserError, match=r"^initial\.onnx must hold all of its numbers"):
        search_graph(changed(whole(), INITIAL, in_initializer), SearchConfig(num_simulations=2), {})


def test_newer_weights_that_name_another_file_are_refused(secret: Path) -> None:
    """Whatever came before: their numbers are not there, so kernels do not run them."""
    earlier = OnnxModel(whole())
    earlier.dense()
    for network in (INITIAL, RECURRENT):
        with pytest.raises(UserError, match="must hold all of its numbers"):
            OnnxModel(changed(whole(), network, in_initializer), earlier=earlier)


@pytest.mark.parametrize("location", [None, TensorProto.EXTERNAL])
def test_half_a_reference_to_another_file_is_one(location: int | None) -> None:
    """A place without a file, a file without a place, and memory of the process, which onnxruntime knows a name for."""

    def refer(model: ModelProto) -> None:
        tensor = model.graph.initializer[0]
        if location is None:
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", "*/_ORT_MEM_ADDR_/*"
        else:
            tensor.data_location = TensorProto.EXTERNAL

    with pytest.raises(UserError, match="must hold all of its numbers"):
        OnnxModel(changed(whole(), INITIAL, refer))


def test_onnxruntimes_own_format_is_refused(tmp_path: Path) -> None:
    """It would be read by other rules than those that were looked at."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "initial.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(whole().initial, options, providers=["CPUExecutionProvider"])
    with pytest.raises(UserError, match=r"^initial\.onnx is not a model .* onnxruntime's own format"):
        OnnxModel(whole()._replace(initial=(tmp_path / "initial.ort").read_bytes()))


def length_delimited(field: int, content: bytes) -> bytes:
    size, length = [], len(content)
    while length > 0x7F:
        size.append(0x80 | length & 0x7F)
        length >>= 7
    return bytes([field << 3 | 2, *size, length]) + content


def test_graphs_within_graphs_without_end_are_refused() -> None:
    """Five thousand deep: a sentence, not Python's limit of recursion."""
    content = b""
    for _ in range(5000):  # graph: node: attribute: graph
        content = length_delimited(1, length_delimited(5, length_delimited(6, content)))
    content = length_delimited(7, content)
    assert external_tensor(content) is None
    with pytest.raises(UserError, match=r"^initial\.onnx is not a model that onnxruntime can load"):
        OnnxModel(whole()._replace(initial=content))


@pytest.mark.parametrize(
    "more",
    [
        b"\x08" + b"\x80" * 11 + b"\x01",  # a number of twelve bytes
        b"\xb8\x80\x80\x80\x80\x01\x00",  # a field whose number needs more than 32 bits
        b"\x00\x00",  # field 0
        b"\x0b\x0c",  # a group
        b"\x3a\x05abc",  # beyond the end
        b"\x79\x00",  # eight bytes, of which one is there
    ],
)
def test_bytes_that_readers_may_take_differently_are_refused(more: bytes) -> None:
    """Behind a whole model: what one reader passes over another may believe."""
    content = whole().initial + more
    for read in (read_graph, external_tensor):
        with pytest.raises(ValueError, match="not an ONNX model"):
            read(content)
    with pytest.raises(UserError, match=r"^initial\.onnx is not a model"):
        OnnxModel(whole()._replace(initial=content))


def test_a_second_graph_is_not_overlooked() -> None:
    """protobuf joins the two into one: kernels do not run the first of them alone."""
    more = ModelProto()
    more.graph.node.append(helper.make_node("Relu", ["value"], ["more"]))
    files = whole()._replace(initial=whole().initial + more.SerializeToString())
    assert evaluated_by(files, INITIAL) == "onnxruntime"


# What a graph says of itself.


def set_metadata(key: str, value: str) -> Change:
    def change(model: ModelProto) -> None:
        entries = {entry.key: entry.value for entry in model.metadata_props}
        helper.set_model_props(model, entries | {key: value})

    return change


def assert_refused(key: str, value: str, later: bool, sentence: str) -> None:
    """An entry of the metadata, of newer weights too, in a short sentence that can be shown."""
    earlier = OnnxModel(whole())
    earlier.dense()
    with pytest.raises(UserError, match=sentence) as caught:
        OnnxModel(changed(whole(), RECURRENT, set_metadata(key, value)), earlier=earlier if later else None)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "-inf", "1e999", "1.01", "-2", "\x1b[31m", "9" * 6000])
@pytest.mark.parametrize("later", [False, True])
def test_a_discount_that_is_none_is_refused(value: str, later: bool) -> None:
    """No number, no finite one, or one beyond 1."""
    assert_refused("discount", value, later, r"recurrent\.onnx must give a discount from -1 to 1")


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "0", "-1", "1e31", "\x1b[31m", "9" * 6000])
@pytest.mark.parametrize("later", [False, True])
def test_a_size_of_rewards_that_is_none_is_refused(value: str, later: bool) -> None:
    """No number, none above 0, or none that a search can count in."""
    assert_refused("reward_unit", value, later, r"recurrent\.onnx must give a reward_unit above 0")


@pytest.mark.parametrize("value", ["", "x", "1.5", "-1", "nan", "1e3", "1_000", "٣", "9" * 19, "9" * 6000])
@pytest.mark.parametrize("later", [False, True])
def test_a_version_that_is_none_is_refused(value: str, later: bool) -> None:
    """No whole number, or one of more than 18 digits."""
    assert_refused("model_version", value, later, r"recurrent\.onnx must give its model_version")


@pytest.mark.parametrize("field", ["name", "metadata"])
def test_text_that_is_not_utf_8_is_refused(field: str) -> None:
    """Protobuf does not look; Python would raise a UnicodeDecodeError."""
    text = "discount" if field == "metadata" else "action"
    content = whole().recurrent.replace(text.encode(), b"\xff" * len(text))
    with pytest.raises(UserError, match=r"^recurrent\.onnx"):
        OnnxModel(whole()._replace(recurrent=content))


def through(name: str, op: str, kind: int, dims: list[int | str], **attributes: Any) -> Change:
    """An output goes through one more node and is declared anew."""

    def change(model: ModelProto) -> None:
        for each in model.graph.node:
            each.output[:] = ["inner" if output == name else output for output in each.output]
            each.input[:] = ["inner" if value == name else value for value in each.input]
        model.graph.node.append(helper.make_node(op, ["inner", *attributes.pop("more", [])], [name], **attributes))
        info = next(value for value in model.graph.output if value.name == name)
        info.CopyFrom(helper.make_tensor_value_info(name, kind, dims))

    return change


def redeclared(name: str, kind: int, dims: list[int | str]) -> Change:
    def change(model: ModelProto) -> None:
        values = [*model.graph.input, *model.graph.output]
        value = next(value for value in values if value.name == name)
        value.CopyFrom(helper.make_tensor_value_info(name, kind, dims))

    return change


def free(name: str) -> Change:
    """The size of an output is not known before it runs."""

    def change(model: ModelProto) -> None:
        indices = helper.make_node("NonZero", ["inner"], ["seen"])
        through(name, "Compress", TensorProto.FLOAT, ["batch", "free"], more=["mask"], axis=1)(model)
        model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.bool_), "mask"))
        model.graph.node.append(indices)

    return change


FLOAT, INT64, STRING, DOUBLE = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.DOUBLE
WRONG_SHAPES: list[tuple[str, str, str, Change]] = [
    ("integers", INITIAL, "policy_logits", through("policy_logits", "Cast", INT64, ["b", 4], to=INT64)),
    ("doubles", INITIAL, "latent", through("latent", "Cast", DOUBLE, ["b", 5], to=DOUBLE)),
    ("strings", RECURRENT, "value", through("value", "Cast", STRING, ["b"], to=STRING)),
    ("free latent", INITIAL, "latent", free("latent")),
    ("free logits", INITIAL, "policy_logits", free("policy_logits")),
    ("scalar latent", INITIAL, "latent", through("latent", "ReduceSum", FLOAT, ["b"], more=["constant_a"], keepdims=0)),
    ("scalar logits", INITIAL, "policy_logits", through("policy_logits", "Squeeze", FLOAT, ["b"])),
    ("value of a batch of rows", INITIAL, "value", through("value", "Unsqueeze", FLOAT, ["b", 1], more=["constant_a"])),
    ("deep logits", INITIAL, "policy_logits", through("policy_logits", "Unsqueeze", FLOAT, [], more=["constant_a"])),
    ("fixed batch", INITIAL, "observation", redeclared("observation", FLOAT, [2, 3])),
    ("free observation", INITIAL, "observation", redeclared("observation", FLOAT, ["batch", "free"])),
    ("enormous observation", INITIAL, "observation", redeclared("observation", FLOAT, ["batch", 3, 2**40])),
    ("empty observation", INITIAL, "observation", redeclared("observation", FLOAT, ["batch", 3, 0])),
    ("double observation", INITIAL, "observation", redeclared("observation", DOUBLE, ["batch", 3])),
    ("another latent", RECURRENT, "latent", through("latent", "Concat", FLOAT, ["b", 10], more=["inner"], axis=1)),
    ("fixed batch of actions", RECURRENT, "action", redeclared("action", TensorProto.INT32, [2])),
    ("long actions", RECURRENT, "action", redeclared("action", INT64, ["batch"])),
    ("rows of rewards", RECURRENT, "reward", through("reward", "Unsqueeze", FLOAT, ["b", 1], more=["constant_a"])),
]


@pytest.mark.parametrize(
    ("network", "value", "change"), [case[1:] for case in WRONG_SHAPES], ids=[case[0] for case in WRONG_SHAPES]
)
def test_inputs_and_outputs_that_are_not_a_muzeros_are_refused(network: str, value: str, change: Change) -> None:
    """Element types, ranks, free and fixed sizes: one sentence that names the file, before anything runs."""

    def with_axis(model: ModelProto) -> None:
        change(model)
        model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "constant_a"))

    with pytest.raises(UserError, match=rf"^{network}\.onnx ") as caught:
        OnnxModel(changed(whole(), network, with_axis))
    assert str(caught.value).isprintable()


def failing(text: str) -> Change:
    """A graph that fails when it runs: a row of a table that is not there."""

    def change(model: ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 1), np.float32), "table"))
        value = model.graph.output[2].name
        model.graph.node.append(helper.make_node("Cast", ["inner"], ["index"], to=INT64))
        model.graph.node.append(helper.make_node("Add", ["index", "far"], ["beyond"]))
        model.graph.initializer.append(numpy_helper.from_array(np.array([10**6]), "far"))
        model.graph.node.append(helper.make_node("Gather", ["table", "beyond"], ["rows"], name=text))
        model.graph.node.append(helper.make_node("Squeeze", ["rows", "one"], [value]))
        model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
        for each in list(model.graph.node)[:-4]:
            each.output[:] = ["inner" if output == value else output for output in each.output]

    return change


@networks
def test_a_network_that_fails_when_it_runs_is_a_sentence(network: str, capfd: pytest.CaptureFixture[str]) -> None:
    """It names the file, without what a terminal would obey; onnxruntime's own log stays silent."""
    model = OnnxModel(changed(whole(), network, failing("\x1b[31mred\x07")))
    with pytest.raises(UserError, match=rf"^{network}\.onnx must run on every input of its shapes") as caught:
        run(model, network)
    assert str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")


def test_onnxruntime_does_not_write_beyond_what_it_was_given() -> None:
    """An output that grows when it runs, though the graph does not say so: a sentence, and the buffers are whole."""

    def grow(model: ModelProto) -> None:
        through("latent", "Tile", FLOAT, ["batch", "free"], more=["times"])(model)
        nodes = [
            helper.make_node("ReduceMax", ["action"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["number"], to=INT64),
            helper.make_node("Mul", ["number", "base"], ["times"]),
        ]
        kept = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend([*nodes, *kept])
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 10_000]), "base"))

    fences = Fences()
    with fences.up():
        model = OnnxModel(changed(whole(), RECURRENT, grow))
        with pytest.raises(UserError, match=r"recurrent\.onnx must run"):
            model.recurrent(np.ones((2, LATENT_SIZE), np.float32), np.ones(2, np.int32))
    fences.check()


def test_an_action_beyond_a_table_is_a_sentence() -> None:
    """A Gather of fewer rows than there are actions is onnxruntime's, which looks at bounds."""
    files = changed(whole(), RECURRENT, rename_constant("dynamics.action", zeros(2, WIDTH)))
    model = OnnxModel(files)
    assert model.dense() is None
    with pytest.raises(UserError, match=r"recurrent\.onnx must run"):
        run(model, RECURRENT)


@pytest.mark.parametrize("output", [0, 1, 3])
def test_a_search_of_other_outputs_is_refused(output: int) -> None:
    """Element types of `agent.onnx` are its contract too."""
    model = onnx.load_from_string(search_graph(whole(), SearchConfig(num_simulations=2), {}))
    info = model.graph.output[output]
    through(info.name, "Cast", DOUBLE, [dim.dim_value for dim in info.type.tensor_type.shape.dim], to=DOUBLE)(model)
    with pytest.raises(UserError, match=r"^agent\.onnx must be a search"):
        OnnxSearch(model.SerializeToString())


def test_one_row_of_noise_is_for_all_positions_and_a_list_takes_no_candidates() -> None:
    """As if it were repeated; draws of candidates are refused."""
    search = OnnxSearch(search_graph(whole(), SearchConfig(num_simulations=2), {}))
    asked = np.ones((2, *SHAPE)), np.ones((2, NUM_ACTIONS), np.bool_), 8
    noise = np.linspace(0.0, 9.0, NUM_ACTIONS, dtype=np.float32)[None]
    one, all_of_them = (search.run_batch(*asked, given) for given in (noise, np.repeat(noise, 2, axis=0)))
    assert [(each.action, each.visit_counts.tolist()) for each in one] == [
        (each.action, each.visit_counts.tolist()) for each in all_of_them
    ]
    assert one[0].action == NUM_ACTIONS - 1
    with pytest.raises(UserError, match=r"those of this agent\.onnx are a list.* Leave them out"):
        search.run_batch(*asked, candidates=np.zeros((1, 0, 1), np.float32))


def test_a_search_that_is_asked_about_other_actions_is_a_sentence() -> None:
    """What onnxruntime raises at run time names the file."""
    search = OnnxSearch(search_graph(whole(), SearchConfig(num_simulations=2), {}))
    with pytest.raises(UserError, match=r"^agent\.onnx must run"):
        search.run(np.ones(SHAPE), np.ones(NUM_ACTIONS + 3, np.bool_), 2)
