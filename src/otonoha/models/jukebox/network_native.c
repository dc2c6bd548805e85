/* One position of a prior (network.py): all layers, for several rows at once; weights in two bytes, the rest in float.
 *
 *     weights  [outputs / TILE] [inputs] [TILE]      half precision, one line of the cache for each input
 *     kv       as nn/factorised_memory.py has it; a Span says where a step writes and what it looks at
 *
 * At one row a step is as fast as its weights arrive from memory, at several as fast as they are multiplied: every
 * weight is read once for up to ROWS rows. Nothing is allocated here; `scratch` is the caller's.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif

#define TILE 32
#define LANES 16
#define ROWS 8
#define EPS 1e-5f

typedef float vfloat __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

typedef struct {
    const uint16_t *weights;
    const float *bias;
    int64_t outputs, inputs; /* outputs padded to TILE */
} Matrix;

typedef struct {
    Matrix qkv, out, fc, proj;
    const float *gain[2], *shift[2]; /* of the two norms */
    int64_t span;                    /* which of the step's spans is its own */
} Layer;

typedef struct { /* counted in floats from the beginning of a memory; the item of row b and head h is b * heads + h */
    int64_t write;  /* where the key of item 0 goes, or -1: nowhere */
    int64_t read;   /* the first key that item 0 looks at */
    int64_t keys;   /* how many */
    int64_t pitch;  /* from an item to the next */
    int64_t values; /* from a key to its value */
} Span;

typedef struct {
    int64_t layers, heads, head_width, width, hidden, most_keys;
    float share;
    const Layer *layer;
} Model;

static int64_t padded(int64_t n) { return (n + TILE - 1) / TILE * TILE; }

static inline vfloat wide(const uint16_t *p)
{
#if defined(__AVX512F__)
    return (vfloat)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif defined(__F16C__)
    vfloat y;
    __m256 low = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
    __m256 high = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)));
    memcpy(&y, &low, sizeof low);
    memcpy((char *)&y + sizeof low, &high, sizeof high);
    return y;
#else
    vfloat y;
    const _Float16 *h = (const _Float16 *)p;
    for (int i = 0; i < LANES; i++) y[i] = (float)h[i];
    return y;
#endif
}

/* y = x w + b for a tile of outputs and n rows; n is a constant where this is inlined, so the sums stay in registers */
static inline __attribute__((always_inline)) void tile(const int n, const uint16_t *w, const float *bias, int64_t inputs,
                                                       const float *x, int64_t from, float *y, int64_t to)
{
    vfloat sum[ROWS][2];
    for (int r = 0; r < n; r++) {
        sum[r][0] = *(const vfloat *)bias;
        sum[r][1] = *(const vfloat *)(bias + LANES);
    }
    for (int64_t i = 0; i < inputs; i++, w += TILE) {
        vfloat a = wide(w), b = wide(w + LANES);
        for (int r = 0; r < n; r++) {
            float v = x[r * from + i];
            sum[r][0] += a * v;
            sum[r][1] += b * v;
        }
    }
    for (int r = 0; r < n; r++) {
        *(vfloat *)(y + r * to) = sum[r][0];
        *(vfloat *)(y + r * to + LANES) = sum[r][1];
    }
}

/* x [rows] [from] -> y [rows] [outputs] */
static void product(const Matrix *m, int64_t rows, const float *x, int64_t from, float *y)
{
    int64_t to = m->outputs;
    for (int64_t o = 0; o < to; o += TILE) {
        const uint16_t *w = m->weights + o * m->inputs;
        for (int64_t r = 0; r < rows; r += ROWS) {
            const float *xs = x + r * from;
            float *ys = y + r * to + o;
            switch (rows - r < ROWS ? rows - r : ROWS) {
#define CASE(n) case n: tile(n, w, m->bias + o, m->inputs, xs, from, ys, to); break;
                CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
            }
        }
    }
}

