// Scaled dot-product attention, 64 numbers a head, bf16 with f32 sums, without a score matrix in
// memory (online softmax: Milakov and Gimelshein 2018; blocked over keys as in FlashAttention,
// Dao et al. 2022).
//
// One block of four warps takes 128 queries of one head: each warp 32, as two tiles of 16 rows that
// share every fragment of keys and values. Keys and values come in blocks of 64, the next one copied
// while the present one is used.
#include "warp.cuh"

constexpr int HEAD = 64;
constexpr int WARPS = 4;
constexpr int TILES = 2;
constexpr int QUERIES = WARPS * TILES * 16;
constexpr int KEYS = 64;
constexpr int CHUNKS = HEAD / 8;

// Where 16 bytes of a row lie in shared memory: eight rows of one column of chunks fall on
// different banks.
__device__ __forceinline__ int place(int row, int chunk) {
    return row * CHUNKS + (chunk ^ (row & 7));
}

// Copies `ROWS` rows of a matrix with 64 columns; rows from `count` on become zeros.
template <int ROWS>
__device__ __forceinline__ void load_rows(uint4 *tile, const bf16 *matrix, long long stride,
                                          int first, int count) {
#pragma unroll
    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += WARPS * 32) {
        int row = i / CHUNKS, chunk = i % CHUNKS;
        bool inside = first + row < count;
        const bf16 *source = matrix + (inside ? first + row : 0) * stride + chunk * 8;
        copy_async(&tile[place(row, chunk)], source, inside);
    }
}

// Scores of 16 queries and the block's 64 keys, turned into weights relative to the largest score
// so far; what was summed up before is brought down to that score.
__device__ __forceinline__ void online_softmax(float (&s)[KEYS / 8][4], float (&o)[HEAD / 8][4],
                                               float (&largest)[2], float (&sum)[2], float scale) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float top = largest[half];
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n) {
            top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        }
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        float shrink = exp2_fast((largest[half] - top) * scale);
        float shift = top * scale;
        largest[half] = top;
        sum[half] *= shrink;
#pragma unroll
        for (int n = 0; n < HEAD / 8; ++n) {
            o[n][2 * half] *= shrink;
            o[n][2 * half + 1] *= shrink;
        }
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
            for (int c = 2 * half; c < 2 * half + 2; ++c) {
                s[n][c] = exp2_fast(s[n][c] * scale - shift);
                sum[half] += s[n][c];
            }
        }
    }
}

