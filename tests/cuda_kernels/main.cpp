// Compares every kernel with plain loops in double precision, over sizes that do not fit its tiles.
// Prints the worst error of each and ends with status 1 where one is beyond its limit.
#include "../../src/model/nn/cuda/attention.cu"
#include "../../src/model/nn/cuda/conv.cu"
#include "../../src/model/nn/cuda/maps.cu"
#include "../../src/model/nn/cuda/rows.cu"

static std::mt19937 generator(7);
static bool failed = false;

// Numbers with NaNs before and after them: what reads or keeps anything from there shows.
template <typename T>
struct Numbers {
    static constexpr size_t MARGIN = 64;
    std::vector<T> all;
    size_t size;
    explicit Numbers(size_t n) : all(n + 2 * MARGIN), size(n) { memset(all.data(), 0xff, all.size() * sizeof(T)); }
    T *data() { return all.data() + MARGIN; }
    double at(size_t i) const { return value(all[MARGIN + i]); }
    static double value(float x) { return x; }
    static double value(bf16 x) { return from_bf16(x); }
    static void set(float &to, float x) { to = x; }
    static void set(bf16 &to, float x) { to = to_bf16(x); }
    bool margins_are_whole() const {
        const unsigned char *bytes = (const unsigned char *)all.data();
        auto is_ff = [](unsigned char byte) { return byte == 0xff; };
        size_t margin = MARGIN * sizeof(T), total = all.size() * sizeof(T);
        return std::all_of(bytes, bytes + margin, is_ff) && std::all_of(bytes + total - margin, bytes + total, is_ff);
    }
};

template <typename T>
static Numbers<T> random_numbers(size_t n, float spread) {
    Numbers<T> numbers(n);
    std::normal_distribution<float> normal(0.0f, spread);
    for (size_t i = 0; i < n; ++i) Numbers<T>::set(numbers.data()[i], normal(generator));
    return numbers;
}

template <typename T>
static void check(const char *name, const Numbers<T> &found, const std::vector<double> &expected, double limit) {
    double worst = 0.0;
    for (size_t i = 0; i < expected.size(); ++i) {
        double error = fabs(found.at(i) - expected[i]) / (1.0 + fabs(expected[i]));
        worst = error <= worst ? worst : error;  // a NaN becomes the worst
    }
    bool good = worst <= limit && found.margins_are_whole();
    if (!good) failed = true;
    printf("%-34s worst %.2e limit %.0e%s\n", name, worst, limit, good ? "" : "  FAILED");
}

template <typename T>
static constexpr double LIMIT = sizeof(T) == 2 ? 4e-3 : 3e-6;

static void attention_case(int batch, int queries, int keys, int heads, float spread) {
    // Queries are cut from one packed tensor, keys and values from another, as in a transformer.
    int width = 3 * heads * HEAD;
    auto from_q = random_numbers<bf16>((size_t)batch * queries * width, spread);
    auto from_kv = random_numbers<bf16>((size_t)batch * keys * width, spread);
    Numbers<bf16> out((size_t)batch * queries * heads * HEAD);
    bf16 *q = from_q.data(), *k = from_kv.data() + heads * HEAD, *v = k + heads * HEAD;
    launch({(queries + QUERIES - 1) / QUERIES, heads, batch}, WARPS * 32, [&] {
        attention_bf16(q, k, v, out.data(), (long long)queries * width, width, (long long)keys * width, width,
                       (long long)keys * width, width, queries, keys, 0.125f * 1.44269504f);
    });
    std::vector<double> expected(out.size);
    for (int row = 0; row < batch * queries; ++row) {
        for (int head = 0; head < heads; ++head) {
            const bf16 *query = q + (size_t)row * width + head * HEAD;
            size_t first = (size_t)(row / queries) * keys * width + head * HEAD;
            std::vector<double> weight(keys);
            double top = -INFINITY, sum = 0.0;
            for (int key = 0; key < keys; ++key) {
                for (int d = 0; d < HEAD; ++d) {
                    weight[key] += 0.125 * from_bf16(query[d]) * from_bf16(k[first + (size_t)key * width + d]);
                }
                top = std::max(top, weight[key]);
            }
            for (double &w : weight) sum += w = exp(w - top);
            double *to = &expected[((size_t)row * heads + head) * HEAD];
            for (int key = 0; key < keys; ++key) {
                for (int d = 0; d < HEAD; ++d) to[d] += weight[key] / sum * from_bf16(v[first + (size_t)key * width + d]);
            }
        }
    }
    char name[80];
    snprintf(name, sizeof name, "attention %dx%dx%dx%d spread %g", batch, queries, keys, heads, spread);
    check(name, out, expected, 1e-2);
}

