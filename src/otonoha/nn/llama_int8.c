/* One decoding step of a Llama (nn/llama.py) with weights in one byte: the whole network for one new position.
 *
 * A weight is q * scale with |q| <= 127; GROUP inputs of an output share a scale, and so do GROUP values of x, which
 * are brought to one byte on the way. Products of a group are summed in integers, exactly. LANES outputs lie side by
 * side in memory, so that one vector instruction serves them all and no product is summed across a vector:
 *
 *     weights  [outputs / LANES] [inputs / GROUP] [GROUP / 4] [LANES] [4]   stored as q + 128 (unsigned)
 *     scales   [outputs / LANES] [inputs / GROUP] [LANES]
 *     keys, values  [layers] [rows] [kv_heads] [slots] [head_width]         torch's own cache (nn/static_cache.py)
 *
 * Inputs and outputs of a matrix are padded to GROUP and LANES. The gains of the norms are inside the matrices.
 * Nothing is allocated here; `scratch` is the caller's. Sampling stays outside.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512VNNI__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#define GROUP 64
#define LANES 16
#define PAIRS 32 /* numbers of the cache in a vector */
#define TILE 4 /* rows that share one reading of the weights */

#ifndef __has_builtin
#define __has_builtin(x) 0
#endif
#if __has_builtin(__builtin_assoc_barrier) /* GCC 12: then a row is the same to the last bit in any company */
#define IN_THIS_ORDER(x) __builtin_assoc_barrier(x)
#else
#define IN_THIS_ORDER(x) (x)
#endif

typedef float vfloat __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t vint __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

typedef uint32_t vword __attribute__((vector_size(4 * LANES), aligned(2), may_alias));

typedef struct {
    const uint8_t *weights;
    const float *scales;
    int64_t outputs, inputs; /* padded */
} Matrix;

typedef struct {
    int64_t layers, heads, kv_heads, head_width, width, feedforward, slots;
    float eps;
    const Matrix *matrices;  /* q|k|v, out, gate|up, down of each layer; at last the head */
    const float *cos, *sin;  /* [slots] [head_width], as nn/rope.py has them */
} Model;

typedef struct { /* x of all rows in one byte */
    int8_t *q;      /* [rows] [inputs] */
    float *scale;   /* [rows] [groups] */
    int32_t *shift; /* [rows] [groups]: what the + 128 of the weights adds too much */
} Bytes;

static int64_t up_to(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/* sum += four products of each lane: unsigned bytes of w, signed bytes of x */
static inline vint dot4(vint sum, vint w, int32_t x) {
#if defined(__AVX512VNNI__)
    return (vint)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, _mm512_set1_epi32(x));
#elif defined(__AVX2__)
    const __m256i low = _mm256_set1_epi32(0x00ff00ff);
    const __m256i even = _mm256_set1_epi32((uint16_t)(int8_t)x | (uint32_t)(int8_t)(x >> 16) << 16);
    const __m256i odd = _mm256_set1_epi32((uint16_t)(int8_t)(x >> 8) | (uint32_t)(int8_t)(x >> 24) << 16);
    for (int half = 0; half < 2; half++) {
        __m256i v, s;
        memcpy(&v, (char *)&w + 32 * half, 32);
        memcpy(&s, (char *)&sum + 32 * half, 32);
        s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_and_si256(v, low), even));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_srli_epi16(v, 8), odd));
        memcpy((char *)&sum + 32 * half, &s, 32);
    }
    return sum;
#else
    for (int byte = 0; byte < 4; byte++) sum += (w >> (8 * byte) & 255) * (int32_t)(int8_t)(x >> (8 * byte));
    return sum;
#endif
}

/* LANES outputs of `rows` rows; `rows` is known when this is compiled */
static inline __attribute__((always_inline)) void block_of(
    const Matrix *m, int64_t block, const Bytes *x, int64_t first, float *out, const int rows) {
    const int64_t groups = m->inputs / GROUP;
    vfloat total[TILE] = {0};
    for (int64_t g = 0; g < groups; g++) {
        const uint8_t *w = m->weights + (block * groups + g) * GROUP * LANES;
        vint sum[TILE];
        for (int r = 0; r < rows; r++) sum[r] = (vint){0} + x->shift[(first + r) * groups + g];
        for (int k = 0; k < GROUP / 4; k++) {
            const vint four = *(const vint *)(w + 4 * LANES * k);
            for (int r = 0; r < rows; r++) {
                int32_t value;
                memcpy(&value, x->q + (first + r) * m->inputs + g * GROUP + 4 * k, 4);
                sum[r] = dot4(sum[r], four, value);
            }
        }
        const vfloat scale = *(const vfloat *)(m->scales + (block * groups + g) * LANES);
        for (int r = 0; r < rows; r++)
            total[r] += __builtin_convertvector(sum[r], vfloat) * IN_THIS_ORDER(scale * x->scale[(first + r) * groups + g]);
    }
    for (int r = 0; r < rows; r++) *(vfloat *)(out + (first + r) * m->outputs + block * LANES) = total[r];
}

