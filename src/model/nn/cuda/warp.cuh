// What the kernels need of the instruction set (sm_80, PTX ISA chapters "mma", "ldmatrix",
// "cp.async"), under names that a host compiler can give another meaning to:
// tests/cuda_kernels/emulate.h.
#pragma once

typedef unsigned short bf16;

#ifdef __CUDACC__

// Copies 16 bytes from global to shared memory in the background, or writes zeros there.
__device__ __forceinline__ void copy_async(void *shared, const void *global, bool inside) {
    unsigned destination = (unsigned)__cvta_generic_to_shared(shared);
    int bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(destination), "l"(global),
                 "r"(bytes)
                 : "memory");
}

// Waits for all copies of this thread; other threads see them after a __syncthreads.
__device__ __forceinline__ void copies_wait() { asm volatile("cp.async.wait_all;\n" ::: "memory"); }

// Closes a group of copies; waits for all groups of this thread but the last `COUNT`.
__device__ __forceinline__ void copies_close() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

template <int COUNT>
__device__ __forceinline__ void copies_wait_but() {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(COUNT) : "memory");
}

// Loads four 8x8 matrices of 16-bit numbers. Lane l gives the address of row l % 8 of matrix l / 8
// and receives of each matrix the two numbers at row l / 4, columns 2 (l % 4) and the next.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], const void *row) {
    unsigned address = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// The same with each matrix transposed: two numbers at rows 2 (l % 4) and the next, column l / 4.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&to)[4], const void *row) {
    unsigned address = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// c += a b on the tensor cores: a 16x16, b 16x8, bf16; c 16x8, f32.
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Returns the bits of x rounded to TF32: 10 bits of mantissa.
__device__ __forceinline__ unsigned to_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(x));
    return bits;
}

// c += a b on the tensor cores: a 16x8, b 8x8, TF32; c 16x8, f32.
__device__ __forceinline__ void multiply_add_tf32(float (&c)[4], const unsigned (&a)[4],
                                                  unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Returns 2^x, good to 2 ulp.
__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
    return y;
}

// Returns two numbers rounded to bf16, `low` in the lower half.
__device__ __forceinline__ unsigned pack(float low, float high) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

#else
#include "emulate.h"
#endif

__device__ __forceinline__ float low_half(unsigned both) { return __uint_as_float(both << 16); }

__device__ __forceinline__ float high_half(unsigned both) {
    return __uint_as_float(both & 0xffff0000u);
}