static double gelu_exact(double x) { return 0.5 * x * (1.0 + erf(x / sqrt(2.0))); }
static double silu_exact(double x) { return x / (1.0 + exp(-x)); }

// Calls `kernel(groups)` as the library does: one thread for each eight numbers.
static void launch_groups(long long numbers, const std::function<void(long long)> &kernel) {
    long long groups = numbers / 8;
    launch({(int)((groups + 255) / 256)}, 256, [&] { kernel(groups); });
}

// The kernels of one type, under names that do not hold it.
template <typename T>
struct Kernels;
template <>
struct Kernels<float> {
    static constexpr auto bias = bias_f32, bias_relu = bias_relu_f32, bias_gelu = bias_gelu_f32;
    static constexpr auto gate = silu_gate_f32;
    static constexpr auto branch = add_branch_f32;
    static constexpr auto norm = layer_norm_f32;
};
template <>
struct Kernels<bf16> {
    static constexpr auto bias = bias_bf16, bias_relu = bias_relu_bf16, bias_gelu = bias_gelu_bf16;
    static constexpr auto gate = silu_gate_bf16;
    static constexpr auto branch = add_branch_bf16;
    static constexpr auto norm = layer_norm_bf16;
};

template <typename T>
static void bias_case(int rows, int width, Activation then) {
    auto x = random_numbers<T>((size_t)rows * width, 2.0f), bias = random_numbers<T>(width, 1.0f);
    std::vector<double> expected(x.size);
    for (size_t i = 0; i < x.size; ++i) {
        double sum = x.at(i) + bias.at(i % width);
        expected[i] = then == GELU ? gelu_exact(sum) : then == RELU ? std::max(sum, 0.0) : sum;
    }
    auto kernel = then == GELU ? Kernels<T>::bias_gelu : then == RELU ? Kernels<T>::bias_relu : Kernels<T>::bias;
    launch_groups(x.size, [&](long long groups) { kernel(x.data(), bias.data(), groups, width); });
    check(then == GELU ? "bias and GELU" : then == RELU ? "bias and ReLU" : "bias", x, expected, LIMIT<T>);
}

template <typename T>
static void gate_case(int rows, int width) {
    auto x = random_numbers<T>((size_t)rows * 2 * width, 2.0f), bias = random_numbers<T>(2 * width, 1.0f);
    Numbers<T> out((size_t)rows * width);
    launch_groups(out.size, [&](long long groups) { Kernels<T>::gate(out.data(), x.data(), bias.data(), groups, width); });
    std::vector<double> expected(out.size);
    for (int i = 0; i < (int)out.size; ++i) {
        int row = i / width, column = i % width;
        double a = x.at((size_t)row * 2 * width + column) + bias.at(column);
        double b = x.at((size_t)row * 2 * width + width + column) + bias.at(width + column);
        expected[i] = silu_exact(a) * b;
    }
    check("SiLU gate", out, expected, LIMIT<T>);
}

template <typename T>
static void branch_case(int rows, int width, bool scaled) {
    auto residual = random_numbers<float>((size_t)rows * width, 2.0f), gamma = random_numbers<float>(width, 1.0f);
    auto branch = random_numbers<T>(residual.size, 2.0f), bias = random_numbers<T>(width, 1.0f);
    Numbers<float> out(residual.size);
    launch_groups(out.size, [&](long long groups) {
        Kernels<T>::branch(out.data(), residual.data(), branch.data(), bias.data(), scaled ? gamma.data() : nullptr, groups, width);
    });
    std::vector<double> expected(out.size);
    for (size_t i = 0; i < out.size; ++i) {
        double factor = scaled ? gamma.at(i % width) : 1.0;
        expected[i] = residual.at(i) + factor * (branch.at(i) + bias.at(i % width));
    }
    check(scaled ? "scaled branch" : "branch", out, expected, 3e-6);
}

