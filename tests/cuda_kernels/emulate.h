// Runs CUDA kernels on the host, one block after another, with a fiber for each thread, so that
// their index arithmetic can be tested where there is no GPU. What threads of a warp do together
// follows the PTX ISA's tables of fragment layouts; a copy in the background leaves NaNs in its
// place until it is waited for. Timing, memory limits and races between blocks are not emulated.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))

using std::min;

struct float4 {
    float x, y, z, w;
};
struct float2 {
    float x, y;
};
struct uint4 {
    unsigned x, y, z, w;
};
struct Index {
    int x = 1, y = 1, z = 1;
};

inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline Index threadIdx, blockIdx, blockDim, gridDim;

inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

// Round to nearest, ties to even.
inline bf16 to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (std::isnan(x)) return 0x7fff;
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float from_bf16(bf16 x) { return __uint_as_float((unsigned)x << 16); }
inline unsigned pack(float low, float high) { return to_bf16(low) | (unsigned)to_bf16(high) << 16; }
inline float exp2_fast(float x) { return exp2f(x); }

struct Copy {
    void *to;
    uint4 value;
    int group;
};

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(128 * 1024);
    std::vector<Copy> copies;
    int groups = 0;
    bool done = false;
};

// What a group of threads does together: all put down what they have, the last one does the work.
struct Meeting {
    int size = 32, arrived = 0, round = 0;
    const char *what = nullptr;
    void *brought[1024];
};

inline std::vector<Fiber> fibers;
inline std::vector<Meeting> warps;
inline Meeting block_meeting;
inline ucontext_t scheduler;
inline int current;
inline const std::function<void()> *kernel_body;

inline void meet(Meeting &meeting, int rank, const char *what, void *brought,
                 const std::function<void(Meeting &)> &work) {
    if (meeting.arrived > 0 && strcmp(meeting.what, what) != 0) {
        fprintf(stderr, "threads diverge: %s and %s\n", meeting.what, what);
        exit(1);
    }
    meeting.what = what;
    meeting.brought[rank] = brought;
    int round = meeting.round;
    if (++meeting.arrived == meeting.size) {
        work(meeting);
        meeting.arrived = 0;
        ++meeting.round;
    }
    while (meeting.round == round) swapcontext(&fibers[current].context, &scheduler);
}

inline void meet_warp(const char *what, void *brought, const std::function<void(Meeting &)> &work) {
    meet(warps[current / 32], current % 32, what, brought, work);
}

inline void __syncthreads() {
    meet(block_meeting, current, "__syncthreads", nullptr, [](Meeting &) {});
}

inline float __shfl_xor_sync(unsigned, float x, int distance) {
    float lanes[2] = {x, 0.0f};
    meet_warp("__shfl_xor_sync", lanes, [distance](Meeting &warp) {
        for (int lane = 0; lane < 32; ++lane) {
            ((float *)warp.brought[lane])[1] = *(float *)warp.brought[lane ^ distance];
        }
    });
    return lanes[1];
}

inline void copy_async(void *shared, const void *global, bool inside) {
    assert((uintptr_t)shared % 16 == 0 && (uintptr_t)global % 16 == 0);
    Copy copy = {shared, {}, fibers[current].groups};
    if (inside) memcpy(&copy.value, global, 16);
    memset(shared, 0xff, 16);
    fibers[current].copies.push_back(copy);
}

inline void copies_close() { ++fibers[current].groups; }

// Lands what belongs to groups before this one.
inline void land_before(int group) {
    auto &copies = fibers[current].copies;
    auto open = std::stable_partition(copies.begin(), copies.end(), [&](const Copy &c) { return c.group < group; });
    for (auto copy = copies.begin(); copy != open; ++copy) memcpy(copy->to, &copy->value, 16);
    copies.erase(copies.begin(), open);
}

inline void copies_wait() { land_before(fibers[current].groups + 1); }

template <int COUNT>
inline void copies_wait_but() {
    land_before(fibers[current].groups - COUNT);
}

struct Load {
    unsigned *to;
    const bf16 *row;
};

inline void load_matrices_either(const char *what, unsigned (&to)[4], const void *row, bool flip) {
    assert((uintptr_t)row % 16 == 0);
    Load load = {to, (const bf16 *)row};
    meet_warp(what, &load, [flip](Meeting &warp) {
        for (int lane = 0; lane < 32; ++lane) {
            for (int matrix = 0; matrix < 4; ++matrix) {
                auto at = [&](int i, int j) { return ((Load *)warp.brought[matrix * 8 + i])->row[j]; };
                int i = lane / 4, j = lane % 4 * 2;
                unsigned low = flip ? at(j, i) : at(i, j), high = flip ? at(j + 1, i) : at(i, j + 1);
                ((Load *)warp.brought[lane])->to[matrix] = low | high << 16;
            }
        }
    });
}

