// A move from agent.onnx in C++, through onnxruntime's C interface: the search is inside the file. A line of the input
// is a position: simulations, a 0 or 1 for each action (is it legal?), and the observation, row by row. A line of the
// output is the answer: the action, its position's value, and the visits of each action. Where actions are vectors,
// candidates stand for them, the answer begins with the numbers of one, and of choices legal has one for each of all.
#include "ort.h"
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>
using Shape = std::vector<int64_t>;
static const OrtApi *const ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
static OrtMemoryInfo *memory;

static void check(OrtStatus *status) {
  if (status) throw std::runtime_error(ort->GetErrorMessage(status));
}

template <typename T>
static OrtValue *tensor(T *data, size_t size, const Shape &shape, ONNXTensorElementDataType type) {
  OrtValue *value;
  check(ort->CreateTensorWithDataAsOrtValue(memory, data, size * sizeof(T), shape.data(), shape.size(), type, &value));
  return value;
}

static void print_vector(OrtValue *vector) {
  OrtTensorTypeAndShapeInfo *about; size_t size; void *numbers;
  check(ort->GetTensorTypeAndShape(vector, &about)); check(ort->GetTensorShapeElementCount(about, &size));
  check(ort->GetTensorMutableData(vector, &numbers));
  for (size_t i = 0; i < size; i++) std::printf("%s%g", i ? "," : "", static_cast<float *>(numbers)[i]);
  ort->ReleaseTensorTypeAndShapeInfo(about);
}

int main(int argc, char **argv) {  // path of agent.onnx, then the shape of an observation
  setenv("ORT_DISABLE_TELEMETRY", "1", 0);  // before anything is made: else the library reports to a Microsoft host
  OrtEnv *env; OrtSessionOptions *options; OrtSession *session; OrtAllocator *allocator; char *noise_name;
  OrtTypeInfo *about; const OrtTensorTypeAndShapeInfo *sizes; Shape shape{1}, noise_shape(2); size_t num_inputs;
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "numzero", &env)); check(ort->CreateSessionOptions(&options));
  check(ort->SetIntraOpNumThreads(options, 1));  // small networks: further threads only cost
  check(ort->CreateSession(env, argv[1], options, &session));
  check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  check(ort->GetAllocatorWithDefaultOptions(&allocator));
  check(ort->SessionGetInputName(session, 3, allocator, &noise_name));
  check(ort->SessionGetInputCount(session, &num_inputs));
  check(ort->SessionGetInputTypeInfo(session, 3, &about)); check(ort->CastTypeInfoToTensorInfo(about, &sizes));
  check(ort->GetDimensions(sizes, noise_shape.data(), 2)); ort->ReleaseTypeInfo(about);
  noise_shape[0] = 1; const bool vectors = num_inputs > 4;  // of one position; and an output more
  const char *inputs[] = {"observation", "legal", "num_simulations", noise_name, "candidate_noise"};
  const char *outputs[] = {"action", "visit_counts", "value", "vector"};
  for (int i = 2; i < argc; i++) shape.push_back(std::stoll(argv[i]));
  int64_t simulations; std::string line, legal;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line); words >> simulations >> legal;
    for (char &digit : legal) digit -= '0';
    std::vector<float> observation, noise(noise_shape[1]);  // noise: zeros play the best move, draws vary the play
    for (float number; words >> number;) observation.push_back(number);
    const Shape mask{1, static_cast<int64_t>(legal.size())}, drawn{1, 0, 1};  // of candidates: none, see README
    OrtValue *fed[] = {tensor(observation.data(), observation.size(), shape, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
                       tensor(legal.data(), legal.size(), mask, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL),
                       tensor(&simulations, 1, {1}, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
                       tensor(noise.data(), noise.size(), noise_shape, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
                       tensor(noise.data(), 0, drawn, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)};
    OrtValue *found[4] = {}; void *numbers[3];
    check(ort->Run(session, nullptr, inputs, fed, 4 + vectors, outputs, 3 + vectors, found));
    for (int i = 0; i < 3; i++) check(ort->GetTensorMutableData(found[i], &numbers[i]));
    if (*static_cast<int *>(numbers[0]) < 0) {
      std::fputs("agent.onnx refuses the position: no action is legal, a factor has no choice, "
                 "or a number is not finite\n", stderr); return 1;
    }
    if (found[3]) print_vector(found[3]);
    else std::printf("%d", *static_cast<int *>(numbers[0]));
    std::printf(" %.5f", *static_cast<float *>(numbers[2]));
    for (size_t i = 0; i < noise.size(); i++) std::printf(" %d", static_cast<int *>(numbers[1])[i]);
    std::puts("");
    for (OrtValue *value : fed) ort->ReleaseValue(value);
    for (OrtValue *value : found) ort->ReleaseValue(value);
  }
}