template <typename T>
static void norm_case(int rows, int width) {
    auto x = random_numbers<float>((size_t)rows * width, 3.0f), weight = random_numbers<float>(width, 1.0f),
         bias = random_numbers<float>(width, 1.0f);
    Numbers<T> out(x.size);
    launch({(rows + 3) / 4}, 128, [&] {
        Kernels<T>::norm(out.data(), x.data(), weight.data(), bias.data(), rows, width, 1e-6f);
    });
    std::vector<double> expected(out.size);
    for (int row = 0; row < rows; ++row) {
        double mean = 0.0, variance = 0.0;
        for (int i = 0; i < width; ++i) mean += x.at((size_t)row * width + i) / width;
        for (int i = 0; i < width; ++i) variance += pow(x.at((size_t)row * width + i) - mean, 2) / width;
        for (int i = 0; i < width; ++i) {
            double normal = (x.at((size_t)row * width + i) - mean) / sqrt(variance + 1e-6);
            expected[(size_t)row * width + i] = normal * weight.at(i) + bias.at(i);
        }
    }
    check("layer norm", out, expected, LIMIT<T>);
}

static void gather_case(int images, int height, int width, int channels, int stride, int rectify) {
    auto in = random_numbers<float>((size_t)images * height * width * channels, 1.0f);
    int out_height = (height + stride - 1) / stride, out_width = (width + stride - 1) / stride;
    int pixels = images * out_height * out_width;
    Numbers<float> out((size_t)pixels * 9 * channels);
    launch({pixels}, 64, [&] {
        if (channels % 4 == 0) {
            gather3x3_f32x4((float4 *)out.data(), (const float4 *)in.data(), height, width, channels, out_height, out_width, stride, rectify);
        } else {
            gather3x3_f32(out.data(), in.data(), height, width, channels, out_height, out_width, stride, rectify);
        }
    });
    std::vector<double> expected;
    for (int pixel = 0; pixel < pixels; ++pixel) {
        int image = pixel / (out_height * out_width), y = pixel / out_width % out_height, x = pixel % out_width;
        for (int dy = -1; dy <= 1; ++dy)
            for (int dx = -1; dx <= 1; ++dx)
                for (int c = 0; c < channels; ++c) {
                    int v = y * stride + dy, u = x * stride + dx;
                    bool inside = v >= 0 && v < height && u >= 0 && u < width;
                    double value = inside ? in.at(((size_t)(image * height + v) * width + u) * channels + c) : 0.0;
                    expected.push_back(rectify ? std::max(value, 0.0) : value);
                }
    }
    check("3x3 neighbours", out, expected, 0.0);
}

// Numbers that TF32 holds exactly, so that only the order of the sum differs.
static Numbers<float> tf32_numbers(size_t n, float spread) {
    auto numbers = random_numbers<float>(n, spread);
    for (size_t i = 0; i < n; ++i) numbers.data()[i] = __uint_as_float(to_tf32(numbers.data()[i]));
    return numbers;
}

