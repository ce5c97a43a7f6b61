// Attention of short sequences and narrow heads, float32 inside, for attention_kernel.py.
//
// The scores of a block of queries with all keys stay in the first or second cache: softmax needs
// no second pass, and nothing of tokens x tokens is written to memory. A vector holds queries, so
// that exponentials, sums and products need nothing across its lanes; only the gradients of keys
// and values have the head's width in a vector. HEAD_DIM is given by the compiler's command.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
constexpr int BLOCK = 2 * LANES;              // queries at a time: two vectors
constexpr int DIM = HEAD_DIM;
constexpr int WIDTH = (DIM + 7) / 8 * 8;      // of a row of a head, filled up with zeros
constexpr float LOG2_E = 1.4426950408889634f;

typedef float Lanes __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t IntLanes __attribute__((vector_size(4 * LANES), may_alias));
typedef float Eight __attribute__((vector_size(32), may_alias));
struct Pair { Lanes low, high; };             // one number of each of BLOCK queries

// Columns that are summed together: as many as divide the head's width and fit the registers.
constexpr int columns_at_once() {
    for (int count = 6; count > 1; count--)
        if (DIM % count == 0) return count;
    return 1;
}

struct BFloat16 { uint16_t bits; };
inline float number(float x) { return x; }
inline float number(BFloat16 x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
inline void store(float& place, float x) { place = x; }
inline void store(BFloat16& place, float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    // To the nearest, ties to even; what is not a number stays one.
    place.bits = x == x ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : 0x7fc0;
}

// Where the samples, tokens and heads of a tensor lie, in elements; a head's numbers lie together.
struct Strides { int64_t sample, token, head; };

template <class T> struct Buffer {
    T* data;
    explicit Buffer(size_t count) {
        const size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
        data = static_cast<T*>(memset(aligned_alloc(64, bytes), 0, bytes));
    }
    Buffer(const Buffer&) = delete;
    ~Buffer() { free(data); }
    operator T*() const { return data; }
};

inline Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }

// 2^x for x <= 0, to about 1e-7: a polynomial of the fraction, the exponent by integers. What is not
// a number stays one.
inline Lanes exp2_of(Lanes exponent) {
    const Lanes least = Lanes{} - 126.0f;
    const Lanes x = larger(exponent, least);
    const Lanes shifted = x + 12582912.0f;    // 1.5 * 2^23: the last bits are the nearest integer
    const Lanes f = x - (shifted - 12582912.0f);
    Lanes p = f * 1.535336188e-4f + 1.339887440e-3f;
    p = p * f + 9.618437357e-3f;
    p = p * f + 5.550332471e-2f;
    p = p * f + 2.402264791e-1f;
    p = p * f + 6.931472028e-1f;
    p = p * f + 1.0f;
    const Lanes power = (Lanes)((IntLanes)p + ((IntLanes)shifted << 23));
    return exponent == exponent ? power : exponent;
}

// out[row] = sum over columns of rows[row][column] * block[column]
template <int ROWS> inline void multiply_rows(const float* rows, const Pair* block, Pair* out) {
    Pair sums[ROWS] = {};
    for (int column = 0; column < DIM; column++)
        for (int row = 0; row < ROWS; row++) {
            const float x = rows[row * WIDTH + column];
            sums[row].low += x * block[column].low;
            sums[row].high += x * block[column].high;
        }
    for (int row = 0; row < ROWS; row++) {
        out[row].low = sums[row].low;
        out[row].high = sums[row].high;
    }
}
[[gnu::noinline]] void multiply(const float* rows, int count, const Pair* block, Pair* out) {
    if (count < 6) {
        for (int row = 0; row < count; row++)
            multiply_rows<1>(rows + row * WIDTH, block, out + row);
        return;
    }
    for (int row = 0; row < count; row += 6) {
        const int first = std::min(row, count - 6);  // the last ones: some of them twice
        multiply_rows<6>(rows + first * WIDTH, block, out + first);
    }
}