static void normed(const float *x, const float *gain, const float *shift, int64_t n, float *y)
{
    float mean = 0, square = 0;
    for (int64_t i = 0; i < n; i++) mean += x[i];
    mean /= n;
    for (int64_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
    float scale = 1 / sqrtf(square / n + EPS);
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * scale * gain[i] + shift[i];
}

/* softmax(q kT / sqrt C) v over n keys; nothing to look at gives zeros */
static void look(const float *q, const float *k, const float *v, int64_t n, int64_t C, float *score, float *y)
{
    float scale = 1 / sqrtf((float)C), most = -INFINITY, sum = 0;
    memset(y, 0, C * sizeof *y);
    for (int64_t s = 0; s < n; s++) {
        float dot = 0;
        for (int64_t c = 0; c < C; c++) dot += q[c] * k[s * C + c];
        score[s] = dot * scale;
        most = score[s] > most ? score[s] : most;
    }
    for (int64_t s = 0; s < n; s++) sum += score[s] = expf(score[s] - most);
    for (int64_t s = 0; s < n; s++) {
        float p = score[s] / sum;
        for (int64_t c = 0; c < C; c++) y[c] += p * v[s * C + c];
    }
}

static void attention(const Model *m, const Span *span, int64_t rows, const float *qkv, int64_t stride, float *kv,
                      float *score, float *y)
{
    int64_t C = m->head_width, E = m->heads * C;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t h = 0; h < m->heads; h++) {
            const float *q = qkv + row * stride + h * C;
            float *item = kv + (row * m->heads + h) * span->pitch;
            if (span->write >= 0) {
                memcpy(item + span->write, q + E, C * sizeof *q);
                memcpy(item + span->write + span->values, q + 2 * E, C * sizeof *q);
            }
            const float *k = item + span->read;
            look(q, k, k + span->values, span->keys, C, score, y + row * E + h * C);
        }
}

int64_t prior_scratch(const Model *m, int64_t rows)
{
    int64_t E = m->heads * m->head_width, W = padded(m->width), M = padded(m->hidden);
    return rows * (m->width + padded(3 * E) + E + 2 * W + M) + m->most_keys + ROWS * TILE;
}

/* x [rows] [width] goes through all layers, in place */
void prior_step(const Model *m, int64_t rows, const Span *spans, float *const *kv, float *x, float *scratch)
{
    int64_t E = m->heads * m->head_width, W = m->width;
    float *norm = scratch, *qkv = norm + rows * W, *y = qkv + rows * padded(3 * E), *a = y + rows * E;
    float *mlp = a + rows * padded(W), *u = mlp + rows * padded(W), *score = u + rows * padded(m->hidden);
    for (int64_t l = 0; l < m->layers; l++) {
        const Layer *layer = m->layer + l;
        for (int64_t r = 0; r < rows; r++) normed(x + r * W, layer->gain[0], layer->shift[0], W, norm + r * W);
        product(&layer->qkv, rows, norm, W, qkv);
        attention(m, spans + layer->span, rows, qkv, layer->qkv.outputs, kv[l], score, y);
        product(&layer->out, rows, y, E, a);
        for (int64_t r = 0; r < rows; r++) {
            float *sum = mlp + r * W; /* x + a; the products come later */
            for (int64_t i = 0; i < W; i++) sum[i] = x[r * W + i] + a[r * layer->out.outputs + i];
            normed(sum, layer->gain[1], layer->shift[1], W, norm + r * W);
        }
        product(&layer->fc, rows, norm, W, u);
        for (int64_t i = 0; i < rows * layer->fc.outputs; i++) u[i] /= 1 + expf(-1.702f * u[i]);
        product(&layer->proj, rows, u, layer->fc.outputs, mlp);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < W; i++)
                x[r * W + i] += m->share * (a[r * layer->out.outputs + i] + mlp[r * layer->proj.outputs + i]);
    }
}

/* x [rows] [inputs] -> y [rows] [outputs] */
void prior_scores(const Matrix *m, int64_t rows, const float *x, float *y) { product(m, rows, x, m->inputs, y); }
