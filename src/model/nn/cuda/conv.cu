// 3x3 convolution with padding 1 over maps [n, height, width, channel] of f32, products in TF32: an
// implicit matrix product, in which the neighbours of a pixel are read where they lie.
//
// One block of eight warps makes 128 pixels of 128 channels; a warp 64 by 32 of them. Steps of 16
// channels of one neighbour come in three stages, two of them on their way while one is used.
#include "warp.cuh"

constexpr int PIXELS = 128;
constexpr int OUTPUTS = 128;
constexpr int DEPTH = 16;
constexpr int STAGES = 3;
constexpr int CONV_THREADS = 256;
constexpr int ROW_CHUNKS = DEPTH / 4;
constexpr int TILE = PIXELS * ROW_CHUNKS;
constexpr int ROWS_OF_THREAD = TILE / CONV_THREADS;
static_assert(PIXELS == OUTPUTS, "both factors are copied by the same loop");

// Where 16 bytes of a row lie in shared memory: eight rows of one column of chunks fall on
// different banks.
__device__ __forceinline__ int conv_place(int row, int chunk) {
    return row * ROW_CHUNKS + (chunk ^ ((row >> 1) & 3));
}

// in: [n, height, width, channels], channels a multiple of 16; weight: [outputs, (dy, dx, channel)];
// bias: [outputs] or null; residual: like out, or null; out: [n, out_height, out_width, outputs],
// outputs even, `pixels` rows. Before it is used, `in` is held to `floor` or more; after the bias the
// result is held to `result_floor` or more, and then the residual is added. One block for each 128
// pixels and 128 outputs, outputs first.
extern "C" __global__ void __launch_bounds__(CONV_THREADS)
    conv3x3_tf32(float *out, const float *in, const float *weight, const float *bias,
                 const float *residual, int height, int width, int channels, int out_height,
                 int out_width, int outputs, int stride, int pixels, float floor,
                 float result_floor) {
    __shared__ __align__(128) uint4 stages[STAGES][2][TILE];
    int output_blocks = (outputs + OUTPUTS - 1) / OUTPUTS;
    int first_pixel = blockIdx.x / output_blocks * PIXELS;
    int first_output = blockIdx.x % output_blocks * OUTPUTS;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int warp_pixel = warp / 4 * 64, warp_output = warp % 4 * 32;

    // The rows that this thread copies, of both factors.
    int chunk = threadIdx.x % ROW_CHUNKS;
    int copy_y[ROWS_OF_THREAD], copy_x[ROWS_OF_THREAD];
    const float *copy_image[ROWS_OF_THREAD];
#pragma unroll
    for (int i = 0; i < ROWS_OF_THREAD; ++i) {
        int pixel = first_pixel + (threadIdx.x + i * CONV_THREADS) / ROW_CHUNKS;
        bool inside = pixel < pixels;
        int x = pixel % out_width, y = pixel / out_width % out_height;
        long long image = inside ? pixel / out_width / out_height : 0;
        // A row beyond the last pixel lies outside of every image.
        copy_y[i] = inside ? y * stride - 1 : -4;
        copy_x[i] = x * stride - 1;
        copy_image[i] = in + image * height * width * channels + chunk * 4;
    }
    int steps_of_tap = channels / DEPTH, steps = 9 * steps_of_tap;

    auto copy_step = [&](int step) {
        uint4 *left = stages[step % STAGES][0], *right = stages[step % STAGES][1];
        int tap = step / steps_of_tap, channel = step % steps_of_tap * DEPTH;
#pragma unroll
        for (int i = 0; i < ROWS_OF_THREAD; ++i) {
            int row = (threadIdx.x + i * CONV_THREADS) / ROW_CHUNKS;
            int y = copy_y[i] + tap / 3, x = copy_x[i] + tap % 3;
            bool inside = y >= 0 && y < height && x >= 0 && x < width;
            long long at = inside ? ((long long)y * width + x) * channels + channel : 0;
            copy_async(&left[conv_place(row, chunk)], copy_image[i] + at, inside);
            int output = first_output + row;
            bool exists = output < outputs;
            long long of = exists ? ((long long)output * steps + step) * DEPTH + chunk * 4 : 0;
            copy_async(&right[conv_place(row, chunk)], weight + of, exists);
        }
    };

    float sums[4][4][4] = {};
#pragma unroll
    for (int step = 0; step < STAGES - 1; ++step) {
        if (step < steps) copy_step(step);
        copies_close();
    }
    for (int step = 0; step < steps; ++step) {
        copies_wait_but<STAGES - 2>();
        __syncthreads();
        // Into the stage that all have finished with.
        if (step + STAGES - 1 < steps) copy_step(step + STAGES - 1);
        copies_close();
        const uint4 *left = stages[step % STAGES][0], *right = stages[step % STAGES][1];
#pragma unroll
        for (int part = 0; part < DEPTH / 8; ++part) {
            unsigned a[4][4], b[2][4];
#pragma unroll
            for (int m = 0; m < 4; ++m) {
                int row = warp_pixel + m * 16 + (lane & 15);
                load_matrices(a[m], &left[conv_place(row, part * 2 + (lane >> 4))]);
#pragma unroll
                for (int i = 0; i < 4; ++i) a[m][i] = to_tf32(fmaxf(__uint_as_float(a[m][i]), floor));
            }
#pragma unroll
            for (int pair = 0; pair < 2; ++pair) {
                int row = warp_output + pair * 16 + ((lane >> 4) << 3) + (lane & 7);
                load_matrices(b[pair], &right[conv_place(row, part * 2 + ((lane >> 3) & 1))]);
#pragma unroll
                for (int i = 0; i < 4; ++i) b[pair][i] = to_tf32(__uint_as_float(b[pair][i]));
            }
#pragma unroll
            for (int m = 0; m < 4; ++m) {
#pragma unroll
                for (int n = 0; n < 4; ++n) {
                    multiply_add_tf32(sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
                }
            }
        }
    }

#pragma unroll
    for (int n = 0; n < 4; ++n) {
        int output = first_output + warp_output + n * 8 + (lane & 3) * 2;
        if (output >= outputs) continue;
        float2 add = bias ? *(const float2 *)(bias + output) : make_float2(0.0f, 0.0f);
#pragma unroll
        for (int m = 0; m < 4; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                int pixel = first_pixel + warp_pixel + m * 16 + half * 8 + lane / 4;
                if (pixel >= pixels) continue;
                long long at = (long long)pixel * outputs + output;
                float2 value = make_float2(fmaxf(sums[m][n][2 * half] + add.x, result_floor),
                                           fmaxf(sums[m][n][2 * half + 1] + add.y, result_floor));
                if (residual) {
                    float2 to = *(const float2 *)(residual + at);
                    value.x += to.x;
                    value.y += to.y;
                }
                *(float2 *)(out + at) = value;
            }
        }
    }
}
