// onnxruntime's C interface: its own header where that is at hand, else the part of it that act.cpp calls. Python's wheel
// brings the library without headers. OrtApi is a table of functions that only ever grows at its end, so that a place in
// it stays what it is.
#pragma once
#if __has_include(<onnxruntime_c_api.h>)
#include <onnxruntime_c_api.h>
#else
#include <cstddef>
#include <cstdint>

struct OrtStatus;
struct OrtEnv;
struct OrtSessionOptions;
struct OrtSession;
struct OrtRunOptions;
struct OrtAllocator;
struct OrtMemoryInfo;
struct OrtValue;
struct OrtTypeInfo;
struct OrtTensorTypeAndShapeInfo;

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };
enum ONNXTensorElementDataType {
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 = 7,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL = 9,
};

using OrtUnused = void (*)();  // in its name: the place in the table where the gap begins

struct OrtApi {
  OrtUnused unused_0[2];
  const char *(*GetErrorMessage)(const OrtStatus *);
  OrtStatus *(*CreateEnv)(OrtLoggingLevel, const char *name, OrtEnv **);
  OrtUnused unused_4[3];
  OrtStatus *(*CreateSession)(const OrtEnv *, const char *path, const OrtSessionOptions *, OrtSession **);
  OrtUnused unused_8[1];
  OrtStatus *(*Run)(OrtSession *, const OrtRunOptions *, const char *const *input_names, const OrtValue *const *inputs,
                    size_t num_inputs, const char *const *output_names, size_t num_outputs, OrtValue **outputs);
  OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);
  OrtUnused unused_11[13];
  OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int);
  OrtUnused unused_25[5];
  OrtStatus *(*SessionGetInputCount)(const OrtSession *, size_t *);
  OrtUnused unused_31[2];
  OrtStatus *(*SessionGetInputTypeInfo)(const OrtSession *, size_t index, OrtTypeInfo **);
  OrtUnused unused_34[2];
  OrtStatus *(*SessionGetInputName)(const OrtSession *, size_t index, OrtAllocator *, char **);
  OrtUnused unused_37[12];
  OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *data, size_t bytes, const int64_t *shape,
                                               size_t rank, ONNXTensorElementDataType, OrtValue **);
  OrtUnused unused_50[1];
  OrtStatus *(*GetTensorMutableData)(OrtValue *, void **);
  OrtUnused unused_52[3];
  OrtStatus *(*CastTypeInfoToTensorInfo)(const OrtTypeInfo *, const OrtTensorTypeAndShapeInfo **);
  OrtUnused unused_56[6];
  OrtStatus *(*GetDimensions)(const OrtTensorTypeAndShapeInfo *, int64_t *dimensions, size_t rank);
  OrtUnused unused_63[1];
  OrtStatus *(*GetTensorShapeElementCount)(const OrtTensorTypeAndShapeInfo *, size_t *);
  OrtStatus *(*GetTensorTypeAndShape)(const OrtValue *, OrtTensorTypeAndShapeInfo **);
  OrtUnused unused_66[3];
  OrtStatus *(*CreateCpuMemoryInfo)(OrtAllocatorType, OrtMemType, OrtMemoryInfo **);
  OrtUnused unused_70[8];
  OrtStatus *(*GetAllocatorWithDefaultOptions)(OrtAllocator **);
  OrtUnused unused_79[17];
  void (*ReleaseValue)(OrtValue *);
  OrtUnused unused_97[1];
  void (*ReleaseTypeInfo)(OrtTypeInfo *);
  void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo *);
};

struct OrtApiBase {
  const OrtApi *(*GetApi)(uint32_t version);
  const char *(*GetVersionString)();
};

constexpr uint32_t ORT_API_VERSION = 17;  // of 2024; any later library serves it too

extern "C" const OrtApiBase *OrtGetApiBase();

#endif