// q, k, v: [batch, token, head, 64], each with its own strides over batch and token, in numbers;
// heads lie 64 apart. out: [batch, token, head, 64] without gaps. `scale` is that of the scores,
// times log2(e). Grid: (blocks of 128 queries, heads, batch); 128 threads.
extern "C" __global__ void __launch_bounds__(WARPS * 32)
    attention_bf16(const bf16 *q, const bf16 *k, const bf16 *v, bf16 *out, long long q_batch,
                   long long q_token, long long k_batch, long long k_token, long long v_batch,
                   long long v_token, int queries, int keys, float scale) {
    __shared__ __align__(128) uint4 stages[2][2 * KEYS * CHUNKS];
    int head = blockIdx.y, batch = blockIdx.z, first = blockIdx.x * QUERIES;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    q += batch * q_batch + head * HEAD;
    k += batch * k_batch + head * HEAD;
    v += batch * v_batch + head * HEAD;

    // The queries pass through what will be the second stage.
    load_rows<QUERIES>(stages[1], q, q_token, first, queries);
    load_rows<KEYS>(stages[0], k, k_token, 0, keys);
    load_rows<KEYS>(stages[0] + KEYS * CHUNKS, v, v_token, 0, keys);
    copies_wait();
    __syncthreads();
    unsigned a[TILES][HEAD / 16][4];
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
#pragma unroll
        for (int step = 0; step < HEAD / 16; ++step) {
            int row = (warp * TILES + tile) * 16 + (lane & 15);
            load_matrices(a[tile][step], &stages[1][place(row, step * 2 + (lane >> 4))]);
        }
    }
    __syncthreads();

    float o[TILES][HEAD / 8][4] = {};
    float largest[TILES][2], sum[TILES][2] = {};
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
        largest[tile][0] = largest[tile][1] = -INFINITY;
    }

    for (int block = 0; block * KEYS < keys; ++block) {
        const uint4 *key_tile = stages[block & 1];
        const uint4 *value_tile = key_tile + KEYS * CHUNKS;
        int next = (block + 1) * KEYS;
        if (next < keys) {
            uint4 *stage = stages[(block + 1) & 1];
            load_rows<KEYS>(stage, k, k_token, next, keys);
            load_rows<KEYS>(stage + KEYS * CHUNKS, v, v_token, next, keys);
        }

        float s[TILES][KEYS / 8][4] = {};
#pragma unroll
        for (int step = 0; step < HEAD / 16; ++step) {
#pragma unroll
            for (int pair = 0; pair < KEYS / 16; ++pair) {
                unsigned b[4];
                int row = pair * 16 + ((lane >> 4) << 3) + (lane & 7);
                load_matrices(b, &key_tile[place(row, step * 2 + ((lane >> 3) & 1))]);
#pragma unroll
                for (int tile = 0; tile < TILES; ++tile) {
                    multiply_add(s[tile][2 * pair], a[tile][step], b[0], b[1]);
                    multiply_add(s[tile][2 * pair + 1], a[tile][step], b[2], b[3]);
                }
            }
        }
        if (next > keys) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; ++n) {
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    int key = block * KEYS + n * 8 + (lane & 3) * 2 + (c & 1);
#pragma unroll
                    for (int tile = 0; tile < TILES; ++tile) {
                        s[tile][n][c] = key < keys ? s[tile][n][c] : -INFINITY;
                    }
                }
            }
        }
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            online_softmax(s[tile], o[tile], largest[tile], sum[tile], scale);
        }
        // The sums of one product lie in the registers as the factors of the next.
#pragma unroll
        for (int step = 0; step < KEYS / 16; ++step) {
            unsigned p[TILES][4];
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile) {
#pragma unroll
                for (int n = 0; n < 2; ++n) {
                    p[tile][2 * n] = pack(s[tile][2 * step + n][0], s[tile][2 * step + n][1]);
                    p[tile][2 * n + 1] = pack(s[tile][2 * step + n][2], s[tile][2 * step + n][3]);
                }
            }
#pragma unroll
            for (int pair = 0; pair < HEAD / 16; ++pair) {
                unsigned b[4];
                int row = step * 16 + (lane & 15);
                load_matrices_transposed(b, &value_tile[place(row, pair * 2 + (lane >> 4))]);
#pragma unroll
                for (int tile = 0; tile < TILES; ++tile) {
                    multiply_add(o[tile][2 * pair], p[tile], b[0], b[1]);
                    multiply_add(o[tile][2 * pair + 1], p[tile], b[2], b[3]);
                }
            }
        }
        copies_wait();
        __syncthreads();
    }

    long long heads = gridDim.y;
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float total = sum[tile][half];
            total += __shfl_xor_sync(0xffffffffu, total, 1);
            total += __shfl_xor_sync(0xffffffffu, total, 2);
            float inverse = 1.0f / total;
            int query = first + (warp * TILES + tile) * 16 + half * 8 + lane / 4;
            if (query < queries) {
                bf16 *row = out + (((long long)batch * queries + query) * heads + head) * HEAD;
#pragma unroll
                for (int n = 0; n < HEAD / 8; ++n) {
                    unsigned both = pack(o[tile][n][2 * half] * inverse, o[tile][n][2 * half + 1] * inverse);
                    *(unsigned *)(row + n * 8 + (lane & 3) * 2) = both;
                }
            }
        }
    }
}