/* out [rows] [outputs] = x Wt */
static void multiply(const Matrix *m, const Bytes *x, int64_t rows, float *out) {
    for (int64_t block = 0; block < m->outputs / LANES; block++) {
        int64_t first = 0;
        for (; first + TILE <= rows; first += TILE) block_of(m, block, x, first, out, TILE);
        for (; first < rows; first++) block_of(m, block, x, first, out, 1);
    }
}

/* x [rows] [size], times the factor of its row (or 1), into bytes */
static void to_bytes(const float *x, int64_t rows, int64_t size, const float *factor, Bytes *to) {
    const int64_t inputs = up_to(size, GROUP), groups = inputs / GROUP;
    for (int64_t i = 0; i < rows * groups; i++) {
        const int64_t row = i / groups, from = i % groups * GROUP;
        const int n = size - from < GROUP ? (int)(size - from) : GROUP;
        const float *part = x + row * size + from;
        int8_t *q = to->q + row * inputs + from;
        float most = 0;
        int32_t sum = 0;
        for (int k = 0; k < n; k++) most = fmaxf(most, fabsf(part[k]));
        const float inverse = most > 0 ? 127 / most : 0;
        memset(q, 0, GROUP);
        for (int k = 0; k < n; k++) q[k] = (int8_t)(part[k] * inverse + (part[k] < 0 ? -0.5f : 0.5f));
        for (int k = 0; k < n; k++) sum += q[k];
        to->scale[i] = most / 127 * (factor ? factor[row] : 1);
        to->shift[i] = -128 * sum;
    }
}

/* RMSNorm without its gain: only the factor of each row */
static void norm(const float *x, int64_t rows, int64_t size, float eps, float *factor) {
    for (int64_t row = 0; row < rows; row++) {
        float sum = 0;
        for (int64_t i = 0; i < size; i++) sum += x[row * size + i] * x[row * size + i];
        factor[row] = 1 / sqrtf(sum / size + eps);
    }
}

/* x [rows] [size] += y [rows] [padded] */
static void add(float *x, const float *y, int64_t rows, int64_t size, int64_t padded) {
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < size; i++) x[row * size + i] += y[row * padded + i];
}

/* Rotary positions */
static void turn(float *x, int64_t heads, int64_t C, const float *cos, const float *sin) {
    for (int64_t h = 0; h < heads; h++, x += C)
        for (int64_t i = 0; i < C / 2; i++) {
            const float a = x[i], b = x[i + C / 2];
            x[i] = a * cos[i] + b * sin[i];
            x[i + C / 2] = b * cos[i + C / 2] + a * sin[i + C / 2];
        }
}

