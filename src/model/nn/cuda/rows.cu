// Kernels over the rows of a matrix: what stands between two matrix products of a transformer.
// All numbers are read and written in groups of eight, computed in f32.
#include "warp.cuh"

__device__ __forceinline__ void load8(float (&to)[8], const float *from) {
    float4 a = ((const float4 *)from)[0], b = ((const float4 *)from)[1];
    to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
    to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

__device__ __forceinline__ void load8(float (&to)[8], const bf16 *from) {
    uint4 a = *(const uint4 *)from;
    to[0] = low_half(a.x), to[1] = high_half(a.x), to[2] = low_half(a.y), to[3] = high_half(a.y);
    to[4] = low_half(a.z), to[5] = high_half(a.z), to[6] = low_half(a.w), to[7] = high_half(a.w);
}

__device__ __forceinline__ void store8(float *to, const float (&from)[8]) {
    ((float4 *)to)[0] = make_float4(from[0], from[1], from[2], from[3]);
    ((float4 *)to)[1] = make_float4(from[4], from[5], from[6], from[7]);
}

__device__ __forceinline__ void store8(bf16 *to, const float (&from)[8]) {
    *(uint4 *)to = make_uint4(pack(from[0], from[1]), pack(from[2], from[3]),
                              pack(from[4], from[5]), pack(from[6], from[7]));
}

__device__ __forceinline__ float gelu(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

// The number of this thread's group of eight.
__device__ __forceinline__ long long group_index() {
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}

enum Activation { NONE, RELU, GELU };

// x[row, column] = f(x[row, column] + bias[column]); width is a multiple of eight.
template <Activation ACTIVATION, typename T>
__device__ __forceinline__ void add_bias(T *x, const T *bias, long long groups, int width) {
    long long group = group_index();
    if (group >= groups) return;
    float value[8], add[8];
    load8(value, x + group * 8);
    load8(add, bias + (int)(group % (width / 8)) * 8);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        float sum = value[i] + add[i];
        value[i] = ACTIVATION == GELU ? gelu(sum) : ACTIVATION == RELU ? fmaxf(sum, 0.0f) : sum;
    }
    store8(x + group * 8, value);
}

// out[row, column] = silu(a + bias) (b + bias), a and b being the halves of a row of x, which has
// 2 width numbers.
template <typename T>
__device__ __forceinline__ void silu_gate(T *out, const T *x, const T *bias, long long groups,
                                          int width) {
    long long group = group_index();
    if (group >= groups) return;
    long long row = group / (width / 8);
    int column = (int)(group % (width / 8)) * 8;
    float a[8], b[8], add_a[8], add_b[8];
    load8(a, x + row * 2 * width + column);
    load8(b, x + row * 2 * width + width + column);
    load8(add_a, bias + column);
    load8(add_b, bias + width + column);
#pragma unroll
    for (int i = 0; i < 8; ++i) a[i] = silu(a[i] + add_a[i]) * (b[i] + add_b[i]);
    store8(out + group * 8, a);
}

// out[row, column] = residual + gamma[column] (branch + bias[column]); residual, gamma and out are
// f32. Without LayerScale gamma is null.
template <typename T>
__device__ __forceinline__ void add_branch(float *out, const float *residual, const T *branch,
                                           const T *bias, const float *gamma, long long groups,
                                           int width) {
    long long group = group_index();
    if (group >= groups) return;
    int column = (int)(group % (width / 8)) * 8;
    float sum[8], value[8], add[8], factor[8];
    load8(sum, residual + group * 8);
    load8(value, branch + group * 8);
    load8(add, bias + column);
    if (gamma) load8(factor, gamma + column);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        float term = value[i] + add[i];
        sum[i] += gamma ? factor[i] * term : term;
    }
    store8(out + group * 8, sum);
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, distance);
    }
    return x;
}

// One warp for each row: mean, then variance about the mean, then the result. The second and third
// pass find the row in the cache.
template <typename T>
__device__ __forceinline__ void layer_norm(T *out, const float *x, const float *weight,
                                           const float *bias, int rows, int width, float epsilon) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    x += (long long)row * width;
    out += (long long)row * width;
    float value[8], factor[8], add[8], sum = 0.0f;
    for (int column = lane * 8; column < width; column += 256) {
        load8(value, x + column);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum += value[i];
    }
    float mean = warp_sum(sum) / width;
    sum = 0.0f;
    for (int column = lane * 8; column < width; column += 256) {
        load8(value, x + column);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum += (value[i] - mean) * (value[i] - mean);
    }
    float inverse = 1.0f / sqrtf(warp_sum(sum) / width + epsilon);
    for (int column = lane * 8; column < width; column += 256) {
        load8(value, x + column);
        load8(factor, weight + column);
        load8(add, bias + column);
#pragma unroll
        for (int i = 0; i < 8; ++i) value[i] = (value[i] - mean) * inverse * factor[i] + add[i];
        store8(out + column, value);
    }
}

#define FOR_TYPE(T, suffix)                                                                        \
    extern "C" __global__ void bias_##suffix(T *x, const T *bias, long long groups, int width) {   \
        add_bias<NONE>(x, bias, groups, width);                                                    \
    }                                                                                              \
    extern "C" __global__ void bias_relu_##suffix(T *x, const T *bias, long long groups,           \
                                                  int width) {                                     \
        add_bias<RELU>(x, bias, groups, width);                                                    \
    }                                                                                              \
    extern "C" __global__ void bias_gelu_##suffix(T *x, const T *bias, long long groups,           \
                                                  int width) {                                     \
        add_bias<GELU>(x, bias, groups, width);                                                    \
    }                                                                                              \
    extern "C" __global__ void silu_gate_##suffix(T *out, const T *x, const T *bias,               \
                                                  long long groups, int width) {                   \
        silu_gate(out, x, bias, groups, width);                                                    \
    }                                                                                              \
    extern "C" __global__ void add_branch_##suffix(float *out, const float *residual,              \
                                                   const T *branch, const T *bias,                 \
                                                   const float *gamma, long long groups,           \
                                                   int width) {                                    \
        add_branch(out, residual, branch, bias, gamma, groups, width);                             \
    }                                                                                              \
    extern "C" __global__ void layer_norm_##suffix(T *out, const float *x, const float *weight,    \
                                                   const float *bias, int rows, int width,         \
                                                   float epsilon) {                                \
        layer_norm(out, x, weight, bias, rows, width, epsilon);                                    \
    }

FOR_TYPE(float, f32)
FOR_TYPE(bf16, bf16)