static void conv_case(int images, int height, int width, int channels, int outputs, int stride, bool rectify, bool finish) {
    auto in = tf32_numbers((size_t)images * height * width * channels, 1.0f);
    auto weight = tf32_numbers((size_t)outputs * 9 * channels, 0.1f);
    int out_height = (height + stride - 1) / stride, out_width = (width + stride - 1) / stride;
    int pixels = images * out_height * out_width;
    auto bias = random_numbers<float>(outputs, 1.0f), residual = random_numbers<float>((size_t)pixels * outputs, 1.0f);
    Numbers<float> out(residual.size);
    float none = -INFINITY;
    launch({(pixels + PIXELS - 1) / PIXELS * ((outputs + OUTPUTS - 1) / OUTPUTS)}, CONV_THREADS, [&] {
        conv3x3_tf32(out.data(), in.data(), weight.data(), finish ? bias.data() : nullptr, finish ? residual.data() : nullptr,
                     height, width, channels, out_height, out_width, outputs, stride, pixels, rectify ? 0.0f : none,
                     finish ? 0.0f : none);
    });
    std::vector<double> expected;
    for (int pixel = 0; pixel < pixels; ++pixel) {
        int image = pixel / (out_height * out_width), y = pixel / out_width % out_height, x = pixel % out_width;
        for (int output = 0; output < outputs; ++output) {
            double sum = 0.0;
            for (int tap = 0; tap < 9; ++tap) {
                int v = y * stride + tap / 3 - 1, u = x * stride + tap % 3 - 1;
                if (v < 0 || v >= height || u < 0 || u >= width) continue;
                for (int c = 0; c < channels; ++c) {
                    double value = in.at(((size_t)(image * height + v) * width + u) * channels + c);
                    sum += (rectify ? std::max(value, 0.0) : value) * weight.at((size_t)(output * 9 + tap) * channels + c);
                }
            }
            if (finish) sum = std::max(sum + bias.at(output), 0.0) + residual.at((size_t)pixel * outputs + output);
            expected.push_back(sum);
        }
    }
    check("3x3 convolution", out, expected, 1e-5);
}

static void resize_case(int images, int height, int width, int channels, int out_height, int out_width) {
    auto in = random_numbers<float>((size_t)images * height * width * channels, 1.0f);
    int pixels = images * out_height * out_width;
    Numbers<float> out((size_t)pixels * channels);
    launch({pixels}, 32, [&] { resize_bilinear_f32(out.data(), in.data(), height, width, channels, out_height, out_width); });
    std::vector<double> expected;
    for (int pixel = 0; pixel < pixels; ++pixel) {
        int image = pixel / (out_height * out_width);
        double y = out_height > 1 ? (pixel / out_width % out_height) * (height - 1.0) / (out_height - 1.0) : 0.0;
        double x = out_width > 1 ? (pixel % out_width) * (width - 1.0) / (out_width - 1.0) : 0.0;
        for (int c = 0; c < channels; ++c) {
            double sum = 0.0;
            for (int v = 0; v < height; ++v)
                for (int u = 0; u < width; ++u) {
                    double weight = std::max(0.0, 1.0 - fabs(v - y)) * std::max(0.0, 1.0 - fabs(u - x));
                    if (weight > 0.0) sum += weight * in.at(((size_t)(image * height + v) * width + u) * channels + c);
                }
            expected.push_back(sum);
        }
    }
    check("bilinear", out, expected, 2e-5);
}

template <typename T>
static void rows_cases() {
    for (int width : {8, 40, 264}) {
        bias_case<T>(3, width, NONE);
        bias_case<T>(5, width, RELU);
        bias_case<T>(67, width, GELU);
        gate_case<T>(13, width);
        branch_case<T>(5, width, true);
        branch_case<T>(2, width, false);
        norm_case<T>(7, width);
    }
    norm_case<T>(5, 1536);
}

int main() {
    attention_case(1, 1, 1, 1, 1.0f);
    attention_case(1, 7, 5, 2, 1.0f);
    attention_case(1, 3, 63, 1, 1.0f);
    attention_case(2, 64, 64, 1, 1.0f);
    attention_case(1, 128, 65, 2, 3.0f);
    attention_case(1, 129, 128, 1, 1.0f);
    attention_case(2, 33, 200, 3, 2.0f);
    attention_case(1, 260, 131, 1, 0.1f);
    rows_cases<float>();
    rows_cases<bf16>();
    conv_case(1, 3, 2, 16, 2, 1, false, false);
    conv_case(2, 9, 11, 32, 40, 1, true, true);
    conv_case(1, 7, 6, 48, 130, 2, false, true);
    gather_case(2, 5, 7, 3, 1, 0);
    gather_case(1, 3, 4, 5, 1, 1);
    gather_case(1, 6, 5, 8, 2, 1);
    gather_case(2, 7, 6, 12, 2, 0);
    resize_case(2, 4, 5, 3, 9, 7);
    resize_case(1, 1, 3, 33, 1, 6);
    resize_case(1, 8, 6, 4, 3, 1);
    return failed ? 1 : 0;
}