static inline uint16_t halved(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* The cache keeps the upper half of each float. A vector of words holds two numbers a lane: these are they. */
static inline vfloat first_of(vword pairs) { return (vfloat)(pairs << 16); }
static inline vfloat second_of(vword pairs) { return (vfloat)(pairs & 0xffff0000); }

/* q holds, PAIRS by PAIRS, the numbers that meet the first of each pair, then those that meet the second */
static inline float dot(const float *q, const uint16_t *key, int64_t C) {
    vfloat sums = {0};
    float sum = 0;
    for (int64_t i = 0; i < C; i += PAIRS) {
        const vword pairs = *(const vword *)(key + i);
        sums += *(const vfloat *)(q + i) * first_of(pairs) + *(const vfloat *)(q + i + LANES) * second_of(pairs);
    }
    for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
    return sum;
}

/* y [n * PAIRS] = sum of the values of all slots, each times its share; ordered as q is */
static inline __attribute__((always_inline)) void blend(
    const float *share, const uint16_t *values, int64_t count, int64_t C, float *y, const int n) {
    vfloat first[2] = {0}, second[2] = {0};
    for (int64_t s = 0; s < count; s++)
        for (int i = 0; i < n; i++) {
            const vword pairs = *(const vword *)(values + s * C + i * PAIRS);
            first[i] += share[s] * first_of(pairs);
            second[i] += share[s] * second_of(pairs);
        }
    for (int i = 0; i < n; i++) {
        *(vfloat *)(y + i * PAIRS) = first[i];
        *(vfloat *)(y + i * PAIRS + LANES) = second[i];
    }
}

/* Between the usual order of a head and that of `dot`: one number after the other, or firsts before seconds */
static void reorder(const float *x, float *to, int64_t C, int back) {
    for (int64_t i = 0; i < C; i++) {
        const int64_t pair = i % PAIRS, other = i - pair + pair / 2 + pair % 2 * LANES;
        to[back ? i : other] = x[back ? other : i];
    }
}

/* One query q [C] over `count` slots: y [C] = softmax(q . keys / sqrt(C)) values */
static void look(const Model *m, const float *q, const uint16_t *keys, const uint16_t *values, int64_t count,
                 float *share, float *y) {
    const int64_t C = m->head_width;
    const float by = 1 / sqrtf((float)C);
    float most = -1e30f, total = 0;
    float *ordered = share + m->slots;
    reorder(q, ordered, C, 0);
    for (int64_t s = 0; s < count; s++) {
        share[s] = dot(ordered, keys + s * C, C) * by;
        most = fmaxf(most, share[s]);
    }
    for (int64_t s = 0; s < count; s++) share[s] = expf(share[s] - most);
    for (int64_t s = 0; s < count; s++) total += share[s];
    for (int64_t s = 0; s < count; s++) share[s] /= total;
    int64_t i = 0;
    for (; i + 2 * PAIRS <= C; i += 2 * PAIRS) blend(share, values + i, count, C, ordered + i, 2);
    if (i < C) blend(share, values + i, count, C, ordered + i, 1);
    reorder(ordered, y, C, 1);
}

/* Attention of one row: heads q|k|v in, y [heads] [C] out; k and v go into slot `place` */
static void attend(const Model *m, float *heads, int64_t place, uint16_t *keys, uint16_t *values, float *share,
                   float *y) {
    const int64_t C = m->head_width, K = m->kv_heads, group = m->heads / K;
    const float *k = heads + m->heads * C, *v = k + K * C;
    turn(heads, m->heads + K, C, m->cos + place * C, m->sin + place * C);
    for (int64_t h = 0; h < K; h++, k += C, v += C, keys += m->slots * C, values += m->slots * C) {
        for (int64_t i = 0; i < C; i++) keys[place * C + i] = halved(k[i]);
        for (int64_t i = 0; i < C; i++) values[place * C + i] = halved(v[i]);
        for (int64_t i = h * group; i < (h + 1) * group; i++)
            look(m, heads + i * C, keys, values, place + 1, share, y + i * C);
    }
}

static int64_t widest(const Model *m, int outputs) {
    int64_t most = 0;
    for (int64_t i = 0; i <= 4 * m->layers; i++) {
        const int64_t n = outputs ? m->matrices[i].outputs : m->matrices[i].inputs;
        most = n > most ? n : most;
    }
    return most;
}

/* Floats of scratch that `rows` rows need */
int64_t llama_scratch(const Model *m, int64_t rows) {
    return rows * (widest(m, 1) + 3 * widest(m, 0) + 1) + m->slots + m->head_width;
}

/* x [rows] [width]: embedded tokens, lost afterwards; length [rows]: the slot of each; logits [rows] [outputs] */
void llama_step(const Model *m, int64_t rows, const int64_t *length, float *x, uint16_t *keys, uint16_t *values,
                float *scratch, float *logits) {
    const int64_t D = m->width, F = m->feedforward, in = widest(m, 0);
    float *big = scratch, *y = big + rows * widest(m, 1), *share = y + rows * in;
    float *factor = share + m->slots + m->head_width;
    Bytes b;
    b.scale = factor + rows;
    b.shift = (int32_t *)(b.scale + rows * in / GROUP);
    b.q = (int8_t *)(b.shift + rows * in / GROUP);
    const Matrix *matrix = m->matrices;
    for (int64_t layer = 0; layer < m->layers; layer++, matrix += 4) {
        const int64_t heads = matrix[0].outputs, gates = matrix[2].outputs, out = matrix[1].outputs;
        norm(x, rows, D, m->eps, factor);
        to_bytes(x, rows, D, factor, &b);
        multiply(&matrix[0], &b, rows, big);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t at = (layer * rows + r) * m->kv_heads * m->slots * m->head_width;
            attend(m, big + r * heads, length[r], keys + at, values + at, share, y + r * D);
        }
        to_bytes(y, rows, D, 0, &b);
        multiply(&matrix[1], &b, rows, big);
        add(x, big, rows, D, out);
        norm(x, rows, D, m->eps, factor);
        to_bytes(x, rows, D, factor, &b);
        multiply(&matrix[2], &b, rows, big);
        for (int64_t r = 0; r < rows; r++) {
            const float *gate = big + r * gates, *up = gate + F;
            for (int64_t i = 0; i < F; i++) y[r * F + i] = gate[i] / (1 + expf(-gate[i])) * up[i];
        }
        to_bytes(y, rows, F, 0, &b);
        multiply(&matrix[3], &b, rows, big);
        add(x, big, rows, D, out);
    }
    norm(x, rows, D, m->eps, factor);
    to_bytes(x, rows, D, factor, &b);
    multiply(matrix, &b, rows, logits);
}