// out[column] = sum over rows of rows[row][column] * weights[row]
[[gnu::noinline]] void weigh(const float* rows, int count, const Pair* weights, Pair* out) {
    constexpr int AT_ONCE = columns_at_once();
    for (int first = 0; first < DIM; first += AT_ONCE) {
        Pair sums[AT_ONCE] = {};
        for (int row = 0; row < count; row++)
            for (int column = 0; column < AT_ONCE; column++) {
                const float x = rows[row * WIDTH + first + column];
                sums[column].low += x * weights[row].low;
                sums[column].high += x * weights[row].high;
            }
        for (int column = 0; column < AT_ONCE; column++) {
            out[first + column].low = sums[column].low;
            out[first + column].high = sums[column].high;
        }
    }
}

inline Eight* eight(float* row) { return reinterpret_cast<Eight*>(row); }

// out[row] += sum over the block's queries of weights[row][query] * block[query]
template <int ROWS> inline void add_rows(const float* weights, float* block, float* out) {
    constexpr int PARTS = WIDTH / 8;
    Eight sums[ROWS][PARTS];
    for (int row = 0; row < ROWS; row++)
        for (int part = 0; part < PARTS; part++)
            sums[row][part] = eight(out + row * WIDTH)[part];
    for (int query = 0; query < BLOCK; query++) {
        Eight numbers[PARTS];
        for (int part = 0; part < PARTS; part++)
            numbers[part] = eight(block + query * WIDTH)[part];
        for (int row = 0; row < ROWS; row++) {
            const float weight = weights[row * BLOCK + query];
            for (int part = 0; part < PARTS; part++) sums[row][part] += weight * numbers[part];
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int part = 0; part < PARTS; part++)
            eight(out + row * WIDTH)[part] = sums[row][part];
}
[[gnu::noinline]] void add(const Pair* weights, int count, float* block, float* out) {
    constexpr int AT_ONCE = std::max(1, 96 / WIDTH);  // 12 sums of eight
    const float* w = reinterpret_cast<const float*>(weights);
    int row = 0;
    for (; row + AT_ONCE <= count; row += AT_ONCE)
        add_rows<AT_ONCE>(w + row * BLOCK, block, out + row * WIDTH);
    for (; row < count; row++) add_rows<1>(w + row * BLOCK, block, out + row * WIDTH);
}

int64_t whole_blocks(int64_t tokens) { return (tokens + BLOCK - 1) / BLOCK * BLOCK; }

// Tokens of a head as rows of WIDTH, `shift` (DIM,) added; zeros up to whole blocks.
template <class T>
[[gnu::noinline]] void take_rows(const T* from, int64_t stride, int64_t count, const float* shift,
                                 float* rows) {
    const float none[DIM] = {};
    if (!shift) shift = none;
    for (int64_t token = 0; token < count; token++)
        for (int column = 0; column < DIM; column++)
            rows[token * WIDTH + column] = number(from[token * stride + column]) + shift[column];
    memset(rows + count * WIDTH, 0, sizeof(float) * (whole_blocks(count) - count) * WIDTH);
}
template <class T>
[[gnu::noinline]] void give_rows(const float* rows, int64_t count, T* out, int64_t stride) {
    for (int64_t token = 0; token < count; token++)
        for (int column = 0; column < DIM; column++)
            store(out[token * stride + column], rows[token * WIDTH + column]);
}

#if defined(__clang__)
#define MIXED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t IntEight __attribute__((vector_size(32)));
#define MIXED(a, b, ...) __builtin_shuffle(a, b, IntEight{__VA_ARGS__})
#endif
// Eight rows of eight numbers as eight columns.
inline void transpose(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
    Eight a[8], b[8];
    for (int i = 0; i < 8; i++) memcpy(&a[i], from + i * from_stride, 32);
    for (int i = 0; i < 8; i += 2) {
        b[i] = MIXED(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        b[i + 1] = MIXED(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = MIXED(b[i + j], b[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            a[i + 2 * j + 1] = MIXED(b[i + j], b[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        b[i] = MIXED(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        b[i + 4] = MIXED(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int i = 0; i < 8; i++) memcpy(to + i * to_stride, &b[i], 32);
}
// BLOCK rows of WIDTH as WIDTH columns, and back.
[[gnu::noinline]] void turn(const float* rows, Pair* columns) {
    float* to = reinterpret_cast<float*>(columns);
    for (int row = 0; row < BLOCK; row += 8)
        for (int column = 0; column < WIDTH; column += 8)
            transpose(rows + row * WIDTH + column, WIDTH, to + column * BLOCK + row, BLOCK);
}
[[gnu::noinline]] void turn_back(const Pair* columns, float* rows) {
    const float* from = reinterpret_cast<const float*>(columns);
    for (int row = 0; row < BLOCK; row += 8)
        for (int column = 0; column < WIDTH; column += 8)
            transpose(from + column * BLOCK + row, BLOCK, rows + row * WIDTH + column, WIDTH);
}

// What a head's numbers pass through first: a sum, and LayerNorm; null where there is none.
struct Entrance {
    const float *shift, *weight, *bias;       // (heads, DIM), (DIM,), (DIM,)
    float epsilon;

    const float* shift_of(int64_t head) const { return shift ? shift + head * DIM : nullptr; }

    // LayerNorm of a block's columns, in place; `centred` gets them before weight and bias,
    // `scale` their factor.
    void normalise(Pair* columns, Pair* centred, Pair& scale) const {
        if (!weight) return;
        Pair mean = {}, variance = {};
        for (int column = 0; column < DIM; column++) {
            mean.low += columns[column].low;
            mean.high += columns[column].high;
        }
        mean.low /= float(DIM);
        mean.high /= float(DIM);
        for (int column = 0; column < DIM; column++) {
            centred[column].low = columns[column].low - mean.low;
            centred[column].high = columns[column].high - mean.high;
            variance.low += centred[column].low * centred[column].low;
            variance.high += centred[column].high * centred[column].high;
        }
        float* variances = reinterpret_cast<float*>(&variance);
        float* scales = reinterpret_cast<float*>(&scale);
        for (int row = 0; row < BLOCK; row++)
            scales[row] = 1.0f / std::sqrt(variances[row] / DIM + epsilon);
        for (int column = 0; column < DIM; column++) {
            centred[column].low *= scale.low;
            centred[column].high *= scale.high;
            columns[column].low = centred[column].low * weight[column] + bias[column];
            columns[column].high = centred[column].high * weight[column] + bias[column];
        }
    }

    // Gradient of what went in, in place, from that of what came out.
    void normalise_back(Pair* gradients, const Pair* centred, const Pair& scale) const {
        if (!weight) return;
        Pair mean = {}, along = {};
        for (int column = 0; column < DIM; column++) {
            gradients[column].low *= weight[column];
            gradients[column].high *= weight[column];
            mean.low += gradients[column].low;
            mean.high += gradients[column].high;
            along.low += gradients[column].low * centred[column].low;
            along.high += gradients[column].high * centred[column].high;
        }
        const float share = 1.0f / DIM;
        for (int column = 0; column < DIM; column++) {
            const Pair x = centred[column];
            Pair& g = gradients[column];
            g.low = scale.low * (g.low - share * (mean.low + x.low * along.low));
            g.high = scale.high * (g.high - share * (mean.high + x.high * along.high));
        }
    }
};

// A head's keys and values, and what of them is in work.
struct Scratch {
    Buffer<float> keys, values, rows;
    Buffer<Pair> columns, centred;
    Pair scale;
    explicit Scratch(int64_t size)
        : keys(size), values(size), rows(BLOCK * WIDTH), columns(WIDTH), centred(DIM) {}

    // Up to BLOCK tokens as columns, behind their entrance.
    template <class T>
    void take_block(const T* from, int64_t stride, int count, int64_t head,
                    const Entrance& entrance) {
        take_rows(from, stride, count, entrance.shift_of(head), rows);
        turn(rows, columns);
        entrance.normalise(columns, centred, scale);
    }
    // All tokens as rows, behind their entrance.
    template <class T>
    void take_all(const T* from, int64_t stride, int64_t tokens, int64_t head,
                  const Entrance& entrance, float* out) {
        take_rows(from, stride, tokens, entrance.shift_of(head), out);
        for (int64_t first = 0; entrance.weight && first < tokens; first += BLOCK) {
            turn(out + first * WIDTH, columns);
            entrance.normalise(columns, centred, scale);
            turn_back(columns, out + first * WIDTH);
        }
    }
    // The columns as rows of a tensor.
    template <class T> void give_block(int count, T* out, int64_t stride) {
        turn_back(columns, rows);
        give_rows(rows, count, out, stride);
    }
};

inline void times(Pair* columns, float factor) {
    for (int column = 0; column < DIM; column++) {
        columns[column].low *= factor;
        columns[column].high *= factor;
    }
}

template <class T>
void forward(T** data, const Strides* strides, const Entrance* entrances, float* log_sums,
             int64_t samples, int64_t heads, int64_t tokens, float scaling, int threads) {
    const int64_t size = whole_blocks(tokens) * WIDTH;  // of a head
    #pragma omp parallel num_threads(threads)
    {
        Scratch use(size);
        Buffer<Pair> weights(tokens);
        #pragma omp for schedule(dynamic)
        for (int64_t one = 0; one < samples * heads; one++) {
            const int64_t sample = one / heads, head = one % heads;
            const auto place = [&](int tensor, int64_t token) {
                const Strides& s = strides[tensor];
                return data[tensor] + sample * s.sample + token * s.token + head * s.head;
            };
            use.take_all(place(1, 0), strides[1].token, tokens, head, entrances[1], use.keys);
            use.take_all(place(2, 0), strides[2].token, tokens, head, entrances[2], use.values);
            for (int64_t first = 0; first < tokens; first += BLOCK) {
                const int count = std::min<int64_t>(BLOCK, tokens - first);
                use.take_block(place(0, first), strides[0].token, count, head, entrances[0]);
                times(use.columns, scaling * LOG2_E);  // scores to the base 2
                multiply(use.keys, tokens, use.columns, weights);
                Pair top = weights[0], sum = {};
                for (int64_t token = 1; token < tokens; token++) {
                    top.low = larger(top.low, weights[token].low);
                    top.high = larger(top.high, weights[token].high);
                }
                for (int64_t token = 0; token < tokens; token++) {
                    sum.low += weights[token].low = exp2_of(weights[token].low - top.low);
                    sum.high += weights[token].high = exp2_of(weights[token].high - top.high);
                }
                weigh(use.values, tokens, weights, use.columns);
                for (int column = 0; column < DIM; column++) {
                    use.columns[column].low /= sum.low;
                    use.columns[column].high /= sum.high;
                }
                use.give_block(count, place(3, first), strides[3].token);
                const float* tops = reinterpret_cast<const float*>(&top);
                const float* sums = reinterpret_cast<const float*>(&sum);
                for (int query = 0; query < count; query++)
                    log_sums[one * tokens + first + query] = tops[query] + std::log2(sums[query]);
            }
        }
    }
}

// Weights are made again from the scores and `log_sums`.
template <class T>
void backward(T** data, const Strides* strides, const Entrance* entrances, const float* log_sums,
              int64_t samples, int64_t heads, int64_t tokens, float scaling, int threads) {
    const int64_t size = whole_blocks(tokens) * WIDTH;  // of a head
    #pragma omp parallel num_threads(threads)
    {
        Scratch use(size);
        Buffer<float> d_keys(size), d_values(size);
        Buffer<float> d_rows(BLOCK * WIDTH), context_rows(BLOCK * WIDTH);
        Buffer<float> query_rows(BLOCK * WIDTH);
        Buffer<Pair> weights(tokens), d_scores(tokens), d_columns(WIDTH);
        #pragma omp for schedule(dynamic)
        for (int64_t one = 0; one < samples * heads; one++) {
            const int64_t sample = one / heads, head = one % heads;
            const auto place = [&](int tensor, int64_t token) {
                const Strides& s = strides[tensor];
                return data[tensor] + sample * s.sample + token * s.token + head * s.head;
            };
            use.take_all(place(1, 0), strides[1].token, tokens, head, entrances[1], use.keys);
            use.take_all(place(2, 0), strides[2].token, tokens, head, entrances[2], use.values);
            memset(d_keys, 0, sizeof(float) * size);
            memset(d_values, 0, sizeof(float) * size);
            for (int64_t first = 0; first < tokens; first += BLOCK) {
                const int count = std::min<int64_t>(BLOCK, tokens - first);
                take_rows(place(3, first), strides[3].token, count, nullptr, context_rows);
                take_rows(place(4, first), strides[4].token, count, nullptr, d_rows);
                turn(d_rows, d_columns);
                Pair mean = {}, log_sum = {};  // mean: over keys, of a weight's gradient
                turn(context_rows, use.columns);
                for (int column = 0; column < DIM; column++) {
                    mean.low += use.columns[column].low * d_columns[column].low;
                    mean.high += use.columns[column].high * d_columns[column].high;
                }
                // What fills the block up weighs nothing.
                log_sum.low = log_sum.high = log_sum.low + 1e30f;
                memcpy(&log_sum, log_sums + one * tokens + first, sizeof(float) * count);
                use.take_block(place(0, first), strides[0].token, count, head, entrances[0]);
                times(use.columns, scaling);
                turn_back(use.columns, query_rows);
                times(use.columns, LOG2_E);
                multiply(use.keys, tokens, use.columns, weights);
                multiply(use.values, tokens, d_columns, d_scores);
                for (int64_t token = 0; token < tokens; token++) {
                    Pair &weight = weights[token], &gradient = d_scores[token];
                    weight.low = exp2_of(weight.low - log_sum.low);
                    weight.high = exp2_of(weight.high - log_sum.high);
                    gradient.low = weight.low * (gradient.low - mean.low);
                    gradient.high = weight.high * (gradient.high - mean.high);
                }
                weigh(use.keys, tokens, d_scores, use.columns);
                times(use.columns, scaling);
                entrances[0].normalise_back(use.columns, use.centred, use.scale);
                use.give_block(count, place(5, first), strides[5].token);
                add(weights, tokens, d_rows, d_values);
                add(d_scores, tokens, query_rows, d_keys);
            }
            for (int64_t first = 0; entrances[1].weight && first < tokens; first += BLOCK) {
                const int count = std::min<int64_t>(BLOCK, tokens - first);
                use.take_block(place(1, first), strides[1].token, count, head, entrances[1]);
                turn(d_keys + first * WIDTH, d_columns);
                entrances[1].normalise_back(d_columns, use.centred, use.scale);
                turn_back(d_columns, d_keys + first * WIDTH);
            }
            give_rows<T>(d_keys, tokens, place(6, 0), strides[6].token);
            give_rows<T>(d_values, tokens, place(7, 0), strides[7].token);
        }
    }
}

}  // namespace

// `data`: query, key, value, context; on the way back the gradients of context, query, key and
// value behind them. `strides` likewise; an entrance each for query, key and value.
#define ENTRY(NAME, WAY, T)                                                                        \
    extern "C" void NAME(void** data, const int64_t* strides, const void* entrances,               \
                         float* log_sums, const int64_t* sizes, float scaling, int threads) {      \
        WAY<T>(reinterpret_cast<T**>(data), reinterpret_cast<const Strides*>(strides),             \
               static_cast<const Entrance*>(entrances), log_sums, sizes[0], sizes[1], sizes[2],    \
               scaling, threads);                                                                  \
    }

ENTRY(forward_float32, forward, float)
ENTRY(backward_float32, backward, float)
ENTRY(forward_bfloat16, forward, BFloat16)
ENTRY(backward_bfloat16, backward, BFloat16)
