// Kernels over feature maps [n, height, width, channel] of f32.
#include "warp.cuh"

__device__ __forceinline__ float rectified(float x) { return fmaxf(x, 0.0f); }

__device__ __forceinline__ float4 rectified(float4 x) {
    return make_float4(rectified(x.x), rectified(x.y), rectified(x.z), rectified(x.w));
}

// Writes the nine neighbours of each pixel side by side, so that a 3x3 convolution with padding 1
// is one matrix product: out[n, y, x, (dy, dx, channel)] = in[n, y stride + dy - 1, ...], or zero
// outside; of max(in, 0) where `rectify` is set. One block for each pixel of the result.
template <typename V>
__device__ __forceinline__ void gather3x3(V *out, const V *in, int height, int width, int channels,
                                          int out_height, int out_width, int stride, int rectify) {
    int pixel = blockIdx.x;
    int x = pixel % out_width, y = pixel / out_width % out_height;
    long long image = pixel / out_width / out_height;
    in += image * height * width * channels;
    out += (long long)pixel * 9 * channels;
    for (int i = threadIdx.x; i < 9 * channels; i += blockDim.x) {
        int tap = i / channels, channel = i % channels;
        int from_y = y * stride + tap / 3 - 1, from_x = x * stride + tap % 3 - 1;
        bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
        V value = {};
        if (inside) value = in[((long long)from_y * width + from_x) * channels + channel];
        out[i] = rectify ? rectified(value) : value;
    }
}

// `channels` is that of a pixel; with it a multiple of four, `gather3x3_f32x4` moves four at a time.
extern "C" __global__ void gather3x3_f32(float *out, const float *in, int height, int width,
                                         int channels, int out_height, int out_width, int stride,
                                         int rectify) {
    gather3x3(out, in, height, width, channels, out_height, out_width, stride, rectify);
}

extern "C" __global__ void gather3x3_f32x4(float4 *out, const float4 *in, int height, int width,
                                           int channels, int out_height, int out_width,
                                           int stride, int rectify) {
    gather3x3(out, in, height, width, channels / 4, out_height, out_width, stride, rectify);
}

// Bilinear, corners on corners. One block for each pixel of the result.
extern "C" __global__ void resize_bilinear_f32(float *out, const float *in, int height, int width,
                                               int channels, int out_height, int out_width) {
    int pixel = blockIdx.x;
    int x = pixel % out_width, y = pixel / out_width % out_height;
    long long image = pixel / out_width / out_height;
    float step_y = out_height > 1 ? (float)(height - 1) / (float)(out_height - 1) : 0.0f;
    float step_x = out_width > 1 ? (float)(width - 1) / (float)(out_width - 1) : 0.0f;
    float at_y = y * step_y, at_x = x * step_x;
    int y0 = min((int)at_y, height - 1), x0 = min((int)at_x, width - 1);
    int y1 = min(y0 + 1, height - 1), x1 = min(x0 + 1, width - 1);
    float wy = at_y - y0, wx = at_x - x0;
    in += image * height * width * channels;
    const float *top = in + (long long)y0 * width * channels;
    const float *bottom = in + (long long)y1 * width * channels;
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        long long left = (long long)x0 * channels + c, right = (long long)x1 * channels + c;
        float upper = top[left] * (1.0f - wx) + top[right] * wx;
        float lower = bottom[left] * (1.0f - wx) + bottom[right] * wx;
        out[(long long)pixel * channels + c] = upper * (1.0f - wy) + lower * wy;
    }
}