inline void load_matrices(unsigned (&to)[4], const void *row) {
    load_matrices_either("ldmatrix", to, row, false);
}

inline void load_matrices_transposed(unsigned (&to)[4], const void *row) {
    load_matrices_either("ldmatrix.trans", to, row, true);
}

struct Product {
    float *c;
    const unsigned *a;
    unsigned b[2];
};

inline bf16 half_of(unsigned both, int half) { return (bf16)(half ? both >> 16 : both); }

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
inline void multiply_warp(Meeting &warp) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; ++lane) {
        const Product &p = *(Product *)warp.brought[lane];
        int group = lane >> 2, in_group = lane & 3;
        for (int i = 0; i < 8; ++i) {
            int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
            int column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
            a[row][column] = from_bf16(half_of(p.a[i / 2], i & 1));
        }
        for (int i = 0; i < 4; ++i) {
            b[in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group] = from_bf16(half_of(p.b[i / 2], i & 1));
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
        const Product &p = *(Product *)warp.brought[lane];
        for (int i = 0; i < 4; ++i) {
            int row = (lane >> 2) + (i < 2 ? 0 : 8), column = (lane & 3) * 2 + (i & 1);
            for (int k = 0; k < 16; ++k) p.c[i] += a[row][k] * b[k][column];
        }
    }
}

inline void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    Product product = {c, a, {b0, b1}};
    meet_warp("mma", &product, multiply_warp);
}

// Round to nearest, ties away from zero.
inline unsigned to_tf32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (bits + 0x1000) & ~0x1fffu;
}

// PTX ISA, "Matrix Fragments for mma.m16n8k8", .tf32.
inline void multiply_warp_tf32(Meeting &warp) {
    float a[16][8], b[8][8];
    for (int lane = 0; lane < 32; ++lane) {
        const Product &p = *(Product *)warp.brought[lane];
        int group = lane >> 2, in_group = lane & 3;
        for (int i = 0; i < 4; ++i) {
            int row = i == 0 || i == 2 ? group : group + 8, column = i < 2 ? in_group : in_group + 4;
            a[row][column] = __uint_as_float(p.a[i]);
        }
        for (int i = 0; i < 2; ++i) b[i == 0 ? in_group : in_group + 4][group] = __uint_as_float(p.b[i]);
    }
    for (int lane = 0; lane < 32; ++lane) {
        const Product &p = *(Product *)warp.brought[lane];
        for (int i = 0; i < 4; ++i) {
            int row = (lane >> 2) + (i < 2 ? 0 : 8), column = (lane & 3) * 2 + (i & 1);
            for (int k = 0; k < 8; ++k) p.c[i] += a[row][k] * b[k][column];
        }
    }
}

inline void multiply_add_tf32(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    Product product = {c, a, {b0, b1}};
    meet_warp("mma.tf32", &product, multiply_warp_tf32);
}

inline void run_fiber() {
    (*kernel_body)();
    fibers[current].done = true;
    swapcontext(&fibers[current].context, &scheduler);
}

// Runs one block. In odd blocks the last thread goes first, so that a result that hangs on the
// order of threads shows.
inline void run_block(int threads, bool reversed) {
    fibers.resize(std::max<size_t>(fibers.size(), threads));
    warps.assign(threads / 32, Meeting());
    block_meeting = Meeting();
    block_meeting.size = threads;
    for (int i = 0; i < threads; ++i) {
        Fiber &fiber = fibers[i];
        fiber.done = false;
        fiber.copies.clear();
        fiber.groups = 0;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, run_fiber, 0);
    }
    for (int left = threads; left > 0;) {
        left = threads;
        for (int turn = 0; turn < threads; ++turn) {
            current = reversed ? threads - 1 - turn : turn;
            threadIdx.x = current;
            if (!fibers[current].done) swapcontext(&scheduler, &fibers[current].context);
            left -= fibers[current].done;
        }
    }
}

inline void launch(Index grid, int threads, const std::function<void()> &kernel) {
    kernel_body = &kernel;
    gridDim = grid;
    blockDim.x = threads;
    for (int i = 0; i < grid.x * grid.y * grid.z; ++i) {
        blockIdx = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
        run_block(threads, i & 1);
    }
}
