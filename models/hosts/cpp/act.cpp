// A move from agent.onnx in C++, through onnxruntime's C interface: the search is inside the file.
// Each line of the input is a position: simulations, a 0 or 1 for each action (is it legal?), and the observation, row
// by row. Each line of the output is the answer: the action, its position's value, and the visits of each action.
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

int main(int argc, char **argv) {  // path of agent.onnx, then the shape of an observation
  setenv("ORT_DISABLE_TELEMETRY", "1", 0);  // before anything is made: else the library reports to a Microsoft host
  OrtEnv *env; OrtSessionOptions *options; OrtSession *session; OrtAllocator *allocator; char *noise_name;
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "numzero", &env));
  check(ort->CreateSessionOptions(&options));
  check(ort->SetIntraOpNumThreads(options, 1));  // small networks: further threads only cost
  check(ort->CreateSession(env, argv[1], options, &session));
  check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  check(ort->GetAllocatorWithDefaultOptions(&allocator));
  check(ort->SessionGetInputName(session, 3, allocator, &noise_name));
  const char *inputs[] = {"observation", "legal", "num_simulations", noise_name};
  const char *outputs[] = {"action", "visit_counts", "value"};
  Shape shape{1};
  for (int i = 2; i < argc; i++) shape.push_back(std::stoll(argv[i]));
  int64_t simulations; std::string line, legal;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line); words >> simulations >> legal;
    for (char &digit : legal) digit -= '0';
    std::vector<float> observation, noise(legal.size());  // noise: zeros play the best move, draws vary the play
    for (float number; words >> number;) observation.push_back(number);
    const Shape actions{1, static_cast<int64_t>(legal.size())};
    OrtValue *fed[] = {tensor(observation.data(), observation.size(), shape, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
                       tensor(legal.data(), legal.size(), actions, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL),
                       tensor(&simulations, 1, {1}, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
                       tensor(noise.data(), noise.size(), actions, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)};
    OrtValue *found[3] = {}; void *numbers[3];
    check(ort->Run(session, nullptr, inputs, fed, 4, outputs, 3, found));
    for (int i = 0; i < 3; i++) check(ort->GetTensorMutableData(found[i], &numbers[i]));
    if (*static_cast<int *>(numbers[0]) < 0) {
      std::fputs("agent.onnx refuses the position: no action is legal, or a number in it is not finite\n", stderr);
      return 1;
    }
    std::printf("%d %.5f", *static_cast<int *>(numbers[0]), *static_cast<float *>(numbers[2]));
    for (size_t i = 0; i < legal.size(); i++) std::printf(" %d", static_cast<int *>(numbers[1])[i]);
    std::puts("");
    for (OrtValue *value : {fed[0], fed[1], fed[2], fed[3], found[0], found[1], found[2]}) ort->ReleaseValue(value);
  }
}
